"""Put 2 000 objects of 64 KiB and 64 of 8 MiB to a server that reads and forgets them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from benchmarks import _s3_writers as writers
from benchmarks._harness import Bench, Claim, Skipped, Target, main
from benchmarks._s3_common import Objects, describe, record_lanes
from benchmarks._s3_lanes import Lanes, best, judge_ratio
from benchmarks._servers import Nginx, serve_moto, serve_nginx, serve_rclone

CLAIM = Claim(
    "s3_put",
    "Put 2 000 × 64 KiB and 64 × 8 MiB, ahead of every peer",
    {
        "small_shaped": Target("2 000 × 64 KiB, 30 ms a request: ours over the fastest peer", ">=", 1, "×"),
        "small": Target("2 000 × 64 KiB, no delay: ours over the fastest peer", ">=", 1, "×"),
        "large": Target("64 × 8 MiB, no delay: ours over the fastest peer", ">=", 1, "×"),
    },
)

CONCURRENCY_SMALL: Final = 128
CONCURRENCY_PLAIN: Final = 32
CONCURRENCY_LARGE: Final = 16
PASSES: Final = 3
ROUNDS_MAX: Final = 3

PEERS: Final = ("obstore", "boto3", "s3transfer", "s3fs", "s5cmd", "Metaflow")


def run(bench: Bench) -> None:
    """Measure the claim."""
    small, large = bench.size("small objects", 2000, 60), bench.size("large objects", 64, 4)
    with serve_nginx(bench.folder) as nginx:
        bodies = Objects(nginx.shaped, "small/", small, 64 << 10, "sink")
        _judge(bench, nginx, "small_shaped", bodies, CONCURRENCY_SMALL, "64 KiB, 30 ms: ")
        bodies = Objects(nginx.plain, "small/", small, 64 << 10, "sink")
        _judge(bench, nginx, "small", bodies, CONCURRENCY_PLAIN, "64 KiB, no delay: ")
        bodies = Objects(nginx.plain, "large/", large, 8 << 20, "sink")
        _judge(bench, nginx, "large", bodies, CONCURRENCY_LARGE, "8 MiB, no delay: ")
        _measure_keepers(bench, nginx)
        describe(bench, nginx)
    bench.note("The server reads every body to its end, forgets it, and answers; so it is not the bottleneck.")
    bench.note("awscrt's manager sends a CRC32 with every body; boto3 and s3fs are told to send none.")
    bench.note("s5cmd reads files, in memory, and Metaflow writes each body to a file first.")


def _judge(bench: Bench, nginx: Nginx, key: str, objects: Objects, concurrency: int, what: str) -> None:
    lanes = Lanes(bench, nginx, objects, passes=2 if bench.quick else PASSES)
    lanes.add_writers(concurrency)
    amount, unit = (objects.count, "objects/s") if objects.size < 1 << 20 else (objects.total_bytes / 1e6, "MB/s")
    if objects.size < 1 << 20:
        lanes.add_wrk(concurrency, put=True)
    lanes.add_client("sockets", "sockets: sendall", writers.write_sockets, concurrency, size=objects.size)
    rate = record_lanes(bench, lanes.measure(ROUNDS_MAX), amount, unit, what)
    judge_ratio(bench, key, best(rate, "holdall: "), best(rate, *PEERS))


def _measure_keepers(bench: Bench, nginx: Nginx) -> None:
    """Put to servers that keep what they get: the server is what is measured, and that the lanes work there."""
    count = bench.size("objects for servers that keep them", 500, 20)
    for name, serve in (("rclone", serve_rclone), ("moto", serve_moto)):
        with ExitStack() as stack:
            try:
                endpoint = stack.enter_context(serve(bench.folder))
            except Skipped as reason:
                bench.note(f"{name} was left out: {reason}.")
                continue
            objects = Objects(endpoint, "kept/", count, 64 << 10)
            lanes = Lanes(bench, nginx, objects, passes=1)
            lanes.add_client("holdall", "holdall: put_many", writers.write_holdall, 16, size=objects.size)
            lanes.add_client("obstore", "obstore by hand, 16 threads", writers.write_obstore, 16, size=objects.size)
            lanes.add_client("boto3", "boto3, 16 threads", writers.write_boto3, 16, size=objects.size)
            samples = bench.rounds(lanes.contenders, count=ROUNDS_MAX)
            for lane, many in samples.items():
                rates = [count / float(sample["first"]) for sample in many]
                bench.record(f"64 KiB to {name}: {lane}", rates, "objects/s")


if __name__ == "__main__":
    main(CLAIM, run)
