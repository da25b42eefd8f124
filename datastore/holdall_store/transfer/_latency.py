"""How long exchanges take, from which it is decided when one takes too long; and how many to have under way."""

from __future__ import annotations

from typing import Final

__all__ = ["Limiter", "Recent"]

SAMPLES: Final = 256
"""As many as tell the slowest twentieth, and few enough to follow a server that changes."""

SAMPLES_MIN: Final = 32
"""With fewer, nothing is concluded."""


class Recent:
    """The latest durations of one kind of exchange."""

    __slots__ = ("_next", "_quantile", "_samples", "_stale")

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._next = 0
        self._stale = 0
        self._quantile: float | None = None

    def add(self, duration: float) -> None:
        """Count one more."""
        if len(self._samples) < SAMPLES:
            self._samples.append(duration)
        else:
            self._samples[self._next] = duration
            self._next = (self._next + 1) % SAMPLES
        self._stale += 1

    def slow(self) -> float | None:
        """Return what 95 % stay below, or ``None`` if too little was seen."""
        if self._stale >= SAMPLES_MIN:
            self._stale = 0
            ordered = sorted(self._samples)
            self._quantile = ordered[len(ordered) * 95 // 100]
        return self._quantile


LIMIT_FIRST: Final = 64
"""At 30 ms of latency this gives two thousand requests a second from the first one on, and no server minds it."""

LIMIT_MIN: Final = 4
LIMIT_MAX: Final = 256
"""More connections than this to one service were never faster, and cost it memory."""

GAIN_MIN: Final = 1.1
"""More connections have to bring a tenth more, or they stay as many as they were."""

PROBE_EVERY: Final = 10.0
CALM: Final = 1.0
"""Seconds after a halving in which answers to what was sent before it do not count."""


class Limiter:
    """How many exchanges may be under way: more while that brings more, half as many when the server has enough.

    A fixed limit never changes.
    """

    __slots__ = ("_best", "_ceiling", "_fixed", "_halved", "_probed", "_settled", "limit")

    def __init__(self, share: int = 1, fixed: int | None = None) -> None:
        self._fixed = fixed is not None
        self.limit = max((fixed if fixed is not None else LIMIT_FIRST) // share, 1)
        self._ceiling = max(LIMIT_MAX // share, 1)
        self._best = 0.0
        self._settled = False
        self._halved = self._probed = float("-inf")

    def refuse(self, now: float) -> None:
        """Take note that the server asked for less."""
        if self._fixed or now - self._halved < CALM:
            return
        self.limit = max(self.limit // 2, min(LIMIT_MIN, self._ceiling))
        self._halved = now
        self._best = 0.0
        self._settled = False

    def measure(self, rate: float, *, saturated: bool, now: float) -> None:
        """Take note of the work done per second in the last while; `saturated` says that the limit was what held it."""
        if self._fixed or not saturated or now - self._halved < CALM:
            return
        if self._settled:
            if now - self._probed < PROBE_EVERY:
                return
            self._settled, self._best = False, 0.0
        if rate > self._best * GAIN_MIN:
            self._best = rate
            self.limit = min(self.limit + max(self.limit // 2, 1), self._ceiling)
        else:
            self._settled, self._probed = True, now
