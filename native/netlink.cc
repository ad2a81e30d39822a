// Netlink sockets for Node: open, transact, subscribe, close. It moves datagrams and knows no protocol inside them;
// arguments and policy belong to src/daemon/netlink-socket.ts, its only caller. Authority: netlink(7), af_netlink.c.
// Threads: everything runs on the JS thread except Execute (libuv's pool) and Listen (one thread a subscription).

#include <linux/netlink.h>
#include <node_api.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

// The kernel sizes the next piece of a dump by the room that the last recvmsg offered, up to 32 KiB.
constexpr size_t kDumpRoom = 32 * 1024;
// Events waiting for the JS thread; behind them the kernel's own queue fills, and says ENOBUFS when it is full.
constexpr size_t kMaxQueuedEvents = 1024;
// Below this, copying into memory of V8 is cheaper than handing memory over and being called back to free it.
constexpr size_t kCopyBelow = 16 * 1024;

constexpr napi_type_tag kSocketTag = {0x6b70726f78792d74, 0x732f736f636b6574};
constexpr napi_type_tag kSubscriptionTag = {0x6b70726f78792d74, 0x732f6c697374656e};

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

  bool MakeRoom(size_t room) {
    if (capacity - used >= room) return true;
    return Resize(std::max(used + room, 2 * capacity));
  }

  bool Resize(size_t size) {
    void* resized = realloc(bytes, size);
    if (resized == nullptr) return false;
    bytes = static_cast<uint8_t*>(resized);
    capacity = size;
    return true;
  }
};

// Takes one datagram of the kernel into the inbox without waiting. Returns 0 or an errno: EAGAIN when none is queued,
// EFBIG when it would not fit the limit, ENOBUFS (once) when the kernel had to drop some.
int Receive(int fd, Inbox& inbox, size_t limit) {
  for (;;) {
    const ssize_t size = recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (static_cast<size_t>(size) > limit - inbox.used) return EFBIG;
    if (!inbox.MakeRoom(std::max(static_cast<size_t>(size), kDumpRoom))) return ENOMEM;
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t received = recvfrom(fd, inbox.bytes + inbox.used, inbox.capacity - inbox.used, MSG_DONTWAIT,
                                      reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (sender.nl_pid != 0) continue;
    inbox.sizes.push_back(received);
    inbox.used += received;
    return 0;
  }
}

// Empties the receive queue: what an earlier failed transaction left there would be taken for replies of the next.
void DiscardQueued(int fd) {
  // A pending socket error is reported once and is then gone, so a second failure in a row is final.
  for (int failures = 0; failures < 2;) {
    if (recv(fd, nullptr, 0, MSG_DONTWAIT) >= 0) {
      failures = 0;
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      failures++;
    }
  }
}

napi_value MakeError(napi_env env, int error, const char* syscall) {
  napi_value name = nullptr, number = nullptr, result = nullptr;
  napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &name);
  napi_create_int32(env, error, &number);
  napi_create_error(env, nullptr, name, &result);
  napi_set_named_property(env, result, "errno", number);
  napi_set_named_property(env, result, "syscall", name);
  return result;
}

napi_value Throw(napi_env env, int error, const char* syscall) {
  napi_throw(env, MakeError(env, error, syscall));
  return nullptr;
}

napi_value ThrowArgument(napi_env env) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "wrong argument for the netlink addon");
  return nullptr;
}

// One Uint8Array per datagram, all of them views of one ArrayBuffer. nullptr when V8 has no memory left or is stopping.
napi_value TakeDatagrams(napi_env env, Inbox& inbox) {
  napi_value buffer = nullptr, result = nullptr;
  if (napi_create_array_with_length(env, inbox.sizes.size(), &result) != napi_ok) return nullptr;
  if (inbox.used == 0) return result;
  if (inbox.used < kCopyBelow) {
    void* target = nullptr;
    if (napi_create_arraybuffer(env, inbox.used, &target, &buffer) != napi_ok) return nullptr;
    memcpy(target, inbox.bytes, inbox.used);
  } else {
    const auto release = [](napi_env, void* bytes, void*) { free(bytes); };
    if (napi_create_external_arraybuffer(env, inbox.bytes, inbox.used, release, nullptr, &buffer) != napi_ok) {
      return nullptr;
    }
    inbox.bytes = nullptr;
  }
  size_t offset = 0;
  uint32_t index = 0;
  for (const size_t size : inbox.sizes) {
    napi_value view = nullptr;
    if (napi_create_typedarray(env, napi_uint8_array, size, buffer, offset, &view) != napi_ok) return nullptr;
    if (napi_set_element(env, result, index++, view) != napi_ok) return nullptr;
    offset += size;
  }
  return result;
}

// A socket that talks to the kernel only. Returns -1 and sets *syscall on failure.
int OpenSocket(int protocol, const char** syscall) {
  *syscall = "socket";
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) return -1;
  // Connected to port 0, the socket refuses unicasts of other processes; it gets its own port id here, too.
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  *syscall = "connect";
  int status = connect(fd, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    if (status < 0) break;
    const int on = 1;
    *syscall = "setsockopt";
    status = setsockopt(fd, SOL_NETLINK, option, &on, sizeof on);
    if (status < 0 && errno == ENOPROTOOPT) status = 0;
  }
  if (status == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

struct BufferOption {
  int plain;
  int force;
};
constexpr BufferOption kSendBuffer = {SO_SNDBUF, SO_SNDBUFFORCE};
constexpr BufferOption kReceiveBuffer = {SO_RCVBUF, SO_RCVBUFFORCE};

// Asks for a buffer of `size` bytes as getsockopt counts them (twice what setsockopt is told). Without CAP_NET_ADMIN
// in the first user namespace, the kernel stops at twice net.core.{r,w}mem_max, silently.
bool SetBuffer(int fd, const BufferOption& option, int size) {
  const int half = size / 2 + size % 2;
  if (setsockopt(fd, SOL_SOCKET, option.force, &half, sizeof half) == 0) return true;
  return errno == EPERM && setsockopt(fd, SOL_SOCKET, option.plain, &half, sizeof half) == 0;
}

template <typename T>
napi_value WrapNative(napi_env env, std::unique_ptr<T> native, const napi_type_tag& tag) {
  napi_value handle = nullptr;
  const auto collect = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  if (napi_create_object(env, &handle) != napi_ok || napi_type_tag_object(env, handle, &tag) != napi_ok ||
      napi_wrap(env, handle, native.get(), collect, nullptr, nullptr) != napi_ok) {
    return Throw(env, ENOMEM, "napi_wrap");
  }
  native.release();
  return handle;
}

template <typename T>
T* Unwrap(napi_env env, napi_value handle, const napi_type_tag& tag) {
  bool matches = false;
  void* native = nullptr;
  if (napi_check_object_type_tag(env, handle, &tag, &matches) != napi_ok || !matches) return nullptr;
  return napi_unwrap(env, handle, &native) == napi_ok ? static_cast<T*>(native) : nullptr;
}

template <size_t N>
void GetArguments(napi_env env, napi_callback_info info, napi_value (&arguments)[N], void** data = nullptr) {
  size_t count = N;
  napi_get_cb_info(env, info, &count, arguments, nullptr, data);
}

// Touched by the JS thread only, but for fd.Get() in Execute: `busy` keeps the number from being closed and re-used.
struct Socket {
  explicit Socket(int number) : fd(number) {}
  Fd fd;
  bool busy = false;
  bool closing = false;
};

struct Transaction {
  Socket* socket = nullptr;
  napi_ref handle = nullptr;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  std::unique_ptr<uint8_t, decltype(&free)> request{nullptr, &free};
  size_t request_size = 0;
  size_t reply_limit = 0;
  Inbox replies;
  int error = 0;
  const char* syscall = nullptr;
};

void Execute(napi_env, void* data) {
  Transaction& transaction = *static_cast<Transaction*>(data);
  const int fd = transaction.socket->fd.Get();
  const auto fail = [&](int error, const char* syscall) {
    transaction.error = error;
    transaction.syscall = syscall;
  };
  DiscardQueued(fd);
  ssize_t sent;
  do {
    sent = send(fd, transaction.request.get(), transaction.request_size, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail(errno, "sendmsg");
  // The kernel has queued its replies before send returns, and continues a dump as it is read: EAGAIN is the end.
  for (;;) {
    const int error = Receive(fd, transaction.replies, transaction.reply_limit);
    if (error == EAGAIN) break;
    if (error != 0) fail(error, "recvmsg");
    // What was queued before the overrun still says which requests were refused.
    if (error != 0 && error != ENOBUFS) break;
  }
  if (transaction.replies.used > 0) transaction.replies.Resize(transaction.replies.used);
}

void Complete(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Transaction> transaction(static_cast<Transaction*>(data));
  Socket& socket = *transaction->socket;
  socket.busy = false;
  if (socket.closing) socket.fd.Close();
  napi_delete_async_work(env, transaction->work);
  const napi_value replies = TakeDatagrams(env, transaction->replies);
  if (replies == nullptr && transaction->error == 0) {
    transaction->error = ENOMEM;
    transaction->syscall = "recvmsg";
  }
  // In a worker that is being terminated none of these calls works any more, and there is nobody to tell.
  if (transaction->error == 0) {
    napi_resolve_deferred(env, transaction->deferred, replies);
  } else {
    const napi_value error = MakeError(env, transaction->error, transaction->syscall);
    if (replies != nullptr) napi_set_named_property(env, error, "replies", replies);
    napi_reject_deferred(env, transaction->deferred, error);
  }
  napi_delete_reference(env, transaction->handle);
}

// open(protocol) → handle. The handle's collection closes the socket.
napi_value Open(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int32_t protocol = 0;
  GetArguments(env, info, arguments);
  if (napi_get_value_int32(env, arguments[0], &protocol) != napi_ok) return ThrowArgument(env);
  const char* syscall = nullptr;
  const int fd = OpenSocket(protocol, &syscall);
  if (fd < 0) return Throw(env, errno, syscall);
  return WrapNative(env, std::make_unique<Socket>(fd), kSocketTag);
}

// sendBuffer(handle, bytes), receiveBuffer(handle, bytes) → bytes in force; 0 asks without setting.
napi_value Buffer(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  void* data = nullptr;
  int32_t size = 0;
  GetArguments(env, info, arguments, &data);
  const BufferOption& option = *static_cast<const BufferOption*>(data);
  const Socket* socket = Unwrap<Socket>(env, arguments[0], kSocketTag);
  if (socket == nullptr || napi_get_value_int32(env, arguments[1], &size) != napi_ok) return ThrowArgument(env);
  if (!socket->fd.IsOpen() || socket->closing) return Throw(env, EBADF, "setsockopt");
  if (size > 0 && !SetBuffer(socket->fd.Get(), option, size)) return Throw(env, errno, "setsockopt");
  int effective = 0;
  socklen_t length = sizeof effective;
  if (getsockopt(socket->fd.Get(), SOL_SOCKET, option.plain, &effective, &length) < 0) {
    return Throw(env, errno, "getsockopt");
  }
  napi_value result = nullptr;
  napi_create_int32(env, effective, &result);
  return result;
}

// transact(handle, request, replyLimit) → promise of Uint8Array[]. One at a time: a second is EBUSY.
napi_value Transact(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  napi_typedarray_type type = napi_int8_array;
  size_t size = 0;
  void* bytes = nullptr;
  int64_t limit = 0;
  GetArguments(env, info, arguments);
  Socket* socket = Unwrap<Socket>(env, arguments[0], kSocketTag);
  if (socket == nullptr || napi_get_value_int64(env, arguments[2], &limit) != napi_ok || limit < 0 ||
      napi_get_typedarray_info(env, arguments[1], &type, &size, &bytes, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    return ThrowArgument(env);
  }
  if (!socket->fd.IsOpen() || socket->closing) return Throw(env, EBADF, "sendmsg");
  if (socket->busy) return Throw(env, EBUSY, "sendmsg");

  auto transaction = std::make_unique<Transaction>();
  transaction->socket = socket;
  transaction->request_size = size;
  transaction->reply_limit = limit;
  // A copy, because JS may detach or free the memory behind the array while the other thread reads it.
  transaction->request.reset(static_cast<uint8_t*>(malloc(std::max<size_t>(size, 1))));
  if (transaction->request == nullptr) return Throw(env, ENOMEM, "sendmsg");
  if (size > 0) memcpy(transaction->request.get(), bytes, size);

  napi_value name = nullptr, promise = nullptr;
  napi_create_string_utf8(env, "netlink.transact", NAPI_AUTO_LENGTH, &name);
  if (napi_create_reference(env, arguments[0], 1, &transaction->handle) != napi_ok) {
    return Throw(env, ENOMEM, "sendmsg");
  }
  if (napi_create_async_work(env, nullptr, name, Execute, Complete, transaction.get(), &transaction->work) !=
          napi_ok ||
      napi_create_promise(env, &transaction->deferred, &promise) != napi_ok ||
      napi_queue_async_work(env, transaction->work) != napi_ok) {
    if (transaction->work != nullptr) napi_delete_async_work(env, transaction->work);
    napi_delete_reference(env, transaction->handle);
    return Throw(env, ENOMEM, "sendmsg");
  }
  socket->busy = true;
  transaction.release();
  return promise;
}

// close(handle). A transaction in flight finishes first and keeps the descriptor until then.
napi_value Close(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  GetArguments(env, info, arguments);
  Socket* socket = Unwrap<Socket>(env, arguments[0], kSocketTag);
  if (socket == nullptr) return ThrowArgument(env);
  socket->closing = true;
  if (!socket->busy) socket->fd.Close();
  return nullptr;
}

// Lives until unsubscribe or the end of its environment, as a listening server does: `handle` is a strong reference.
struct Subscription {
  Subscription(napi_env owner, int number) : env(owner), fd(number), wake(eventfd(0, EFD_CLOEXEC)) {}
  napi_env env;
  Fd fd;
  Fd wake;
  pthread_t thread{};
  napi_threadsafe_function deliver = nullptr;
  napi_ref handle = nullptr;
};

struct Event {
  int error = 0;
  Inbox inbox;
};

void* Listen(void* data) {
  const Subscription& subscription = *static_cast<Subscription*>(data);
  pollfd ready[2] = {{subscription.fd.Get(), POLLIN, 0}, {subscription.wake.Get(), POLLIN, 0}};
  bool has_lost = false;
  for (;;) {
    if (poll(ready, 2, has_lost ? 0 : -1) < 0) continue;
    if (ready[1].revents != 0) return nullptr;
    auto event = std::make_unique<Event>();
    event->error = Receive(subscription.fd.Get(), event->inbox, SIZE_MAX);
    if (event->error == ENOBUFS) {
      has_lost = true;
      continue;
    }
    if (event->error == EAGAIN) {
      if (!has_lost) continue;
      // The kernel said so when the loss began, and drops on silently until the queue is empty. Told only now, it
      // covers every loss so far: who reads the kernel's state on this event misses nothing that comes later.
      has_lost = false;
      event->error = ENOBUFS;
    }
    const bool is_last = event->error != 0 && event->error != ENOBUFS;
    if (event->inbox.used > 0) event->inbox.Resize(event->inbox.used);
    if (napi_call_threadsafe_function(subscription.deliver, event.get(), napi_tsfn_blocking) != napi_ok) return nullptr;
    event.release();
    if (is_last) return nullptr;
  }
}

// Calls callback(errno, bytes | undefined) on the JS thread.
void Deliver(napi_env env, napi_value callback, void*, void* data) {
  const std::unique_ptr<Event> event(static_cast<Event*>(data));
  if (env == nullptr || callback == nullptr) return;
  napi_value receiver = nullptr, datagrams = nullptr;
  napi_value arguments[2] = {nullptr, nullptr};
  napi_get_undefined(env, &receiver);
  if (event->error == 0) datagrams = TakeDatagrams(env, event->inbox);
  if (event->error == 0 && datagrams == nullptr) event->error = ENOMEM;
  napi_create_int32(env, event->error, &arguments[0]);
  if (datagrams == nullptr || napi_get_element(env, datagrams, 0, &arguments[1]) != napi_ok) arguments[1] = receiver;
  if (napi_call_function(env, receiver, callback, 2, arguments, nullptr) == napi_pending_exception) {
    napi_value exception = nullptr;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  }
}

// Stops the thread. The abort wakes it from a full queue, and no turn of the event loop, which would free the
// thread-safe function, comes between the abort and the join.
void Stop(void* data) {
  Subscription& subscription = *static_cast<Subscription*>(data);
  napi_release_threadsafe_function(subscription.deliver, napi_tsfn_abort);
  eventfd_write(subscription.wake.Get(), 1);
  pthread_join(subscription.thread, nullptr);
  subscription.fd.Close();
  subscription.wake.Close();
  napi_delete_reference(subscription.env, subscription.handle);
}

// subscribe(protocol, group, receiveBuffer, callback) → handle
napi_value Subscribe(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int32_t protocol = 0, group = 0, receive_buffer = 0;
  napi_valuetype callback_type = napi_undefined;
  GetArguments(env, info, arguments);
  if (napi_get_value_int32(env, arguments[0], &protocol) != napi_ok ||
      napi_get_value_int32(env, arguments[1], &group) != napi_ok ||
      napi_get_value_int32(env, arguments[2], &receive_buffer) != napi_ok ||
      napi_typeof(env, arguments[3], &callback_type) != napi_ok || callback_type != napi_function) {
    return ThrowArgument(env);
  }
  const char* syscall = nullptr;
  const int fd = OpenSocket(protocol, &syscall);
  if (fd < 0) return Throw(env, errno, syscall);
  auto owned = std::make_unique<Subscription>(env, fd);
  if (!owned->wake.IsOpen()) return Throw(env, errno, "eventfd");
  if ((receive_buffer > 0 && !SetBuffer(fd, kReceiveBuffer, receive_buffer)) ||
      setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) {
    return Throw(env, errno, "setsockopt");
  }

  Subscription* subscription = owned.get();
  const napi_value handle = WrapNative(env, std::move(owned), kSubscriptionTag);
  if (handle == nullptr) return nullptr;
  napi_value name = nullptr;
  napi_create_string_utf8(env, "netlink.subscribe", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, arguments[3], nullptr, name, kMaxQueuedEvents, 1, nullptr, nullptr,
                                      nullptr, Deliver, &subscription->deliver) != napi_ok) {
    return Throw(env, ENOMEM, "napi_create_threadsafe_function");
  }
  const int error = pthread_create(&subscription->thread, nullptr, Listen, subscription);
  if (error != 0) {
    napi_release_threadsafe_function(subscription->deliver, napi_tsfn_abort);
    return Throw(env, error, "pthread_create");
  }
  // Hooks run last in, first out: the thread is gone before the thread-safe function's own hook frees it.
  napi_add_env_cleanup_hook(env, Stop, subscription);
  napi_create_reference(env, handle, 1, &subscription->handle);
  return handle;
}

napi_value Unsubscribe(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  GetArguments(env, info, arguments);
  Subscription* subscription = Unwrap<Subscription>(env, arguments[0], kSubscriptionTag);
  if (subscription == nullptr) return ThrowArgument(env);
  if (!subscription->fd.IsOpen()) return nullptr;
  napi_remove_env_cleanup_hook(env, Stop, subscription);
  Stop(subscription);
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  const auto method = [](const char* name, napi_callback call, const void* data = nullptr) {
    return napi_property_descriptor{name,    nullptr, call,           nullptr,
                                    nullptr, nullptr, napi_enumerable, const_cast<void*>(data)};
  };
  const napi_property_descriptor methods[] = {
      method("open", Open),
      method("sendBuffer", Buffer, &kSendBuffer),
      method("receiveBuffer", Buffer, &kReceiveBuffer),
      method("transact", Transact),
      method("close", Close),
      method("subscribe", Subscribe),
      method("unsubscribe", Unsubscribe),
  };
  napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods);
  return exports;
}
