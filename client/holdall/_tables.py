"""Tables with a bar and with views for people who watch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from holdall._progress import Bar, is_watched
from holdall._table_views import Preview, make_preview, table_html
from holdall_store.tables import Table as EngineTable
from holdall_store.tables import col
from holdall_store.transfer.s3 import Reporter

__all__ = ["Preview", "Table", "col", "watched"]


class Table(EngineTable):
    __doc__ = EngineTable.__doc__

    def _default_reporter(
        self, statistics: Callable[[], Mapping[str, Any]]
    ) -> contextlib.AbstractContextManager[Reporter | None]:
        if self.shows_progress or (self.shows_progress is None and is_watched()):
            return Bar(statistics)
        return contextlib.nullcontext()

    def _repr_html_(self) -> str:
        return table_html(self)

    def preview(self, n: int = 20) -> Preview:
        """Read the first `n` rows, and return a view of them for a notebook or a terminal."""
        return make_preview(self, n)


def watched(table: EngineTable) -> Table:
    """Return a table of the engine's as one of these."""
    found: Table = object.__new__(Table)
    vars(found).update(vars(table))
    return found
