// TCP connections that belong to no socket of Node's: the system calls, none of which waits. When to call them is told by
// readiness.cc. Authority: socket(7), tcp(7).

#include <netinet/tcp.h>

#include <algorithm>

#include "inet-socket.h"
#include "methods.h"

// connectTcp(ip, port, mark) → fd, or a negative errno.
napi_value ConnectTcp(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  SocketAddress address;
  uint32_t mark = 0;
  GetArguments(env, info, arguments);
  if (!GetAddress(env, arguments[0], arguments[1], address) ||
      napi_get_value_uint32(env, arguments[2], &mark) != napi_ok) {
    return ThrowArgument(env);
  }
  const int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return MakeInt32(env, -errno);
  if ((mark != 0 && !SetOption(fd, SOL_SOCKET, SO_MARK, static_cast<int>(mark))) ||
      !SetOption(fd, SOL_TCP, TCP_NODELAY, 1) ||
      (connect(fd, &address.any, SizeOf(address)) < 0 && errno != EINPROGRESS)) {
    return MakeInt32(env, -CloseAfter(fd));
  }
  return MakeInt32(env, fd);
}

// socketError(fd) → 0 or an errno.
napi_value SocketError(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int fd = -1, error = 0;
  socklen_t size = sizeof error;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd)) return ThrowArgument(env);
  return MakeInt32(env, getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error);
}

// peerAddress(fd, bytes) → how many bytes, or a negative errno.
napi_value PeerAddress(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd = -1;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || !GetBytes(env, arguments[1], bytes, size) ||
      size < sizeof(in6_addr) + sizeof(in_port_t)) {
    return ThrowArgument(env);
  }
  SocketAddress peer{};
  socklen_t peer_size = sizeof peer;
  if (getpeername(fd, &peer.any, &peer_size) < 0) return MakeInt32(env, -errno);
  const size_t address_size = CopyAddress(peer, bytes);
  const in_port_t port = PortOf(peer);
  memcpy(bytes + address_size, &port, sizeof port);
  return MakeInt32(env, static_cast<int>(address_size + sizeof port));
}

// receiveTcp(fd, bytes) → how many, or a negative errno.
napi_value ReceiveTcp(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd = -1;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || !GetBytes(env, arguments[1], bytes, size) || size == 0) {
    return ThrowArgument(env);
  }
  ssize_t received;
  do {
    received = recv(fd, bytes, std::min<size_t>(size, INT32_MAX), MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  return MakeInt32(env, static_cast<int>(received < 0 ? -errno : received));
}

// sendTcp(fd, bytes, count) → how many, or a negative errno.
napi_value SendTcp(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int fd = -1;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  uint32_t count = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || !GetBytes(env, arguments[1], bytes, size) ||
      napi_get_value_uint32(env, arguments[2], &count) != napi_ok || count > size || count > INT32_MAX) {
    return ThrowArgument(env);
  }
  ssize_t sent;
  do {
    sent = send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return MakeInt32(env, static_cast<int>(sent < 0 ? -errno : sent));
}

// shutdownWriting(fd) → 0 or an errno.
napi_value ShutdownWriting(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int fd = -1;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd)) return ThrowArgument(env);
  return MakeInt32(env, shutdown(fd, SHUT_WR) < 0 ? errno : 0);
}

// keepAlive(fd, idleSec, intervalSec, probes) → 0 or an errno.
napi_value KeepAlive(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int fd = -1, idle = 0, interval = 0, probes = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || napi_get_value_int32(env, arguments[1], &idle) != napi_ok ||
      napi_get_value_int32(env, arguments[2], &interval) != napi_ok ||
      napi_get_value_int32(env, arguments[3], &probes) != napi_ok) {
    return ThrowArgument(env);
  }
  const bool is_set = SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1) && SetOption(fd, SOL_TCP, TCP_KEEPIDLE, idle) &&
                      SetOption(fd, SOL_TCP, TCP_KEEPINTVL, interval) && SetOption(fd, SOL_TCP, TCP_KEEPCNT, probes);
  return MakeInt32(env, is_set ? 0 : errno);
}

// closeTcp(fd, isReset) → 0 or an errno.
napi_value CloseTcp(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd = -1;
  bool is_reset = false;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || napi_get_value_bool(env, arguments[1], &is_reset) != napi_ok) {
    return ThrowArgument(env);
  }
  const linger now{1, 0};
  if (is_reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  return MakeInt32(env, close(fd) < 0 ? errno : 0);
}
