"""Time and randomness, as something that is handed in."""

from __future__ import annotations

import datetime as dt
import os
from abc import ABC, abstractmethod
from typing import Final

__all__ = ["Clock", "SystemClock"]

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
"""Base 32 in lower case: safe in file names that do not tell upper from lower case."""


class Clock(ABC):
    """What the time is, and something that nobody else has."""

    @abstractmethod
    def now(self) -> dt.datetime:
        """Return the time, in UTC; never the same twice, so that runs begun one after the other sort so."""

    @abstractmethod
    def token(self, length: int) -> str:
        """Return `length` random characters of base 32, five bits each."""


class SystemClock(Clock):
    """The clock and the randomness of the machine."""

    def __init__(self) -> None:
        self._last = dt.datetime.min.replace(tzinfo=dt.UTC)

    def now(self) -> dt.datetime:
        """Return the time, in UTC, at least a microsecond after the last answer unless the clock was set back."""
        moment = dt.datetime.now(dt.UTC)
        if dt.timedelta(0) <= self._last - moment < dt.timedelta(seconds=1):
            moment = self._last + dt.timedelta(microseconds=1)
        self._last = moment
        return moment

    def token(self, length: int) -> str:
        """Return `length` random characters of base 32."""
        return "".join(ALPHABET[byte & 31] for byte in os.urandom(length))
