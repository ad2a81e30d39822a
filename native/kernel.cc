// Authority: netlink(7), include/uapi/linux/netlink.h, net/netlink/af_netlink.c.

#include "kernel.h"

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>

// The kernel sizes the next piece of a dump by the room that the last recvmsg offered, up to 32 KiB.
static constexpr size_t kDumpRoom = 32 * 1024;

bool Inbox::MakeRoom(size_t room) {
  if (capacity - used >= room) return true;
  return Resize(std::max(used + room, 2 * capacity));
}

bool Inbox::Resize(size_t size) {
  void* resized = realloc(bytes, size);
  if (resized == nullptr) return false;
  bytes = static_cast<uint8_t*>(resized);
  capacity = size;
  return true;
}

int OpenSocket(int protocol, const char** syscall) {
  *syscall = "socket";
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) return -1;
  // Connected to port 0, the socket refuses unicasts of other processes; it gets its own port id here, too.
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  *syscall = "connect";
  int status = connect(fd, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    if (status < 0) break;
    const int on = 1;
    *syscall = "setsockopt";
    status = setsockopt(fd, SOL_NETLINK, option, &on, sizeof on);
    if (status < 0 && errno == ENOPROTOOPT) status = 0;
  }
  if (status == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

bool SetBuffer(int fd, const BufferOption& option, int size) {
  const int half = size / 2 + size % 2;
  if (setsockopt(fd, SOL_SOCKET, option.force, &half, sizeof half) == 0) return true;
  return errno == EPERM && setsockopt(fd, SOL_SOCKET, option.plain, &half, sizeof half) == 0;
}

int Receive(int fd, Inbox& inbox, size_t limit) {
  for (;;) {
    const ssize_t size = recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (static_cast<size_t>(size) > limit - inbox.used) return EFBIG;
    if (!inbox.MakeRoom(std::max(static_cast<size_t>(size), kDumpRoom))) return ENOMEM;
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t received = recvfrom(fd, inbox.bytes + inbox.used, inbox.capacity - inbox.used, MSG_DONTWAIT,
                                      reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (sender.nl_pid != 0) continue;
    inbox.sizes.push_back(received);
    inbox.used += received;
    return 0;
  }
}

void DiscardQueued(int fd) {
  // A pending socket error is reported once and is then gone, so a second failure in a row is final.
  for (int failures = 0; failures < 2;) {
    if (recv(fd, nullptr, 0, MSG_DONTWAIT) >= 0) {
      failures = 0;
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      failures++;
    }
  }
}
