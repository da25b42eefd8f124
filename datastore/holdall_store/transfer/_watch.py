"""What is looked at now and then: connections that stand still, requests that take too long, work done per second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdall_store.transfer._connection import Connection
from holdall_store.transfer._exchange import Response
from holdall_store.transfer._latency import Recent
from holdall_store.transfer._opening import Broken
from holdall_store.transfer._retries import Tries
from holdall_store.transfer._run import Trial

if TYPE_CHECKING:
    from holdall_store.transfer._loop import Loop

__all__ = ["LOOK_EVERY", "Watch"]

LOOK_EVERY: Final = 0.1
"""Seconds. Looking at all connections takes a tenth of a millisecond."""

MEASURE_EVERY: Final = 0.5

IDLE_MAX: Final = 15.0
"""Seconds. S3 closes connections after about twenty."""

CONNECT_TIMEOUT: Final = 5.0

REQUEST_WEIGHT: Final = 64 << 10
"""A request is as much work as so many bytes, when it is asked whether more connections bring more."""

FIRST_BYTE_FACTOR: Final = 10
FIRST_BYTE_MIN: Final = 2.0
"""Seconds. A server that is this slow, and ten times as slow as usual, is not asked any longer, but asked again."""

HEDGE_FACTOR: Final = 3
HEDGE_FLOOR: Final = 0.2
"""Seconds. A read gets a second try when it takes this long, and three times as long as nineteen of twenty do."""

HEDGE_SHARE: Final = 0.03
HEDGES_SAVED_MAX: Final = 8.0
"""One read in thirty may have a second try, and so many at once after a long time without any: never a second storm."""

HEDGE_BYTES_MAX: Final = 16 << 20
"""A second try receives into memory of its own, which the budget does not know."""


SAMPLED_FROM: Final = 256
SAMPLE: Final = 4
"""Once there are enough, every fourth duration is as good as all of them."""


class Watch:
    """Looks after the connections of one loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._measured = loop.now
        self._work = 0
        self._hedges = 0.0
        self._noted = self._seen = 0
        self._first = Recent()
        self._whole: dict[int, Recent] = {}

    def note(self, connection: Connection, trial: Trial, response: Response) -> None:
        """Take note of how long an exchange took."""
        self._noted = noted = self._noted + 1
        if noted % SAMPLE and noted > SAMPLED_FROM:
            return
        request = trial.request
        if request.method not in ("GET", "HEAD"):
            return
        size = len(response.body) if request.target is None else trial.size
        self._first.add(connection.heard - connection.begun)
        kind = (size >> 18).bit_length()
        recent = self._whole.get(kind)
        if recent is None:
            recent = self._whole[kind] = Recent()
        recent.add(self._loop.now - connection.begun)

    def look(self) -> None:
        """Close what stands still, and begin second tries."""
        self._hedges = min(self._hedges + HEDGE_SHARE * (self._noted - self._seen), HEDGES_SAVED_MAX)
        self._seen = self._noted
        loop = self._loop
        now = loop.now
        first_slow = self._first.slow()
        for connection in list(loop.connections):
            if connection.trial is None:
                if now - connection.stamp > IDLE_MAX:
                    loop.broken(connection, Broken("idle"))
            elif not connection.is_paused:
                self._look_at(connection, connection.trial, now, first_slow)
        loop.site.credentials.look(now)
        self._measure(now)

    def _look_at(self, connection: Connection, trial: Trial, now: float, first_slow: float | None) -> None:
        loop, policy = self._loop, self._loop.policy
        if now > trial.deadline:
            said = f"no answer within {policy.deadline:g} s"
            loop.broken(connection, Broken(said, unreachable=not connection.is_open))
        elif not connection.is_open:
            if now - connection.begun > CONNECT_TIMEOUT:
                loop.broken(connection, Broken("nobody answers there in time", unreachable=True))
        elif now - connection.stamp > self._patience(connection, trial, first_slow):
            trial.tries = trial.tries or Tries()
            trial.tries.stalls += 1
            loop.counts["stalls"] += 1
            loop.broken(connection, Broken("the server did not answer in time"))
        elif policy.hedge and self._hedges >= 1.0 and self._is_slow(connection, trial, now, first_slow):
            self._hedges -= 1.0
            loop.counts["hedges"] += 1
            loop.start(trial, shadow=True)

    def _patience(self, connection: Connection, trial: Trial, first_slow: float | None) -> float:
        """Return for how many seconds nothing may happen."""
        policy = self._loop.policy
        if connection.heard or connection.is_sending:
            return policy.stall_timeout
        if trial.request.method not in ("GET", "HEAD"):
            # The server may have much to do before it answers: joining parts, or copying.
            return max(policy.stall_timeout, policy.deadline / 2 if trial.request.replayable else policy.deadline)
        if first_slow is None:
            return policy.stall_timeout
        # Whoever was given up for being slow gets twice as long the next time.
        factor = FIRST_BYTE_FACTOR << (trial.tries.stalls if trial.tries else 0)
        return min(max(first_slow * factor, FIRST_BYTE_MIN), policy.stall_timeout)

    def _is_slow(self, connection: Connection, trial: Trial, now: float, first_slow: float | None) -> bool:
        """Tell whether a read takes so long that a second try would probably be faster."""
        request = trial.request
        if not request.replayable or request.method not in ("GET", "HEAD") or trial.first is None or trial.second:
            return False
        size = trial.charge if request.target is None else trial.size
        if size > HEDGE_BYTES_MAX:
            return False
        elapsed = now - connection.begun
        if not connection.heard:
            usual = first_slow
        else:
            recent = self._whole.get((size >> 18).bit_length())
            usual = None if recent is None else recent.slow()
        return usual is not None and elapsed > max(HEDGE_FACTOR * usual, HEDGE_FLOOR)

    def _measure(self, now: float) -> None:
        loop = self._loop
        if now - self._measured < MEASURE_EVERY:
            return
        work = loop.bytes_in + loop.bytes_out + loop.requests * REQUEST_WEIGHT
        rate = (work - self._work) / (now - self._measured)
        loop.limiter.measure(rate, saturated=loop.active >= loop.limiter.limit, now=now)
        self._measured, self._work = now, work
