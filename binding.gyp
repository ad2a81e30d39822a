{
  "targets": [
    {
      "target_name": "netlink",
      "sources": [
        "native/kernel.cc",
        "native/netlink.cc",
        "native/node-values.cc",
        "native/readiness.cc",
        "native/subscription.cc",
        "native/tcp-listener.cc",
        "native/tcp-socket.cc",
        "native/transport.cc",
        "native/udp-socket.cc",
        "native/unix-socket.cc"
      ],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fexceptions"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"]
    }
  ]
}
