"""One connection: it is opened, sends a request, receives the answer, and again."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from holdall_store.transfer._body import (
    Body,
    ErrorBody,
    FileBody,
    GrowingBody,
    LengthError,
    MemoryBody,
    TooLargeError,
    WriteError,
)
from holdall_store.transfer._endpoint import Host
from holdall_store.transfer._exchange import FileTarget, Response
from holdall_store.transfer._http1 import CHUNKED, ChunkedReader, Head, HeadReader, ProtocolError, body_length
from holdall_store.transfer._poll import READ, WRITE
from holdall_store.transfer._run import Trial

if TYPE_CHECKING:
    from holdall_store.transfer._loop import Loop
    from holdall_store.transfer._site import Address

__all__ = ["Broken", "Connection"]

PIECES_MAX: Final = 64
"""Buffers in one call; systems take 1024 at most."""

SEND_BYTES: Final = 1 << 20
"""Handed over in one call, so that one upload does not keep the loop from the others."""

ERROR_BODY_READ_MAX: Final = 1 << 20
"""A longer error is not read to its end to save a connection."""

_RESOLVING, _CONNECTING, _TUNNEL, _HANDSHAKE, _HEAD, _BODY, _PAUSED, _IDLE, _CLOSED = range(9)

Buffers = list[memoryview]


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


class Connection:
    """A connection of one loop, used by no other thread.

    It tells its loop by ``ready``, ``answered`` and ``broken`` what became of it.
    """

    def __init__(self, loop: Loop, host: Host) -> None:
        self.host = host
        self.trial: Trial | None = None
        self.shadow = False
        """Whether it serves a hedge, and so must not write to the request's target."""
        self.stamp = 0.0
        """When it last made progress."""
        self.begun = 0.0
        self.uses = 0
        self.heard = False
        """Whether any of the answer has come."""
        self.descriptor = -1
        self.address: Address | None = None
        self._loop = loop
        self._socket: Any = None
        self._state = _RESOLVING
        self._mask = 0
        self._out: Buffers = []
        self._reader = HeadReader()
        self._head: Head | None = None
        self._body: Body | None = None
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._rest = b""
        self._again: tuple[type[BaseException], ...] = (BlockingIOError,)
        self._tls = False

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._state >= _HEAD and self._state != _CLOSED

    @property
    def is_paused(self) -> bool:
        """Whether it waits for room in memory."""
        return self._state == _PAUSED

    @property
    def is_sending(self) -> bool:
        """Whether some of the request is still to be sent."""
        return bool(self._out)

    # -- opening

    def connect(self, address: Address | None) -> None:
        """Open it to an address of its host."""
        if self._state != _RESOLVING:
            return
        if address is None:
            self._fail(Broken("its name is unknown", unreachable=True))
            return
        self.address = address
        try:
            self._socket = socket.socket(address[0], socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._socket.connect_ex(address[1])
        except OSError as error:
            self._fail(Broken(_said(error), unreachable=True))
            return
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._fail(Broken(errno.errorcode.get(code, "no connection"), unreachable=True))
            return
        self.descriptor = self._socket.fileno()
        self._state = _CONNECTING
        self._mask = READ | WRITE
        self._loop.watch(self, self._mask)

    def _open(self) -> None:
        """Take the next step of opening."""
        if self._state == _CONNECTING:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise Broken(_said(OSError(code, errno.errorcode.get(code, ""))), unreachable=True)
            self._state = _HANDSHAKE
            if self.host.tunnel:
                self._state = _TUNNEL
                self._socket.send(self.host.tunnel)
                self._watch(READ)
                return
            self._begin_tls()
        elif self._state == _TUNNEL:
            count = self._socket.recv_into(self._loop.buffer)
            head, begin = self._reader.feed(self._loop.buffer, count) if count else (None, 0)
            if head is None:
                if not count:
                    raise Broken("the proxy closed the connection", unreachable=True)
                return
            if not 200 <= head.status < 300 or begin != count:
                raise Broken(f"the proxy answers {head.status}", unreachable=True)
            self._state = _HANDSHAKE
            self._begin_tls()
        if self._tls and not self._shake_hands():
            return
        self._state = _IDLE
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

    # -- sending

    def send(self, trial: Trial, head: bytes, *, shadow: bool) -> None:
        """Send a request over an open connection."""
        self.trial = trial
        self.shadow = shadow
        self.begun = self.stamp = self._loop.now
        self.uses += 1
        self.heard = False
        self._state = _HEAD
        body = trial.request.body
        try:
            if not body:
                count = self._socket.send(head)
                if count == len(head):
                    return
                self._out = [memoryview(head)[count:]]
            else:
                self._out = [memoryview(head)]
                self._out.extend(memoryview(part).cast("B") for part in body if len(part))
                self._send()
        except self._again:
            self._out = self._out or [memoryview(head)]
        except (Broken, ProtocolError, OSError) as error:
            self._loop.later(self, _broken(error))
            return
        if self._out:
            self._watch(READ | WRITE)

    def _send(self) -> None:
        out = self._out
        room = SEND_BYTES
        while out and room > 0:
            try:
                if self._tls:
                    count = self._socket.send(out[0])
                elif len(out) == 1:
                    count = self._socket.send(out[0][:SEND_BYTES])
                else:
                    count = self._socket.sendmsg(out[:PIECES_MAX])
            except self._again:
                break
            self.stamp = self._loop.now
            self._loop.bytes_out += count
            room -= count
            while out and count >= len(out[0]):
                count -= len(out[0])
                del out[0]
            if count:
                out[0] = out[0][count:]
        self._watch(READ | WRITE if out else READ)

    # -- receiving

    def on_event(self, mask: int) -> None:
        """Do what the socket is ready for."""
        try:
            if self._state < _HEAD:
                self._open()
                return
            if mask & WRITE and self._out:
                self._send()
            if mask & ~WRITE:
                self._receive()
        except self._again:
            return
        except (Broken, ProtocolError, OSError) as error:
            self._fail(_broken(error))

    def _receive(self) -> None:
        if self._state == _HEAD:
            self._receive_head()
            if not self._tls:
                return
        # What TLS has decrypted already, no poll would tell of.
        while self._state == _BODY or (self._tls and self._state == _HEAD):
            if self._state == _HEAD:
                self._receive_head()
            else:
                self._receive_body()
            if not self._tls:
                return
        if self._state == _IDLE:
            self._receive_nothing()
        elif self._state == _PAUSED:  # nothing is watched for, so it is an end
            raise Broken("the connection broke")

    def _receive_nothing(self) -> None:
        count = self._socket.recv_into(self._loop.buffer)
        raise Broken("closed" if not count else "the server says something that nobody asked")

    def _receive_head(self) -> None:
        loop = self._loop
        count = self._socket.recv_into(loop.buffer)
        if not count:
            raise Broken("the connection broke")
        self.stamp = loop.now
        self.heard = True
        loop.bytes_in += count
        head, begin = self._reader.feed(loop.buffer, count)
        if head is None:
            return
        assert self.trial is not None
        length = body_length(self.trial.request.method, head)
        self._head = head
        if 0 <= length <= count - begin or self._may_begin(head, length, loop.buffer, begin, count):
            self._begin_body(head, length, loop.view[begin:count])

    def _may_begin(self, head: Head, length: int, buffer: bytearray, begin: int, end: int) -> bool:
        """Tell whether there is room for the body; if not, wait for it."""
        trial = self.trial
        assert trial is not None
        request = trial.request
        if request.target is not None or self.shadow or head.status not in request.accept or length < 0:
            return True
        if length > request.bytes_max or trial.task.run.grow(trial, length, lambda: self._loop.call(self.resume)):
            return True
        self._state = _PAUSED
        self._rest = bytes(buffer[begin:end])
        trial.paused = self._loop.now
        self._watch(0)
        return False

    def resume(self) -> None:
        """Go on: there is room now."""
        if self._state != _PAUSED or self._head is None or self.trial is None:
            return
        trial, rest = self.trial, self._rest
        self._rest = b""
        self.stamp = self._loop.now
        trial.deadline += self._loop.now - trial.paused
        self._watch(READ)
        try:
            self._begin_body(self._head, body_length(trial.request.method, self._head), memoryview(rest))
            if self._tls and self._state == _BODY:
                self._receive()
        except self._again:
            return
        except (Broken, ProtocolError, OSError) as error:
            self._fail(_broken(error))

    def _begin_body(self, head: Head, length: int, piece: memoryview) -> None:
        if length == 0 and not piece:
            self._finish(head, memoryview(b""))
            return
        if 0 <= length < len(piece):
            raise Broken("the answer is longer than its head says", length=True)
        self._state = _BODY
        self._chunks = ChunkedReader() if length == CHUNKED else None
        self._left = length
        try:
            self._body = self._choose(head, length)
            if self._chunks is None and length == len(piece):
                # All of a small answer came in one piece.
                self._body.put(piece)
                self._finish(head, self._body.finish())
            elif piece:
                self._take(piece, received=False)
        except (LengthError, TooLargeError, ProtocolError, WriteError) as error:
            raise _broken(error) from None

    def _choose(self, head: Head, length: int) -> Body:
        """Return what takes the body of this answer."""
        trial = self.trial
        assert trial is not None
        request = trial.request
        target = request.target
        if head.status not in request.accept or (target is not None and not 200 <= head.status < 300):
            return ErrorBody()
        if target is None:
            if length > request.bytes_max:
                raise TooLargeError(f"{length} bytes, where at most {request.bytes_max} are expected")
            if length < 0:
                return GrowingBody(request.bytes_max)
            if request.bytes_expected is not None and length != request.bytes_expected:
                raise LengthError(f"{length} bytes instead of {request.bytes_expected}")
            return MemoryBody(memoryview(bytearray(length)), keep=True)
        expected = (request.bytes_expected or 0) if isinstance(target, FileTarget) else len(target)
        if length >= 0 and length != expected:
            raise LengthError(f"{length} bytes instead of {expected}")
        if self.shadow:
            return MemoryBody(memoryview(bytearray(expected)), keep=True)
        return FileBody(target, expected) if isinstance(target, FileTarget) else MemoryBody(target, keep=False)

    def _receive_body(self) -> None:
        body, loop = self._body, self._loop
        assert body is not None
        if self._left > 0:
            # Never more than what belongs to this answer.
            room = body.room(loop.view)
            count = self._socket.recv_into(room[: self._left] if len(room) > self._left else room)
            if not count:
                raise Broken(f"the connection broke {self._left} bytes before the end of the body")
            piece = room[:count]
        else:
            count = self._socket.recv_into(loop.buffer)
            piece = loop.view[:count]
            if not count:
                self._end_of_connection()
                return
        self.stamp = loop.now
        loop.bytes_in += count
        try:
            self._take(piece, received=self._left > 0)
        except (LengthError, TooLargeError, ProtocolError, WriteError) as error:
            raise _broken(error) from None

    def _take(self, piece: memoryview, *, received: bool) -> None:
        """Take a piece of the body, and finish where it was the last."""
        body, head = self._body, self._head
        assert body is not None
        assert head is not None
        if self._chunks is not None:
            pieces, used = self._chunks.feed(piece)
            for each in pieces:
                body.put(each)
            if not self._chunks.done:
                return
            if used != len(piece):
                raise Broken("the answer is longer than it says", length=True)
        elif self._left < 0:
            body.put(piece)
            return
        else:
            if received:
                body.advance(piece)
            else:
                body.put(piece)
            self._left -= len(piece)
            if self._left and not (isinstance(body, ErrorBody) and self._left > ERROR_BODY_READ_MAX):
                return
        if self._left > 0:
            head.keep_alive = False
        self._finish(head, body.finish())

    def _end_of_connection(self) -> None:
        """Take the end of the connection for the end of the body: so servers of old tell its length."""
        if self._chunks is not None or self._head is None or self._body is None:
            raise Broken("the connection broke before the end of the body")
        self._head.keep_alive = False
        try:
            self._finish(self._head, self._body.finish())
        except LengthError as error:
            raise _broken(error) from None

    def _finish(self, head: Head, data: memoryview) -> None:
        trial = self.trial
        assert trial is not None
        self._body = self._chunks = self._head = None
        self._left = 0
        self._state = _IDLE
        reusable = head.keep_alive and not self._out
        self._loop.answered(self, trial, Response(head.status, head.headers, data), reusable=reusable)

    # -- the end

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._loop.watch(self, mask)

    def _fail(self, broken: Broken) -> None:
        if self._state != _CLOSED:
            self._loop.broken(self, broken)

    def close(self) -> None:
        """Close it. It does nothing any more, and writes nowhere."""
        if self._state == _CLOSED:
            return
        self._state = _CLOSED
        self._out.clear()
        self._body = self._head = self._chunks = None
        if self._socket is not None:
            self._loop.unwatch(self)
            self._socket.close()

    def abandon(self) -> None:
        """Close the descriptor alone, in a child process: what it is connected to is the parent's."""
        self._state = _CLOSED
        if self._socket is not None:
            self._socket.close()


def _said(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nobody answers there"
    return error.strerror or type(error).__name__


def _broken(error: Exception) -> Broken:
    if isinstance(error, Broken):
        return error
    if isinstance(error, LengthError):
        return Broken(str(error), length=True)
    if isinstance(error, TooLargeError):
        return Broken(str(error), final=True)
    if isinstance(error, WriteError):
        return Broken(f"the file cannot be written ({error})", final=True, cause=error.error)
    if isinstance(error, OSError):
        return Broken(f"the connection broke ({_said(error)})")
    return Broken(str(error))
