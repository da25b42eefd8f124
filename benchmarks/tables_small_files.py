"""Read a folder of 1 000 small files of Parquet from S3, from the name of the folder on."""

from __future__ import annotations

from benchmarks import _tables_lanes as lanes
from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._servers import serve_nginx
from benchmarks._tables_data import write_small_files

CLAIM = Claim(
    "tables_small_files",
    "Read a folder of 1 000 files of about 80 kB from S3 into columns",
    {
        "shaped": Target(
            "30 ms, 90 MB/s a connection, first call of a process: pyarrow dataset's time over ours", ">=", 5, "×"
        ),
        "fastest": Target("the same: the fastest other's time over ours", ">=", 1, "×"),
        "plain": Target("not delayed, first call of a process: pyarrow dataset's time over ours", ">=", 5, "×"),
    },
)

TOUCH_BYTES = 512 << 20
ROWS = 4000


def run(bench: Bench) -> None:
    """Measure the claim."""
    count = bench.size("files", 1000, 20)
    with serve_nginx(bench.folder) as nginx:
        write_small_files(nginx.root / "bucket" / "small", count, ROWS)
        for name, endpoint, what in (("shaped", nginx.shaped, "shaped: "), ("plain", nginx.plain, "not delayed: ")):
            place = lanes.Place(endpoint, "small/", shaped=name == "shaped")
            found = lanes.Lanes(bench, place, nginx, TOUCH_BYTES, passes=2)
            found.add_remote(slow=False)
            samples = found.measure()
            lanes.record(bench, samples, what)
            lanes.judge_fastest(bench, name, samples, "first", only=lanes.PYARROW)
            if name == "shaped":
                lanes.judge_fastest(bench, "fastest", samples, "first")
        lanes.describe_readers(bench, nginx)


if __name__ == "__main__":
    main(CLAIM, run)
