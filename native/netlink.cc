// Netlink sockets for Node: open, transact, subscribe, close; and what Node lacks of Unix sockets. The addon moves
// datagrams and knows no protocol inside them; arguments and policy belong to its callers in src/daemon.

#include "kernel.h"
#include "methods.h"

NAPI_MODULE_INIT() {
  const auto method = [](const char* name, napi_callback call, const void* data = nullptr) {
    return napi_property_descriptor{name,    nullptr, call,           nullptr,
                                    nullptr, nullptr, napi_enumerable, const_cast<void*>(data)};
  };
  const napi_property_descriptor methods[] = {
      method("open", Open),
      method("descriptor", Descriptor),
      method("sendBuffer", BufferSize, &kSendBuffer),
      method("receiveBuffer", BufferSize, &kReceiveBuffer),
      method("transact", Transact),
      method("close", Close),
      method("subscribe", Subscribe),
      method("unsubscribe", Unsubscribe),
      method("sendDatagram", SendDatagram),
      method("listenerPid", ListenerPid),
      method("connectUnix", ConnectUnix),
      method("peerPid", PeerPid),
      method("sendDescriptors", SendDescriptors),
      method("receiveDescriptors", ReceiveDescriptors),
      method("duplicate", Duplicate),
      method("memoryFile", MemoryFile),
      method("openMarked", OpenMarked),
      method("originalDestination", OriginalDestination),
      method("sendNow", SendNow),
      method("isBroken", IsBroken),
  };
  napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods);
  return exports;
}
