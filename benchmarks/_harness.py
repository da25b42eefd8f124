"""What all benchmarks share: rounds that alternate, children that start afresh, targets as data, results as JSON.

A benchmark is one file with a `CLAIM` and a function ``run(bench)``. It calls `Bench.rounds` with the contenders, each
of which is a function of that file that runs in a new process (`Bench.child`) and returns what it measured as a dict.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Final, Literal, Self

from benchmarks._machine import describe_machine, file_system_of, load_average

__all__ = [
    "ROOT",
    "Bench",
    "Claim",
    "Contender",
    "Skipped",
    "Stopwatch",
    "Target",
    "column",
    "disk_usage",
    "fsync_file",
    "main",
    "parser",
    "results_folder",
    "run_claim",
    "status_bytes",
]

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
RESULTS_QUICK: Final = ROOT / "build" / "benchmarks-quick" / "results"

ROUNDS: Final = 5
ROUNDS_QUICK: Final = 1

CHILD_SECONDS_MAX: Final = 900
"""A child that takes longer hangs."""

Role = Literal["ours", "peer", "limit", "context"]
Sample = Mapping[str, Any]
Contender = Callable[[int], Sample]


@dataclass(frozen=True, slots=True)
class Target:
    """What has to be reached: a value at most (``<=``) or at least (``>=``) this, in words of `unit`."""

    what: str
    bound: Literal["<=", ">="]
    value: float
    unit: str

    def reached(self, measured: float) -> bool:
        """Tell whether `measured` is within the bound."""
        return measured <= self.value if self.bound == "<=" else measured >= self.value

    def margin(self, measured: float) -> float:
        """Return how many times better than the target `measured` is; below 1 it misses."""
        if self.bound == "<=":
            return self.value / measured if measured else float("inf")
        return measured / self.value if self.value else float("inf")


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the table of promises; `targets` by a short key."""

    name: str
    title: str
    targets: Mapping[str, Target] = field(default_factory=dict)


class Skipped(Exception):
    """What a benchmark needs is not there."""


class Bench:
    """One measurement in progress: where it works, how large, and what it has found."""

    def __init__(self, claim: Claim, folder: Path, arguments: argparse.Namespace) -> None:
        self.claim = claim
        self.folder = folder
        self.quick: bool = arguments.quick
        self.round_count: int = arguments.rounds or (ROUNDS_QUICK if self.quick else ROUNDS)
        self.metaflow_python: str | None = arguments.metaflow_python
        self._measured: list[dict[str, Any]] = []
        self._judged: list[dict[str, Any]] = []
        self._left_out: list[dict[str, Any]] = []
        self._notes: list[str] = []
        self._sizes: dict[str, Any] = {}
        self._load_before = load_average()

    def size(self, name: str, full: int, quick: int) -> int:
        """Return how much of something to use, and write it down."""
        self._sizes[name] = quick if self.quick else full
        return quick if self.quick else full

    def path(self, name: str) -> Path:
        """Return a path below the work folder at which nothing lies yet."""
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        return path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of children: holdall knows nothing of this user, and writes nothing outside."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDALL_", "METAFLOW_"))}
        roots = [str(ROOT), str(ROOT / "datastore"), str(ROOT / "client")]
        env["PYTHONPATH"] = os.pathsep.join([*roots, *filter(None, [env.get("PYTHONPATH")])])
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled, too
        env |= {"HOLDALL_HOME": str(self.folder / "home"), "HOLDALL_USER": "bench", "PYTHONWARNINGS": "ignore"}
        return env | dict(extra or {})

    def child(
        self,
        function: Callable[..., Sample],
        /,
        *,
        environ: Mapping[str, str] | None = None,
        python: str = sys.executable,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Call a function of a benchmark file in a new process, and return what it returns. Paths become text.

        `python` is the interpreter, for who needs packages that do not agree with ours.
        """
        module = Path(function.__code__.co_filename).stem
        passed = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
        self.settle()
        output = self.execute(
            [python, "-m", "benchmarks._child", f"benchmarks.{module}", function.__name__, json.dumps(passed)],
            environ=environ,
        )
        result: dict[str, Any] = json.loads(output.rpartition("\n")[2])
        return result

    def contender(
        self, function: Callable[..., Sample], /, *, fresh: Mapping[str, str] | None = None, **arguments: Any
    ) -> Contender:
        """Return what `rounds` calls: `child` with these arguments, and with new paths for those that are `fresh`."""

        def call(_number: int) -> Sample:
            paths: dict[str, Any] = {key: self.path(name) for key, name in (fresh or {}).items()}
            return self.child(function, **arguments, **paths)

        return call

    def execute(self, command: Sequence[str], *, environ: Mapping[str, str] | None = None) -> str:
        """Run a command in the work folder and return what it printed; a failure says what it complained of."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(environ),
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS_MAX,
        )
        if done.returncode:
            shown = " ".join(command[:6])
            raise RuntimeError(f"{shown} failed ({done.returncode}):\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout.rstrip("\n")

    def settle(self) -> None:
        """Let the disk finish what earlier measurements left to it."""
        if not self.quick:
            os.sync()

    def rounds(self, contenders: Mapping[str, Contender], *, count: int | None = None) -> dict[str, list[Sample]]:
        """Call every contender with the number of the round, several times, in alternating order."""
        samples: dict[str, list[Sample]] = {name: [] for name in contenders}
        for number in range(min(count, self.round_count) if count else self.round_count):
            order = list(contenders)[:: -1 if number % 2 else 1]
            for name in order:
                samples[name].append(contenders[name](number))
        return samples

    def record(self, name: str, values: Sequence[float] | float, unit: str = "s", role: Role = "context") -> float:
        """Write down what was measured, and return its median."""
        many = [float(value) for value in (values if isinstance(values, Sequence) else [values])]
        middle = median(many)
        self._measured.append(
            {
                "name": name,
                "role": role,
                "unit": unit,
                "value": middle,
                "low": min(many),
                "high": max(many),
                "samples": many,
            }
        )
        return middle

    def judge(self, key: str, measured: float) -> None:
        """Hold a value against the target `key` of the claim."""
        target = self.claim.targets[key]
        self._judged.append(
            {
                "key": key,
                "what": target.what,
                "bound": target.bound,
                "target": target.value,
                "unit": target.unit,
                "value": measured,
                "reached": target.reached(measured),
                "margin": target.margin(measured),
            }
        )

    def leave_out(self, key: str, why: str) -> None:
        """Say why the target `key` of the claim was not judged."""
        self._left_out.append({"key": key, "what": self.claim.targets[key].what, "why": why})

    def note(self, text: str) -> None:
        """Add a sentence that a reader of the figures needs."""
        self._notes.append(text)

    def result(self, skipped: str | None = None) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {
            "claim": self.claim.name,
            "title": self.claim.title,
            "quick": self.quick,
            "rounds": self.round_count,
            "sizes": self._sizes,
            "machine": describe_machine(self.folder),
            "load_average": {"before": self._load_before, "after": load_average()},
            "measured": self._measured,
            "targets": self._judged,
            "left_out": self._left_out,
            "notes": self._notes,
            "skipped": skipped,
        }


class Stopwatch:
    """Times a block, and sees how far the memory of the process rose above what it was when the block began."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    def __enter__(self) -> Self:
        self._before = _resident_bytes()
        _forget_peak()
        self._cpu = time.process_time()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self.cpu_seconds = time.process_time() - self._cpu
        self.peak_bytes = max(0, _peak_bytes() - self._before)

    def sample(self, **more: Any) -> dict[str, Any]:
        """Return what a contender reports."""
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_bytes": self.peak_bytes, **more}


def column(samples: Sequence[Sample], name: str = "seconds") -> list[float]:
    """Return one value of every sample."""
    return [float(sample[name]) for sample in samples]


def disk_usage(folder: Path) -> dict[str, int]:
    """Return how many files lie below a folder, but for a ``.gitignore``, and how many bytes they hold."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore"]
    return {"files": len(sizes), "bytes": sum(sizes)}


def fsync_file(path: str | Path) -> None:
    """Make a file durable with its name, as a careful writer does."""
    for each in (path, os.path.dirname(os.path.abspath(path))):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def parser() -> argparse.ArgumentParser:
    """Return the options that every benchmark has."""
    options = argparse.ArgumentParser(description="Measure what holdall promises.")
    options.add_argument("--quick", action="store_true", help="small data, one round: to see that it works")
    options.add_argument("--rounds", type=int, default=0, help=f"how often to measure (default {ROUNDS})")
    options.add_argument("--dir", type=Path, help="where to work (default: a folder on the disk of the checkout)")
    options.add_argument(
        "--results", type=Path, help="where the JSON files go (default: benchmarks/results; quick: build)"
    )
    options.add_argument(
        "--metaflow-python", help="an interpreter that has metaflow (default: this one, or .venv-metaflow)"
    )
    return options


def run_claim(claim: Claim, run: Callable[[Bench], None], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one claim in a work folder of its own, write its JSON, and return it."""
    base = arguments.dir or _default_folder()
    base.mkdir(parents=True, exist_ok=True)
    if file_system_of(base) == "tmpfs":
        print("warning: the work folder is in memory (tmpfs): nothing here says how a disk fares", file=sys.stderr)
    # Git is asked by a run that begins within a repository, as most do: so the work folder is one.
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=base.resolve()))
    try:
        _make_repository(folder)
        bench = Bench(claim, folder, arguments)
        sources = [ROOT / "benchmarks", ROOT / "datastore", ROOT / "client"]
        bench.execute([sys.executable, "-m", "compileall", "-q", *map(str, sources)])
        skipped = None
        try:
            run(bench)
        except Skipped as reason:
            skipped = str(reason)
        result = bench.result(skipped)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = results_folder(arguments)
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{claim.name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def results_folder(arguments: argparse.Namespace) -> Path:
    """Return where the JSON files go: what a quick run finds must never replace what was measured."""
    chosen: Path | None = arguments.results
    return chosen or (RESULTS_QUICK if arguments.quick else RESULTS)


def main(claim: Claim, run: Callable[[Bench], None]) -> None:
    """Measure one claim as the command line says, and print what came out."""
    from benchmarks.report import claim_lines

    print("\n".join(claim_lines(run_claim(claim, run, parser().parse_args()))))


def _default_folder() -> Path:
    """Return a temporary folder if it is on the disk of the checkout, or else one of the checkout that git ignores."""
    temporary = Path(tempfile.gettempdir())
    same_disk = temporary.stat().st_dev == ROOT.stat().st_dev
    return temporary if same_disk and file_system_of(temporary) != "tmpfs" else ROOT / "build" / "benchmarks"


def _make_repository(folder: Path) -> None:
    if shutil.which("git"):
        (folder / "script.py").write_text("print('a file of the project')\n", encoding="utf-8")
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
        for command in (["init", "-q"], ["add", "script.py"], [*identity, "commit", "-q", "-m", "Begin"]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


def _resident_bytes() -> int:
    return status_bytes("VmRSS") or _peak_bytes()


def _peak_bytes() -> int:
    found = status_bytes("VmHWM")
    if found:
        return found
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def status_bytes(name: str) -> int:
    """Return a line of /proc/self/status in bytes; 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{name}:")), 0)


def _forget_peak() -> None:
    """Let the peak begin at what is resident now, where the system can: otherwise it is that of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
