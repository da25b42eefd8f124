"""``holdall ls`` and ``holdall show``."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from holdall._artifact import Artifact
from holdall._cli_find import (
    Entry,
    Unreadable,
    artifact_json,
    count_runs,
    entries,
    find,
    flow_json,
    newest_entry,
    parse,
    run_json,
    run_reference,
    versions,
    versions_reference,
)
from holdall._cli_output import Output, Styled
from holdall._client import Client
from holdall._flow import Flow
from holdall._messages import listed
from holdall._reference import Reference
from holdall._run import Run
from holdall._text import (
    duration_text,
    new_text,
    number_text,
    place_text,
    size_text,
    time_text,
    value_text,
)
from holdall._values import check_tags
from holdall.store import HoldallError, InvalidNameError

__all__ = ["ls", "note_damage", "show", "write_runs"]

FLOWS_DEFAULT: Final = 100
RUNS_DEFAULT: Final = 20
"""What fits on a screen; each row is a look at the store. ``--limit`` says otherwise."""

RUNS_SHOWN: Final = 10

NAMES_SHOWN: Final = 30
"""Names of a run's artifacts in one row; ``holdall ls FLOW@RUN`` has one a line."""

_STYLES: Final = {
    "succeeded": "green",
    "failed": "red",
    "died": "red",
    "running": "yellow",
    "damaged": "red",
    "unreadable": "red",
}

_T = TypeVar("_T")


def ls(client: Client, options: argparse.Namespace, output: Output) -> int:
    """List flows, the runs of a flow, the artifacts of a run, or the versions of an artifact."""
    client.repository.record()  # a store that is not there is no empty store
    # The versions of an artifact are looked for in all runs: the newest may be damaged.
    reference = None if options.target is None else versions_reference(options.target)
    found = reference or (client if options.target is None else find(client, options.target))
    if options.tags and not isinstance(found, Flow):
        raise InvalidNameError("--tag chooses among the runs of a flow: holdall ls FLOW --tag TAG.")
    if isinstance(found, Client):
        return _list_flows(found, options, output)
    if isinstance(found, Flow):
        return _list_runs(found, options, output)
    if isinstance(found, Run):
        artifacts, more = _limited(iter(found), options, 0)
        _write_artifacts(artifacts, output)
        _note_more(more, "artifacts", output)
        if not artifacts:
            output.note(f"Run {found.id} holds no artifacts.")
        return 0
    every, more = _limited(versions(client, reference or parse(str(options.target))), options, RUNS_DEFAULT)
    _write_artifacts([each for each in every if isinstance(each, Artifact)], output, runs=True)
    _note_more(more, "versions", output)
    return note_damage(every, output)


def show(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Show all that is known of a flow, a run or an artifact."""
    client.repository.record()
    found = find(client, options.target)
    if isinstance(found, Client):
        raise InvalidNameError(f"{options.target!r} is a namespace: 'holdall ls {options.target}' lists its flows.")
    if isinstance(found, Flow):
        return _show_flow(found, output)
    if isinstance(found, Run):
        _show_run(found, output)
    else:
        _show_artifact(found, output)
    return 0


def _list_flows(client: Client, options: argparse.Namespace, output: Output) -> int:
    flows, more = _limited(iter(client.flows), options, FLOWS_DEFAULT)
    newest = [] if output.quiet and not output.as_json else [newest_entry(flow) for flow in flows]
    if output.as_json:
        output.json([flow_json(flow, run) for flow, run in zip(flows, newest, strict=True)])
    elif output.quiet:
        for flow in flows:
            for space in flow.namespaces:
                output.line(str(Reference(space, flow.name)))
    else:
        everywhere = client.namespace is None
        heads = ["flow", "runs", "newest run", "status", "began", *(["namespace"] if everywhere else [])]
        output.table(
            heads,
            [_flow_row(flow, run, everywhere) for flow, run in zip(flows, newest, strict=True)],
            right={"runs"},
            keep={"runs", "status"},
            ids={"flow", "newest run"},
        )
    _note_more(more, "flows", output)
    if not flows:
        others = [space for space in client.namespaces if space != client.namespace]
        hint = f" Others: {', '.join(others[:10])}; --all-namespaces lists them all." if others else ""
        output.note(f"No flows in {client.namespace or 'any namespace'} ({place_text(client.url)}).{hint}")
    return note_damage(newest, output)


def _flow_row(flow: Flow, newest: Entry | None, everywhere: bool) -> list[str | Styled]:
    count, more = count_runs(flow)
    row: list[str | Styled] = [Styled(flow.name, "bold"), f"{count}{'+' if more else ''}"]
    row += [newest.id, _status(newest), _began(newest)] if newest is not None else ["", "", ""]
    return [*row, ", ".join(flow.namespaces)] if everywhere else row


def _list_runs(flow: Flow, options: argparse.Namespace, output: Output) -> int:
    tags = set(check_tags(options.tags))
    # What carries which tags is not known of a run that cannot be read.
    chosen = (run for run in entries(flow) if isinstance(run, Unreadable) or tags <= run.tags)
    runs, more = _limited(chosen, options, RUNS_DEFAULT)
    write_runs(runs, output, namespaces=len(flow.namespaces) > 1)
    _note_more(more, "runs", output)
    if not runs:
        output.note(f"No runs of flow {flow.name!r}{' with these tags' if options.tags else ''}.")
    return note_damage(runs, output)


def write_runs(runs: Iterable[Entry], output: Output, *, namespaces: bool) -> None:
    """Write a table of runs, or what programs or quiet ones are told of them."""
    if output.as_json:
        output.json([run_json(run) for run in runs])
    elif output.quiet:
        for run in runs:
            output.line(run_reference(run))
    else:
        heads = [
            "run",
            "status",
            "began",
            "took",
            "metrics",
            "tags",
            "artifacts",
            *(["namespace"] if namespaces else []),
        ]
        output.table(
            heads,
            [_run_row(run, namespaces) for run in runs],
            right={"took"},
            keep={"status", "began"},
            ids={"run"},
        )


def _run_row(run: Entry, namespaces: bool) -> list[str | Styled]:
    if isinstance(run, Unreadable):
        return [run.id, _status(run), "", "", "", "", "", *([run.namespace] if namespaces else [])]
    metrics = " ".join(f"{name}={number_text(value)}" for name, value in run.metrics.items())
    row: list[str | Styled] = [run.id, _status(run), time_text(run.created_at), duration_text(run.duration)]
    row += [metrics, ", ".join(sorted(run.tags)), listed(list(run._view.artifacts), NAMES_SHOWN)]
    return [*row, run.namespace] if namespaces else row


def _write_artifacts(artifacts: list[Artifact], output: Output, *, runs: bool = False) -> None:
    if output.as_json:
        output.json([artifact_json(artifact) for artifact in artifacts])
    elif output.quiet:
        for artifact in artifacts:
            output.line(artifact.reference)
    else:
        heads = ["artifact", "type", "size", "new", "digest", "saved", *(["run"] if runs else [])]
        output.table(
            heads,
            [_artifact_row(artifact, runs) for artifact in artifacts],
            right={"size", "new"},
            keep={"size"},
            ids={"artifact", "run"},
        )


def _artifact_row(artifact: Artifact, runs: bool) -> list[str | Styled]:
    row: list[str | Styled] = [Styled(artifact.name, "bold"), artifact.type, size_text(artifact.size)]
    row += [new_text(artifact._stored.record), artifact.digest[:12], time_text(artifact.created_at)]
    return [*row, artifact.run_id] if runs else row


def _show_flow(flow: Flow, output: Output) -> int:
    if output.quiet and not output.as_json:
        for space in flow.namespaces:
            output.line(str(Reference(space, flow.name)))
        return 0
    runs = list(itertools.islice(entries(flow), RUNS_SHOWN))
    told = flow_json(flow, runs[0] if runs else None, whole=True)
    if output.as_json:
        output.json(told)
        return note_damage(runs, output)
    successful = told["latest_successful_run"]
    output.facts(
        {
            "flow": Styled(flow.name, "bold"),
            "namespace": ", ".join(flow.namespaces),
            "store": place_text(flow.client.url),
            "runs": f"{told['runs']}{'+' if told['more_runs'] else ''}",
            "latest successful": successful["run"] if successful else "none",
            "aliases": ", ".join(f"{name} -> {run.rpartition('@')[2]}" for name, run in told["aliases"].items()),
        }
    )
    output.line()
    write_runs(runs, output, namespaces=len(flow.namespaces) > 1)
    return note_damage(runs, output)


def _show_run(run: Run, output: Output) -> None:
    if output.as_json:
        output.json(run_json(run, whole=True))
        return
    if output.quiet:
        output.line(run_reference(run))
        return
    output.facts(
        {
            "run": Styled(run.pathspec, "bold"),
            "namespace": run.namespace,
            "store": place_text(run.client.url),
            "status": _status(run),
            "began": time_text(run.created_at, full=True),
            "took": duration_text(run.duration),
            "tags": ", ".join(sorted(run.tags)),
            **_origin(run.info),
        }
    )
    _section("parameters", _params(run), output)
    _section("metrics", {name: number_text(value) for name, value in run.metrics.items()}, output)
    if run._view.has_tasks:
        output.line()
        output.line(Styled("STEPS", "dim"))
        for line in run.graph().text.splitlines():
            output.line(line)
    if len(run):
        output.line()
        _write_artifacts(list(run), output)
    exception = run.exception
    if exception is not None:
        output.line()
        output.line(Styled(f"{exception.type}: {exception.message}", "red"))
        for line in exception.traceback.rstrip().splitlines():
            output.line("  " + line)


def _show_artifact(artifact: Artifact, output: Output) -> None:
    if output.as_json:
        output.json(artifact_json(artifact))
        return
    if output.quiet:
        output.line(artifact.reference)
        return
    trusted = artifact.client.trusted
    output.facts(
        {
            "artifact": Styled(artifact.name, "bold"),
            "reference": artifact.reference,
            "store": place_text(artifact.client.url),
            "type": artifact.type,
            "size": f"{size_text(artifact.size)} ({new_text(artifact._stored.record, sentence=True)})",
            "saved": time_text(artifact.created_at, full=True),
            "digest": artifact.digest,
            "libraries": ", ".join(f"{name} {version}" for name, version in artifact.libraries.items()),
            "pickle": ""
            if not artifact.runs_code
            else f"yes: loading it runs code{'' if trusted else ', so it takes --trust'}",
            "load": f"holdall.load({artifact.reference!r})",
        }
    )


def _section(title: str, facts: dict[str, str], output: Output) -> None:
    if facts:
        output.line()
        output.line(Styled(title.upper(), "dim"))
        output.facts({name: text or "''" for name, text in facts.items()})


def _params(run: Run) -> dict[str, str]:
    try:
        return {name: value_text(value) for name, value in run.params.items()}
    except HoldallError as error:  # of types that only a trusted store may name
        return {"": str(error)}


def _origin(info: Any) -> dict[str, str]:
    """Return who made a run, where and with what. It may be anything that JSON can say."""
    git = info.get("git")
    commit = ""
    if isinstance(git, dict) and git.get("commit"):
        branch = f" ({git['branch']})" if git.get("branch") else ""
        commit = f"{str(git['commit'])[:12]}{branch}{', with changes' if git.get('dirty') else ''}"
    command = info.get("command")
    return {
        "user": value_text(info.get("user", "")),
        "host": value_text(info.get("host", "")),
        "command": value_text(" ".join(map(str, command))) if isinstance(command, list) else "",
        "commit": commit,
        "python": value_text(info.get("python", "")),
    }


def _status(run: Entry) -> Styled:
    return Styled(run.status, _STYLES.get(run.status, ""))


def _began(run: Entry) -> str:
    return "" if isinstance(run, Unreadable) else time_text(run.created_at)


def _limited(items: Iterator[_T], options: argparse.Namespace, default: int) -> tuple[list[_T], bool]:
    """Return as many items as are to be listed, and whether there are more; ``--limit 0`` means all."""
    limit = default if options.limit is None else options.limit
    if not limit:
        return list(items), False
    taken = list(itertools.islice(items, limit + 1))
    return taken[:limit], len(taken) > limit


def _note_more(more: bool, what: str, output: Output) -> None:
    if more:
        sys.stdout.flush()  # so that a terminal has it below the rows
        output.note(f"There are more {what}: --limit 0 lists them all.")


def note_damage(found: Iterable[object], output: Output) -> int:
    """Name what could not be read beside the data; return the exit code."""
    damaged = [each for each in found if isinstance(each, Unreadable)]
    if damaged:
        sys.stdout.flush()
    for each in damaged:
        output.note(f"{run_reference(each)} is {each.status}: {each.error}")
    return 1 if damaged else 0
