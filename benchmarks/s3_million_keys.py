"""Read a million objects through `iter_many` with a budget of 64 MiB, and watch the memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, main, status_bytes
from benchmarks._s3_common import ENVIRON, Objects, describe, open_s3
from benchmarks._s3_lanes import Lanes
from benchmarks._servers import serve_nginx

CLAIM = Claim(
    "s3_million_keys",
    "Read 1 million × 4 KiB through iter_many with a budget of 64 MiB, no delay",
    {
        "complete": Target("objects that came, of those asked for", ">=", 1, "×"),
        "flat": Target("highest resident memory after the first tenth, over the highest within it", "<=", 1.1, "×"),
        "budget": Target("highest resident memory above what was resident before", "<=", 128, "MiB"),
    },
)

BUDGET_BYTES: Final = 64 << 20
CONCURRENCY: Final = 64
OBJECT_BYTES: Final = 4096
ROUNDS_MAX: Final = 2
TENTHS: Final = 10
LOOKS: Final = 1000
"""How often the memory is looked at."""


def read_all(endpoint: str, count: int) -> dict[str, Any]:
    """Read all keys, which are made as they are asked for, and keep nothing."""
    step, received, total = max(1, count // LOOKS), 0, 0
    highest = [0] * TENTHS
    with open_s3(endpoint, "any", CONCURRENCY, memory=BUDGET_BYTES) as s3, Stopwatch() as watch:
        before = status_bytes("VmRSS")
        for found in s3.iter_many(_keys(count)):
            total += found.buffer.nbytes
            if received % step == 0:
                tenth = received * TENTHS // count
                highest[tenth] = max(highest[tenth], status_bytes("VmRSS"))
            received += 1
        statistics = s3.statistics()
    return watch.sample(
        received=received,
        bytes=total,
        before=before,
        highest=highest,
        requests_made=statistics["requests"],
        retries=statistics["retries"],
    )


def read_obstore(endpoint: str, count: int) -> dict[str, Any]:
    """Read with obstore by hand, a window of tasks at a time: what a careful user writes, on fewer keys."""
    from concurrent.futures import ThreadPoolExecutor

    import obstore

    from benchmarks._s3_common import obstore_store

    store, keys, total = obstore_store(endpoint, "any"), _keys(count), 0
    with ThreadPoolExecutor(CONCURRENCY) as pool, Stopwatch() as watch:
        while window := list(islice(keys, BUDGET_BYTES // OBJECT_BYTES)):
            total += sum(map(len, pool.map(lambda key: obstore.get(store, key).bytes(), window)))
    return watch.sample(bytes=total)


def _keys(count: int) -> Iterator[str]:
    return (f"shard-{number // 1000:04d}/image-{number:07d}.bin" for number in range(count))


def run(bench: Bench) -> None:
    """Measure the claim."""
    count = bench.size("keys", 1_000_000, 3000)
    fewer = bench.size("keys of obstore", 100_000, 1000)
    bench.size("requests under way", CONCURRENCY, CONCURRENCY)
    with serve_nginx(bench.folder) as nginx:
        (nginx.root / "any" / "object").write_bytes(bytes(OBJECT_BYTES))
        samples = bench.rounds(
            {
                "ours": nginx.counted(bench.contender(read_all, endpoint=nginx.plain, count=count, environ=ENVIRON)),
                "obstore": bench.contender(read_obstore, endpoint=nginx.plain, count=fewer, environ=ENVIRON),
            },
            count=ROUNDS_MAX,
        )
        ours = samples["ours"]
        bench.record("holdall: iter_many", [count / seconds for seconds in column(ours)], "objects/s", role="ours")
        theirs = [fewer / seconds for seconds in column(samples["obstore"])]
        bench.record(f"obstore by hand, {CONCURRENCY} threads", theirs, "objects/s", role="peer")
        lanes = Lanes(bench, nginx, Objects(nginx.plain, "shard", fewer, OBJECT_BYTES, "any"), passes=1)
        lanes.add_wrk(CONCURRENCY)
        for name, contender in lanes.contenders.items():
            bench.record(name, [float(contender(0)["rate"])], "objects/s", role="limit")
        for tenth in range(TENTHS):
            resident = [float(sample["highest"][tenth]) / (1 << 20) for sample in ours]
            bench.record(f"holdall: resident memory, tenth {tenth + 1}, highest", resident, "MiB", role="ours")
        bench.record("holdall: requests", column(ours, "requests"), "requests", role="ours")
        bench.record("holdall: retries", column(ours, "retries"), "requests", role="ours")
        bench.judge("complete", min(column(ours, "received")) / count)
        bench.judge("flat", max(max(sample["highest"][1:]) / sample["highest"][0] for sample in ours))
        above = max(max(sample["highest"]) - sample["before"] for sample in ours)
        bench.judge("budget", above / (1 << 20))
        describe(bench, nginx)
    bench.note("The server answers every key from one small file; the keys are a generator's, and no result is kept.")
    bench.note("Beside the budget, 64 MiB are for buffers of connections, threads and the interpreter.")


if __name__ == "__main__":
    main(CLAIM, run)
