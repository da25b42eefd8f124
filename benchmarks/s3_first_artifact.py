"""Load artifacts from a store in a bucket, in the shape of S3: with nothing in the cache, and again."""

from __future__ import annotations

from typing import Any, Final

from benchmarks._harness import Bench, Claim, Sample, Stopwatch, Target, column, main, status_bytes
from benchmarks._s3_common import ENVIRON, describe, holdall_options, open_s3, repeat, touch_memory
from benchmarks._s3_sockets import Piece, into_memory, receive
from benchmarks._servers import DELAY_S, Nginx, serve_nginx

CLAIM = Claim(
    "s3_first_artifact",
    "Load a small artifact and one of 1 GiB from a store on a server in the shape of S3, with nothing cached and again",
    {
        "small": Target("requests for the newest small artifact, nothing cached", "<=", 4, "requests"),
        "large": Target("1 GiB, nothing cached: bytes per second over those of the bulk read", ">=", 0.8, "×"),
        "again": Target("requests of the second load by reference", "<=", 0, "requests"),
        "latest": Target("requests of the second load of the newest", "<=", 2, "requests"),
        "mapped": Target("memory of its own that the second load takes", "<=", 64, "MiB"),
    },
)

STORE: Final = "s3://bucket/store"
CONCURRENCY: Final = 32
"""As many as the store has under way."""

ROUNDS_MAX: Final = 3


def save_store(endpoint: str, size: int) -> dict[str, Any]:
    """Save a small dict and a large array, each in a run of its own, and return how to refer to them."""
    import numpy as np

    import holdall

    client = holdall.Client(STORE, storage_options=holdall_options(endpoint))
    with holdall.run("small", client=client) as first:
        first.save(config={"rate": 0.1, "weights": np.arange(1000, dtype=np.float64)})
    model = np.random.default_rng(1).integers(0, 1 << 63, size >> 3, dtype=np.int64)  # does not compress
    with Stopwatch() as watch, holdall.run("large", client=client) as second:
        second.save(model=model)
    return watch.sample(small=f"small/config@{first.id}", large=f"large/model@{second.id}")


def load(endpoint: str, reference: str, touch_bytes: int = 0) -> dict[str, Any]:
    """Load in a new process; what holdall imports late is in the time."""
    import numpy as np

    import holdall

    touch_memory(touch_bytes)
    client = holdall.Client(STORE, storage_options=holdall_options(endpoint))
    before = status_bytes("RssAnon")
    with Stopwatch() as watch:
        value = holdall.load(reference, client=client)
    own = status_bytes("RssAnon") - before
    array = value["weights"] if isinstance(value, dict) else value
    return watch.sample(own=own, bytes=array.nbytes, total=float(array[:: 1 << 16].sum(dtype=np.float64)))


def read_bulk(endpoint: str, keys: list[str], touch_bytes: int) -> dict[str, Any]:
    """Read the packs with `get_many`, in memory."""
    with open_s3(endpoint, "bucket", CONCURRENCY) as s3:
        return repeat(lambda: sum(found.buffer.nbytes for found in s3.get_many(keys)), 1, touch_bytes=touch_bytes)


def read_sockets(endpoint: str, keys: list[str], sizes: list[int], touch_bytes: int) -> dict[str, Any]:
    """Read the packs with the bare socket loop, into fresh memory."""
    pieces = [Piece(f"/bucket/{key}", size) for key, size in zip(keys, sizes, strict=True)]
    kept: list[memoryview] = []

    def fetch() -> int:
        receive(endpoint, pieces, CONCURRENCY, into_memory(kept))
        return sum(sizes)

    return repeat(fetch, 1, touch_bytes=touch_bytes)


def run(bench: Bench) -> None:
    """Measure the claim."""
    size = bench.size("MiB", 1024, 40) << 20
    with serve_nginx(bench.folder) as nginx:
        saved = bench.child(save_store, endpoint=nginx.plain, size=size, environ=ENVIRON)
        bench.record("holdall: saving the large one, no delay", size / 1e6 / saved["seconds"], "MB/s")
        samples = _measure(bench, nginx, saved, size)
        _record(bench, samples, size)
        describe(bench, nginx)
    bench.note("The bulk read is holdall.S3.get_many of the packs; a load also verifies, and writes into the cache.")


def _measure(bench: Bench, nginx: Nginx, saved: Sample, size: int) -> dict[str, list[Sample]]:
    bucket = nginx.root / "bucket"
    packs = sorted((bucket / "store" / "packs").iterdir())
    keys = [str(path.relative_to(bucket)) for path in packs]
    sizes = [path.stat().st_size for path in packs]

    def loads(reference: str, *, fresh: bool, touch_bytes: int = 0) -> Any:
        child = bench.contender(
            load, endpoint=nginx.shaped, reference=reference, touch_bytes=touch_bytes, environ=ENVIRON
        )
        counted = nginx.counted(child)

        def call(number: int) -> Sample:
            if fresh:
                bench.path("home")
            return counted(number)

        return call

    warm: dict[str, Any] = {"touch_bytes": 2 * size}  # the array, and the file of the cache
    bulk: dict[str, Any] = {"endpoint": nginx.shaped, "keys": keys, "environ": ENVIRON, **warm}
    contenders = {
        "small": loads("small/config", fresh=True),
        "bulk": nginx.counted(bench.contender(read_bulk, **bulk)),
        "sockets": nginx.counted(bench.contender(read_sockets, sizes=sizes, **bulk)),
        "large": loads("large/model", fresh=True, **warm),
        "latest": loads("large/model", fresh=False),
        "again": loads(str(saved["large"]), fresh=False),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(min(ROUNDS_MAX, bench.round_count)):
        for name, contender in contenders.items():  # in this order: what is cached is what came before
            samples[name].append(contender(number))
    totals = {sample["total"] for name in ("large", "latest", "again") for sample in samples[name]}
    if len(totals) != 1:
        raise RuntimeError(f"What was loaded is not the same: {totals}")
    return samples


def _record(bench: Bench, samples: dict[str, list[Sample]], size: int) -> None:
    trips = [seconds / DELAY_S for seconds in column(samples["small"])]
    bench.record("holdall: the small one, nothing cached", column(samples["small"]), role="ours")
    bench.record("the same in delays of the server (30 ms), imports and all", trips, "delays", role="ours")
    names = {
        "small": "holdall: the small one, nothing cached",
        "large": "holdall: the large one, nothing cached",
        "latest": "holdall: the large one, again, the newest",
        "again": "holdall: the large one, again, by reference",
    }
    megabytes = size / 1e6
    large = bench.record(names["large"], [megabytes / each for each in column(samples["large"])], "MB/s", role="ours")
    rates = [megabytes / each for each in column(samples["bulk"])]
    bulk = bench.record("holdall.S3.get_many of the same packs", rates, "MB/s", role="ours")
    rates = [megabytes / each for each in column(samples["sockets"])]
    bench.record("sockets: recv_into fresh memory, the same packs", rates, "MB/s", role="limit")
    for name in ("latest", "again"):
        bench.record(names[name], column(samples[name]), role="ours")
    for name, what in names.items():
        bench.record(f"{what}: requests", column(samples[name], "requests"), "requests", role="ours")
    for name in ("large", "latest", "again"):
        own = [value / (1 << 20) for value in column(samples[name], "own")]
        bench.record(f"{names[name]}: memory of its own", own, "MiB", role="ours")
    peaks = [value / (1 << 20) for value in column(samples["large"], "peak_bytes")]
    bench.record(f"{names['large']}: peak memory", peaks, "MiB", role="ours")
    bench.judge("small", max(column(samples["small"], "requests")))
    bench.judge("large", large / bulk)
    bench.judge("again", max(column(samples["again"], "requests")))
    bench.judge("latest", max(column(samples["latest"], "requests")))
    bench.judge("mapped", max(column(samples["again"], "own")) / (1 << 20))


if __name__ == "__main__":
    main(CLAIM, run)
