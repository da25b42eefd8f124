"""Which state of a table is meant: a version by its number, or what was there at a time."""

from __future__ import annotations

import datetime
import operator
from typing import Any

from holdall_store.errors import InvalidNameError

__all__ = ["AsOf", "check_as_of", "describe", "time_text"]

AsOf = int | datetime.datetime | None


def check_as_of(as_of: Any) -> AsOf:
    """Return what a caller says of the state: a number, or a time, of which a text may say it in ISO's form.

    Times without a zone are UTC's.
    """
    if hasattr(as_of, "__index__") and not isinstance(as_of, int):  # as those of NumPy
        as_of = operator.index(as_of)
    if as_of is None or (isinstance(as_of, int) and not isinstance(as_of, bool) and as_of >= 0):
        return as_of
    if isinstance(as_of, str):
        try:
            as_of = datetime.datetime.fromisoformat(as_of.strip())
        except ValueError:
            as_of = repr(as_of)
    elif isinstance(as_of, datetime.date) and not isinstance(as_of, datetime.datetime):
        as_of = datetime.datetime.combine(as_of, datetime.time())
    if not isinstance(as_of, datetime.datetime):
        raise InvalidNameError(
            f"as_of={as_of!s:.80} is not understood: give the number of a version or snapshot, a datetime, or a text "
            "such as '2026-11-01T12:00'."
        )
    return as_of if as_of.tzinfo else as_of.replace(tzinfo=datetime.UTC)


def describe(as_of: AsOf) -> str:
    """Return what a table as of then is called after its name."""
    if as_of is None:
        return ""
    return f" as of {as_of.isoformat() if isinstance(as_of, datetime.datetime) else as_of}"


def time_text(moment: datetime.datetime) -> str:
    """Return a time as the records of our own logs tell it, in UTC: such texts sort as the times do."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")
