// Which of many descriptors can be read or written: an epoll that Node's event loop watches. One call into JavaScript for all that
// is ready. Authority: epoll(7), https://docs.libuv.org/en/v1.x/poll.html.

#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <vector>

#include "methods.h"
#include "node-values.h"

namespace {

constexpr napi_type_tag kReadinessTag = {0x6b70726f78792d74, 0x732f726561646961};
// What is told of one descriptor: its id, and what it is ready for.
constexpr size_t kFields = 2;
constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
// Ids are whole numbers that JavaScript tells apart.
constexpr int64_t kMaxId = (int64_t{1} << 53) - 1;

// Lives until closeReadiness or the end of its environment: `handle` is a strong reference. It keeps no process alive.
struct Readiness {
  Readiness(napi_env owner, int epoll, size_t capacity) : env(owner), fd(epoll), batch(capacity) {}
  napi_env env;
  Fd fd;
  std::vector<epoll_event> batch;
  uv_poll_t poll{};
  bool is_watched = false;
  napi_ref handle = nullptr;
  napi_ref told = nullptr;
  napi_ref callback = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
};

// The numbers that `told` has room for; they may be gone, should somebody have taken its memory away.
bool GetDoubles(napi_env env, napi_value value, double*& numbers, size_t& count) {
  napi_typedarray_type type = napi_int8_array;
  void* start = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &count, &start, nullptr, nullptr) != napi_ok) return false;
  numbers = static_cast<double*>(start);
  return type == napi_float64_array;
}

// Tells JavaScript of `count` that are ready. Microtasks and ticks that it queues run before this returns.
void Tell(napi_env env, const Readiness& readiness, int count) {
  napi_value global = nullptr, callback = nullptr, told = nullptr, number = nullptr;
  double* numbers = nullptr;
  size_t room = 0;
  napi_get_global(env, &global);
  napi_get_reference_value(env, readiness.callback, &callback);
  napi_get_reference_value(env, readiness.told, &told);
  if (!GetDoubles(env, told, numbers, room)) return;
  count = std::min(count, static_cast<int>(room / kFields));
  for (int i = 0; i < count; i++) {
    numbers[kFields * i] = static_cast<double>(readiness.batch[i].data.u64);
    numbers[kFields * i + 1] = readiness.batch[i].events;
  }
  napi_create_int32(env, count, &number);
  if (napi_make_callback(env, nullptr, global, callback, 1, &number, nullptr) != napi_pending_exception) return;
  napi_value exception = nullptr;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

// What does not fit a batch comes with the next turn of the loop, to which the epoll is readable still.
void Deliver(uv_poll_t* poll, int, int) {
  Readiness& readiness = *static_cast<Readiness*>(poll->data);
  const int count = epoll_wait(readiness.fd.Get(), readiness.batch.data(), static_cast<int>(readiness.batch.size()), 0);
  if (count <= 0) return;
  const napi_env env = readiness.env;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  Tell(env, readiness, count);
  napi_close_handle_scope(env, scope);
}

// The loop has let go of it. The environment waits for that, and may be gone as soon as its hook is.
void Closed(uv_handle_t* poll) {
  Readiness& readiness = *static_cast<Readiness*>(poll->data);
  readiness.fd.Close();
  for (const napi_ref reference : {readiness.told, readiness.callback, readiness.handle}) {
    napi_delete_reference(readiness.env, reference);
  }
  napi_remove_async_cleanup_hook(readiness.hook);
}

void Close(Readiness& readiness) {
  if (!readiness.is_watched) return;
  readiness.is_watched = false;
  uv_close(reinterpret_cast<uv_handle_t*>(&readiness.poll), Closed);
}

void CloseAtEnd(napi_async_cleanup_hook_handle, void* data) { Close(*static_cast<Readiness*>(data)); }

Readiness* UnwrapOpen(napi_env env, napi_value handle) {
  Readiness* readiness = Unwrap<Readiness>(env, handle, kReadinessTag);
  return readiness != nullptr && readiness->is_watched ? readiness : nullptr;
}

}  // namespace

// openReadiness(told, callback) → handle
napi_value OpenReadiness(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  napi_valuetype callback_type = napi_undefined;
  double* numbers = nullptr;
  size_t room = 0;
  GetArguments(env, info, arguments);
  if (!GetDoubles(env, arguments[0], numbers, room) || room < kFields || room % kFields != 0 ||
      napi_typeof(env, arguments[1], &callback_type) != napi_ok || callback_type != napi_function) {
    return ThrowArgument(env);
  }
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return Throw(env, ENOSYS, "napi_get_uv_event_loop");
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return Throw(env, errno, "epoll_create1");
  auto owned = std::make_unique<Readiness>(env, epoll, room / kFields);
  Readiness* readiness = owned.get();
  const napi_value handle = WrapNative(env, std::move(owned), kReadinessTag);
  if (handle == nullptr) return nullptr;
  // From here on the loop may hold it, and only `Closed` lets it go.
  int error = uv_poll_init(loop, &readiness->poll, epoll);
  if (error < 0) return Throw(env, -error, "uv_poll_init");
  readiness->is_watched = true;
  readiness->poll.data = readiness;
  napi_create_reference(env, handle, 1, &readiness->handle);
  napi_create_reference(env, arguments[0], 1, &readiness->told);
  napi_create_reference(env, arguments[1], 1, &readiness->callback);
  napi_add_async_cleanup_hook(env, CloseAtEnd, readiness, &readiness->hook);
  uv_unref(reinterpret_cast<uv_handle_t*>(&readiness->poll));
  error = uv_poll_start(&readiness->poll, UV_READABLE, Deliver);
  if (error == 0) return handle;
  Close(*readiness);
  return Throw(env, -error, "uv_poll_start");
}

// watchReadiness(handle, fd, id) → 0 or an errno.
napi_value WatchReadiness(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int fd = -1;
  int64_t id = -1;
  GetArguments(env, info, arguments);
  const Readiness* readiness = UnwrapOpen(env, arguments[0]);
  if (readiness == nullptr || !GetFd(env, arguments[1], fd) ||
      napi_get_value_int64(env, arguments[2], &id) != napi_ok || id < 0 || id > kMaxId) {
    return ThrowArgument(env);
  }
  epoll_event event{};
  event.events = kEvents;
  event.data.u64 = static_cast<uint64_t>(id);
  return MakeInt32(env, epoll_ctl(readiness->fd.Get(), EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0);
}

// unwatchReadiness(handle, fd) → 0 or an errno.
napi_value UnwatchReadiness(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int fd = -1;
  GetArguments(env, info, arguments);
  const Readiness* readiness = UnwrapOpen(env, arguments[0]);
  if (readiness == nullptr || !GetFd(env, arguments[1], fd)) return ThrowArgument(env);
  return MakeInt32(env, epoll_ctl(readiness->fd.Get(), EPOLL_CTL_DEL, fd, nullptr) < 0 ? errno : 0);
}

napi_value CloseReadiness(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  GetArguments(env, info, arguments);
  Readiness* readiness = Unwrap<Readiness>(env, arguments[0], kReadinessTag);
  if (readiness == nullptr) return ThrowArgument(env);
  Close(*readiness);
  return nullptr;
}
