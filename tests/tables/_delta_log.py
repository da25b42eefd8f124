"""Tables of Delta whose logs are written by hand: with what deltalake reads and does not write."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap64

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_MAGIC: Final = 1681511377


def mapped(name: str, kind: Any, number: int, stored: str) -> dict[str, Any]:
    """Return a field of a schema whose columns are mapped."""
    metadata = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": stored}
    return {"name": name, "type": kind, "nullable": True, "metadata": metadata}


def structure(*fields: dict[str, Any]) -> dict[str, Any]:
    """Return the type of a struct, or a schema."""
    return {"type": "struct", "fields": list(fields)}


class DeltaLog:
    """A log in a folder, to which versions are added."""

    def __init__(
        self,
        folder: Path,
        schema: dict[str, Any],
        *,
        mapping: str = "none",
        partitions: Iterable[str] = (),
        features: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.version = -1
        (folder / "_delta_log").mkdir(parents=True)
        wanted = sorted({*features, *(["columnMapping"] if mapping != "none" else [])})
        self._protocol = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": wanted,
            "writerFeatures": wanted,
        }
        self._id = str(uuid.UUID(int=1))
        self._configuration = {"delta.columnMapping.mode": mapping} if mapping != "none" else {}
        self._partitions = list(partitions)
        self.commit({"protocol": self._protocol}, self.metadata(schema))

    def metadata(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the action that gives the table a schema."""
        return {
            "metaData": {
                "id": self._id,
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema),
                "partitionColumns": self._partitions,
                "configuration": self._configuration,
                "createdTime": 1_600_000_000_000,
            }
        }

    def commit(self, *actions: Mapping[str, Any]) -> None:
        """Add a version."""
        self.version += 1
        lines = "\n".join(json.dumps(action) for action in actions)
        (self.folder / "_delta_log" / f"{self.version:020d}.json").write_text(lines)

    def file(self, name: str, table: pa.Table, **more: Any) -> dict[str, Any]:
        """Write a file, and return the action that adds it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            pq.write_table(table, path, row_group_size=more.pop("row_group_size", 1000), use_dictionary=False)
        added = {
            "path": quote(name),
            "partitionValues": {},
            "size": path.stat().st_size,
            "modificationTime": 1,
            "dataChange": True,
            "stats": json.dumps({"numRecords": table.num_rows}),
        }
        return {"add": {**added, **more}}

    def vector(self, rows: Iterable[int]) -> dict[str, Any]:
        """Write a file that deletes rows, and return what an added file says of it."""
        found = BitMap64(rows)
        data = struct.pack("<I", _MAGIC) + found.serialize()
        name = uuid.UUID(int=zlib.crc32(data))
        path = self.folder / f"deletion_vector_{name}.bin"
        path.write_bytes(b"\x01" + struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data)))
        return {
            "storageType": "u",
            "pathOrInlineDv": _in_85_digits(name.bytes),
            "offset": 1,
            "sizeInBytes": len(data),
            "cardinality": len(found),
        }


def _in_85_digits(data: bytes) -> str:
    found = ""
    for at in range(0, len(data), 4):
        number = int.from_bytes(data[at : at + 4], "big")
        digits = ""
        for _ in range(5):
            digits = _DIGITS[number % 85] + digits
            number //= 85
        found += digits
    return found
