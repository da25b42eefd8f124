"""What is looked at now and then: connections that stand still, requests that take too long, work done per second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdall_store.transfer._connection import Broken, Connection
from holdall_store.transfer._exchange import Request, Response
from holdall_store.transfer._latency import Recent

if TYPE_CHECKING:
    from holdall_store.transfer._loop import Loop

__all__ = ["Watch"]

LOOK_EVERY: Final = 0.25
"""Seconds. Looking at all connections takes a tenth of a millisecond."""

MEASURE_EVERY: Final = 0.5

IDLE_MAX: Final = 15.0
"""Seconds. S3 closes connections after about twenty."""

CONNECT_TIMEOUT: Final = 5.0

REQUEST_WEIGHT: Final = 64 << 10
"""A request is as much work as so many bytes, when it is asked whether more connections bring more."""


class Watch:
    """Looks after the connections of one loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.due = loop.now + LOOK_EVERY
        self._measured = loop.now
        self._work = 0
        self._first_byte = Recent()

    def note(self, connection: Connection, request: Request, response: Response) -> None:
        """Take note of an answer that has come."""

    def look(self) -> None:
        """Close what stands still."""
        loop = self._loop
        now = loop.now
        self.due = now + LOOK_EVERY
        for connection in list(loop.connections):
            if connection.trial is None:
                if now - connection.stamp > IDLE_MAX:
                    loop.broken(connection, Broken("idle"))
            elif not connection.is_paused:
                self._look_at(connection, now)
        loop.site.credentials.look(now)
        self._measure(now)

    def _look_at(self, connection: Connection, now: float) -> None:
        trial = connection.trial
        assert trial is not None
        policy = self._loop.policy
        if now > trial.deadline:
            self._loop.broken(connection, Broken(f"no answer within {policy.deadline:g} s"))
        elif not connection.is_open:
            if now - connection.begun > CONNECT_TIMEOUT:
                self._loop.broken(connection, Broken("nobody answers there in time", unreachable=True))
        elif now - connection.stamp > self._patience(connection):
            self._loop.counts["stalls"] += 1
            self._loop.broken(connection, Broken("the server did not answer in time"))

    def _patience(self, connection: Connection) -> float:
        """Return for how many seconds nothing may happen."""
        trial, policy = connection.trial, self._loop.policy
        assert trial is not None
        if connection.heard or connection.is_sending or trial.request.method in ("GET", "HEAD"):
            return policy.stall_timeout
        # The server may have much to do before it answers: joining parts, or copying.
        return max(policy.stall_timeout, policy.deadline / 2 if trial.request.replayable else policy.deadline)

    def _measure(self, now: float) -> None:
        loop = self._loop
        if now - self._measured < MEASURE_EVERY:
            return
        work = loop.bytes_in + loop.bytes_out + loop.counts["requests"] * REQUEST_WEIGHT
        rate = (work - self._work) / (now - self._measured)
        loop.limiter.measure(rate, saturated=loop.active >= loop.limiter.limit, now=now)
        self._measured, self._work = now, work
