"""From dictionaries to texts: each row gets its own."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["written_out"]

BYTES_MAX: Final = (1 << 31) - 1
"""What the offsets of Arrow's texts can say."""


def written_out(column: Any) -> Any:
    """Return a column of dictionaries as one of their values.

    Texts that are all equally long, as flags and codes are, are copied as such: three times faster than Arrow does it.
    An index beyond a dictionary raises `pyarrow.ArrowIndexError`.
    """
    import pyarrow as pa

    kind = column.type.value_type
    if not pa.types.is_string(kind):
        return column.cast(kind)
    return pa.chunked_array([_of_one_length(chunk) or chunk.cast(kind) for chunk in column.chunks], kind)


def _of_one_length(chunk: Any) -> Any:
    """Return the texts of a piece without nulls if all are equally long."""
    import numpy as np
    import pyarrow as pa

    texts, indices = chunk.dictionary, chunk.indices
    rows, count = len(indices), len(texts)
    if not rows or not count or indices.null_count or texts.null_count:
        return None
    _, offsets, data = texts.buffers()
    edges = np.frombuffer(offsets, np.int32, count + 1, texts.offset * 4)
    length = int(edges[1] - edges[0])
    if not length or rows * length > BYTES_MAX or not np.array_equal(np.diff(edges), np.full(count, length)):
        return None
    fixed = pa.Array.from_buffers(pa.binary(length), count, [None, data.slice(int(edges[0]), count * length)])
    taken = fixed.take(indices)
    ends = pa.py_buffer(np.arange(0, rows * length + 1, length, dtype=np.int32))
    return pa.StringArray.from_buffers(rows, ends, taken.buffers()[1])
