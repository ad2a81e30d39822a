// Addresses and options of TCP sockets, for those who have the system calls.

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "node-values.h"

union SocketAddress {
  sockaddr any;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
};

inline bool IsIpv4(const SocketAddress& address) { return address.any.sa_family == AF_INET; }

inline socklen_t SizeOf(const SocketAddress& address) {
  return IsIpv4(address) ? sizeof address.ipv4 : sizeof address.ipv6;
}

// Both families have it in the same place; in network order.
inline in_port_t PortOf(const SocketAddress& address) { return address.ipv4.sin_port; }

// Copies the address in network order, and returns the size of that.
inline size_t CopyAddress(const SocketAddress& address, void* bytes) {
  const void* start = &address.ipv4.sin_addr;
  if (!IsIpv4(address)) start = &address.ipv6.sin6_addr;
  const size_t size = IsIpv4(address) ? sizeof address.ipv4.sin_addr : sizeof address.ipv6.sin6_addr;
  memcpy(bytes, start, size);
  return size;
}

// Of an address as text and a port; false for what is neither.
inline bool GetAddress(napi_env env, napi_value ip, napi_value port, SocketAddress& address) {
  char text[INET6_ADDRSTRLEN + 1];
  size_t size = 0;
  uint32_t number = 0;
  if (napi_get_value_string_latin1(env, ip, text, sizeof text, &size) != napi_ok ||
      napi_get_value_uint32(env, port, &number) != napi_ok || number > UINT16_MAX) {
    return false;
  }
  address = {};
  address.ipv4.sin_port = htons(static_cast<uint16_t>(number));
  address.any.sa_family = AF_INET;
  if (inet_pton(AF_INET, text, &address.ipv4.sin_addr) == 1) return true;
  address.any.sa_family = AF_INET6;
  return inet_pton(AF_INET6, text, &address.ipv6.sin6_addr) == 1;
}

inline bool SetOption(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// Closes it, and returns the errno of what came before.
inline int CloseAfter(int fd) {
  const int error = errno;
  close(fd);
  return error;
}
