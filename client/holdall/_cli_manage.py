"""``holdall alias``, ``holdall tag``, ``holdall runs``, ``holdall promote`` and ``holdall rm``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from holdall._artifact import Artifact
from holdall._cli_find import find, parse, run_json, run_reference
from holdall._cli_output import Output, Styled
from holdall._cli_views import write_runs
from holdall._client import Client
from holdall._flow import Flow
from holdall._flow_aliases import Alias
from holdall._run import Run
from holdall._session import alias as set_alias
from holdall._tagging import tag_runs
from holdall._text import count_text, time_text
from holdall._values import check_tags
from holdall.store import HoldallError, InvalidNameError

__all__ = ["alias", "promote", "rm", "runs", "tag"]

RUNS_DEFAULT = 100


def alias(client: Client, options: argparse.Namespace, output: Output) -> int:
    """List the aliases of a flow, set one, or show its history, roll it back, or remove it."""
    client.repository.record()
    asked = [name for name in ("history", "rollback", "remove") if getattr(options, name)]
    if options.name is not None:
        if asked:
            raise InvalidNameError(f"--{asked[0]} takes FLOW:ALIAS alone; to set an alias, leave --{asked[0]} out.")
        set_alias(options.reference, options.name, note=options.note, client=client)
        reference = parse(options.reference)
        home = client if reference.namespace is None else client.in_namespace(reference.namespace)
        found = home.flow(str(reference.flow)).aliases[options.name]
        _write_aliases([found], output)
        return 0
    if not asked:
        target = find(client, options.reference)
        if not isinstance(target, Flow):
            raise InvalidNameError("'holdall alias FLOW' lists aliases; 'holdall alias REF NAME' sets one.")
        _write_aliases(list(target.aliases.values()), output)
        return 0
    if len(asked) > 1:
        raise InvalidNameError(f"--{asked[0]} and --{asked[1]} do not go together.")
    chosen = _alias_of(client, options.reference)
    if asked == ["history"]:
        _write_history(chosen, output)
    elif asked == ["rollback"]:
        run = chosen.rollback(note=options.note)
        output.line(run_reference(run))
    else:
        chosen.remove(note=options.note)
    return 0


def tag(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Add and remove tags of runs, and show what they carry then."""
    client.repository.record()
    add, remove = check_tags(options.add), check_tags(options.remove)
    chosen = [_run_of(client, text) for text in options.references]
    if add or remove:
        tag_runs(chosen, add, remove)
    if output.as_json:
        output.json([{"reference": run_reference(run), "tags": sorted(run.tags)} for run in chosen])
    else:
        for run in chosen:
            output.line(run_reference(run), *([] if output.quiet else ["  " + ", ".join(sorted(run.tags))]))
    return 0


def runs(client: Client, options: argparse.Namespace, output: Output) -> int:
    """List the runs of a flow that match."""
    client.repository.record()
    flow = find(client, options.reference)
    if not isinstance(flow, Flow):
        raise InvalidNameError(f"{options.reference!r} is no flow: holdall runs FLOW.")
    limit = RUNS_DEFAULT if options.limit is None else options.limit
    chosen = flow.runs(
        tags=options.tags,
        since=options.since,
        until=options.until,
        status=options.status or None,
        where=options.where,
        limit=limit + 1 if limit else None,
    )
    found = list(chosen)
    shown = found[:limit] if limit else found
    write_runs(shown, output, namespaces=len(flow.namespaces) > 1)
    sys.stdout.flush()
    if len(found) > len(shown):
        output.note("There are more runs: --limit 0 lists them all.")
    if not found:
        output.note(f"No runs of flow {flow.name!r} match.")
    return 0


def promote(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Make a run a run of another namespace."""
    run = _run_of(client, options.reference)
    promoted = run.promote(options.to, alias=options.alias, note=options.note)
    if output.as_json:
        output.json(run_json(promoted))
    else:
        output.line(run_reference(promoted))
    return 0


def rm(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Delete runs, artifacts and flows, or bring them back."""
    client.repository.record()
    if options.undo:
        for text in options.references:
            run = client.undelete(text, note=options.note)
            if not output.quiet:
                output.line(run_reference(run))
        return 0
    chosen = [_deletable(client, text) for text in options.references]
    told = ", ".join(_told(each) for each in chosen)
    if not options.yes and not _agreed(told):
        output.note("Nothing was deleted. --yes deletes without asking.")
        return 1
    for each in chosen:
        if isinstance(each, Artifact):
            each.delete(note=options.note)
        else:
            each.delete(note=options.note, even_running=options.even_running)
    if not output.quiet:
        output.note(f"Deleted: {told}. Until the next collection, --undo brings runs and artifacts back.")
    return 0


def _run_of(client: Client, text: str) -> Run:
    found = find(client, text)
    if not isinstance(found, Run):
        raise InvalidNameError(f"{text!r} names no run: write flow@run, or flow:alias.")
    return found


def _deletable(client: Client, text: str) -> Run | Artifact | Flow:
    reference = parse(text)
    if reference.artifact is not None and reference.run is None and reference.alias is None:
        raise InvalidNameError(f"{text!r} means another run tomorrow: name the run, as in '{text}@<run>'.")
    found = find(client, text)
    if isinstance(found, Client):
        raise InvalidNameError(f"{text!r} is a namespace: its flows are deleted by name.")
    return found


def _told(each: Run | Artifact | Flow) -> str:
    if isinstance(each, Flow):
        count = each.runs().count()
        return f"flow {each.name} in {', '.join(each.namespaces)} with {count_text(count, 'run')}"
    return each.reference if isinstance(each, Artifact) else run_reference(each)


def _agreed(told: str) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Delete {told}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def _alias_of(client: Client, text: str) -> Alias:
    reference = parse(text)
    if reference.flow is None or reference.alias is None or reference.artifact is not None:
        raise InvalidNameError(f"{text!r} is no alias: write FLOW:ALIAS, such as churn:champion.")
    home = client if reference.namespace is None else client.in_namespace(reference.namespace)
    return home.flow(reference.flow).aliases[reference.alias]


def _write_aliases(aliases: list[Alias], output: Output) -> None:
    if output.as_json:
        output.json([_alias_json(each) for each in aliases])
    elif output.quiet:
        for each in aliases:
            output.line(f"{each.namespace}/{each.flow}:{each.name}")
    else:
        rows: list[list[str | Styled]] = [
            [Styled(each.name, "bold"), each.run_id, time_text(each.changed_at), each.who, each.note]
            for each in aliases
        ]
        output.table(["alias", "run", "since", "who", "note"], rows, ids={"alias", "run"})
        if not aliases:
            output.note("No aliases. 'holdall alias REF NAME' sets one.")


def _write_history(alias: Alias, output: Output) -> None:
    history = alias.history
    if output.as_json:
        output.json([{**change._asdict(), "when": change.when.isoformat()} for change in history])
        return
    rows: list[list[str | Styled]] = [
        [time_text(change.when), change.who, change.previous or "", change.run or "", change.note] for change in history
    ]
    output.table(["when", "who", "from", "to", "note"], rows, ids={"from", "to"})


def _alias_json(alias: Alias) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": "alias",
        "reference": f"{alias.namespace}/{alias.flow}:{alias.name}",
        "alias": alias.name,
        "run": alias.run_id,
        "since": alias.changed_at.isoformat(),
        "who": alias.who,
        "note": alias.note,
    }
    try:
        told["status"] = alias.run.status
    except HoldallError as error:
        told["error"] = str(error)
    return told
