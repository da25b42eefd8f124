"""The bare socket loop: what is left of a transfer when nothing but the bytes is done, one thread for each connection.

Neither signature, retry nor check: a limit, no client. ``MSG_WAITALL`` keeps a thread in the kernel until its buffer is
full; of the loops tried (with and without it, and one or two threads with epoll) it moved the most.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

__all__ = ["Piece", "discard", "into_file", "into_memory", "receive", "send"]

BUFFER_BYTES: Final = 1 << 20
"""Fits a second-level cache: a discarded body costs no memory bandwidth but the kernel's own copy."""

HEAD_BYTES_MAX: Final = 1 << 16

_Item = TypeVar("_Item")
_State = TypeVar("_State")


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole object, or `length` bytes of it from `first` on."""

    path: str
    length: int
    first: int | None = None


Sink = Callable[[socket.socket, Piece, memoryview], None]
"""Takes a body off a socket; the first bytes came with the head."""


def receive(endpoint: str, pieces: Sequence[Piece], connections: int, make_sink: Callable[[], Sink]) -> None:
    """Fetch all pieces over so many connections."""
    host = urlsplit(endpoint).netloc

    def fetch(connection: socket.socket, piece: Piece, sink: Sink) -> None:
        wanted = "" if piece.first is None else f"Range: bytes={piece.first}-{piece.first + piece.length - 1}\r\n"
        connection.sendall(f"GET {piece.path} HTTP/1.1\r\nHost: {host}\r\n{wanted}\r\n".encode())
        status, length, body = _read_head(connection)
        if status not in (200, 206) or length != piece.length:
            raise RuntimeError(f"{piece.path}: {status}, {length} bytes where {piece.length} were due")
        sink(connection, piece, body)

    _work(endpoint, pieces, connections, fetch, make_sink)


def send(endpoint: str, paths: Sequence[str], body: bytes, connections: int) -> None:
    """Put the same body to all paths over so many connections."""
    host = urlsplit(endpoint).netloc

    def put(connection: socket.socket, path: str, _nothing: None) -> None:
        head = f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        if len(body) <= HEAD_BYTES_MAX:
            connection.sendall(head + body)  # one packet more would cost more than the copy
        else:
            connection.sendall(head)
            connection.sendall(body)
        status, _length, _body = _read_head(connection)
        if status != 200:
            raise RuntimeError(f"PUT {path}: {status}")

    _work(endpoint, paths, connections, put, lambda: None)


def discard() -> Sink:
    """Return a sink that receives into the same buffer again and again."""
    buffer = memoryview(bytearray(BUFFER_BYTES))

    def sink(connection: socket.socket, piece: Piece, body: memoryview) -> None:
        left = piece.length - len(body)
        while left:
            left -= _receive(connection, buffer[: min(left, BUFFER_BYTES)])

    return sink


def into_memory(kept: list[memoryview], *, whole: memoryview | None = None) -> Callable[[], Sink]:
    """Return a maker of sinks that keep each body in fresh memory, or at its place in `whole`."""
    import numpy as np

    def sink(connection: socket.socket, piece: Piece, body: memoryview) -> None:
        if whole is None:
            target = np.empty(piece.length, dtype=np.uint8).data  # not zeroed, and in huge pages where it is large
            kept.append(target)
        else:
            target = whole[piece.first or 0 : (piece.first or 0) + piece.length]
        target[: len(body)] = body
        at = len(body)
        while at < piece.length:
            at += _receive(connection, target[at:])

    return lambda: sink


def into_file(descriptor: int) -> Callable[[], Sink]:
    """Return a maker of sinks that write each piece to its place in a file."""

    def make() -> Sink:
        buffer = memoryview(bytearray(BUFFER_BYTES))

        def sink(connection: socket.socket, piece: Piece, body: memoryview) -> None:
            at = piece.first or 0
            end = at + piece.length
            at += os.pwrite(descriptor, body, at)
            while at < end:
                count = _receive(connection, buffer[: min(end - at, BUFFER_BYTES)])
                at += os.pwrite(descriptor, buffer[:count], at)

        return sink

    return make


def _receive(connection: socket.socket, target: memoryview) -> int:
    count = connection.recv_into(target, 0, socket.MSG_WAITALL)
    if not count:
        raise ConnectionError("the server closed the connection within a body")
    return count


def _read_head(connection: socket.socket) -> tuple[int, int, memoryview]:
    """Return the status, the length of the body, and what of the body came already."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(HEAD_BYTES_MAX)
        if not more:
            raise ConnectionError("the server closed the connection before its answer")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    return int(lines[0].split()[1]), length, memoryview(body)


def _work(
    endpoint: str,
    items: Sequence[_Item],
    connections: int,
    do: Callable[[socket.socket, _Item, _State], None],
    make_state: Callable[[], _State],
) -> None:
    """Do all items, one thread for each connection; the first error is raised."""
    parts = urlsplit(endpoint)
    left = deque(items)
    errors: list[Exception] = []

    def run() -> None:
        state = make_state()
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not errors:
                try:
                    item = left.popleft()
                except IndexError:
                    return
                try:
                    do(connection, item, state)
                except Exception as error:  # noqa: BLE001 - raised in the caller's thread
                    errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(min(connections, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
