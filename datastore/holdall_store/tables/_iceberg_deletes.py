"""Rows of tables of Iceberg that are deleted by their positions: files of positions, and vectors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from holdall_store.errors import FormatError, UnsupportedTypeError
from holdall_store.tables._deleted import merged
from holdall_store.tables._resolve import Address, key_in
from holdall_store.tables._source import Found, Source

__all__ = ["read_deletes"]

_VECTOR: Final = "deletion-vector-v1"
_MAGIC: Final = b"\xd1\xd3\x39\x64"
_FRAME_BYTES: Final = 12
"""A vector has its length and a magic number before it, and a checksum after it."""


def read_deletes(source: Source, address: Address, tasks: Sequence[Any]) -> dict[str, Any]:
    """Return the positions of deleted rows by the paths of files, in order."""
    wanted = {each.file_path: each for task in tasks for each in task.delete_files}
    if not wanted:
        return {}
    files = [Found(key_in(address, path), each.file_size_in_bytes) for path, each in wanted.items()]
    positions: dict[str, dict[str, Any]] = {}
    for (path, each), tail in zip(wanted.items(), source.tails([(file, file.size) for file in files]), strict=True):
        if tail is None:
            raise FormatError(f"{path} is gone: it says which rows of {address.text} are deleted.")
        read = {"parquet": _from_parquet, "puffin": _from_puffin}.get(each.file_format.value.lower())
        if read is None:
            raise UnsupportedTypeError(f"{path} says which rows are deleted, as a file of {each.file_format.value}.")
        try:
            positions[path] = dict(read(bytes(tail.data)))
        except (ValueError, KeyError, OSError) as error:
            raise FormatError(f"{path} does not say which rows are deleted: {error!s:.200}") from error
    found = {}
    for task in tasks:
        parts = [positions[each.file_path].get(task.file.file_path, ()) for each in task.delete_files]
        gone = merged(parts)
        if gone is not None:
            if gone[0] < 0 or gone[-1] >= task.file.record_count:
                raise FormatError(
                    f"{task.file.file_path}: row {gone[-1]} is deleted, and it has {task.file.record_count}."
                )
            found[task.file.file_path] = gone
    return found


def _from_parquet(data: bytes) -> Iterator[tuple[str, Any]]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data), columns=["file_path", "pos"])
    paths = table.column("file_path").combine_chunks().dictionary_encode()
    codes = paths.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    positions = table.column("pos").to_numpy()[order]
    edges = np.searchsorted(codes[order], np.arange(len(paths.dictionary) + 1))
    for at, path in enumerate(paths.dictionary.to_pylist()):
        yield path, positions[edges[at] : edges[at + 1]]


def _from_puffin(data: bytes) -> Iterator[tuple[str, Any]]:
    import numpy as np
    from pyiceberg.table.puffin import PuffinFile
    from pyroaring import BitMap64

    for blob in PuffinFile(data).footer.blobs:
        if blob.type != _VECTOR:
            continue
        if blob.compression_codec is not None:
            raise ValueError(f"its vectors are compressed ({blob.compression_codec})")
        part = data[blob.offset : blob.offset + blob.length]
        body = part[4:-4]
        if len(part) < _FRAME_BYTES or body[:4] != _MAGIC or int.from_bytes(part[:4], "big") != len(body):
            raise ValueError("it has no vector where it says so")
        if zlib.crc32(body) != int.from_bytes(part[-4:], "big"):
            raise ValueError("a vector does not have the checksum that it should")
        found = np.array(BitMap64.deserialize(body[4:]), np.int64)
        cardinality = blob.properties.get("cardinality")
        if cardinality is not None and int(cardinality) != len(found):
            raise ValueError(f"a vector has {len(found)} rows instead of {cardinality}")
        yield blob.properties["referenced-data-file"], found
