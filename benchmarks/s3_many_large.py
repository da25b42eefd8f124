"""Read 64 objects of 8 MiB into memory from a server without delay: what a byte costs the client."""

from __future__ import annotations

from benchmarks._harness import Bench, Claim, Target, main
from benchmarks._s3_common import Objects, describe, make_objects, record_lanes
from benchmarks._s3_lanes import Lanes, best, judge_ratio
from benchmarks._servers import serve_nginx

CLAIM = Claim(
    "s3_many_large",
    "Read 64 × 8 MiB into memory from a server without delay",
    {"sockets": Target("our bytes per second over those of the bare socket loop into fresh memory", ">=", 0.85, "×")},
)

CONCURRENCY = 16
PASSES = 3


def run(bench: Bench) -> None:
    """Measure the claim."""
    count, size = bench.size("objects", 64, 8), bench.size("MiB", 8, 8) << 20
    bench.size("requests under way", CONCURRENCY, CONCURRENCY)
    with serve_nginx(bench.folder) as nginx:
        make_objects(nginx.root / "bucket", "large/", count, size)
        objects = Objects(nginx.plain, "large/", count, size)
        lanes = Lanes(bench, nginx, objects, passes=2 if bench.quick else PASSES)
        lanes.add_readers(CONCURRENCY)
        lanes.add_sockets(CONCURRENCY)
        rate = record_lanes(bench, lanes.measure(), objects.total_bytes / 1e6, "MB/s")
        ours, fresh = best(rate, "holdall: "), best(rate, "sockets: recv_into, into fresh")
        judge_ratio(bench, "sockets", ours, fresh)
        if ours:
            used = best(rate, "sockets: recv_into, into the same")
            bench.record("holdall over the socket loop into the same buffer", ours / used, "×")
        describe(bench, nginx)
    bench.note("The socket loop signs, checks and retries nothing: one thread for each connection, MSG_WAITALL.")


if __name__ == "__main__":
    main(CLAIM, run)
