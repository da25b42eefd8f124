"""The tables that readers are measured on, as files of Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks._frames import real_flights
from benchmarks._harness import Bench, Skipped
from benchmarks._servers import find_tool

__all__ = ["LINEITEM_COLUMNS", "chunk_bytes", "write_flights", "write_lineitem", "write_small_files", "write_wide"]

LINEITEM_COLUMNS: Final = ("l_orderkey", "l_extendedprice", "l_shipdate")
"""Three of the sixteen columns: a key, a price and a date, which lie apart."""

SEED: Final = 20261101


def write_lineitem(bench: Bench, folder: Path, scale: float, *, row_group_bytes: int = 0) -> Path:
    """Write lineitem of TPC-H with the generator of parquet-rs: at scale 1, six million rows in 53 row groups, 183 MB."""
    program = find_tool("tpchgen-cli")
    if program is None:
        raise Skipped("tpchgen-cli is not installed: pip install tpchgen-cli.")
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--tables", "lineitem", "-s", str(scale), "-o", str(folder), "--quiet", "--compression", "ZSTD(1)"]
    options += ["--row-group-bytes", str(row_group_bytes)] if row_group_bytes else []
    bench.execute([program, "parquet", *options])
    return folder / "lineitem.parquet"


def write_flights(path: Path, rows: int) -> None:
    """Write the flights that left New York in 2013: numbers, texts, times, and nulls among them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(real_flights().head(rows), preserve_index=False)
    pq.write_table(table, path, compression="zstd", row_group_size=max(rows // 3, 1))


def write_wide(path: Path, rows: int, columns: int) -> None:
    """Write many columns of doubles, whole numbers and a few texts, as features are."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(SEED)
    makers: tuple[Any, ...] = (
        lambda: rng.normal(size=rows),
        lambda: rng.integers(0, 1000, rows),
        lambda: rng.normal(size=rows).astype(np.float32),
        lambda: rng.poisson(3, rows).astype(np.int32),
    )
    texts = pa.array([f"category {number}" for number in range(50)])
    table = pa.table(
        {
            f"feature_{at:03d}": texts.take(pa.array(rng.integers(0, 50, rows))) if at % 20 == 19 else makers[at % 4]()
            for at in range(columns)
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=max(rows // 4, 1))


def write_small_files(folder: Path, count: int, rows: int) -> None:
    """Write many files of about 80 kB, as streams leave them: no two have the same rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    names = pa.array([f"user {number}" for number in range(500)])
    for number in range(count):
        table = pa.table(
            {
                "id": np.arange(number * rows, (number + 1) * rows),
                "user": names.take(pa.array(rng.integers(0, 500, rows))),
                "amount": rng.normal(size=rows),
                "count": rng.integers(0, 10_000, rows),
            }
        )
        pq.write_table(table, folder / f"part-{number:05d}.parquet", compression="zstd")


def chunk_bytes(path: Path, columns: tuple[str, ...] | None = None, row_groups: list[int] | None = None) -> int:
    """Return what columns weigh in a file, as its footer says."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    total = 0
    for group in row_groups if row_groups is not None else range(metadata.num_row_groups):
        chunks = [metadata.row_group(group).column(at) for at in range(metadata.num_columns)]
        total += sum(
            chunk.total_compressed_size
            for chunk in chunks
            if columns is None or chunk.path_in_schema.partition(".")[0] in columns
        )
    return total
