"""What is known of a run, or of a task, when it begins, and the points of its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from holdall_store.format import OriginInfo, Series, run_prefix, slot_key, task_prefix
from holdall_store.repository._clock import Clock
from holdall_store.storage import check_key

if TYPE_CHECKING:
    import msgspec

__all__ = ["Point", "RunHead", "Scalar", "Status", "series_of", "task_head"]

ATTEMPTS_MAX: Final = 999_999
"""A key has room for so many digits of an attempt; to look for a free number takes longer than anybody would wait."""

Scalar = float | int | bool | str
Status = Literal["running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class RunHead:
    """What is known of a run when it begins, or of a task: then `step` and `task` are its names."""

    namespace: str
    flow: str
    run: str
    started: str
    params: dict[str, msgspec.Raw] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    commit_status: Status = "running"
    """What the run is while it has not ended: a run of single saves has succeeded as soon as one is there."""
    step: str = ""
    task: str = ""
    parents: tuple[str, ...] = ()
    origin: OriginInfo | None = None

    @property
    def called(self) -> str:
        """What messages call it."""
        run = f"run {self.run} of {self.flow}"
        return f"task {self.step}/{self.task} of {run}" if self.step else run

    def prefix(self, attempt: int) -> str:
        """Return the prefix of its log; of a run there is one attempt."""
        if not self.step:
            return run_prefix(self.namespace, self.flow, self.run)
        return task_prefix(self.namespace, self.flow, self.run, self.step, self.task, attempt)


def task_head(
    clock: Clock,
    run: tuple[str, str, str],
    step: str,
    task: str,
    *,
    parents: Sequence[str] = (),
    origin: OriginInfo | None = None,
) -> RunHead:
    """Return the head of a new attempt at a task of `run`: its namespace, flow and id.

    Raises `InvalidNameError` where the names make no key together.
    """
    started = clock.now().isoformat(timespec="microseconds")
    head = RunHead(*run, started, step=step, task=task, parents=tuple(parents), origin=origin)
    check_key(slot_key(head.prefix(ATTEMPTS_MAX), 0))
    return head


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric."""

    name: str
    value: Scalar
    step: float | int
    time: float


def series_of(points: Sequence[Point]) -> dict[str, Series]:
    """Return points as parallel lists, by metric."""
    by_name: dict[str, Series] = {}
    for point in points:
        series = by_name.setdefault(point.name, Series([], [], []))
        series.values.append(point.value)
        series.steps.append(point.step)
        series.times.append(point.time)
    return by_name
