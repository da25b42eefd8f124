"""Values as short text for people: sizes, times, durations, numbers. Nothing here reads anything."""

from __future__ import annotations

import datetime as dt
import unicodedata
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from holdall_store.format import ArtifactRecord

__all__ = [
    "clean",
    "count_text",
    "duration_text",
    "fit",
    "new_text",
    "number_text",
    "place_text",
    "size_text",
    "time_text",
    "value_text",
    "width_of",
]

_UNITS: Final = ("kB", "MB", "GB", "TB", "PB")

VALUE_CHARACTERS_MAX: Final = 120
"""A parameter is shown, not printed: what is longer is cut."""


def clean(text: str) -> str:
    """Return `text` with all that a terminal would obey, or that has no shape of its own, as escapes.

    Names and messages in a store may be anybody's: none of them may move a cursor or turn the reading direction.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def size_text(size: int) -> str:
    """Return a number of bytes in units of 1000, such as ``1.2 MB``."""
    if size < 1000:
        return f"{size} B"
    value, unit = size / 1000, 0
    # What would be rounded to four digits belongs to the next unit.
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if value >= 99.95 else f"{value:.1f} {_UNITS[unit]}"


def new_text(record: ArtifactRecord, *, sentence: bool = False) -> str:
    """Return how much a save added to the packs of a store; of a value that lives in the record of its run, that."""
    if record.new == 0 and not record.spilled and not any(buffer.spans for buffer in record.buffers):
        return "kept in the record of the run" if sentence else "–"
    return f"{size_text(record.new)} new" if sentence else size_text(record.new)


def duration_text(duration: dt.timedelta) -> str:
    """Return a duration with two significant parts, such as ``4 min 10 s``."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def time_text(moment: dt.datetime, *, zone: dt.tzinfo | None = None, full: bool = False) -> str:
    """Return a time in `zone`, by default the local one, to the minute; `full` adds the seconds and the zone."""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S %Z}".rstrip() if full else f"{local:%Y-%m-%d %H:%M}"


def number_text(value: float | bool) -> str:
    """Return a metric with four significant digits, and whole numbers whole."""
    return str(value) if isinstance(value, bool | int) else f"{value:.4g}"


def count_text(count: int, noun: str, *, more: bool = False) -> str:
    """Return ``3 runs``, ``1 run``, or ``1000+ runs`` where there are `more`."""
    return f"{count}{'+' if more else ''} {noun}{'' if count == 1 and not more else 's'}"


def place_text(url: str) -> str:
    """Return where a store is as one would type it: a local one by its path."""
    return unquote(url.removeprefix("file://")) if url.startswith("file:///") else url


def value_text(value: Any, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """Return a parameter as text: strings as they are, anything else as Python writes it, and cut to a length."""
    text = clean(value if isinstance(value, str) else repr(value))
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def width_of(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def fit(text: str, width: int) -> str:
    """Return `text`, cut with an ellipsis to at most `width` columns."""
    if width_of(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
