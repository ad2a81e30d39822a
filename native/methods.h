// What the addon exports; load.d.cts says what each takes and gives.

#pragma once

#include <node_api.h>

napi_value Open(napi_env env, napi_callback_info info);
napi_value Descriptor(napi_env env, napi_callback_info info);
napi_value BufferSize(napi_env env, napi_callback_info info);
napi_value Transact(napi_env env, napi_callback_info info);
napi_value Close(napi_env env, napi_callback_info info);
napi_value Subscribe(napi_env env, napi_callback_info info);
napi_value Unsubscribe(napi_env env, napi_callback_info info);
napi_value SendDatagram(napi_env env, napi_callback_info info);
napi_value ListenerPid(napi_env env, napi_callback_info info);
napi_value ConnectUnix(napi_env env, napi_callback_info info);
napi_value PeerPid(napi_env env, napi_callback_info info);
napi_value SendDescriptors(napi_env env, napi_callback_info info);
napi_value ReceiveDescriptors(napi_env env, napi_callback_info info);
napi_value Duplicate(napi_env env, napi_callback_info info);
napi_value MemoryFile(napi_env env, napi_callback_info info);
napi_value OpenMarkedUdp(napi_env env, napi_callback_info info);
napi_value OpenTcpListener(napi_env env, napi_callback_info info);
napi_value ListenTcp(napi_env env, napi_callback_info info);
napi_value AcceptTcp(napi_env env, napi_callback_info info);
napi_value ConnectTcp(napi_env env, napi_callback_info info);
napi_value SocketError(napi_env env, napi_callback_info info);
napi_value PeerAddress(napi_env env, napi_callback_info info);
napi_value ReceiveTcp(napi_env env, napi_callback_info info);
napi_value SendTcp(napi_env env, napi_callback_info info);
napi_value ShutdownWriting(napi_env env, napi_callback_info info);
napi_value KeepAlive(napi_env env, napi_callback_info info);
napi_value CloseTcp(napi_env env, napi_callback_info info);
napi_value OpenReadiness(napi_env env, napi_callback_info info);
napi_value WatchReadiness(napi_env env, napi_callback_info info);
napi_value UnwatchReadiness(napi_env env, napi_callback_info info);
napi_value CloseReadiness(napi_env env, napi_callback_info info);
