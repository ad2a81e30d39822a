// What the benchmark of proxies is measured with: a server and a client of TCP, each in a process of its own, so that no event
// loop of Node's is in the figures but the one under test. Runs inside network namespaces; compiled by userspace.ts.
//
//   stream serve PORT    answers connections on every address until it is killed; prints `ready`. The first byte of a connection
//                        says what it gets: `e` its own bytes back, `u` nothing (they are read and forgotten), `d` bytes without end
//   stream               a task per line of stdin, answered by a line, or by `error: ...`:
//     flow ADDRESS PORT MS up|down          one connection: how many bytes went through it, and in how many nanoseconds
//     connect ADDRESS PORT MS CONCURRENCY   connections that are made, echo one byte and are closed: how many, and nanoseconds
//     request ADDRESS PORT COUNT BYTES      one connection, one request after the other: nanoseconds of each
//     idle ADDRESS PORT COUNT               that many connections, each of which has echoed a byte and is kept: how many there are

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr size_t kBlock = 256 * 1024;
std::vector<char> block(kBlock, 'x');

ssize_t Check(ssize_t result, const std::string& what) {
  if (result < 0) throw std::runtime_error(what + ": " + std::strerror(errno));
  return result;
}

int64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void SetNoDelay(int fd) {
  const int on = 1;
  Check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
}

int Dial(const std::string& address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) throw std::runtime_error("not an address: " + address);
  const int fd = static_cast<int>(Check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  SetNoDelay(fd);
  Check(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), "connect");
  return fd;
}

// Without TIME_WAIT, of which there may be no more than there are ports.
void Reset(int fd) {
  const linger now{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

void Echo(int fd, size_t size) {
  Check(send(fd, block.data(), size, MSG_NOSIGNAL), "send");
  for (size_t received = 0; received < size;) {
    const ssize_t count = Check(recv(fd, block.data(), size - received, 0), "recv");
    if (count == 0) throw std::runtime_error("closed by the other side");
    received += count;
  }
}

void Flow(std::istringstream& task, std::ostream& answer) {
  std::string address, direction;
  int port, ms;
  task >> address >> port >> ms >> direction;
  const bool is_up = direction == "up";
  const int fd = Dial(address, port);
  Check(send(fd, is_up ? "u" : "d", 1, MSG_NOSIGNAL), "send");
  const int64_t start = Nanoseconds();
  const int64_t end = start + ms * 1'000'000LL;
  int64_t bytes = 0, now = start;
  while (now < end) {
    const ssize_t count = is_up ? Check(send(fd, block.data(), kBlock, MSG_NOSIGNAL), "send")
                                : Check(recv(fd, block.data(), kBlock, 0), "recv");
    if (count == 0) throw std::runtime_error("closed by the other side");
    bytes += count;
    now = Nanoseconds();
  }
  Reset(fd);
  answer << bytes << ' ' << now - start;
}

// Blocking sockets and a row of them: all are dialled, then all are asked, so that so many are under way at once.
void Connect(std::istringstream& task, std::ostream& answer) {
  std::string address;
  int port, ms, concurrency;
  task >> address >> port >> ms >> concurrency;
  std::vector<int> fds(concurrency);
  const int64_t start = Nanoseconds();
  const int64_t end = start + ms * 1'000'000LL;
  int64_t count = 0, now = start;
  while (now < end) {
    for (int& fd : fds) {
      fd = Dial(address, port);
      Check(send(fd, "ex", 2, MSG_NOSIGNAL), "send");
    }
    for (const int fd : fds) {
      char byte;
      if (Check(recv(fd, &byte, 1, 0), "recv") != 1) throw std::runtime_error("closed by the other side");
      Reset(fd);
    }
    count += concurrency;
    now = Nanoseconds();
  }
  answer << count << ' ' << now - start;
}

void Request(std::istringstream& task, std::ostream& answer) {
  std::string address;
  int port, count;
  size_t size;
  task >> address >> port >> count >> size;
  const int fd = Dial(address, port);
  Check(send(fd, "e", 1, MSG_NOSIGNAL), "send");
  for (int i = 0; i < count; i++) {
    const int64_t start = Nanoseconds();
    Echo(fd, size);
    answer << (i == 0 ? "" : " ") << Nanoseconds() - start;
  }
  Reset(fd);
}

std::vector<int> held;

void Idle(std::istringstream& task, std::ostream& answer) {
  std::string address;
  int port, count;
  task >> address >> port >> count;
  for (int i = 0; i < count; i++) {
    held.push_back(Dial(address, port));
    Check(send(held.back(), "e", 1, MSG_NOSIGNAL), "send");
    Echo(held.back(), 1);
  }
  answer << held.size();
}

struct Connection {
  int fd;
  char kind = 0;
};

// False when it is over.
bool Serve(Connection& connection) {
  if (connection.kind == 0) {
    if (recv(connection.fd, &connection.kind, 1, 0) != 1) return false;
    if (connection.kind == 'd') return true;
  }
  if (connection.kind == 'd') return send(connection.fd, block.data(), kBlock, MSG_NOSIGNAL) > 0;
  const ssize_t count = recv(connection.fd, block.data(), kBlock, MSG_DONTWAIT);
  if (count <= 0) return count < 0 && errno == EAGAIN;
  return connection.kind == 'u' || send(connection.fd, block.data(), count, MSG_NOSIGNAL) == count;
}

[[noreturn]] void Listen(int port) {
  const int listener = static_cast<int>(Check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<uint16_t>(port));
  const int on = 1;
  Check(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
  Check(bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof any), "bind");
  Check(listen(listener, 4096), "listen");
  const int epoll = static_cast<int>(Check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  epoll_event event{EPOLLIN, {nullptr}};
  Check(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
  std::puts("ready");
  std::fflush(stdout);
  std::vector<epoll_event> events(256);
  for (;;) {
    const ssize_t ready = Check(epoll_wait(epoll, events.data(), events.size(), -1), "epoll_wait");
    for (ssize_t i = 0; i < ready; i++) {
      auto* connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == nullptr) {
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        SetNoDelay(fd);
        event = {EPOLLIN, {new Connection{fd}}};
        Check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
      } else if (!Serve(*connection)) {
        close(connection->fd);
        delete connection;
      } else if (connection->kind == 'd') {
        event = {EPOLLOUT, {connection}};
        Check(epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event), "epoll_ctl");
      }
    }
  }
}

void Run(const std::string& line, std::ostream& answer) {
  std::istringstream task(line);
  std::string kind;
  task >> kind;
  if (kind == "flow") Flow(task, answer);
  else if (kind == "connect") Connect(task, answer);
  else if (kind == "request") Request(task, answer);
  else if (kind == "idle") Idle(task, answer);
  else throw std::runtime_error("unknown task " + kind);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "serve") {
    try {
      Listen(std::stoi(argv[2]));
    } catch (const std::exception& error) {
      std::cerr << error.what() << std::endl;
      return 1;
    }
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::ostringstream answer;
    try {
      Run(line, answer);
      std::cout << answer.str() << std::endl;
    } catch (const std::exception& error) {
      std::cout << "error: " << error.what() << std::endl;
    }
  }
}
