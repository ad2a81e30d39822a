// The kernel's side of the addon: descriptors, buffers, datagrams. Knows nothing of Node. Every function leaves its errno.

#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Close(); }
  bool IsOpen() const { return fd_ >= 0; }
  int Get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// Datagrams back to back in one growing block, so that a dump of any size becomes a single ArrayBuffer.
struct Inbox {
  uint8_t* bytes = nullptr;
  size_t used = 0;
  size_t capacity = 0;
  std::vector<size_t> sizes;

  Inbox() = default;
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() { free(bytes); }

  bool MakeRoom(size_t room);
  bool Resize(size_t size);
};

// A socket that talks to the kernel only. Returns -1 and sets *syscall on failure.
int OpenSocket(int protocol, const char** syscall);

struct BufferOption {
  int plain;
  int force;
};
constexpr BufferOption kSendBuffer = {SO_SNDBUF, SO_SNDBUFFORCE};
constexpr BufferOption kReceiveBuffer = {SO_RCVBUF, SO_RCVBUFFORCE};

// Asks for a buffer of `size` bytes as getsockopt counts them (twice what setsockopt is told). Without CAP_NET_ADMIN
// in the first user namespace, the kernel stops at twice net.core.{r,w}mem_max, silently.
bool SetBuffer(int fd, const BufferOption& option, int size);

// Takes one datagram of the kernel into the inbox without waiting. Returns 0 or an errno: EAGAIN when none is queued,
// EFBIG when it would not fit the limit, ENOBUFS (once) when the kernel had to drop some.
int Receive(int fd, Inbox& inbox, size_t limit);

// Empties the receive queue: what an earlier failed transaction left there would be taken for replies of the next.
void DiscardQueued(int fd);
