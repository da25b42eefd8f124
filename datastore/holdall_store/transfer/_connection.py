"""One connection: it sends a request, receives the answer, and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
from holdall_store.transfer._http1 import (
    CHUNKED,
    HEAD_END,
    ChunkedReader,
    Head,
    HeadReader,
    ProtocolError,
    body_length,
    parse_head,
)
from holdall_store.transfer._opening import BODY, CLOSED, HEAD, IDLE, PAUSED, Broken, Opening, broken_by, said_of
from holdall_store.transfer._poll import READ, WRITE
from holdall_store.transfer._run import Trial

if TYPE_CHECKING:
    from holdall_store.transfer._loop import Loop

__all__ = ["Connection"]

PIECES_MAX: Final = 64
"""Buffers in one call; systems take 1024 at most."""

SEND_BYTES: Final = 1 << 20
"""Handed over in one call, so that one upload does not keep the loop from the others."""

ERROR_BODY_READ_MAX: Final = 1 << 20
"""A longer error is not read to its end to save a connection."""

_NOTHING: Final = memoryview(b"")


class Connection(Opening):
    """A connection of one loop, used by no other thread.

    It tells its loop by ``ready``, ``answered`` and ``broken`` what became of it.
    """

    _loop: Loop

    def __init__(self, loop: Loop, host: Host) -> None:
        super().__init__(loop, host)
        self.trial: Trial | None = None
        self.shadow = False
        """Whether it serves a hedge, and so must not write to the request's target."""
        self.stamp = 0.0
        """When it last made progress."""
        self.begun = 0.0
        self.heard = 0.0
        """When the answer began to come; 0 before."""
        self.uses = 0
        self.pool: list[Connection] = []
        """The idle connections to its host, which it is among when it is idle."""
        self._out: list[memoryview] = []
        self._head: Head | None = None
        self._body: Body | None = None
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._rest = b""

    @property
    def is_paused(self) -> bool:
        """Whether it waits for room in memory."""
        return self.state == PAUSED

    @property
    def is_sending(self) -> bool:
        """Whether some of the request is still to be sent."""
        return bool(self._out)

    # -- sending

    def send(self, trial: Trial, head: bytes, *, shadow: bool) -> None:
        """Send a request over an open connection."""
        self.trial = trial
        self.shadow = shadow
        self.begun = self.stamp = self._loop.now
        self.uses += 1
        self.heard = 0.0
        self.state = HEAD
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
            self._loop.later(self, broken_by(error))
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
        opening = self.state < HEAD
        try:
            if opening:
                self.open()
                return
            if mask & WRITE and self._out:
                self._send()
            if mask & ~WRITE:
                if self.state == HEAD and not self._tls:
                    self._receive_head()
                else:
                    self._receive()
        except self._again:
            return
        except Broken as broken:
            self._fail(broken)
        except ProtocolError as error:
            self._fail(broken_by(error))
        except OSError as error:
            self._fail(Broken(said_of(error), unreachable=True) if opening else broken_by(error))

    def _receive(self) -> None:
        if self.state == HEAD:
            self._receive_head()
            if not self._tls:
                return
        # What TLS has decrypted already, no poll would tell of.
        while self.state == BODY or (self._tls and self.state == HEAD):
            if self.state == HEAD:
                self._receive_head()
            else:
                self._receive_body()
            if not self._tls:
                return
        if self.state == IDLE:
            self._receive_nothing()
        elif self.state == PAUSED:  # nothing is watched for, so it is an end
            raise Broken("the connection broke")

    def _receive_nothing(self) -> None:
        count = self._socket.recv_into(self._loop.buffer)
        raise Broken("closed" if not count else "the server says something that nobody asked")

    def _receive_head(self) -> None:
        loop = self._loop
        buffer = loop.buffer
        count: int = self._socket.recv_into(buffer)
        if not count:
            raise Broken("the connection broke")
        self.stamp = self.heard = loop.now
        loop.bytes_in += count
        head: Head | None = None
        begin = 0
        if self._reader is None:
            stop = buffer.find(HEAD_END, 0, count)
            if stop > 0:
                head, begin = parse_head(buffer[:stop]), stop + 4
        if head is None or head.status < 200:
            self._reader = self._reader or HeadReader()
            head, begin = self._reader.feed(buffer, count)
            if head is None:
                return
            self._reader = None
        trial = self.trial
        assert trial is not None
        request = trial.request
        length = body_length(request.method, head)
        if count - begin == length:
            # All of a small answer came in one piece.
            if request.target is None and request.bytes_expected is None and length <= request.bytes_max:
                self._finish(head, memoryview(bytes(loop.view[begin:count])) if length else _NOTHING)
                return
        elif not self._may_begin(head, length, begin, count):
            return
        self._begin_body(head, length, loop.view[begin:count])

    def _may_begin(self, head: Head, length: int, begin: int, end: int) -> bool:
        """Tell whether there is room for the body; if not, wait for it."""
        trial = self.trial
        assert trial is not None
        request = trial.request
        if request.target is not None or self.shadow or head.status not in request.accept or length < 0:
            return True
        if length > request.bytes_max or trial.task.run.grow(trial, length, lambda: self._loop.call(self.resume)):
            return True
        self.state = PAUSED
        self._head = head
        self._rest = bytes(self._loop.view[begin:end])
        trial.paused = self._loop.now
        self._watch(0)
        return False

    def resume(self) -> None:
        """Go on: there is room now."""
        if self.state != PAUSED or self._head is None or self.trial is None:
            return
        trial, rest = self.trial, self._rest
        self._rest = b""
        self.stamp = self._loop.now
        trial.deadline += self._loop.now - trial.paused
        self._watch(READ)
        try:
            self._begin_body(self._head, body_length(trial.request.method, self._head), memoryview(rest))
            if self._tls and self.state == BODY:
                self._receive()
        except self._again:
            return
        except (Broken, ProtocolError, OSError) as error:
            self._fail(broken_by(error))

    def _begin_body(self, head: Head, length: int, piece: memoryview) -> None:
        if length == 0 and not piece:
            self._finish(head, _NOTHING)
            return
        if 0 <= length < len(piece):
            raise Broken("the answer is longer than its head says", length=True)
        self.state = BODY
        self._head = head
        self._chunks = ChunkedReader() if length == CHUNKED else None
        self._left = length
        try:
            self._body = self._choose(head, length)
            if piece:
                self._take(piece, received=False)
        except (LengthError, TooLargeError, ProtocolError, WriteError) as error:
            raise broken_by(error) from None

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
            raise broken_by(error) from None

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
            raise broken_by(error) from None

    def _finish(self, head: Head, data: memoryview) -> None:
        trial = self.trial
        assert trial is not None
        if self._body is not None:
            self._body = self._chunks = self._head = None
            self._left = 0
        self.state = IDLE
        reusable = head.keep_alive and not self._out
        self._loop.answered(self, trial, Response(head.status, head.headers, data), reusable=reusable)

    def _fail(self, broken: Broken) -> None:
        if self.state != CLOSED:
            self._loop.broken(self, broken)

    def _forget(self) -> None:
        self._out.clear()
        self._body = self._head = self._chunks = None
