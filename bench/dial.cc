// Sets up connections and tells how long each took, in the process that makes them: no event loop and no garbage
// collection is in the figures. Runs inside a network namespace; compiled by connect.ts.
//
//   dial              a batch per line of stdin: PROTOCOL PORT ADDRESS...   (tcp or udp; IPv4)
//                     answered by a line: nanoseconds for each address, or `error: ...`
//   dial sink PORT    takes what is sent to any address, TCP and UDP, until it is killed; prints `ready`
//
// TCP: the time of connect(2), which is the whole handshake. The connection is reset, which leaves no TIME_WAIT.
// UDP: the time of send(2) of the first datagram from a port that no flow has had for long. Nobody sleeps on the other
// side and veth hands packets over within the call, so that the time is the way to the other socket, and no wake-up.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

void Check(int result, const std::string& what) {
  if (result < 0) throw std::runtime_error(what + ": " + std::strerror(errno));
}

class Socket {
 public:
  explicit Socket(int type) : fd_(socket(AF_INET, type | SOCK_CLOEXEC, 0)) { Check(fd_, "socket"); }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

sockaddr_in Address(in_addr address, int port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(static_cast<uint16_t>(port));
  result.sin_addr = address;
  return result;
}

int64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

int64_t DialTcp(const sockaddr_in& to) {
  const Socket tcp(SOCK_STREAM);
  const linger reset{1, 0};
  Check(setsockopt(tcp.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "SO_LINGER");
  const int64_t start = Nanoseconds();
  const int result = connect(tcp.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof to);
  const int64_t end = Nanoseconds();
  Check(result, "connect");
  return end - start;
}

int64_t DialUdp(const sockaddr_in& to) {
  // Ports in turn: one chosen at random may still have a flow, whose next datagram would be cheaper.
  static int port = 1024;
  port = port == 65535 ? 1024 : port + 1;
  const Socket udp(SOCK_DGRAM);
  const sockaddr_in from = Address({htonl(INADDR_ANY)}, port);
  Check(bind(udp.fd(), reinterpret_cast<const sockaddr*>(&from), sizeof from), "bind");
  Check(connect(udp.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof to), "connect");
  const int64_t start = Nanoseconds();
  const ssize_t result = send(udp.fd(), "?", 1, 0);
  const int64_t end = Nanoseconds();
  Check(static_cast<int>(result), "send");
  return end - start;
}

std::string DialBatch(const std::string& line) {
  std::istringstream words(line);
  std::ostringstream answer;
  std::string protocol, address;
  int port;
  words >> protocol >> port;
  while (words >> address) {
    in_addr parsed;
    if (inet_pton(AF_INET, address.c_str(), &parsed) != 1) return "error: not an IPv4 address: " + address;
    const sockaddr_in to = Address(parsed, port);
    try {
      answer << (protocol == "tcp" ? DialTcp(to) : DialUdp(to)) << ' ';
    } catch (const std::runtime_error& error) {
      return "error: " + address + ": " + error.what();
    }
  }
  return answer.str();
}

/** Looks every few milliseconds instead of waiting, because waking it would be a part of what is measured. */
void Sink(int port) {
  const sockaddr_in any = Address({htonl(INADDR_ANY)}, port);
  const Socket tcp(SOCK_STREAM | SOCK_NONBLOCK);
  Check(bind(tcp.fd(), reinterpret_cast<const sockaddr*>(&any), sizeof any), "bind");
  Check(listen(tcp.fd(), 4096), "listen");
  const Socket udp(SOCK_DGRAM | SOCK_NONBLOCK);
  const int room = 64 << 20;
  Check(setsockopt(udp.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room), "SO_RCVBUFFORCE");
  Check(bind(udp.fd(), reinterpret_cast<const sockaddr*>(&any), sizeof any), "bind");
  std::cout << "ready" << std::endl;
  char datagram[16];
  for (;;) {
    usleep(5000);
    for (int fd; (fd = accept(tcp.fd(), nullptr, nullptr)) >= 0;) close(fd);
    while (recv(udp.fd(), datagram, sizeof datagram, 0) >= 0) {
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 3 && std::string(argv[1]) == "sink") Sink(std::atoi(argv[2]));
  for (std::string line; std::getline(std::cin, line);) std::cout << DialBatch(line) << std::endl;
} catch (const std::exception& error) {
  std::cerr << "dial: " << error.what() << '\n';
  return 1;
}
