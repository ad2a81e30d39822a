// Open, transact, buffer sizes, close. One transaction at a time a socket, in a thread of libuv's pool.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "methods.h"
#include "node-values.h"

namespace {

constexpr napi_type_tag kSocketTag = {0x6b70726f78792d74, 0x732f736f636b6574};

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
  // How much of the request each datagram takes.
  std::vector<uint32_t> sizes;
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
  const uint8_t* datagram = transaction.request.get();
  for (const uint32_t size : transaction.sizes) {
    ssize_t sent;
    do {
      sent = send(fd, datagram, size, 0);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) fail(errno, "sendmsg");
    // The kernel has queued its replies before send returns, and continues a dump as it is read: EAGAIN is the end.
    while (sent >= 0) {
      const int error = Receive(fd, transaction.replies, transaction.reply_limit);
      if (error == EAGAIN) break;
      if (error != 0) fail(error, "recvmsg");
      // What was queued before the overrun still says which requests were refused.
      if (error != 0 && error != ENOBUFS) break;
    }
    if (transaction.error != 0) break;
    datagram += size;
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

}  // namespace

// open(protocol, fd?) → handle of a new socket, or of one that another process has opened so. The handle's collection closes it.
napi_value Open(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int32_t protocol = 0;
  int fd = -1;
  GetArguments(env, info, arguments);
  if (napi_get_value_int32(env, arguments[0], &protocol) != napi_ok) return ThrowArgument(env);
  const char* syscall = nullptr;
  if (!GetFd(env, arguments[1], fd)) fd = OpenSocket(protocol, &syscall);
  if (fd < 0) return Throw(env, errno, syscall);
  return WrapNative(env, std::make_unique<Socket>(fd), kSocketTag);
}

// descriptor(handle) → its number.
napi_value Descriptor(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  GetArguments(env, info, arguments);
  const Socket* socket = Unwrap<Socket>(env, arguments[0], kSocketTag);
  if (socket == nullptr) return ThrowArgument(env);
  if (!socket->fd.IsOpen() || socket->closing) return Throw(env, EBADF, "fcntl");
  return MakeInt32(env, socket->fd.Get());
}

// sendBuffer(handle, bytes), receiveBuffer(handle, bytes) → bytes in force; 0 asks without setting.
napi_value BufferSize(napi_env env, napi_callback_info info) {
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

// The sizes of the datagrams that a request of `size` bytes is sent as: one, unless `array` is a Uint32Array that adds up.
static bool GetSizes(napi_env env, napi_value array, size_t size, std::vector<uint32_t>& sizes) {
  napi_valuetype kind = napi_undefined;
  if (napi_typeof(env, array, &kind) != napi_ok) return false;
  if (kind == napi_undefined) {
    sizes.push_back(size);
    return true;
  }
  napi_typedarray_type type = napi_int8_array;
  size_t count = 0;
  void* numbers = nullptr;
  if (napi_get_typedarray_info(env, array, &type, &count, &numbers, nullptr, nullptr) != napi_ok ||
      type != napi_uint32_array) {
    return false;
  }
  for (size_t i = 0; i < count; i++) sizes.push_back(static_cast<const uint32_t*>(numbers)[i]);
  return std::accumulate(sizes.begin(), sizes.end(), size_t{0}) == size;
}

// transact(handle, request, replyLimit, sizes?) → promise of Uint8Array[]. One at a time: a second is EBUSY.
napi_value Transact(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
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
  std::vector<uint32_t> sizes;
  if (!GetSizes(env, arguments[3], size, sizes)) return ThrowArgument(env);
  if (!socket->fd.IsOpen() || socket->closing) return Throw(env, EBADF, "sendmsg");
  if (socket->busy) return Throw(env, EBUSY, "sendmsg");

  auto transaction = std::make_unique<Transaction>();
  transaction->socket = socket;
  transaction->sizes = std::move(sizes);
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
