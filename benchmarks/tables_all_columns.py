"""Read all 16 columns of lineitem from S3, and hold it against the link alone and decoding alone."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks import _tables_lanes as lanes
from benchmarks import _tables_readers as readers
from benchmarks._harness import Bench, Claim, Target, column, main
from benchmarks._servers import serve_nginx
from benchmarks._tables_data import write_lineitem

CLAIM = Claim(
    "tables_all_columns",
    "Read all 16 columns of lineitem (TPC-H, one file of 183 MB, 53 row groups) from S3 into columns",
    {
        "shaped": Target("30 ms, 90 MB/s a connection, warm: the fastest other's time over ours", ">=", 1, "×"),
        "plain": Target("not delayed, warm: the fastest other's time over ours", ">=", 1, "×"),
        "limit_shaped": Target("shaped: the longer of the link alone and decoding alone, over ours", ">=", 0.8, "×"),
        "limit_plain": Target(
            "not delayed: the longer of the link alone and decoding alone, over ours", ">=", 0.8, "×"
        ),
    },
)

TOUCH_BYTES = 2 << 30


def run(bench: Bench) -> None:
    """Measure the claim."""
    percent = bench.size("scale in percent", 100, 1)
    with serve_nginx(bench.folder) as nginx:
        path = write_lineitem(bench, nginx.root / "bucket", percent / 100)
        local = lanes.Place("", str(path))
        for name, endpoint, what in (("shaped", nginx.shaped, "shaped: "), ("plain", nginx.plain, "not delayed: ")):
            place = lanes.Place(endpoint, "lineitem.parquet", shaped=name == "shaped")
            found = lanes.Lanes(bench, place, nginx, TOUCH_BYTES)
            found.add_remote()
            found.add("limit: the link alone", readers.read_link)
            alone = lanes.Lanes(bench, local, None, TOUCH_BYTES)
            alone.add("limit: decoding alone, ours from the local disk", readers.read_holdall)
            alone.add("limit: decoding alone, pyarrow from memory", readers.read_memory)
            found.usual |= alone.usual
            samples = found.measure()
            lanes.record(bench, samples, what)
            peers = {each: many for each, many in samples.items() if not each.startswith("limit")}
            lanes.judge_fastest(bench, name, peers)
            bench.judge(f"limit_{name}", _share(samples))
        lanes.describe_readers(bench, nginx)
    bench.note(
        "The link alone is the bare socket loop with as many connections as we open at most, into fresh memory; decoding "
        "alone is the faster of pyarrow's own reading of the file from memory and of ours from the local disk."
    )


def _share(samples: dict[str, Any]) -> float:
    """Return the longer of the two limits over what we took, the median of the rounds."""
    limits = {name: column(many) for name, many in samples.items() if name.startswith("limit")}
    link = next(values for name, values in limits.items() if "link" in name)
    decoding = min((values for name, values in limits.items() if "decoding" in name), key=median)
    return median(
        max(pair) / ours
        for pair, ours in zip(zip(link, decoding, strict=True), column(samples["holdall"]), strict=True)
    )


if __name__ == "__main__":
    main(CLAIM, run)
