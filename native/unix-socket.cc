// What Node lacks of Unix sockets: datagrams, which a service talks to its manager with (sd_notify(3)), and who is at the other
// end. Authority: unix(7).

#include <sys/un.h>

#include <algorithm>
#include <cstddef>

#include "methods.h"
#include "node-values.h"

namespace {

struct Bytes {
  const void* start = nullptr;
  size_t size = 0;
};

bool GetBytes(napi_env env, napi_value value, Bytes& bytes) {
  napi_typedarray_type type = napi_int8_array;
  void* start = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &bytes.size, &start, nullptr, nullptr) != napi_ok) return false;
  bytes.start = start;
  return type == napi_uint8_array;
}

bool GetAddress(const Bytes& name, sockaddr_un& address, socklen_t& size, int& error) {
  error = name.size == 0 ? EINVAL : name.size > sizeof address.sun_path ? ENAMETOOLONG : 0;
  if (error != 0) return false;
  address.sun_family = AF_UNIX;
  std::copy_n(static_cast<const char*>(name.start), name.size, address.sun_path);
  size = offsetof(sockaddr_un, sun_path) + name.size;
  return true;
}

// Never waits: a manager that does not read is not to hold up whoever has something to tell it.
int Send(const sockaddr_un& address, socklen_t address_size, const Bytes& message) {
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.IsOpen()) return errno;
  ssize_t sent;
  do {
    sent = sendto(fd.Get(), message.start, message.size, MSG_DONTWAIT | MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address), address_size);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

// The kernel keeps who called listen() (SO_PEERCRED); a queue of connections that is full is EAGAIN.
int Listener(const sockaddr_un& address, socklen_t address_size) {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ucred peer{};
  socklen_t peer_size = sizeof peer;
  if (!fd.IsOpen() || connect(fd.Get(), reinterpret_cast<const sockaddr*>(&address), address_size) < 0 ||
      getsockopt(fd.Get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0) {
    return -errno;
  }
  return peer.pid;
}

}  // namespace

// sendDatagram(address, message) → 0 or an errno. The address is that of a Unix socket; an abstract one begins with a zero byte.
napi_value SendDatagram(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = nullptr;
  Bytes name, message;
  GetArguments(env, info, arguments);
  if (!GetBytes(env, arguments[0], name) || !GetBytes(env, arguments[1], message)) return ThrowArgument(env);
  sockaddr_un address{};
  socklen_t size = 0;
  int error = 0;
  if (GetAddress(name, address, size, error)) error = Send(address, size, message);
  napi_create_int32(env, error, &result);
  return result;
}

// listenerPid(address) → pid, 0 for one that cannot be seen, or a negative errno.
napi_value ListenerPid(napi_env env, napi_callback_info info) {
  napi_value arguments[1], result = nullptr;
  Bytes name;
  GetArguments(env, info, arguments);
  if (!GetBytes(env, arguments[0], name)) return ThrowArgument(env);
  sockaddr_un address{};
  socklen_t size = 0;
  int error = 0;
  const int pid = GetAddress(name, address, size, error) ? Listener(address, size) : -error;
  napi_create_int32(env, pid, &result);
  return result;
}
