"""What an argument of the command line means, and what is told of it as JSON."""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from holdall._artifact import Artifact
from holdall._cli_json import plain
from holdall._client import Client
from holdall._flow import Flow
from holdall._reference import Reference
from holdall._run import Run
from holdall.store import (
    AccessDeniedError,
    FlowNotFoundError,
    FormatError,
    HoldallError,
    IntegrityError,
    NamespaceNotFoundError,
    NotFoundError,
    RunNotFoundError,
    nearest,
)

__all__ = [
    "DAMAGE",
    "Entry",
    "Found",
    "Unreadable",
    "artifact_json",
    "count_runs",
    "entries",
    "find",
    "flow_json",
    "newest_entry",
    "parse",
    "run_json",
    "run_reference",
    "versions",
    "versions_reference",
]

RUN_COUNT_MAX: Final = 1000
"""Runs are counted up to here: one listing on an object store."""

VERSIONS_LOOK_BACK_RUNS: Final = 1000
"""How many runs are looked through for an artifact."""

ALIASES_MAX: Final = 20
"""Each one is a look at the store."""

_RUN_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}")

DAMAGE: Final = (IntegrityError, FormatError, AccessDeniedError)
"""What is wrong with one run or flow, and hides no other."""

Found = Client | Flow | Run | Artifact


class Unreadable(NamedTuple):
    """A run that is there and cannot be read; its `id` is empty where not even the folder of the flow can be."""

    namespace: str
    flow: str
    id: str
    error: HoldallError

    @property
    def status(self) -> str:
        """``damaged``, or ``unreadable`` where only the right to read is missing."""
        return "unreadable" if isinstance(self.error, AccessDeniedError) else "damaged"


Entry = Run | Unreadable


def parse(text: str) -> Reference:
    """Return the reference that `text` writes; ``flow/20261123T…`` is a run, as in Metaflow."""
    reference = Reference.parse(text)
    if reference.artifact and _RUN_ID.match(reference.artifact) and not reference.run and not reference.alias:
        head = text.rpartition("/")[0]
        return Reference.parse(f"{head}@{reference.artifact}")
    return reference


def find(client: Client, text: str) -> Found:
    """Return what `text` names: a namespace (as the client that looks there), a flow, a run or an artifact.

    ``kind:name`` is a namespace if there is one of that name, and otherwise a flow and an alias; with a slash behind it,
    it is always a namespace.
    """
    lone = "/" not in text.rstrip("/") and ":" in text
    spaces = client.namespaces if lone else []
    if lone:
        if text.rstrip("/") in spaces:
            return client.in_namespace(text.rstrip("/"))
        if text.endswith("/"):
            raise NamespaceNotFoundError(_no_namespace(client, text.rstrip("/"), spaces))
    reference = parse(text)
    try:
        if reference.artifact is not None:
            return client.artifact(reference)
        if reference.run is not None or reference.alias is not None:
            return client.run_of(reference)
        home = client if reference.namespace is None else client.in_namespace(reference.namespace)
        return home.flow(str(reference.flow))
    except FlowNotFoundError as error:
        if not lone:
            raise
        missing = _no_namespace(client, text, spaces)
        raise NamespaceNotFoundError(f"{missing} Nor is it a flow with an alias: {error}") from None


def versions_reference(text: str) -> Reference | None:
    """Return the reference of an artifact, if `text` names one and neither a run nor an alias."""
    if "/" not in text.rstrip("/"):
        return None
    reference = parse(text)
    return reference if reference.artifact and not reference.run and not reference.alias else None


def entries(flow: Flow) -> Iterator[Entry]:
    """Yield the runs of a flow, newest first, and among them those that cannot be read."""
    streams = [_entries(flow, space) for space in flow.namespaces]
    return heapq.merge(*streams, key=lambda entry: entry.id, reverse=True)


def newest_entry(flow: Flow) -> Entry | None:
    """Return the newest run of a flow, whether or not it can be read; ``None`` where there is none."""
    return next(entries(flow), None)


def _entries(flow: Flow, space: str) -> Iterator[Entry]:
    catalog = flow.client.repository.catalog
    tags = flow.client.repository.tags.reader(space, flow.name)
    seen = set()
    try:
        for view in catalog.newest(space, flow.name):
            seen.add(view.run)
            yield Run._of(flow.client, view, tags)
    except DAMAGE as error:
        damage = error
    else:
        return
    # From here on one by one, which takes a listing for each run.
    try:
        for run_id in catalog.run_ids(space, flow.name):
            if run_id in seen:
                continue
            try:
                entry: Entry = Run._of(flow.client, catalog.run(space, flow.name, run_id), tags)
            except RunNotFoundError:
                continue  # it died before its first record
            except DAMAGE as error:
                entry = Unreadable(space, flow.name, run_id, error)
            yield entry
    except AccessDeniedError:
        yield Unreadable(space, flow.name, "", damage)


def versions(client: Client, reference: Reference) -> Iterator[Artifact | Unreadable]:
    """Yield an artifact of each run that holds it, newest first; of one run, where the reference names one.

    A run that cannot be read may hold it, too.
    """
    if reference.run is not None or reference.alias is not None:
        yield client.artifact(reference)
        return
    home = client if reference.namespace is None else client.in_namespace(reference.namespace)
    name = str(reference.artifact)
    any_found = False
    for run in itertools.islice(entries(home.flow(str(reference.flow))), VERSIONS_LOOK_BACK_RUNS):
        if isinstance(run, Unreadable):
            yield run
        elif name in run:
            any_found = True
            yield run[name]
    if not any_found:
        client.artifact(reference)  # which says what there is instead


def count_runs(flow: Flow) -> tuple[int, bool]:
    """Return how many runs a flow has, and whether there are more than were counted."""
    catalog = flow.client.repository.catalog
    ids = itertools.chain.from_iterable(catalog.run_ids(space, flow.name) for space in flow.namespaces)
    try:
        count = sum(1 for _ in itertools.islice(ids, RUN_COUNT_MAX + 1))
    except AccessDeniedError:
        return 0, True
    return min(count, RUN_COUNT_MAX), count > RUN_COUNT_MAX


def run_reference(run: Entry) -> str:
    """Return the reference that always means this run."""
    return str(Reference(run.namespace, run.flow, run=run.id or None))


def flow_json(flow: Flow, newest: Entry | None, *, whole: bool = False) -> dict[str, Any]:
    """Return what is told of a flow and its newest run; the `whole` of it has the newest runs and the aliases."""
    count, more = count_runs(flow)
    space = flow.namespaces[0] if len(flow.namespaces) == 1 else None
    told: dict[str, Any] = {
        "kind": "flow",
        "reference": str(Reference(space, flow.name)),
        "flow": flow.name,
        "namespaces": list(flow.namespaces),
        "runs": count,
        "more_runs": more,
        "latest_run": None if newest is None else _brief(newest),
    }
    if whole:
        good = next((run for run in entries(flow) if isinstance(run, Run) and run.successful), None)
        told["latest_successful_run"] = None if good is None else _brief(good)
        told["aliases"] = _aliases(flow)
    return told


def run_json(run: Entry, *, whole: bool = False) -> dict[str, Any]:
    """Return what is told of a run; of one that cannot be read, why. Its steps are told with `whole` alone."""
    if isinstance(run, Unreadable):
        place = {"namespace": run.namespace, "flow": run.flow, "finished": None, "seconds": None, "exception": None}
        empty: dict[str, Any] = {"tags": [], "params": {}, "metrics": {}, "info": {}, "artifacts": []}
        return {**_brief(run), **place, **empty, "error": str(run.error)}
    finished = run.finished_at
    try:
        params = {name: plain(value) for name, value in run.params.items()}
    except HoldallError as error:  # of types that only a trusted store may name
        params = {"": str(error)}
    exception = run.exception
    return {
        **_brief(run),
        "namespace": run.namespace,
        "flow": run.flow,
        "finished": None if finished is None else finished.isoformat(),
        "seconds": run.duration.total_seconds(),
        "tags": sorted(run.tags),
        "params": params,
        "metrics": {name: _number(value) for name, value in run.metrics.items()},
        "exception": exception
        and {"type": exception.type, "message": exception.message, "traceback": exception.traceback},
        "info": plain(dict(run.info)),
        "artifacts": [artifact_json(artifact) for artifact in run],
        **({"steps": [node._asdict() for node in run.graph().nodes]} if whole and run._view.has_tasks else {}),
    }


def artifact_json(artifact: Artifact) -> dict[str, Any]:
    """Return what is told of an artifact."""
    return {
        "kind": "artifact",
        "reference": artifact.reference,
        "namespace": artifact.namespace,
        "flow": artifact.flow,
        "run": artifact.run_id,
        "artifact": artifact.name,
        "type": artifact.type,
        "bytes": artifact.size,
        "new_bytes": artifact.stored,
        "digest": artifact.digest,
        "saved": artifact.created_at.isoformat(),
        "libraries": artifact.libraries,
        "runs_code": artifact.runs_code,
    }


def _brief(run: Entry) -> dict[str, Any]:
    return {
        "kind": "run",
        "reference": run_reference(run),
        "run": run.id,
        "status": run.status,
        "started": None if isinstance(run, Unreadable) else run.created_at.isoformat(),
    }


def _aliases(flow: Flow) -> dict[str, str]:
    aliases = flow.client.aliases
    found: dict[str, str] = {}
    for space in flow.namespaces:
        for name in aliases.names(space, flow.name)[:ALIASES_MAX]:
            try:
                found.setdefault(name, run_reference(aliases.resolve(flow, name)))
            except (NotFoundError, *DAMAGE):
                continue  # its run is gone, or cannot be read, which is told of the run
    return found


def _number(value: float | bool) -> float | bool | str:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _no_namespace(client: Client, name: str, known: list[str]) -> str:
    return f"There is no namespace {name!r} ({client.url}).{nearest(name, known)}"
