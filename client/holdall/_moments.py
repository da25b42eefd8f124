"""Times, durations and statuses as people write them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from holdall.store import InvalidFilterError

__all__ = ["STATUSES", "parse_duration", "parse_moment"]

STATUSES: Final = ("succeeded", "failed", "running", "died")

_UNITS_S: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")


def parse_duration(value: object) -> float:
    """Return a duration in seconds: of a number, a `timedelta`, or a text such as ``90s``, ``5min``, ``2h``, ``7d``, ``1w``."""
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise InvalidFilterError(f"{value!r:.60} is no duration; write seconds, or '90s', '5min', '2h', '7d', '1w'.")
    return float(match.group(1)) * _UNITS_S[match.group(2)]


def parse_moment(value: object) -> dt.datetime:
    """Return a moment: of a `datetime`, a `date`, seconds since 1970, or a text in ISO 8601; without a zone it is in UTC."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidFilterError(
                f"{value!r:.60} is no time; write it as in '2026-11-23' or '2026-11-23T08:14:02+01:00'."
            ) from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return dt.datetime.fromtimestamp(value, dt.UTC)
        except (ValueError, OverflowError, OSError):
            raise InvalidFilterError(f"{value!r:.60} seconds since 1970 are no time.") from None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone comes below
    if not isinstance(value, dt.datetime):
        raise InvalidFilterError(f"{value!r:.60} is no time; give a datetime, a date, or a text such as '2026-11-23'.")
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)
