"""A proxy before an S3 server, at which goes wrong what can go wrong on the way; `_flaky_faults` has what that is."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, Self

__all__ = ["Answer", "ConnectionEnds", "Exchange", "Fault", "FlakyProxy", "Schedule", "Turn"]

HEAD_BYTES_MAX: Final = 1 << 16
"""More than any request here has; a client that sends garbage is cut off."""

_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""With this a socket that is closed sends a reset, and forgets what it was sending."""


class ConnectionEnds(Exception):
    """The connection to the client is over."""


@dataclass(frozen=True)
class Exchange:
    """A request that arrived: its number, in order of arrival, and how often the same one came before."""

    number: int
    attempt: int
    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body_bytes: int

    @property
    def name(self) -> str:
        """What makes a request the same when it comes again."""
        return f"{self.method} {self.target} {self.headers.get('range', '')}"


class Fault(Protocol):
    """What goes wrong with one exchange."""

    def strike(self, turn: Turn) -> None:
        """Handle the exchange; `ConnectionEnds` ends its connection."""


Schedule = Callable[[Exchange], Fault | None]


class Turn:
    """One exchange, and what can be done with it."""

    def __init__(self, proxy: FlakyProxy, client: socket.socket, exchange: Exchange, body: bytes) -> None:
        self.proxy = proxy
        self.client = client
        self.exchange = exchange
        self.body = body

    def forward(self, body: bytes | None = None) -> Answer:
        """Let the server have the request, and return its answer, whole."""
        connection = http.client.HTTPConnection(*self.proxy.upstream)
        try:
            connection.putrequest(self.exchange.method, self.exchange.target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.exchange.headers.items():
                if name not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(self.body if body is None else body)
            got = connection.getresponse()
            return Answer(got.status, got.reason, got.getheaders(), got.read(), got.getheader("Content-Length"))
        finally:
            connection.close()

    def read_body(self) -> None:
        """Wait for all of the request."""
        missing = self.exchange.body_bytes - len(self.body)
        parts = [self.body]
        while missing > 0:
            parts.append(self.receive(min(missing, 1 << 20)))
            missing -= len(parts[-1])
        self.body = b"".join(parts)

    def receive(self, size: int) -> bytes:
        """Return some bytes from the client."""
        data = self.client.recv(size)
        if not data:
            raise ConnectionEnds
        return data

    def send(self, answer: Answer) -> None:
        """Give the client an answer as it should be."""
        self.client.sendall(answer.head() + self.shown(answer))

    def shown(self, answer: Answer) -> bytes:
        """Return as much of the body as the client is to see: none of it for HEAD."""
        return b"" if self.exchange.method == "HEAD" else answer.body

    def hold(self) -> None:
        """Say nothing more until the client has enough, or the proxy is closed."""
        with contextlib.suppress(OSError):
            while self.client.recv(1 << 16):
                continue
        raise ConnectionEnds

    def reset(self) -> None:
        """End the connection with a reset."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        raise ConnectionEnds


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    length: str | None = None

    def head(self, promised: int | None = None) -> bytes:
        """Return the head; `promised` is the length to tell, if not the right one."""
        length = promised if promised is not None else int(self.length or len(self.body))
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [
            f"{name}: {value}"
            for name, value in self.headers
            if name.lower() not in ("content-length", "transfer-encoding", "connection")
        ]
        if self.status != 204:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class FlakyProxy:
    """Stands before the server at `upstream`, and does to each exchange what the schedule says.

    A schedule is asked once for each request, with its number and with how often it came before, so that faults do not
    depend on time.
    """

    def __init__(self, upstream: str, schedule: Schedule = lambda exchange: None) -> None:
        host, _, port = upstream.removeprefix("http://").rstrip("/").partition(":")
        self.upstream = (host, int(port))
        self.schedule = schedule
        self.log: list[Exchange] = []
        self.struck: list[tuple[Exchange, Fault]] = []
        self.connections = 0
        self.refusals = 0
        self._seen: Counter[str] = Counter()
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._pause = 0.0
        self._port = 0
        # It holds the port while nobody listens, so that connections are refused there and nobody else gets it.
        self._holder = self._bind()
        self._port = self._holder.getsockname()[1]
        self._listener = self._listen()
        self._accepting = threading.Thread(target=self._accept, name="flaky-proxy", daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        """The endpoint for clients."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        with self._changed:
            return len(self._clients)

    def reset(self, schedule: Schedule = lambda exchange: None) -> None:
        """Forget what came, and go on with another schedule."""
        with self._changed:
            self.schedule = schedule
            self.log, self.struck = [], []
            self._seen.clear()

    def wait_until_left(self, seconds: float = 10) -> bool:
        """Return whether all clients went away within some time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._clients, seconds)

    def refuse(self, seconds: float) -> None:
        """Let nobody in for some time."""
        with self._changed:
            self._pause = seconds
            self.refusals += 1
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut all connections and stop."""
        self._closed.set()
        self.refuse(0)
        self._accepting.join()
        with self._changed:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bind(self) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", self._port))
        return made

    def _listen(self) -> socket.socket:
        listener = self._bind()
        listener.listen(256)
        return listener

    def _accept(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = self._listener.accept()
                    self._welcome(client)
            self._listener.close()
            self._closed.wait(self._pause)
            with self._changed:
                self._listener = self._listen()
        self._listener.close()

    def _welcome(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._serve, args=(client,), name="flaky-proxy", daemon=True)
        with self._changed:
            self._clients.add(client)
            self.connections += 1
            self._threads = [one for one in self._threads if one.is_alive() or one.ident is None]
            self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, ConnectionEnds, http.client.HTTPException):
                for turn in self._turns(client):
                    with self._changed:
                        fault = self.schedule(turn.exchange)
                        if fault is not None:
                            self.struck.append((turn.exchange, fault))
                    if fault is not None:
                        fault.strike(turn)
                    else:
                        turn.read_body()
                        turn.send(turn.forward())
        finally:
            with self._changed:
                self._clients.discard(client)
                self._changed.notify_all()
            client.close()

    def _turns(self, client: socket.socket) -> Iterator[Turn]:
        """Yield what the client asks, one after the other."""
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest and len(rest) < HEAD_BYTES_MAX:
                data = client.recv(1 << 16)
                if not data:
                    return
                rest += data
            head, _, rest = rest.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(headers.get("content-length", "0"))
            if headers.get("expect", "").lower() == "100-continue":
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            with self._changed:
                exchange = Exchange(len(self.log), 0, method, target, headers, size)
                exchange = replace(exchange, attempt=self._seen[exchange.name])
                self._seen[exchange.name] += 1
                self.log.append(exchange)
            body, rest = rest[:size], rest[size:]
            yield Turn(self, client, exchange, body)
