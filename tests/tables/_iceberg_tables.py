"""Tables of Iceberg, made by pyiceberg with a catalog in a file; and what it does not write, added by hand."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate
from pyiceberg.typedef import Record
from pyroaring import BitMap64

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from tests.tables._lake import Lake
    from tests.transfer._bucket_server import BucketServer


def catalog(folder: Path, **properties: str) -> SqlCatalog:
    """Return a catalog in a folder, with a namespace ``n``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = SqlCatalog("c", uri=f"sqlite:///{folder}/c.db", **{"warehouse": f"file://{folder}", **properties})
    made.create_namespace("n")
    return made


class BucketIO(FileIO):
    """The files of a bucket of the tests, for pyiceberg: its own ways write what the server does not understand."""

    server: ClassVar[BucketServer]

    def new_input(self, location: str) -> InputFile:
        return _BucketFile(location)

    def new_output(self, location: str) -> OutputFile:
        return _BucketFile(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise NotImplementedError


class _BucketFile(InputFile, OutputFile):
    @property
    def _key(self) -> str:
        return self.location.removeprefix("s3://bucket/")

    def __len__(self) -> int:
        return len(BucketIO.server.content(self._key) or b"")

    def exists(self) -> bool:
        return BucketIO.server.content(self._key) is not None

    def to_input_file(self) -> InputFile:
        return self

    def open(self, seekable: bool = True) -> Any:
        return io.BytesIO(BucketIO.server.content(self._key) or b"")

    def create(self, overwrite: bool = False) -> Any:
        key = self._key

        class Stream(io.BytesIO):
            """Puts what was written into the bucket."""

            def close(self) -> None:
                if not self.closed:
                    BucketIO.server.store(key, self.getvalue())
                super().close()

        return Stream()


@contextlib.contextmanager
def bucket_io(lake: Lake) -> Iterator[str]:
    """Give the name of what lets pyiceberg write into a bucket."""
    BucketIO.server = lake.server
    yield f"{__name__}.BucketIO"
    del BucketIO.server


def put(table: Table, name: str, data: bytes) -> str:
    """Write a file beside the table's data."""
    location = f"{table.location()}/data/{name}"
    with table.io.new_output(location).create(overwrite=True) as stream:
        stream.write(data)
    return location


def positions(table: Table, name: str, rows: dict[str, list[int]]) -> DataFile:
    """Write a file of positions that are deleted, by the paths of files."""
    data = pa.table(
        {
            "file_path": [path for path, gone in rows.items() for _ in gone],
            "pos": pa.array([row for gone in rows.values() for row in gone], pa.int64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink)
    content = sink.getvalue().to_pybytes()
    return _delete_file(table, put(table, name, content), FileFormat.PARQUET, len(content), data.num_rows)


def vectors(table: Table, name: str, rows: dict[str, list[int]]) -> DataFile:
    """Write a file of vectors that delete rows, by the paths of files."""
    body = b"PFA1"
    blobs = []
    for path, gone in rows.items():
        inner = b"\xd1\xd3\x39\x64" + BitMap64(gone).serialize()
        blob = struct.pack(">I", len(inner)) + inner + struct.pack(">I", zlib.crc32(inner))
        blobs.append(
            {
                "type": "deletion-vector-v1",
                "fields": [2147483645],
                "snapshot-id": -1,
                "sequence-number": -1,
                "offset": len(body),
                "length": len(blob),
                "properties": {"referenced-data-file": path, "cardinality": str(len(gone))},
            }
        )
        body += blob
    footer = json.dumps({"blobs": blobs}).encode()
    content = body + b"PFA1" + footer + struct.pack("<I", len(footer)) + b"\0\0\0\0PFA1"
    return _delete_file(table, put(table, name, content), FileFormat.PUFFIN, len(content), sum(map(len, rows.values())))


def _delete_file(
    table: Table, path: str, kind: FileFormat, size: int, rows: int, content: Any = DataFileContent.POSITION_DELETES
) -> DataFile:
    made = DataFile.from_args(
        content=content,
        file_path=path,
        file_format=kind,
        partition=Record(),
        record_count=rows,
        file_size_in_bytes=size,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={},
        upper_bounds={},
        equality_ids=[1] if content == DataFileContent.EQUALITY_DELETES else None,
    )
    made.spec_id = table.spec().spec_id
    return made


def as_version_3(table: Table, defaults: dict[str, Any]) -> str:
    """Write metadata of version 3, which pyiceberg reads and does not write, and return where they are.

    `defaults` are what columns are in files from before them.
    """
    metadata = json.loads(table.metadata.model_dump_json())
    metadata["format-version"] = 3
    metadata["next-row-id"] = 1 << 20
    for schema in metadata["schemas"]:
        for field in schema["fields"]:
            if field["name"] in defaults:
                field["initial-default"] = field["write-default"] = defaults[field["name"]]
    location = f"{table.location()}/metadata/99999-third.metadata.json"
    with table.io.new_output(location).create(overwrite=True) as stream:
        stream.write(json.dumps(metadata).encode())
    return location


def equality(table: Table, name: str, data: pa.Table) -> DataFile:
    """Write a file of values whose rows are deleted."""
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink)
    content = sink.getvalue().to_pybytes()
    path = put(table, name, content)
    return _delete_file(table, path, FileFormat.PARQUET, len(content), data.num_rows, DataFileContent.EQUALITY_DELETES)


def commit_deletes(table: Table, *files: DataFile) -> Table:
    """Commit files that delete rows: as another engine would."""
    current = table.current_snapshot()
    assert current is not None
    number = table.metadata.next_sequence_number()
    snapshot_id = table.metadata.new_snapshot_id()
    version = table.format_version
    manifests = list(current.manifests(table.io))
    location = f"{table.location()}/metadata/deletes-{snapshot_id}-m0.avro"
    writer = write_manifest(
        format_version=version,
        spec=table.spec(),
        schema=table.schema(),
        output_file=table.io.new_output(location),
        snapshot_id=snapshot_id,
        avro_compression="null",
    )
    writer.content = lambda: ManifestContent.DELETES  # type: ignore[method-assign]
    with writer:
        for file in files:
            entry = ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, sequence_number=None, data_file=file
            )
            writer.add_entry(entry)
    manifests.append(writer.to_manifest_file())
    listed = f"{table.location()}/metadata/snap-{snapshot_id}-deletes.avro"
    with write_manifest_list(
        format_version=version,
        output_file=table.io.new_output(listed),
        snapshot_id=snapshot_id,
        parent_snapshot_id=current.snapshot_id,
        sequence_number=number,
        avro_compression="null",
    ) as manifest_list:
        manifest_list.add_manifests(manifests)
    snapshot = {
        "snapshot-id": snapshot_id,
        "parent-snapshot-id": current.snapshot_id,
        "manifest-list": listed,
        "sequence-number": number,
        "timestamp-ms": current.timestamp_ms + 1,
        "summary": {"operation": "delete"},
        "schema-id": table.schema().schema_id,
    }
    reference = {"ref-name": "main", "type": "branch", "snapshot-id": snapshot_id}
    updates = (
        AddSnapshotUpdate.model_validate({"action": "add-snapshot", "snapshot": snapshot}),
        SetSnapshotRefUpdate.model_validate({"action": "set-snapshot-ref", **reference}),
    )
    unchanged = {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": current.snapshot_id}
    table.catalog.commit_table(table, (AssertRefSnapshotId.model_validate(unchanged),), updates)
    return table.refresh()
