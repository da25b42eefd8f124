"""Waiting for sockets: epoll where there is one, what the standard library finds elsewhere."""

from __future__ import annotations

import select
import selectors
import socket
from typing import Final, Protocol

__all__ = ["READ", "WRITE", "Poller", "Wakeup", "make_poller"]

READ: Final = 1
WRITE: Final = 4
"""The values of EPOLLIN and EPOLLOUT, so that epoll's events need no translation; any other bit is an end."""


class Poller(Protocol):
    """Tells which descriptors are ready."""

    def register(self, descriptor: int, mask: int, /) -> None:
        """Begin to watch a descriptor."""
        ...

    def modify(self, descriptor: int, mask: int, /) -> None:
        """Watch for something else; with 0 for nothing."""
        ...

    def unregister(self, descriptor: int, /) -> None:
        """Watch it no more."""
        ...

    def poll(self, timeout: float, /) -> list[tuple[int, int]]:
        """Return what is ready, after `timeout` seconds at the latest."""
        ...

    def close(self) -> None:
        """Give the descriptor back."""
        ...


class _Selector:
    """Any selector of the standard library."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._silent: set[int] = set()

    def register(self, descriptor: int, mask: int) -> None:
        self._selector.register(descriptor, _to_selector(mask))

    def modify(self, descriptor: int, mask: int) -> None:
        if mask == 0:
            self.unregister(descriptor)
            self._silent.add(descriptor)
        elif descriptor in self._silent:
            self._silent.discard(descriptor)
            self.register(descriptor, mask)
        else:
            self._selector.modify(descriptor, _to_selector(mask))

    def unregister(self, descriptor: int) -> None:
        if descriptor in self._silent:
            self._silent.discard(descriptor)
        else:
            self._selector.unregister(descriptor)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        events = self._selector.select(timeout)
        return [
            (key.fd, (READ if mask & selectors.EVENT_READ else 0) | (WRITE if mask & selectors.EVENT_WRITE else 0))
            for key, mask in events
        ]

    def close(self) -> None:
        self._selector.close()


def _to_selector(mask: int) -> int:
    return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)


def make_poller() -> Poller:
    """Return the fastest there is."""
    if hasattr(select, "epoll"):
        return select.epoll()
    return _Selector()


class Wakeup:
    """A descriptor that becomes readable when another thread says so."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self.descriptor = self._receiver.fileno()

    def set(self) -> None:
        """Make it readable."""
        try:
            self._sender.send(b"\0")
        except OSError:  # full, so it is readable; or closed, so nobody waits
            return

    def clear(self) -> None:
        """Make it unreadable again."""
        try:
            self._receiver.recv(4096)
        except OSError:
            return

    def close(self) -> None:
        """Close both ends."""
        self._receiver.close()
        self._sender.close()
