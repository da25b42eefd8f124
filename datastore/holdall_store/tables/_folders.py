"""Sharing rows out to the folders of their partitions: ``day=2026-11-01/country=US``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from holdall_store.errors import ColumnNotFoundError, InvalidNameError, UnsupportedTypeError, nearest
from holdall_store.tables._partitions import NULL_NAME

__all__ = ["check_partition_by", "folder_values", "quote_value", "share_out"]

SEGMENT_BYTES_MAX: Final = 255
"""No filesystem has longer names."""

_QUOTED: Final = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{}\[\]^<>|]")
"""What Hive quotes, and what has a meaning of its own on some filesystem or in globs."""


def check_partition_by(partition_by: Any, schema: Any) -> tuple[str, ...]:
    """Return the partition columns that a caller names, each of which `schema` has; there is another column beside them."""
    if isinstance(partition_by, str):
        partition_by = [partition_by]
    if not isinstance(partition_by, Iterable):
        raise InvalidNameError(
            f"partition_by={partition_by!r:.80} is understood as names of columns: give a list of them."
        )
    names = tuple(partition_by)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidNameError(f"partition_by={names!r:.200} holds {name!r:.80}, which names no column.")
        if name not in schema.names:
            raise ColumnNotFoundError(
                f"The frame has no column {name!r:.200} to partition by.{nearest(name, schema.names)}"
            )
    if len(set(names)) < len(names):
        raise InvalidNameError(f"partition_by={names!r:.200} names a column twice.")
    if names and len(names) == len(schema.names):
        raise InvalidNameError("A table is partitioned by some of its columns: one at least is left for the files.")
    return names


def quote_value(text: str) -> str:
    """Return a name or value as a part of a folder's name: all readers of Hive's folders take it back."""
    if text == NULL_NAME:  # a text, and no null
        return "%5F" + text[1:]
    quoted = _QUOTED.sub(lambda match: f"%{ord(match[0]):02X}", text)
    if not quoted.isprintable():
        quoted = "".join(char if char.isprintable() else _bytes_of(char) for char in quoted)
    # A name that begins with a dot would be hidden.
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _bytes_of(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def folder_values(column: Any, name: str) -> list[str | None]:
    """Return the values of a column as the names of folders say them, or raise if they would not be read back as they are."""
    import pyarrow as pa

    try:
        texts = column.cast(pa.string())
        again = texts.cast(column.type)
        # Compared as lists of Python's: NaN equals nothing.
        same = [a == b or (a != a and b != b) for a, b in zip(column.to_pylist(), again.to_pylist(), strict=True)]
    except (pa.ArrowException, NotImplementedError, ValueError) as error:
        raise UnsupportedTypeError(
            f"The column {name!r} is {column.type}, whose values cannot be the names of folders: partition by another, or "
            f"by one made of its texts ({str(error).splitlines()[0]:.200})."
        ) from error
    if not all(same):
        wrong = column[same.index(False)].as_py()
        raise UnsupportedTypeError(
            f"The column {name!r} holds {wrong!r:.80}, which the name of a folder cannot tell: partition by another column."
        )
    found: list[str | None] = texts.to_pylist()
    return found


def _segment(name: str, text: str | None) -> str:
    segment = f"{quote_value(name)}={NULL_NAME if text is None else quote_value(text)}"
    if len(segment.encode("utf-8", "surrogatepass")) > SEGMENT_BYTES_MAX:
        raise InvalidNameError(
            f"The value {text!r:.60}… of the partition column {name!r} is too long for the name of a folder "
            f"({SEGMENT_BYTES_MAX} bytes)."
        )
    return segment


def share_out(piece: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield folders, with a slash at the end, and the rows of `piece` that belong there, in their order, without `names`."""
    import numpy as np

    rest = piece.drop_columns(list(names)) if names else piece
    if not names:
        yield "", rest
        return
    if not piece.num_rows:
        return
    codes = np.zeros(piece.num_rows, np.int64)
    columns: list[tuple[Any, list[str]]] = []
    for name in names:
        own, segments = _coded(piece.column(name), name)
        columns.append((own, segments))
        # Numbered anew after each column: the product of many could pass what 64 bits hold.
        _, codes = np.unique(codes * len(segments) + own, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    edges = np.flatnonzero(np.diff(codes[order])) + 1
    if len(edges):
        rest = rest.take(order)
    for begin, end in zip([0, *edges], [*edges, piece.num_rows], strict=True):
        first = order[begin]
        folder = "".join(segments[own[first]] + "/" for own, segments in columns)
        yield folder, rest.slice(begin, end - begin)


def _coded(column: Any, name: str) -> tuple[Any, list[str]]:
    """Return which value each row has, as numbers, and the folders of the values."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if column.null_count == len(column):
        return np.zeros(len(column), np.int64), [_segment(name, None)]
    try:
        encoded = column.combine_chunks().dictionary_encode()
    except (pa.ArrowException, NotImplementedError) as error:
        raise UnsupportedTypeError(
            f"The column {name!r} is {kind}: a table is partitioned by columns of plain values."
        ) from error
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    segments = [_segment(name, text) for text in folder_values(encoded.dictionary, name)]
    codes = encoded.indices.fill_null(len(segments)).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [*segments, _segment(name, None)]
