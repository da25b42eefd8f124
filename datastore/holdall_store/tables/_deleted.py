"""Rows of a file that its table's log says are deleted: their positions, as a mask of what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdall_store.tables._footer import Footer

__all__ = ["count_deleted", "mask_of_kept", "merged"]


def merged(parts: Sequence[Any]) -> Any:
    """Return positions from several places, each once and in order; ``None`` for no positions."""
    import numpy as np

    found = [np.asarray(part, np.int64) for part in parts if len(part)]
    return np.unique(np.concatenate(found)) if found else None


def count_deleted(deleted: Any, footer: Footer, group: int) -> int:
    """Return how many rows of a row group are deleted."""
    begin, end = _places(deleted, footer, group)
    return int(end - begin)


def _places(deleted: Any, footer: Footer, group: int) -> tuple[Any, Any]:
    import numpy as np

    first = footer.first_row(group)
    begin, end = np.searchsorted(deleted, [first, first + footer.rows(group)])
    return begin, end


def mask_of_kept(deleted: Any, footer: Footer, groups: Sequence[int]) -> Any:
    """Return which rows of these row groups stay, or ``None`` if all of them do."""
    import numpy as np
    import pyarrow as pa

    if deleted is None or not any(count_deleted(deleted, footer, group) for group in groups):
        return None
    parts = []
    for group in groups:
        kept = np.ones(footer.rows(group), np.bool_)
        begin, end = _places(deleted, footer, group)
        kept[deleted[begin:end] - footer.first_row(group)] = False
        parts.append(kept)
    return pa.array(np.concatenate(parts))
