// What Node lacks of Unix sockets: datagrams, which a service talks to its manager with (sd_notify(3)), who is at the other end, and
// descriptors that another process goes on with. Authority: unix(7), memfd_create(2).

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "methods.h"
#include "node-values.h"

namespace {

// SCM_MAX_FD, net/scm.h.
constexpr size_t kMaxDescriptors = 253;

struct Bytes {
  uint8_t* start = nullptr;
  size_t size = 0;
};

bool GetAddress(const Bytes& name, sockaddr_un& address, socklen_t& size, int& error) {
  error = name.size == 0 ? EINVAL : name.size > sizeof address.sun_path ? ENAMETOOLONG : 0;
  if (error != 0) return false;
  address.sun_family = AF_UNIX;
  std::copy_n(reinterpret_cast<const char*>(name.start), name.size, address.sun_path);
  size = offsetof(sockaddr_un, sun_path) + name.size;
  return true;
}

// A missing array is an empty one.
bool GetDescriptors(napi_env env, napi_value array, std::vector<int>& fds) {
  napi_valuetype kind = napi_undefined;
  if (napi_typeof(env, array, &kind) == napi_ok && kind == napi_undefined) return true;
  uint32_t count = 0;
  if (napi_get_array_length(env, array, &count) != napi_ok || count > kMaxDescriptors) return false;
  for (uint32_t i = 0; i < count; i++) {
    napi_value number = nullptr;
    int fd = -1;
    if (napi_get_element(env, array, i, &number) != napi_ok || !GetFd(env, number, fd)) return false;
    fds.push_back(fd);
  }
  return true;
}

// A message with room for descriptors beside it. Points into itself.
struct Message {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  iovec bytes{};
  msghdr header{};

  explicit Message(const Bytes& payload) {
    bytes = {payload.start, payload.size};
    header.msg_iov = &bytes;
    header.msg_iovlen = 1;
  }

  void Carry(const std::vector<int>& fds) {
    if (fds.empty()) return;
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
};

// Never waits: a reader that does not read is not to hold up whoever has something to tell it.
int Send(int fd, Message& message) {
  ssize_t sent;
  do {
    sent = sendmsg(fd, &message.header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

int SendDatagram(sockaddr_un& address, socklen_t address_size, Message& message) {
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.IsOpen()) return errno;
  message.header.msg_name = &address;
  message.header.msg_namelen = address_size;
  return Send(fd.Get(), message);
}

int Connect(const sockaddr_un& address, socklen_t address_size) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), address_size) == 0) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

// Who called listen(), or connect(): the kernel keeps it (SO_PEERCRED).
int PeerOf(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? -errno : peer.pid;
}

// A queue of connections that is full is EAGAIN.
int Listener(const sockaddr_un& address, socklen_t address_size) {
  const int number = Connect(address, address_size);
  if (number < 0) return number;
  const Fd fd(number);
  return PeerOf(fd.Get());
}

napi_value AtAddress(napi_env env, napi_value name, int (*call)(const sockaddr_un&, socklen_t)) {
  Bytes bytes;
  if (!GetBytes(env, name, bytes.start, bytes.size)) return ThrowArgument(env);
  sockaddr_un address{};
  socklen_t size = 0;
  int error = 0;
  return MakeInt32(env, GetAddress(bytes, address, size, error) ? call(address, size) : -error);
}

}  // namespace

// sendDatagram(address, message, fds?) → 0 or an errno. The address is that of a Unix socket; an abstract one begins with a zero byte.
napi_value SendDatagram(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  Bytes name, payload;
  std::vector<int> fds;
  GetArguments(env, info, arguments);
  if (!GetBytes(env, arguments[0], name.start, name.size) || !GetBytes(env, arguments[1], payload.start, payload.size) ||
      !GetDescriptors(env, arguments[2], fds)) {
    return ThrowArgument(env);
  }
  sockaddr_un address{};
  socklen_t size = 0;
  int error = 0;
  Message message(payload);
  message.Carry(fds);
  if (GetAddress(name, address, size, error)) error = SendDatagram(address, size, message);
  return MakeInt32(env, error);
}

// listenerPid(address) → pid, 0 for one that cannot be seen, or a negative errno.
napi_value ListenerPid(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  GetArguments(env, info, arguments);
  return AtAddress(env, arguments[0], Listener);
}

// connectUnix(address) → a descriptor, or a negative errno.
napi_value ConnectUnix(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  GetArguments(env, info, arguments);
  return AtAddress(env, arguments[0], Connect);
}

// peerPid(fd) → pid, 0 for one that cannot be seen, or a negative errno.
napi_value PeerPid(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int fd = -1;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd)) return ThrowArgument(env);
  return MakeInt32(env, PeerOf(fd));
}

// sendDescriptors(fd, bytes, fds) → 0 or an errno. All of the bytes, or nothing.
napi_value SendDescriptors(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int fd = -1;
  Bytes payload;
  std::vector<int> fds;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || !GetBytes(env, arguments[1], payload.start, payload.size) || payload.size != 1 ||
      !GetDescriptors(env, arguments[2], fds)) {
    return ThrowArgument(env);
  }
  Message message(payload);
  message.Carry(fds);
  return MakeInt32(env, Send(fd, message));
}

// receiveDescriptors(fd) → an array of descriptors, undefined at the end, or an errno: EAGAIN when nothing has come.
napi_value ReceiveDescriptors(napi_env env, napi_callback_info info) {
  napi_value arguments[1], result = nullptr;
  int fd = -1;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd)) return ThrowArgument(env);
  uint8_t byte = 0;
  Message message({&byte, 1});
  message.header.msg_control = message.control;
  message.header.msg_controllen = sizeof message.control;
  ssize_t size;
  do {
    size = recvmsg(fd, &message.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return MakeInt32(env, errno);
  if (size == 0) {
    napi_get_undefined(env, &result);
    return result;
  }
  napi_create_array(env, &result);
  uint32_t count = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message.header); part != nullptr; part = CMSG_NXTHDR(&message.header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (size_t offset = 0; CMSG_LEN(offset + sizeof(int)) <= part->cmsg_len; offset += sizeof(int)) {
      int received = -1;
      memcpy(&received, CMSG_DATA(part) + offset, sizeof received);
      napi_set_element(env, result, count++, MakeInt32(env, received));
    }
  }
  return result;
}

// duplicate(fd) → another number for the same socket or file, or a negative errno. Programs that are started do not get it.
napi_value Duplicate(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int fd = -1;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd)) return ThrowArgument(env);
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return MakeInt32(env, copy < 0 ? -errno : copy);
}

// memoryFile() → a descriptor of an empty file without a name, or a negative errno.
napi_value MemoryFile(napi_env env, napi_callback_info) {
  const int fd = memfd_create("kproxy-ts", MFD_CLOEXEC);
  return MakeInt32(env, fd < 0 ? -errno : fd);
}
