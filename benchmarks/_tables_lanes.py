"""The contenders that read tables, put together for a claim, and what is written down of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import _tables_readers as readers
from benchmarks._harness import ROOT, Bench, Contender, Sample, column
from benchmarks._s3_common import ENVIRON, version_of
from benchmarks._servers import Nginx

__all__ = [
    "OURS",
    "PASSES",
    "PYARROW",
    "ROUNDS_MAX",
    "Lanes",
    "Place",
    "bytes_beyond_footers",
    "describe_readers",
    "judge_fastest",
    "record",
    "rest_of",
]

PASSES: Final = 4
"""The first call of a process is cold, the median of the later ones is warm."""

ROUNDS_MAX: Final = 3
"""Six readers with four calls each take a minute a round."""

SLOW_PASSES: Final = 2
"""For who takes ten times as long as the others: a cold call, and one that is not."""

OURS: Final = "holdall"
PYARROW: Final = "pyarrow dataset"
POLARS: Final = "polars"

SHOWN: Final = ("pyarrow", "polars", "pandas", "s3fs", "duckdb", "daft")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table is: with an empty `endpoint` on the local disk."""

    endpoint: str
    key: str
    shaped: bool = False
    bucket: str = "bucket"

    def arguments(self) -> dict[str, Any]:
        """Return what a child is told."""
        return {"endpoint": self.endpoint, "bucket": self.bucket, "key": self.key, "shaped": self.shaped}


@dataclass
class Lanes:
    """Contenders by the names that the table shows; those that cannot run here are said to be left out.

    `wanted` are the arguments of all readers: columns, an interval, how many rows, in what form.
    """

    bench: Bench
    place: Place
    nginx: Nginx | None = None
    touch_bytes: int = 0
    passes: int = PASSES
    wanted: Mapping[str, Any] = field(default_factory=dict)
    usual: dict[str, Contender] = field(default_factory=dict)
    slow: dict[str, Contender] = field(default_factory=dict)

    def add(self, name: str, read: Callable[..., Sample], *, slow: bool = False, python: str = sys.executable) -> None:
        """Add a reader; a `slow` one is measured in one round, with two calls."""
        passes = min(self.passes, SLOW_PASSES) if slow else self.passes
        arguments: dict[str, Any] = {**self.place.arguments(), **self.wanted}
        arguments["passes"] = 2 if self.bench.quick and passes > 1 else passes
        arguments["touch_bytes"] = 0 if self.bench.quick else self.touch_bytes
        contender = self.bench.contender(read, environ=ENVIRON, python=python, **arguments)
        chosen = self.slow if slow else self.usual
        chosen[name] = self.nginx.counted(contender) if self.nginx else contender

    def add_ours(self) -> None:
        """Add ours."""
        self.add(OURS, readers.read_holdall)

    def add_remote(self, *, slow: bool = True) -> None:
        """Add everyone who reads from S3; `slow` ones too, which DuckDB then is thought to be.

        pandas hands conditions to pyarrow, which measures the same.
        """
        self.add_ours()
        self.add(PYARROW, readers.read_pyarrow)
        self.add_if("polars", POLARS, readers.read_polars)
        self.add_daft()
        self.add_duckdb(slow=slow)
        if slow and version_of("s3fs") and not {"where", "head"} & set(self.wanted):
            self.add("pandas with s3fs", readers.read_pandas, slow=True)
            self.add("pandas with s3fs and fsspec.parquet", readers.read_fsspec, slow=True)

    def add_if(self, package: str, name: str, read: Callable[..., Sample], **how: Any) -> None:
        """Add a reader of a package, or say that it is not there."""
        if version_of(package):
            self.add(name, read, **how)
        else:
            self.bench.note(f"{name} was not measured: it is not installed (pip install {package}).")

    def add_daft(self) -> None:
        """Add daft where it understands the file: it does not know views of texts in the stored schema (0.6)."""
        if version_of("daft") is None:
            self.bench.note("daft was not measured: it is not installed (pip install daft).")
            return
        arguments = {**self.place.arguments(), **self.wanted, "head": 1}
        try:
            self.bench.child(readers.read_daft, environ=ENVIRON, **arguments, passes=1, touch_bytes=0)
        except RuntimeError as error:
            why = str(error).strip().splitlines()[-1]
            self.bench.note(f"daft {version_of('daft')} was not measured, for it cannot read the file: {why[:300]}")
        else:
            self.add("daft", readers.read_daft)

    def add_duckdb(self, *, slow: bool = True) -> None:
        """Add DuckDB in an interpreter in which it can load httpfs."""
        reasons = []
        for python in (sys.executable, str(ROOT / ".venv-duckdb" / "bin" / "python")):
            if not os.path.exists(python) or (python == sys.executable and version_of("duckdb") is None):
                continue
            found = self.bench.child(readers.try_httpfs, python=python)
            if not found["why"]:
                self.add(f"DuckDB {found['version']} with httpfs", readers.read_duckdb, slow=slow, python=python)
                return
            reasons.append(f"DuckDB {found['version']} cannot load httpfs ({found['why']})")
        self.bench.note(
            f"DuckDB was not measured: {'; '.join(reasons) or 'it is not installed'}. An interpreter in .venv-duckdb with "
            "duckdb, duckdb-extensions and duckdb-extension-httpfs of one version, pyarrow and pandas is taken instead."
        )

    def measure(self, count: int = ROUNDS_MAX) -> dict[str, list[Sample]]:
        """Measure all in rounds, and see that each found as many rows."""
        samples = self.bench.rounds(self.usual, count=count)
        samples |= self.bench.rounds(self.slow, count=1)
        rows = samples[OURS][0]["rows"]
        for name, many in samples.items():
            for sample in many:
                if sample.get("rows", rows) != rows:
                    raise RuntimeError(f"{name} found {sample['rows']} rows, and holdall {rows}")
                if sample.get("counts", {}).get("errors"):
                    raise RuntimeError(f"{name} was answered with errors: {sample['counts']}")
        return samples


def record(bench: Bench, samples: Mapping[str, Sequence[Sample]], what: str) -> None:
    """Write down what all lanes took: warm and cold, requests and bytes of all calls, and memory."""
    for name, many in samples.items():
        bench.record(f"{what}{name}", column(many), role=_role(name))
    for name, many in samples.items():
        bench.record(f"{what}{name}: the first call of a process", column(many, "first"), role=_role(name))
    for name, many in samples.items():
        bench.record(f"{what}{name}: CPU time", column(many, "cpu_seconds"), role=_role(name))
    for name, many in samples.items():
        if "counts" in many[0]:
            bench.record(f"{what}{name}: requests, all calls", column(many, "requests"), "requests", role=_role(name))
            mb = [sample["counts"].get("bytes", 0) / 1e6 for sample in many]
            bench.record(f"{what}{name}: received, all calls", mb, "MB", role=_role(name))
    for name, many in samples.items():
        peaks = [value / (1 << 20) for value in column(many, "peak_bytes")]
        bench.record(f"{what}{name}: peak memory above what imports took", peaks, "MiB", role=_role(name))


def bytes_beyond_footers(bench: Bench, samples: Mapping[str, Sequence[Sample]], path: Path) -> float:
    """Return how many bytes of one of our calls were not last parts of the file that are asked for on suspicion.

    Each call asks for them anew, or for none of them. A file that is not longer than such a part has none.
    """
    from holdall_store.tables._source import TAIL_BYTES

    passes = PASSES if not bench.quick else 2
    each = [float(sample["counts"]["bytes"]) / passes for sample in samples[OURS]]
    return max(each) - min(TAIL_BYTES, path.stat().st_size)


def rest_of(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Sequence[Sample]]:
    """Return all but ours."""
    return {name: many for name, many in samples.items() if name != OURS}


def judge_fastest(
    bench: Bench, key: str, samples: Mapping[str, Sequence[Sample]], value: str = "seconds", *, only: str = ""
) -> None:
    """Hold the time of the fastest peer, or of one alone, over ours against a target.

    Each round has its own ratio, and the median counts: what slows the machine for a while slows both.
    """
    ours = column(samples[OURS], value)
    peers = {name: column(many, value) for name, many in rest_of(samples).items() if name.startswith(only)}
    if not peers:
        bench.leave_out(key, "none of the others could be measured here")
        return
    fastest = min(peers.values(), key=median)
    ratios = [theirs / mine for theirs, mine in zip(fastest, ours, strict=False)]
    bench.judge(key, median(ratios))


def describe_readers(bench: Bench, nginx: Nginx | None) -> None:
    """Say which versions were measured."""
    found = ", ".join(f"{name} {number}" for name in SHOWN if (number := version_of(name)))
    where = f"Server and readers share the machine: {nginx.version}, {found}" if nginx else f"Versions: {found}"
    bench.note(f"{where}. A process calls {PASSES} times, the first is cold, the median of the others counts.")


def _role(name: str) -> Any:
    return "ours" if name == OURS else "limit" if name.startswith("limit") else "peer"
