#include "node-values.h"

#include <cstdlib>
#include <cstring>

namespace {

// Below this, copying into memory of V8 is cheaper than handing memory over and being called back to free it.
constexpr size_t kCopyBelow = 16 * 1024;

}  // namespace

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

bool GetFd(napi_env env, napi_value value, int& fd) { return napi_get_value_int32(env, value, &fd) == napi_ok; }

bool GetBytes(napi_env env, napi_value value, uint8_t*& bytes, size_t& size) {
  napi_typedarray_type type = napi_int8_array;
  void* start = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &size, &start, nullptr, nullptr) != napi_ok) return false;
  bytes = static_cast<uint8_t*>(start);
  return type == napi_uint8_array;
}

napi_value MakeInt32(napi_env env, int value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

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
