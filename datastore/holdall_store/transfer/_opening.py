"""How a connection comes to be: an address, a proxy's tunnel, TLS; and how it ends."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from holdall_store.transfer._body import LengthError, TooLargeError, WriteError
from holdall_store.transfer._endpoint import Host
from holdall_store.transfer._http1 import HeadReader
from holdall_store.transfer._poll import READ, WRITE

if TYPE_CHECKING:
    from holdall_store.transfer._site import Address, Site

__all__ = ["BODY", "CLOSED", "HEAD", "IDLE", "PAUSED", "Broken", "Opening", "broken_by", "said_of"]

RESOLVING, CONNECTING, TUNNEL, HANDSHAKE, HEAD, BODY, PAUSED, IDLE, CLOSED = range(9)
"""The states of a connection, in which it waits for what they are named after."""


class Broken(Exception):
    """A connection is of no more use.

    ``unreachable`` says that it never was; ``length`` that the body had another length than it must have; ``final``
    that another try will be no better, because of ``cause`` where it is the file that fails.
    """

    def __init__(
        self,
        said: str,
        *,
        unreachable: bool = False,
        length: bool = False,
        final: bool = False,
        cause: OSError | None = None,
    ) -> None:
        super().__init__(said)
        self.cause = cause
        self.said = said
        self.unreachable = unreachable
        self.length = length
        self.final = final


class Owner(Protocol):
    """The loop of a connection."""

    site: Site
    buffer: bytearray

    def watch(self, connection: Any, mask: int) -> None:
        """Wait for something else."""
        ...

    def unwatch(self, connection: Any) -> None:
        """Wait for it no more."""
        ...

    def ready(self, connection: Any) -> None:
        """Use a connection that has opened."""
        ...

    def later(self, connection: Any, broken: Broken) -> None:
        """Take note of a failure while something else is going on."""
        ...


class Opening:
    """A connection before its first request: used by its loop's thread alone."""

    def __init__(self, loop: Owner, host: Host) -> None:
        self.host = host
        self.descriptor = -1
        self.address: Address | None = None
        self.state = RESOLVING
        self._loop = loop
        self._socket: Any = None
        self._mask = 0
        self._again: tuple[type[BaseException], ...] = (BlockingIOError,)
        self._tls = False
        self._reader: HeadReader | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return HEAD <= self.state < CLOSED

    def connect(self, address: Address | None) -> None:
        """Open it to an address of its host."""
        if self.state != RESOLVING:
            return
        try:
            self._begin(address)
        except Broken as broken:  # not at once: the loop is in the middle of sending more
            self._loop.later(self, broken)

    def _begin(self, address: Address | None) -> None:
        if address is None:
            raise Broken("its name is unknown", unreachable=True)
        self.address = address
        try:
            self._socket = socket.socket(address[0], socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._socket.connect_ex(address[1])
        except OSError as error:
            raise Broken(said_of(error), unreachable=True) from None
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise Broken(said_of(OSError(code, os.strerror(code))), unreachable=True)
        self.descriptor = self._socket.fileno()
        self.state = CONNECTING
        self._mask = READ | WRITE
        self._loop.watch(self, self._mask)

    def open(self) -> None:
        """Take the next step of opening."""
        if self.state == CONNECTING:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise Broken(said_of(OSError(code, os.strerror(code))), unreachable=True)
            self.state = HANDSHAKE
            if self.host.tunnel:
                self.state = TUNNEL
                self._socket.send(self.host.tunnel)
                self._watch(READ)
                return
            self._begin_tls()
        elif self.state == TUNNEL:
            count = self._socket.recv_into(self._loop.buffer)
            self._reader = self._reader or HeadReader()
            head, begin = self._reader.feed(self._loop.buffer, count) if count else (None, 0)
            if head is None:
                if not count:
                    raise Broken("the proxy closed the connection", unreachable=True)
                return
            if not 200 <= head.status < 300 or begin != count:
                raise Broken(f"the proxy answers {head.status}", unreachable=True)
            self._reader = None
            self.state = HANDSHAKE
            self._begin_tls()
        if self._tls and not self._shake_hands():
            return
        self.state = IDLE
        self._watch(READ)
        self._loop.ready(self)

    def _begin_tls(self) -> None:
        name = self.host.tls_name
        if not name:
            return
        import ssl

        context = self._loop.site.tls()
        self._again = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._socket = context.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
        self._tls = True

    def _shake_hands(self) -> bool:
        import ssl

        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(READ)
            return False
        except ssl.SSLWantWriteError:
            self._watch(WRITE)
            return False
        except ssl.SSLCertVerificationError as error:
            raise Broken(
                f"its certificate is not trusted ({error.verify_message}); AWS_CA_BUNDLE names a file of those that are",
                final=True,
            ) from None
        return True

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._loop.watch(self, mask)

    def close(self) -> None:
        """Close it. It does nothing any more, and writes nowhere."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._forget()
        if self._socket is not None:
            self._loop.unwatch(self)
            self._socket.close()

    def _forget(self) -> None:
        """Let go of all memory that is not the connection's own."""

    def abandon(self) -> None:
        """Close the descriptor alone, in a child process: what it is connected to is the parent's."""
        self.state = CLOSED
        if self._socket is not None:
            self._socket.close()


def said_of(error: OSError) -> str:
    """Return what an error of the network says, for people."""
    if error.errno == errno.ECONNREFUSED:
        return "nobody answers there"
    return error.strerror or type(error).__name__


def broken_by(error: Exception) -> Broken:
    """Return what an error of a connection, of a body or of what was received means for the request."""
    if isinstance(error, Broken):
        return error
    if isinstance(error, LengthError):
        return Broken(str(error), length=True)
    if isinstance(error, TooLargeError):
        return Broken(str(error), final=True)
    if isinstance(error, WriteError):
        return Broken(f"the file cannot be written ({error})", final=True, cause=error.error)
    if isinstance(error, OSError):
        return Broken(f"the connection broke ({said_of(error)})")
    return Broken(str(error))
