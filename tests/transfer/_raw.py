"""A server that sends what it is told, byte by byte if need be, and executors that reach servers here."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, Self

from holdall_store.config import CloudEnvironment, NetworkEnvironment
from holdall_store.storage.buckets import make_config
from holdall_store.transfer._exchange import Request, Response
from holdall_store.transfer.executor import HttpExecutor

Script = Callable[[socket.socket, bytes, int], bool]
"""Gets a connection, the head of a request and how many requests came before; returns whether to go on with it."""

OPTIONS = {"key": "AKID", "secret": "a-secret-key", "region": "us-east-1"}


def make_executor(url: str, **options: Any) -> HttpExecutor:
    """Return an executor of the server at `url`, which looks at no environment."""
    storage = options.pop("storage_options", OPTIONS)
    network = options.pop("network", NetworkEnvironment())
    config = make_config("s3://bucket", {"endpoint_url": url, **storage}, CloudEnvironment())
    return HttpExecutor(config, network=network, **options)


def get(key: str, **options: Any) -> Generator[Sequence[Request], Sequence[Response], bytes]:
    """Read one object."""
    (response,) = yield [Request("GET", "bucket", key, **options)]
    return bytes(response.body)


def answer(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    """Return a whole answer."""
    extra = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


class RawServer:
    """Accepts connections, reads requests without bodies, and lets `script` answer each."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.heads: list[bytes] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                connection.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with contextlib.suppress(OSError):  # the client may go away, which is what some tests are about
                while head := _read_head(connection):
                    with self._lock:
                        number = len(self.heads)
                        self.heads.append(head)
                    if not self.script(connection, head, number):
                        break
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return b""
        head += piece
    return head


def reset(connection: socket.socket) -> None:
    """Make the end of a connection a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def key_of(head: bytes) -> str:
    """Return the key that a request asks for."""
    return head.split(b" ")[1].decode().partition("?")[0].removeprefix("/bucket/")
