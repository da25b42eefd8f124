"""What the command line writes: tables and facts for people, JSON for programs, messages beside them."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from holdall._text import clean, fit, width_of

__all__ = ["Output", "Styled"]

COLUMN_GAP: Final = "  "
COLUMN_WIDTH_MIN: Final = 8
"""A column that is narrower tells nothing any more; rather than that, the line is too long."""

RANK_OF_IDS: Final = 2

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Styled(NamedTuple):
    """Text with the style that it has where there are colours."""

    text: str
    style: str


@dataclass(slots=True)
class _Column:
    cells: list[Styled]
    natural: int
    right: bool
    rank: int
    """What has the lowest rank is cut first, and left out before anything of a higher one is cut."""
    width: int = 0

    def __post_init__(self) -> None:
        self.width = self.natural


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
        self,
        heads: Sequence[str],
        rows: Iterable[Sequence[str | Styled]],
        *,
        right: Collection[str] = (),
        keep: Collection[str] = (),
        ids: Collection[str] = (),
    ) -> None:
        """Write rows under heads, aligned with spaces; columns without any value are left out.

        Numbers are aligned at the `right`. Where the terminal is too narrow, columns are cut and then left out from
        the right: first those that are neither in `keep` nor `ids`, then those in `keep`. `ids` are cut when only they
        are left.
        """
        cells = [[cell if isinstance(cell, Styled) else Styled(cell, "") for cell in row] for row in rows]
        columns = []
        for number, head in enumerate(heads):
            column = [Styled(clean(row[number].text), row[number].style) for row in cells]
            if any(cell.text for cell in column):
                column.insert(0, Styled(head.upper(), "dim"))
                natural = max(width_of(cell.text) for cell in column)
                columns.append(
                    _Column(column, natural, head in right, RANK_OF_IDS if head in ids else int(head in keep))
                )
        self._fit(columns)
        for line in zip(*(column.cells for column in columns), strict=True):
            parts = [self._pad(cell, column) for cell, column in zip(line, columns, strict=True)]
            sys.stdout.write(COLUMN_GAP.join(parts).rstrip() + "\n")

    def _pad(self, cell: Styled, column: _Column) -> str:
        text = fit(cell.text, column.width)
        space = " " * (column.width - width_of(text))
        painted = self._paint(text, cell.style)
        return space + painted if column.right else painted + space

    def _fit(self, columns: list[_Column]) -> None:
        """Make a line fit into the terminal: rank by rank, cut, then leave out; the highest rank is only cut."""
        if self._width is None:
            return
        while columns:
            room = self._width - len(COLUMN_GAP) * (len(columns) - 1) - sum(column.width for column in columns)
            lowest = min(column.rank for column in columns)
            loose = [column for column in columns if column.rank == lowest]
            shrinkable = [column for column in loose if column.width > COLUMN_WIDTH_MIN]
            if room >= 0 or (not shrinkable and lowest == RANK_OF_IDS):
                return
            if shrinkable:
                widest = max(shrinkable, key=lambda column: column.width)
                widest.width -= 1
            else:
                last = loose.pop()
                columns[:] = [column for column in columns if column is not last]
                for column in loose:
                    column.width = column.natural  # there is room again

    def _paint(self, text: str, style: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self._color and style and text else text
