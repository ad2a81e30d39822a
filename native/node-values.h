// Node's side of the addon: errors, results and native objects behind handles, by the C interface of Node-API.

#pragma once

#include <node_api.h>

#include <cerrno>
#include <cstddef>
#include <memory>

#include "kernel.h"

// An Error with `errno` and `syscall`.
napi_value MakeError(napi_env env, int error, const char* syscall);
// Throws it, and returns what a callback that throws returns.
napi_value Throw(napi_env env, int error, const char* syscall);
napi_value ThrowArgument(napi_env env);

// Numbers and bytes of arguments; false for what is neither.
bool GetFd(napi_env env, napi_value value, int& fd);
bool GetBytes(napi_env env, napi_value value, uint8_t*& bytes, size_t& size);
napi_value MakeInt32(napi_env env, int value);

// One Uint8Array per datagram, all of them views of one ArrayBuffer. nullptr when V8 has no memory left or is stopping.
napi_value TakeDatagrams(napi_env env, Inbox& inbox);

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
