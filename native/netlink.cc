// Netlink sockets for Node: open, transact, subscribe, close; what Node lacks of Unix, UDP and TCP sockets; and which of many can be
// read or written. The addon moves bytes and knows no protocol inside them; arguments and policy belong to its callers in src/daemon.

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
      method("openMarkedUdp", OpenMarkedUdp),
      method("openTcpListener", OpenTcpListener),
      method("listenTcp", ListenTcp),
      method("acceptTcp", AcceptTcp),
      method("connectTcp", ConnectTcp),
      method("socketError", SocketError),
      method("peerAddress", PeerAddress),
      method("receiveTcp", ReceiveTcp),
      method("sendTcp", SendTcp),
      method("shutdownWriting", ShutdownWriting),
      method("keepAlive", KeepAlive),
      method("closeTcp", CloseTcp),
      method("openReadiness", OpenReadiness),
      method("watchReadiness", WatchReadiness),
      method("unwatchReadiness", UnwatchReadiness),
      method("closeReadiness", CloseReadiness),
  };
  napi_define_properties(env, exports, sizeof methods / sizeof *methods, methods);
  return exports;
}
