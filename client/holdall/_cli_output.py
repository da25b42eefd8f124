"""What the command line writes: tables and facts for people, JSON for programs, messages beside them."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from holdall._text import clean, fit, width_of

__all__ = ["Output", "Styled"]

COLUMN_GAP: Final = "  "
COLUMN_WIDTH_MIN: Final = 8
"""A column that is narrower tells nothing any more; rather than that, the line is too long."""

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Styled(NamedTuple):
    """Text with the style that it has where there are colours."""

    text: str
    style: str


class Output:
    """Data goes to standard output, messages to standard error.

    `width` is that of the terminal, into which tables are fitted; ``None`` where there is none, and nothing is cut.
    """

    def __init__(self, *, color: bool | None, quiet: bool = False, as_json: bool = False) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
            sys.stdout.reconfigure(errors="backslashreplace")  # better a name in escapes than no answer
        self.terminal = sys.stdout.isatty()
        self.quiet = quiet
        self.as_json = as_json
        self._color = self.terminal if color is None else color
        self._width = shutil.get_terminal_size().columns if self.terminal else None

    def note(self, text: str) -> None:
        """Write a message beside the data."""
        sys.stderr.write(clean(text) + "\n")

    def json(self, value: Any) -> None:
        """Write one JSON document."""
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def line(self, *parts: str | Styled) -> None:
        """Write one line, whatever its length."""
        cells = [part if isinstance(part, Styled) else Styled(part, "") for part in parts]
        sys.stdout.write("".join(self._paint(clean(cell.text), cell.style) for cell in cells) + "\n")

    def facts(self, facts: Mapping[str, str | Styled]) -> None:
        """Write names and values below each other; what has no value is left out."""
        shown = {name: value if isinstance(value, Styled) else Styled(value, "") for name, value in facts.items()}
        shown = {name: value for name, value in shown.items() if value.text}
        names = max((len(name) for name in shown), default=0)
        for name, value in shown.items():
            sys.stdout.write(
                self._paint(name.ljust(names), "dim") + COLUMN_GAP + self._paint(clean(value.text), value.style) + "\n"
            )

    def table(
        self, heads: Sequence[str], rows: Iterable[Sequence[str | Styled]], *, right: Collection[str] = ()
    ) -> None:
        """Write rows under heads, aligned with spaces; columns without any value are left out."""
        cells = [[cell if isinstance(cell, Styled) else Styled(cell, "") for cell in row] for row in rows]
        cells = [[Styled(clean(cell.text), cell.style) for cell in row] for row in cells]
        used = [number for number in range(len(heads)) if any(row[number].text for row in cells)]
        if not used:
            return
        columns = [[Styled(heads[number].upper(), "dim"), *(row[number] for row in cells)] for number in used]
        widths = self._fit([max(width_of(cell.text) for cell in column) for column in columns])
        aligned = [heads[number] in right for number in used]
        for line in zip(*columns, strict=True):
            parts = [self._pad(cell, width, side) for cell, width, side in zip(line, widths, aligned, strict=True)]
            sys.stdout.write(COLUMN_GAP.join(parts).rstrip() + "\n")

    def _pad(self, cell: Styled, width: int, right: bool) -> str:
        text = fit(cell.text, width)
        space = " " * (width - width_of(text))
        painted = self._paint(text, cell.style)
        return space + painted if right else painted + space

    def _fit(self, widths: list[int]) -> list[int]:
        """Take from the widest columns until a line fits into the terminal."""
        if self._width is None:
            return widths
        room = self._width - len(COLUMN_GAP) * (len(widths) - 1)
        fitted = list(widths)
        while sum(fitted) > room and max(fitted) > COLUMN_WIDTH_MIN:
            fitted[fitted.index(max(fitted))] -= 1
        return fitted

    def _paint(self, text: str, style: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self._color and style and text else text
