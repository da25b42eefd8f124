"""Read the rows of lineitem that a condition leaves, which are in one row group in eight, from S3."""

from __future__ import annotations

from pathlib import Path

from benchmarks import _tables_lanes as lanes
from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._servers import serve_nginx
from benchmarks._tables_data import chunk_bytes, write_lineitem

CLAIM = Claim(
    "tables_predicate",
    "Read all columns of the rows of lineitem in an interval of its key, one row group in eight, from S3 into columns",
    {
        "shaped": Target("30 ms, 90 MB/s a connection, warm: the fastest other's time over ours", ">=", 1, "×"),
        "plain": Target("not delayed, warm: the fastest other's time over ours", ">=", 1, "×"),
        "bytes": Target(
            "bytes of column chunks that we ask for over those of the row groups that have rows", "<=", 1.3, "×"
        ),
    },
)

TOUCH_BYTES = 512 << 20
SHARE = 8
KEY = "l_orderkey"


def run(bench: Bench) -> None:
    """Measure the claim."""
    percent = bench.size("scale in percent", 100, 2)
    with serve_nginx(bench.folder) as nginx:
        groups = 400_000 if bench.quick else 0
        path = write_lineitem(bench, nginx.root / "bucket", percent / 100, row_group_bytes=groups)
        low, high, chosen = _interval(path)
        ideal = chunk_bytes(path, None, chosen)
        bench.record("row groups with such rows", len(chosen), "row groups")
        bench.record("what they weigh", ideal / 1e6, "MB")
        for name, endpoint, what in (("shaped", nginx.shaped, "shaped: "), ("plain", nginx.plain, "not delayed: ")):
            place = lanes.Place(endpoint, "lineitem.parquet", shaped=name == "shaped")
            found = lanes.Lanes(bench, place, nginx, TOUCH_BYTES, wanted={"where": [KEY, low, high]})
            found.add_remote(slow=name == "plain")
            samples = found.measure()
            lanes.record(bench, samples, what)
            lanes.judge_fastest(bench, name, samples)
            if name == "shaped":
                bench.judge("bytes", lanes.bytes_beyond_footers(bench, samples, path) / ideal)
        lanes.describe_readers(bench, nginx)


def _interval(path: Path) -> tuple[int, int, list[int]]:
    """Return an interval of the key in the middle of the table, and the row groups whose statistics meet it."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    bounds = [metadata.row_group(at).column(0).statistics for at in range(metadata.num_row_groups)]
    begin = metadata.num_row_groups // 2
    end = min(begin + max(metadata.num_row_groups // SHARE, 1), metadata.num_row_groups) - 1
    low, high = int(bounds[begin].min), int(bounds[end].max)
    return low, high, [at for at, each in enumerate(bounds) if each.max >= low and each.min < high]


if __name__ == "__main__":
    main(CLAIM, run)
