"""SCTP for the traffic agent: Node has no such sockets. JSON lines as in agent.mjs; see agent-sctp.mjs.

Sockets are bound to one address each: one that is not offers all addresses of its host to the peer (RFC 9260, 3.3.2.1),
which then goes around whoever translates the one that it dialled.
"""

import errno
import json
import os
import select
import socket
import struct
import sys
import threading

SCTP = 132
# linux/in.h and in6.h: an ICMP error ends the wait for an answer.
RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
BACKLOG = 1024

# The thread of each, and what wakes it to end.
servers = {}
lock = threading.Lock()


def new_socket(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM, SCTP)


def source_towards(host, port):
    """The address that the kernel would choose."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return probe.getsockname()[0]


def probe(host, port, timeoutMs=2000, localAddress=None, **_):
    try:
        with new_socket(host) as client:
            client.setsockopt(*RECVERR[client.family], 1)
            # Closing aborts, so that no association outlives its request.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.bind((localAddress or source_towards(host, port), 0))
            client.setblocking(False)
            try:
                client.connect((host, port))
            except BlockingIOError:
                pass
            wait(client, select.POLLOUT, timeoutMs)
            error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error != 0:
                raise OSError(error, os.strerror(error))
            client.send(b"?\n")
            wait(client, select.POLLIN, timeoutMs)
            answer = client.recv(4096)
            if not answer:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            return {"reply": json.loads(answer)}
    except TimeoutError:
        return {"code": "ETIMEDOUT"}
    except OSError as error:
        return {"code": errno_name(error)}


def wait(one, events, timeout_ms):
    poll = select.poll()
    poll.register(one, events)
    if not poll.poll(timeout_ms):
        raise TimeoutError


def errno_name(error):
    return errno.errorcode.get(error.errno, str(error))


def serve(id, port, name, address):
    server = new_socket(address)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(BACKLOG)
    server.setblocking(False)
    end, wake = os.pipe()
    thread = threading.Thread(target=accept, args=(server, name, end), daemon=True)
    servers[id] = (thread, wake)
    thread.start()
    return {}


def accept(server, name, end):
    """A socket of SCTP that listens cannot be shut down: `end` is watched beside it."""
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.register(end, select.POLLHUP)
    with server:
        while all(fd != end for fd, _ in poll.poll()):
            try:
                connection, peer = server.accept()
            except OSError:
                continue
            connection.setblocking(True)
            threading.Thread(target=answer, args=(connection, name, peer), daemon=True).start()
    os.close(end)


def answer(connection, name, peer):
    line = json.dumps({"server": name, "peer": peer[0], "peerPort": peer[1]}) + "\n"
    try:
        with connection:
            while connection.recv(4096):
                connection.send(line.encode())
    except OSError:
        pass


def unserve(handle):
    thread, wake = servers.pop(handle)
    os.close(wake)
    thread.join()
    return {}


def perform(id, op, parameters):
    try:
        if op == "probe":
            result = probe(**parameters)
        elif op == "serve":
            result = serve(id, **parameters)
        else:
            result = unserve(**parameters)
        message = {"id": id, "result": result}
    except Exception as error:
        message = {"id": id, "error": str(error)}
    with lock:
        print(json.dumps(message), flush=True)


for line in sys.stdin:
    request = json.loads(line)
    id, op = request.pop("id"), request.pop("op")
    threading.Thread(target=perform, args=(id, op, request), daemon=True).start()
