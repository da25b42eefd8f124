"""What a process writes to standard output and standard error, passed on and kept: the last of it.

The descriptors are tapped, so that what compiled code and child processes write is seen as well; where Python's own streams go
elsewhere, as in notebooks, they are tapped, too.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TextIO

__all__ = ["CAPTURED", "TAIL_BYTES", "Capture", "text_of"]

CAPTURED: Final = "captured.log"
"""The artifact that holds what was captured: a list of pairs, ``out`` or ``err`` and a text. On disk."""

TAIL_BYTES: Final = 64 << 10
"""Of each of the two streams so much is kept: enough for what happened last, little enough to be saved again and again."""

READ_BYTES: Final = 64 << 10

DRAIN_S: Final = 5.0
"""What was written before the end is in the pipe already; more than a moment to read it means that nobody reads."""

STREAMS: Final = ((1, "out", "stdout"), (2, "err", "stderr"))


class Capture:
    """The last of what this process and its children write, from `start` on. May be asked from any thread."""

    def __init__(self) -> None:
        self._parts: deque[tuple[str, bytes]] = deque()
        self._sizes = {"out": 0, "err": 0}
        self._lock = threading.Lock()
        self._changed = False

    def start(self) -> None:
        """Begin to listen."""
        _TAP.add(self)

    def stop(self) -> None:
        """Listen no more; what was written before is there when this returns."""
        _TAP.remove(self)

    @property
    def changed(self) -> bool:
        """Whether anything was written since `parts` was last asked for."""
        return self._changed

    def parts(self) -> list[tuple[str, str]]:
        """Return what was written, in order: the stream, and a text."""
        with self._lock:
            parts, self._changed = list(self._parts), False
        joined: list[tuple[str, bytes]] = []
        for stream, data in parts:
            if joined and joined[-1][0] == stream:
                joined[-1] = stream, joined[-1][1] + data
            else:
                joined.append((stream, data))
        return [(stream, data.decode("utf-8", "replace")) for stream, data in joined]

    def write(self, stream: str, data: bytes) -> None:
        """Keep what was written, and forget what is too old."""
        data = data[-TAIL_BYTES:]
        with self._lock:
            self._parts.append((stream, data))
            self._sizes[stream] += len(data)
            self._changed = True
            excess = self._sizes[stream] - TAIL_BYTES
            if excess > 0:
                self._cut(stream, excess)

    def _cut(self, stream: str, excess: int) -> None:
        kept: deque[tuple[str, bytes]] = deque()
        self._sizes[stream] -= excess
        for each, data in self._parts:
            if each == stream and excess:
                gone = min(excess, len(data))
                excess -= gone
                data = data[gone:]
            if data:
                kept.append((each, data))
        self._parts = kept


class _Tap:
    """Where the streams of this process are tapped, for all that listen: once, however many they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Capture] = []
        self._pipes: list[_Pipe] = []
        self._proxies: list[tuple[str, Any, Any]] = []
        self._pid = 0

    def add(self, listener: Capture) -> None:
        with self._lock:
            if not self._listeners:
                self._open()
            else:
                self._drain()  # what was written before is not for a new listener
            self._listeners.append(listener)

    def remove(self, listener: Capture) -> None:
        with self._lock:
            if listener not in self._listeners or self._pid != os.getpid():
                return
            self._drain()
            self._listeners.remove(listener)
            if not self._listeners:
                self._close()

    def tell(self, stream: str, data: bytes) -> None:
        for listener in list(self._listeners):
            listener.write(stream, data)

    def _drain(self) -> None:
        _flush()
        for pipe in self._pipes:
            pipe.drain()

    def _open(self) -> None:
        self._pid = os.getpid()
        _flush()
        for number, stream, name in STREAMS:
            with contextlib.suppress(OSError):  # a descriptor that is closed: nothing is written there
                self._pipes.append(_Pipe(number, stream, self.tell))
            original = getattr(sys, name)
            if original is not None and _number(original) != number:
                proxy = _Proxy(original, stream, self.tell)
                setattr(sys, name, proxy)
                self._proxies.append((name, original, proxy))

    def _close(self) -> None:
        for name, original, proxy in self._proxies:
            if getattr(sys, name) is proxy:
                setattr(sys, name, original)
        for pipe in self._pipes:
            pipe.close()
        self._pipes, self._proxies = [], []


class _Pipe:
    """A descriptor that leads into a pipe, whose other end passes on what comes to where it led before."""

    def __init__(self, number: int, stream: str, tell: Callable[[str, bytes], None]) -> None:
        self._number, self._stream, self._tell = number, stream, tell
        self._before = os.dup(number)
        self._reader, writer = os.pipe()
        self._inode = os.fstat(writer).st_ino
        os.dup2(writer, number, inheritable=True)
        os.close(writer)
        self._wake, self._waker = os.pipe()
        self._drained = threading.Event()
        self._listening = True
        self._thread = threading.Thread(target=self._pass_on, name="holdall-capture", daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """Wait until what was written so far has been passed on."""
        self._drained.clear()
        with contextlib.suppress(OSError):  # nobody writes into the pipe any more: all was passed on
            os.write(self._waker, b"x")
            self._drained.wait(DRAIN_S)

    def close(self) -> None:
        """Let the descriptor lead where it led before; who inherited the pipe is passed on to its end."""
        self._listening = False
        if os.fstat(self._number).st_ino == self._inode:  # nobody else has led it elsewhere meanwhile
            os.dup2(self._before, self._number, inheritable=True)
        os.close(self._waker)

    def _pass_on(self) -> None:
        watched = [self._reader, self._wake]
        while True:
            ready, _, _ = select.select(watched, [], [])
            if self._reader in ready:
                data = os.read(self._reader, READ_BYTES)
                if not data:
                    break
                _write_all(self._before, data)
                if self._listening:
                    self._tell(self._stream, data)
            elif self._wake in ready:  # and nothing is left to read
                if not os.read(self._wake, 64):
                    watched.remove(self._wake)  # closed: what is still to come is of those who inherited the pipe
                self._drained.set()
        for number in (self._reader, self._wake, self._before):
            os.close(number)
        self._drained.set()


class _Proxy:
    """A stream of Python's that does not lead to a descriptor of the system."""

    def __init__(self, inner: TextIO, stream: str, tell: Callable[[str, bytes], None]) -> None:
        self._inner, self._stream, self._tell = inner, stream, tell

    def write(self, text: str) -> int:
        """Pass a text on."""
        written = self._inner.write(text)
        self._tell(self._stream, text.encode("utf-8", "replace"))
        return written

    def writelines(self, lines: Any) -> None:
        """Pass several on."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


_TAP = _Tap()


def text_of(parts: object, stream: str = "") -> str:
    """Return what was captured of one stream, or of both as they came."""
    if not isinstance(parts, list):
        return ""
    return "".join(str(text) for each, text in parts if stream in ("", each))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _number(stream: Any) -> int:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return -1


def _write_all(number: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError):  # who listened before is gone: what is kept here is kept all the same
        while view:
            view = view[os.write(number, view) :]
