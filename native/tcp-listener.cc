// TCP sockets that listen: the system calls, none of which waits. Authority: tcp(7), accept(2), linux/netfilter_ipv4.h,
// linux/netfilter_ipv6/ip6_tables.h.

#include <netinet/tcp.h>

#include "inet-socket.h"
#include "methods.h"

namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST. Their headers cannot be included beside those of the C library.
constexpr int kOriginalDestination = 80;

// One accepted connection in an Int32Array: its descriptor, the port that it was going to, and the address, of 4 or 16 bytes.
constexpr size_t kAcceptedFields = 6;

// The next connection; -1 with errno when there is none. Those that have failed in the queue are passed over (accept(2)).
int Accept(int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return fd;
    switch (errno) {
      case EINTR:
      case ECONNABORTED:
      case ENETDOWN:
      case EPROTO:
      case ENOPROTOOPT:
      case EHOSTDOWN:
      case ENONET:
      case EHOSTUNREACH:
      case ENETUNREACH:
        continue;
      default:
        return -1;
    }
  }
}

// Where it was going before its destination was translated here; port 0 where the kernel does not say.
void OriginalDestination(int fd, int family, int32_t* port, void* address) {
  SocketAddress destination{};
  socklen_t size = sizeof destination;
  const int level = family == 4 ? SOL_IP : SOL_IPV6;
  *port = 0;
  if (family == 0 || getsockopt(fd, level, kOriginalDestination, &destination, &size) < 0) return;
  *port = ntohs(PortOf(destination));
  CopyAddress(destination, address);
}

}  // namespace

// openTcpListener(ip, port) → fd, or a negative errno.
napi_value OpenTcpListener(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  SocketAddress address;
  GetArguments(env, info, arguments);
  if (!GetAddress(env, arguments[0], arguments[1], address)) return ThrowArgument(env);
  const int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return MakeInt32(env, -errno);
  if (!SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
      (!IsIpv4(address) && !SetOption(fd, SOL_IPV6, IPV6_V6ONLY, 1)) ||
      bind(fd, &address.any, SizeOf(address)) < 0) {
    return MakeInt32(env, -CloseAfter(fd));
  }
  return MakeInt32(env, fd);
}

// listenTcp(fd, backlog) → the port, or a negative errno.
napi_value ListenTcp(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd = -1, backlog = 0;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], fd) || napi_get_value_int32(env, arguments[1], &backlog) != napi_ok) {
    return ThrowArgument(env);
  }
  SocketAddress address{};
  socklen_t size = sizeof address;
  if (listen(fd, backlog) < 0 || getsockname(fd, &address.any, &size) < 0) return MakeInt32(env, -errno);
  return MakeInt32(env, ntohs(PortOf(address)));
}

// acceptTcp(listener, family, accepted) → how many; the first number of `accepted` says why there are no more.
napi_value AcceptTcp(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int listener = -1, family = -1;
  napi_typedarray_type type = napi_int8_array;
  size_t room = 0;
  void* start = nullptr;
  GetArguments(env, info, arguments);
  if (!GetFd(env, arguments[0], listener) || napi_get_value_int32(env, arguments[1], &family) != napi_ok ||
      (family != 0 && family != 4 && family != 6) ||
      napi_get_typedarray_info(env, arguments[2], &type, &room, &start, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array || room < 1 + kAcceptedFields) {
    return ThrowArgument(env);
  }
  auto* const numbers = static_cast<int32_t*>(start);
  numbers[0] = 0;
  int count = 0;
  for (int32_t* one = numbers + 1; one + kAcceptedFields <= numbers + room; one += kAcceptedFields, count++) {
    const int fd = Accept(listener);
    if (fd < 0) {
      numbers[0] = errno;
      break;
    }
    SetOption(fd, SOL_TCP, TCP_NODELAY, 1);
    one[0] = fd;
    OriginalDestination(fd, family, &one[1], &one[2]);
  }
  return MakeInt32(env, count);
}
