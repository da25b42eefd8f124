"""Read 10 000 objects of 4 KiB from a server without delay: what a request costs the client."""

from __future__ import annotations

from benchmarks import _s3_readers as readers
from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._s3_common import Objects, describe, make_objects, record_lanes
from benchmarks._s3_lanes import Lanes, best, judge_ratio
from benchmarks._servers import serve_nginx

CLAIM = Claim(
    "s3_many_tiny",
    "Read 10 000 × 4 KiB from a server without delay",
    {"obstore": Target("our objects per second over those of obstore by hand from threads, its best", ">=", 1, "×")},
)

CONCURRENCY = 32
THREADS_OTHER = (8, 128)
"""obstore's best number of threads is not known beforehand."""

PASSES = 3


def run(bench: Bench) -> None:
    """Measure the claim."""
    count, size = bench.size("objects", 10_000, 300), bench.size("KiB", 4, 4) << 10
    bench.size("requests under way", CONCURRENCY, CONCURRENCY)
    with serve_nginx(bench.folder) as nginx:
        make_objects(nginx.root / "bucket", "tiny/", count, size)
        lanes = Lanes(bench, nginx, Objects(nginx.plain, "tiny/", count, size), passes=2 if bench.quick else PASSES)
        lanes.add_client("holdall", "holdall: get_many", readers.read_holdall, CONCURRENCY)
        lanes.add_client("holdall", "holdall, finding its concurrency: get_many", readers.read_holdall, 0)
        for threads in (CONCURRENCY, *THREADS_OTHER):
            lanes.add_client("obstore", f"obstore by hand, {threads} threads", readers.read_obstore, threads)
        lanes.add_client("obstore", f"obstore by hand, {CONCURRENCY} tasks", readers.read_obstore_async, CONCURRENCY)
        lanes.add_client("boto3", f"boto3, {CONCURRENCY} threads", readers.read_boto3, CONCURRENCY)
        lanes.add_client("s5cmd", "s5cmd: cp to files", readers.read_s5cmd, CONCURRENCY)
        lanes.add_wrk(CONCURRENCY)
        rate = record_lanes(bench, lanes.measure(), count, "objects/s")
        threaded = {name: value for name, value in rate.items() if name.endswith("threads")}
        judge_ratio(bench, "obstore", best(rate, "holdall: "), best(threaded, "obstore"))
        describe(bench, nginx)
    bench.note("The two processes of the server share the processor with the client: every rate is a share of it.")


if __name__ == "__main__":
    main(CLAIM, run)
