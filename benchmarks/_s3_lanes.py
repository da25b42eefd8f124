"""The contenders that read or write many objects, put together for a claim, each with what it asked of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import _s3_readers as readers
from benchmarks import _s3_writers as writers
from benchmarks._harness import Bench, Contender, Sample
from benchmarks._s3_common import ENVIRON, Objects, find_metaflow, missing_reason, run_wrk
from benchmarks._servers import Nginx

__all__ = ["METAFLOW_WORKERS", "Lanes", "best", "judge_ratio", "metaflow"]

METAFLOW_WORKERS: Final = 16
"""Of 8, 16, 32 and its default of 64, the fastest on two cores: each worker is a process that imports boto3."""

METAFLOW_WORKERS_QUICK: Final = 2


@dataclass
class Lanes:
    """Contenders by the names that the table shows; those that cannot run here are said to be left out."""

    bench: Bench
    nginx: Nginx
    objects: Objects
    passes: int
    contenders: dict[str, Contender] = field(default_factory=dict)

    def add(self, tool: str, name: str, contender: Contender) -> None:
        """Add a contender that needs `tool`, unless that is not there."""
        why = missing_reason(self.bench, tool)
        if why:
            self.bench.note(f"{name} was not measured: {why}.")
        else:
            self.contenders[name] = self.nginx.counted(contender)

    def add_client(self, tool: str, name: str, read: Callable[..., Sample], concurrency: int, **more: Any) -> None:
        """Add a function of `_s3_readers` or `_s3_writers`."""
        arguments = self.objects.arguments(concurrency=concurrency, passes=self.passes, **more)
        self.add(tool, name, self.bench.contender(read, **arguments))

    def add_readers(self, concurrency: int) -> None:
        """Add everyone who reads many objects."""
        threads = f"{concurrency} threads"
        self.add_client("holdall", "holdall: get_many", readers.read_holdall, concurrency)
        self.add_client("holdall", "holdall, finding its concurrency: get_many", readers.read_holdall, 0)
        self.add_client("obstore", f"obstore by hand, {threads}", readers.read_obstore, concurrency)
        self.add_client("boto3", f"boto3, {threads}", readers.read_boto3, concurrency)
        self.add_client("awscrt", "s3transfer with awscrt", readers.read_awscrt, concurrency)
        self.add_client("s3fs", "s3fs: cat of a list", readers.read_s3fs, concurrency)
        self.add_client("s5cmd", "s5cmd: cp to files", readers.read_s5cmd, concurrency)
        self.add_metaflow("get")

    def add_writers(self, concurrency: int) -> None:
        """Add everyone who puts many objects."""
        threads, size = f"{concurrency} threads", self.objects.size
        self.add_client("holdall", "holdall: put_many", writers.write_holdall, concurrency, size=size)
        self.add_client("holdall", "holdall, finding its concurrency: put_many", writers.write_holdall, 0, size=size)
        self.add_client("obstore", f"obstore by hand, {threads}", writers.write_obstore, concurrency, size=size)
        self.add_client("boto3", f"boto3, {threads}", writers.write_boto3, concurrency, size=size)
        self.add_client("awscrt", "s3transfer with awscrt", writers.write_awscrt, concurrency, size=size)
        self.add_client("s3fs", "s3fs: pipe of a dict", writers.write_s3fs, concurrency, size=size)
        self.add_client("s5cmd", "s5cmd: cp of files", writers.write_s5cmd, concurrency, size=size)
        self.add_metaflow("put")

    def add_metaflow(self, verb: str) -> None:
        """Add Metaflow's S3 client."""
        workers = METAFLOW_WORKERS_QUICK if self.bench.quick else METAFLOW_WORKERS
        call = metaflow(self.bench, self.objects, verb, self.passes, workers)
        self.add("Metaflow", f"Metaflow: S3.{verb}_many, {workers} workers", call)

    def add_wrk(self, concurrency: int, *, put: bool = False) -> None:
        """Add wrk, the fastest load generator at hand: it takes the same answers and does nothing with them."""
        what = self.objects
        self.add(
            "wrk",
            f"wrk, {concurrency} connections",
            lambda _: run_wrk(self.bench, what, concurrency, put=put),
        )

    def add_sockets(self, concurrency: int) -> None:
        """Add the bare socket loop, with and without memory of its own for each object."""
        for name, keep in (("into fresh memory", True), ("into the same buffer", False)):
            arguments: Mapping[str, Any] = {"size": self.objects.size, "keep": keep}
            self.add_client("sockets", f"sockets: recv_into, {name}", readers.read_sockets, concurrency, **arguments)

    def measure(self, count: int | None = None) -> dict[str, list[Sample]]:
        """Measure all in rounds, and see that each moved all bytes."""
        samples = self.bench.rounds(self.contenders, count=count)
        for name, many in samples.items():
            for sample in many:
                if sample.get("bytes", self.objects.total_bytes) != self.objects.total_bytes:
                    raise RuntimeError(f"{name} moved {sample['bytes']} of {self.objects.total_bytes} bytes")
                if sample["counts"].get("errors"):
                    raise RuntimeError(f"{name} was answered with errors: {sample['counts']}")
        return samples


def metaflow(bench: Bench, what: Objects, verb: str, passes: int, workers: int) -> Contender:
    """Return a contender that calls Metaflow's S3 client in its own interpreter."""
    python = find_metaflow(bench) or ""
    script = str(Path(__file__).with_name("_metaflow_s3.py"))
    place = [f"s3://{what.bucket}/", what.prefix, str(what.count), str(what.size), str(passes)]
    environ = {
        **ENVIRON,
        "METAFLOW_S3_ENDPOINT_URL": what.endpoint,
        "METAFLOW_S3_WORKER_COUNT": str(workers),
        "METAFLOW_HOME": str(bench.folder / "metaflow-home"),
        "METAFLOW_USER": "bench",
    }

    def call(_number: int) -> Sample:
        output = bench.execute([python, script, verb, *place], environ=environ)
        result: dict[str, Any] = json.loads(output.rpartition("\n")[2])
        return result

    return call


def best(values: Mapping[str, float], *starts: str) -> float:
    """Return the highest of the values whose names begin so; 0 where there are none."""
    return max((value for name, value in values.items() if name.startswith(starts)), default=0.0)


def judge_ratio(bench: Bench, key: str, ours: float, theirs: float) -> None:
    """Hold our rate over theirs against a target, or say that one of the two is not here."""
    if ours and theirs:
        bench.judge(key, ours / theirs)
    else:
        bench.leave_out(key, "one of the two could not be measured here")
