"""What the log of a run says, put together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import ExceptionInfo, OriginInfo, RunRecord, Series
from holdall_store.repository._artifacts import StoredArtifact

if TYPE_CHECKING:
    import msgspec

__all__ = ["RunView", "merge_records", "parse_time"]

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


def merge_records(records: Sequence[RunRecord], where: str, *, first: int = 0) -> RunView:
    """Return what `records`, in the order of their slots, say of one run.

    `first` is the slot of the first record: where it is not 0, that record must be a complete one.
    """
    if not records:
        raise IntegrityError(f"{where} holds no record.")
    head = records[0]
    view = RunView(head.namespace, head.flow, head.run, metrics_whole=first == 0)
    for record in records:
        if (record.namespace, record.flow, record.run) != (head.namespace, head.flow, head.run):
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
        view.exception = ExceptionInfo("Abandoned", "The run's process was not heard of any more, and was given up.")
