"""Read 2 000 objects of 64 KiB from a server in the shape of S3: 30 ms to the first byte, 90 MB/s for a connection."""

from __future__ import annotations

from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._s3_common import Objects, describe, make_objects, record_lanes
from benchmarks._s3_lanes import Lanes, best, judge_ratio
from benchmarks._servers import serve_nginx

CLAIM = Claim(
    "s3_many_small",
    "Read 2 000 × 64 KiB from a server in the shape of S3 (30 ms, 90 MB/s for a connection), 128 requests under way",
    {
        "wrk": Target("our objects per second over wrk's at the same concurrency", ">=", 0.9, "×"),
        "boto3": Target("our objects per second over boto3's from threads", ">=", 8, "×"),
        "metaflow": Target("our objects per second over those of Metaflow's S3", ">=", 10, "×"),
    },
)

CONCURRENCY = 128
PASSES = 3
ROUNDS_MAX = 3
"""Metaflow's calls of a round take half a minute."""


def run(bench: Bench) -> None:
    """Measure the claim."""
    count, size = bench.size("objects", 2000, 100), bench.size("KiB", 64, 64) << 10
    bench.size("requests under way", CONCURRENCY, CONCURRENCY)
    with serve_nginx(bench.folder) as nginx:
        make_objects(nginx.root / "bucket", "small/", count, size)
        objects = Objects(nginx.shaped, "small/", count, size)
        lanes = Lanes(bench, nginx, objects, passes=2 if bench.quick else PASSES)
        lanes.add_readers(CONCURRENCY)
        lanes.add_wrk(CONCURRENCY)
        rate = record_lanes(bench, lanes.measure(ROUNDS_MAX), count, "objects/s")
        ours = best(rate, "holdall: ")
        judge_ratio(bench, "wrk", ours, best(rate, "wrk"))
        judge_ratio(bench, "boto3", ours, best(rate, "boto3"))
        judge_ratio(bench, "metaflow", ours, best(rate, "Metaflow"))
        describe(bench, nginx)
    bench.note(
        f"A process makes the same call {PASSES} times; the rate is that of its later calls, whose connections are open."
    )
    bench.note("awscrt asks for the size of each object first, and s5cmd and Metaflow write files (in memory).")


if __name__ == "__main__":
    main(CLAIM, run)
