// Notifications of a multicast group, received in a thread of their own.

#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "methods.h"
#include "node-values.h"

namespace {

constexpr napi_type_tag kSubscriptionTag = {0x6b70726f78792d74, 0x732f6c697374656e};
// Events waiting for the JS thread; behind them the kernel's own queue fills, and says ENOBUFS when it is full.
constexpr size_t kMaxQueuedEvents = 1024;

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

}  // namespace

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
