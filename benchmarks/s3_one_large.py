"""Read one object of 4 GiB into memory and into a file, from a server in the shape of S3."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, Final

from benchmarks import _s3_single as single
from benchmarks._harness import Bench, Claim, Contender, Sample, Skipped, Target, main
from benchmarks._s3_common import ENVIRON, Objects, available_memory, describe, record_lanes
from benchmarks._s3_lanes import Lanes, best, judge_ratio, metaflow
from benchmarks._servers import Nginx, serve_nginx

CLAIM = Claim(
    "s3_one_large",
    "Read one object of 4 GiB from a server in the shape of S3 (30 ms, 90 MB/s for a connection), 32 requests under way",
    {
        "memory": Target("into memory: our bytes per second over those of the bare socket loop", ">=", 0.85, "×"),
        "file": Target("into a file: our bytes per second over those of the bare socket loop", ">=", 0.85, "×"),
        "memory_peak": Target("into memory: ours above the object", "<=", single.BUDGET_BYTES >> 20, "MiB"),
        "file_peak": Target("into a file: our memory", "<=", single.BUDGET_BYTES >> 20, "MiB"),
    },
)

KEY: Final = "one-large"
CONCURRENCY: Final = 32
"""32 connections of 90 MB/s are more than the machine takes: the link is not the limit, the client is."""

ROUNDS_MAX: Final = 3

CLIENTS: Final[tuple[tuple[str, str, Callable[..., Any]], ...]] = (
    ("holdall", "holdall", single.one_holdall),
    ("obstore", "obstore by hand, ranges from threads", single.one_obstore),
    ("boto3", "boto3", single.one_boto3),
    ("awscrt", "s3transfer with awscrt", single.one_awscrt),
    ("s3fs", "s3fs", single.one_s3fs),
    ("sockets", "sockets: recv_into", single.one_sockets),
)


def run(bench: Bench) -> None:
    """Measure the claim."""
    size = bench.size("MiB", 4096, 96) << 20
    bench.size("requests under way", CONCURRENCY, CONCURRENCY)
    bench.size("MiB of a part", single.PART_BYTES >> 20, single.PART_BYTES >> 20)
    _check_room(bench, size)
    with serve_nginx(bench.folder) as nginx:
        single.make_marked(nginx.root / "bucket" / KEY, size)
        memory = _measure(bench, nginx, size, to_file=False)
        _judge(bench, memory, "memory", size, size)
        files = _measure(bench, nginx, size, to_file=True)
        _judge(bench, files, "file", size, 0)
        describe(bench, nginx)
    bench.note("The object is a sparse file of the server's, with marks that are looked at after each call.")
    bench.note("Nobody waits for the disk: what is written is in the system's memory, as far as that goes.")
    bench.note("Metaflow's S3.get has no settings for a part or for how many at once: 10 threads, 8 MiB.")


def _measure(bench: Bench, nginx: Nginx, size: int, *, to_file: bool) -> dict[str, list[Sample]]:
    lanes = Lanes(bench, nginx, Objects(nginx.shaped, KEY, 1, size), passes=1)
    common: dict[str, Any] = {"endpoint": nginx.shaped, "key": KEY, "size": size, "concurrency": CONCURRENCY}
    clients = [*CLIENTS, ("s5cmd", "s5cmd", single.one_s5cmd)] if to_file else CLIENTS
    fresh = {"target": "target"} if to_file else {}
    for tool, name, function in clients:
        lanes.add(tool, name, _emptied(bench, bench.contender(function, fresh=fresh, environ=ENVIRON, **common)))
    if to_file:
        lanes.add("Metaflow", "Metaflow: S3.get", metaflow(bench, lanes.objects, "get-one", 1, 1))
    samples = lanes.measure(ROUNDS_MAX)
    where = "into a file" if to_file else "into memory"
    record_lanes(bench, samples, size / 1e6, "MB/s", f"{where}: ", first=False)
    return samples


def _judge(bench: Bench, samples: dict[str, list[Sample]], key: str, size: int, kept: int) -> None:
    rate = {
        name: sorted(size / float(sample["seconds"]) for sample in many)[len(many) // 2]
        for name, many in samples.items()
    }
    judge_ratio(bench, key, best(rate, "holdall"), best(rate, "sockets"))
    peak = max(float(sample["peak_bytes"]) for sample in samples["holdall"])
    bench.judge(f"{key}_peak", (peak - kept) / (1 << 20))


def _emptied(bench: Bench, contender: Contender) -> Contender:
    """Return a contender that leaves no file behind: the next one has its room on the disk and in memory."""

    def call(number: int) -> Sample:
        sample = contender(number)
        bench.path("target")
        return sample

    return call


def _check_room(bench: Bench, size: int) -> None:
    free = shutil.disk_usage(bench.folder).free
    if free < 3 * size:
        raise Skipped(f"it needs {3 * size >> 30} GiB of disk, and {free >> 30} GiB are free")
    available = available_memory()
    if available < 4 * size:  # the object twice, in a client and its parser, and the server's and the target's pages
        raise Skipped(f"it needs {4 * size >> 30} GiB of memory, and {available >> 30} GiB are available")


if __name__ == "__main__":
    main(CLAIM, run)
