"""The floor: what it costs to move the bytes and do nothing else.

Each connection is relayed to the null store's raw port, first all that comes from the client, then
all that comes from the store: one `recv` and one `send` for up to 256 KiB, in blocking sockets. It
must not know what it carries.
"""

import socket
import sys
import threading

__all__: list[str] = []

_BUFFER_BYTES = 256 * 1024
_THREADS = 8


def _relay(listener: socket.socket, store_port: int) -> None:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    while True:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", store_port)) as store:
            _pump(client, store, buffer)
            store.shutdown(socket.SHUT_WR)
            _pump(store, client, buffer)


def _pump(source: socket.socket, target: socket.socket, buffer: memoryview) -> None:
    while count := source.recv_into(buffer):
        target.sendall(buffer[:count])


def _main(store_port: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    for _ in range(_THREADS):
        threading.Thread(target=_relay, args=(listener, store_port), daemon=True).start()
    print("ready", listener.getsockname()[1], flush=True)
    sys.stdin.read()  # its end is the sign to stop


if __name__ == "__main__":
    _main(int(sys.argv[1]))
