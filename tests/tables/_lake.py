"""Files for the tests of tables: written in memory, put into a bucket, and what was asked of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from holdall_store.tables import Table

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

OPTIONS: Final = {"key": "access", "secret": "a-secret-of-the-tests", "region": "us-east-1"}


def parquet(table: pa.Table, **options: Any) -> bytes:
    """Return a table as the bytes of a file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def numbers(rows: int, columns: int, seed: int = 0) -> pa.Table:
    """Return a table of random numbers, which compress badly, and of their positions as ``k``."""
    random = np.random.default_rng(seed)
    return pa.table({"k": np.arange(rows), **{f"c{at}": random.random(rows) for at in range(columns)}})


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    """Write a table to a file, and make the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parquet(table, **options))
    return path


class Lake:
    """A bucket with files."""

    def __init__(self, server: BucketServer) -> None:
        self.server = server

    @property
    def options(self) -> dict[str, Any]:
        """What a table needs to reach the bucket."""
        return {**OPTIONS, "endpoint_url": self.server.url}

    def put(self, key: str, table: pa.Table, **options: Any) -> int:
        """Put a table there as a file, and return the file's size."""
        return self.put_bytes(key, parquet(table, **options))

    def put_bytes(self, key: str, data: bytes) -> int:
        """Put bytes there."""
        self.server.store(key, data)
        return len(data)

    def table(self, key: str, **options: Any) -> Table:
        """Return the table at a key."""
        return Table(f"s3://bucket/{key}", storage_options=self.options, **options)

    def asked(self) -> list[tuple[str, str, int]]:
        """Return what was asked since the last time: the verb, the key, and how many bytes of it."""
        found = []
        for request in self.server.log:
            length = -1
            wanted = request.headers.get("range", "").removeprefix("bytes=")
            if wanted.startswith("-"):
                length = min(int(wanted[1:]), len(self.server.content(request.key) or b""))
            elif wanted:
                first, _, last = wanted.partition("-")
                length = int(last) + 1 - int(first)
            found.append((request.verb, request.key, length))
        self.server.log.clear()
        return found
