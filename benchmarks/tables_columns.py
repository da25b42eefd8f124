"""Read 3 of the 16 columns of lineitem from S3: in the shape of S3, and not delayed."""

from __future__ import annotations

from benchmarks import _tables_lanes as lanes
from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._servers import serve_nginx
from benchmarks._tables_data import LINEITEM_COLUMNS, chunk_bytes, write_lineitem

CLAIM = Claim(
    "tables_columns",
    "Read 3 of the 16 columns of lineitem (TPC-H, one file of 53 row groups) from S3 into columns",
    {
        "shaped": Target("30 ms, 90 MB/s a connection, warm: the fastest other's time over ours", ">=", 1, "×"),
        "shaped_cold": Target("the same, first call of a process", ">=", 1, "×"),
        "plain": Target("not delayed, warm: the fastest other's time over ours", ">=", 1, "×"),
        "plain_cold": Target("the same, first call of a process", ">=", 1, "×"),
        "bytes": Target("bytes of column chunks that we ask for over what the columns weigh", "<=", 1.05, "×"),
    },
)

TOUCH_BYTES = 512 << 20


def run(bench: Bench) -> None:
    """Measure the claim."""
    percent = bench.size("scale in percent", 100, 1)
    columns = list(LINEITEM_COLUMNS)
    with serve_nginx(bench.folder) as nginx:
        groups = 200_000 if bench.quick else 0
        path = write_lineitem(bench, nginx.root / "bucket", percent / 100, row_group_bytes=groups)
        weight = chunk_bytes(path, LINEITEM_COLUMNS)
        bench.record("what the columns weigh", weight / 1e6, "MB")
        for name, endpoint, what in (("shaped", nginx.shaped, "shaped: "), ("plain", nginx.plain, "not delayed: ")):
            place = lanes.Place(endpoint, "lineitem.parquet", shaped=name == "shaped")
            found = lanes.Lanes(bench, place, nginx, TOUCH_BYTES, wanted={"columns": columns})
            found.add_remote(slow=name == "plain")
            samples = found.measure()
            lanes.record(bench, samples, what)
            lanes.judge_fastest(bench, name, samples)
            lanes.judge_fastest(bench, f"{name}_cold", samples, "first")
            if name == "shaped":
                bench.judge("bytes", lanes.bytes_beyond_footers(bench, samples, path) / weight)
        lanes.describe_readers(bench, nginx)


if __name__ == "__main__":
    main(CLAIM, run)
