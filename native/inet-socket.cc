// What Node lacks of TCP and UDP sockets: a mark on what they send from the start, where a connection was going before the kernel
// translated its destination, a write that does not queue, and a look at the state of a socket that nobody reads. All but the first
// by the number of a descriptor that belongs to a socket of Node's.
// Authority: socket(7), tcp(7), linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h.

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "methods.h"
#include "node-values.h"

namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST. Their headers cannot be included beside those of the C library.
constexpr int kOriginalDestination = 80;

// What of a socket address is told, in network order.
constexpr size_t kIpv4Size = sizeof(in_addr) + sizeof(in_port_t);
constexpr size_t kIpv6Size = sizeof(in6_addr) + sizeof(in_port_t);

int OriginalIpv4(int fd, uint8_t* bytes) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockopt(fd, SOL_IP, kOriginalDestination, &address, &size) < 0) return errno;
  memcpy(bytes, &address.sin_addr, sizeof address.sin_addr);
  memcpy(bytes + sizeof address.sin_addr, &address.sin_port, sizeof address.sin_port);
  return 0;
}

int OriginalIpv6(int fd, uint8_t* bytes) {
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  if (getsockopt(fd, SOL_IPV6, kOriginalDestination, &address, &size) < 0) return errno;
  memcpy(bytes, &address.sin6_addr, sizeof address.sin6_addr);
  memcpy(bytes + sizeof address.sin6_addr, &address.sin6_port, sizeof address.sin6_port);
  return 0;
}

}  // namespace

// openMarked(family, isTcp, mark) → fd, or a negative errno.
napi_value OpenMarked(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int family = 0;
  bool is_tcp = false;
  uint32_t mark = 0;
  GetArguments(env, info, arguments);
  if (napi_get_value_int32(env, arguments[0], &family) != napi_ok || (family != 4 && family != 6) ||
      napi_get_value_bool(env, arguments[1], &is_tcp) != napi_ok ||
      napi_get_value_uint32(env, arguments[2], &mark) != napi_ok) {
    return ThrowArgument(env);
  }
  const int type = (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  // Any address and port.
  sockaddr_in6 any{};
  any.sin6_family = family == 4 ? AF_INET : AF_INET6;
  const socklen_t size = family == 4 ? sizeof(sockaddr_in) : sizeof any;
  const int fd = socket(any.sin6_family, type, 0);
  if (fd < 0) return MakeInt32(env, -errno);
  // libuv lets UDP sockets that it is given share their ports (uv_udp_open), from then on.
  const bool is_bound = is_tcp || bind(fd, reinterpret_cast<sockaddr*>(&any), size) == 0;
  if (!is_bound || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0) {
    const int error = errno;
    close(fd);
    return MakeInt32(env, -error);
  }
  return MakeInt32(env, fd);
}

// originalDestination(fd, bytes) → 0 or an errno. The family is the one whose address and port fill the bytes.
napi_value OriginalDestination(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd = -1;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || !GetBytes(env, arguments[1], bytes, size)) return ThrowArgument(env);
  if (size != kIpv4Size && size != kIpv6Size) return ThrowArgument(env);
  return MakeInt32(env, size == kIpv4Size ? OriginalIpv4(fd, bytes) : OriginalIpv6(fd, bytes));
}

// sendNow(fd, bytes, count) → bytes taken by the kernel, or a negative errno.
napi_value SendNow(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int fd = -1;
  uint8_t* bytes = nullptr;
  size_t size = 0;
  uint32_t count = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || !GetBytes(env, arguments[1], bytes, size) ||
      napi_get_value_uint32(env, arguments[2], &count) != napi_ok || count > size) {
    return ThrowArgument(env);
  }
  ssize_t sent;
  do {
    sent = send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return MakeInt32(env, static_cast<int>(sent < 0 ? -errno : sent));
}

// isBroken(fd) → whether the connection was reset, or both sides have closed it.
napi_value IsBroken(napi_env env, napi_callback_info info) {
  napi_value arguments[1], result = nullptr;
  pollfd socket{-1, 0, 0};
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], socket.fd)) return ThrowArgument(env);
  napi_get_boolean(env, poll(&socket, 1, 0) > 0 && (socket.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0, &result);
  return result;
}
