"""What the log of a run says, put together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import ExceptionInfo, OriginInfo, RunRecord, Series
from holdall_store.repository._artifacts import StoredArtifact

if TYPE_CHECKING:
    import msgspec

__all__ = ["Lifted", "RunView", "chosen_attempts", "lift", "merge_records", "order_steps", "parse_time"]

EVENTS = frozenset(("open", "commit", "end", "fence", "abandoned", "deleted", "restored"))


@dataclass(slots=True)
class RunView:
    """All that the records of one run say, up to one moment."""

    namespace: str
    flow: str
    run: str
    status: str = "running"
    started: str = ""
    updated: str = ""
    ended: bool = False
    slots: int = 0
    params: dict[str, msgspec.Raw] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, StoredArtifact] = field(default_factory=dict)
    summary: dict[str, float | int | bool | str] = field(default_factory=dict)
    metrics: dict[str, list[Series]] = field(default_factory=dict)
    metrics_whole: bool = True
    """The points of all metrics are here, rather than in earlier records that were not read."""
    exception: ExceptionInfo | None = None
    origin: OriginInfo | None = None
    deleted: bool = False
    """Nobody who looks for runs is to see it; a collection may take what it refers to."""
    deleted_artifacts: dict[str, StoredArtifact] = field(default_factory=dict)
    """Artifacts that were deleted from it, and can be restored."""
    steps: tuple[str, ...] = ()
    lifted: bool = False
    """The artifacts of a run that has ended are those of its tasks, too."""
    has_tasks: bool = False
    """The record, or a listing, shows that the run has tasks."""
    step: str = ""
    task: str = ""
    attempt: int = 0
    parents: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str, str, str, str, int]:
        """Whose log it is: namespace, flow, run, and of a task its step, name and attempt."""
        return self.namespace, self.flow, self.run, self.step, self.task, self.attempt


class Lifted(NamedTuple):
    """What a run shows of its tasks: its steps, in order, and for each name of an artifact or metric whose it is, and what."""

    steps: tuple[str, ...] = ()
    artifacts: Mapping[str, tuple[RunView, StoredArtifact]] = MappingProxyType({})
    summary: Mapping[str, tuple[RunView, float | int | bool | str]] = MappingProxyType({})


def lift(tasks: Iterable[RunView], *, succeeded: bool = False) -> Lifted:
    """Return what a run shows of its tasks.

    Of each task counts the newest attempt that succeeded, or else the newest; of each name what the last task of the last
    step holds that succeeded, or else the last of all, or, of a run that has itself `succeeded`, nothing. Steps come after
    their parents, and otherwise in the order in which they began, as do the tasks of a step.
    """
    by_step: dict[str, list[RunView]] = {}
    for view in chosen_attempts(tasks):
        by_step.setdefault(view.step, []).append(view)
    order = order_steps({step: [name for view in views for name in view.parents] for step, views in by_step.items()})
    views = [view for step in order for view in by_step[step] if not succeeded or view.status == "succeeded"]
    artifacts: dict[str, tuple[RunView, StoredArtifact]] = {}
    summary: dict[str, tuple[RunView, float | int | bool | str]] = {}
    for view in views:
        for name, stored in view.artifacts.items():
            if _comes_before(view, artifacts.get(name)):
                artifacts[name] = view, stored
        for name, value in view.summary.items():
            if _comes_before(view, summary.get(name)):
                summary[name] = view, value
    return Lifted(order, artifacts, summary)


def _comes_before(view: RunView, earlier: tuple[RunView, object] | None) -> bool:
    """Tell whether what a task holds is shown rather than what an earlier one does."""
    return earlier is None or view.status == "succeeded" or earlier[0].status != "succeeded"


def chosen_attempts(tasks: Iterable[RunView]) -> list[RunView]:
    """Return of each task the newest attempt that succeeded, or else the newest, in the order in which they began."""
    chosen: dict[tuple[str, str], RunView] = {}
    for view in sorted(tasks, key=lambda view: (view.status == "succeeded", view.attempt)):
        chosen[view.step, view.task] = view
    return sorted(chosen.values(), key=lambda view: (view.started, view.step, view.task))


def order_steps(parents: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return steps so that each comes after its parents, and otherwise as they are given; a circle is cut somewhere."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    for first in parents:
        stack = [first]
        while stack:
            step = stack[-1]
            entered.add(step)
            waiting = [name for name in parents[step] if name in parents and name not in entered]
            if waiting:
                stack.append(waiting[0])
            else:
                order.setdefault(stack.pop())
    return tuple(order)


def merge_records(records: Sequence[RunRecord], where: str, *, first: int = 0) -> RunView:
    """Return what `records`, in the order of their slots, say of one run.

    `first` is the slot of the first record: where it is not 0, that record must be a complete one.
    """
    if not records:
        raise IntegrityError(f"{where} holds no record.")
    head = records[0]
    view = RunView(head.namespace, head.flow, head.run, metrics_whole=first == 0)
    # What a collector writes into the log of a task names the run alone.
    place = next((_place(record) for record in records if record.step), _place(head))
    view.step, view.task, view.attempt = place[3:]
    for record in records:
        if _place(record)[:3] != place[:3] or (record.step and _place(record) != place):
            raise IntegrityError(
                f"{where} holds a record of another run: {record.namespace}/{record.flow}@{record.run}."
            )
        if record.event not in EVENTS:
            raise FormatError(f"{where} holds an event {record.event!r} that this version of holdall does not know.")
        view.slots = record.slot + 1
        if record.event == "fence":
            continue
        if record.event in ("deleted", "restored"):
            _hide(view, record)
            continue
        view.updated = record.time
        if record.event == "abandoned":
            _abandon(view)
            continue
        _apply(view, record)
    return view


def parse_time(text: str) -> dt.datetime:
    """Return the time that a record gives, with its zone; `FormatError` where it is none."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise FormatError(f"{text!r:.60} in a record is no time.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _place(record: RunRecord) -> tuple[str, str, str, str, str, int]:
    return record.namespace, record.flow, record.run, record.step, record.task, record.attempt


def _apply(view: RunView, record: RunRecord) -> None:
    if record.complete:
        view.artifacts.clear()
    view.status = record.status
    view.ended = record.event == "end"
    view.started = view.started or record.started
    view.params = record.params or view.params
    view.tags = record.tags or view.tags
    view.info = {**view.info, **record.info}
    view.summary = {**view.summary, **record.summary}
    view.exception = record.exception or view.exception
    view.steps, view.lifted = record.steps or view.steps, record.lifted
    view.has_tasks = bool(view.steps)
    view.parents = record.parents or view.parents
    view.origin = record.origin or view.origin
    for name, series in record.metrics.items():
        view.metrics.setdefault(name, []).append(series)
    for name, artifact in record.artifacts.items():
        view.artifacts[name] = StoredArtifact(artifact, record.packs)


def _hide(view: RunView, record: RunRecord) -> None:
    """Delete or restore the whole run, or the artifacts that the record names."""
    hide = record.event == "deleted"
    if not record.names:
        view.deleted = hide
    goes, comes = (view.artifacts, view.deleted_artifacts) if hide else (view.deleted_artifacts, view.artifacts)
    for name in record.names:
        if name in goes:
            comes[name] = goes.pop(name)


def _abandon(view: RunView) -> None:
    view.ended = True
    if view.status == "running":
        view.status = "failed"
        view.exception = ExceptionInfo("Abandoned", "Its process was not heard of any more, and was given up.")
