// What Node lacks of UDP sockets: a mark on what they send from the start. Authority: socket(7).

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "methods.h"
#include "node-values.h"

// openMarkedUdp(family, mark) → fd, or a negative errno.
napi_value OpenMarkedUdp(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int family = 0;
  uint32_t mark = 0;
  GetArguments(env, info, arguments);
  if (napi_get_value_int32(env, arguments[0], &family) != napi_ok || (family != 4 && family != 6) ||
      napi_get_value_uint32(env, arguments[1], &mark) != napi_ok) {
    return ThrowArgument(env);
  }
  // Any address and port.
  sockaddr_in6 any{};
  any.sin6_family = family == 4 ? AF_INET : AF_INET6;
  const socklen_t size = family == 4 ? sizeof(sockaddr_in) : sizeof any;
  const int fd = socket(any.sin6_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return MakeInt32(env, -errno);
  // libuv lets UDP sockets that it is given share their ports (uv_udp_open), from then on.
  if (bind(fd, reinterpret_cast<sockaddr*>(&any), size) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0) {
    const int error = errno;
    close(fd);
    return MakeInt32(env, -error);
  }
  return MakeInt32(env, fd);
}
