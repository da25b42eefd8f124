"""What a notebook shows of clients, flows, runs and artifacts.

Tables, bold and marks alone tell everything, because some viewers keep no style at all. What style there is takes its
colours from the page, so that it is at home on light and dark ones. There is no script, and nothing is fetched.
"""

from __future__ import annotations

import datetime as dt
import html
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from holdall._text import (
    clean,
    count_text,
    duration_text,
    new_text,
    number_text,
    place_text,
    size_text,
    time_text,
    value_text,
)
from holdall.store import HoldallError

if TYPE_CHECKING:
    from holdall._artifact import Artifact
    from holdall._client import Client
    from holdall._flow import Flow
    from holdall._recorded import Recorded
    from holdall._run import Run
    from holdall._runs import Runs

__all__ = [
    "artifact_html",
    "artifacts_table",
    "box",
    "client_html",
    "code",
    "facts_table",
    "failure",
    "flow_html",
    "listed",
    "metrics_table",
    "never_raise",
    "none",
    "run_html",
    "runs_html",
    "status_mark",
    "table",
    "take",
    "title",
    "when",
    "who",
]

ROWS_MAX: Final = 20
"""A view is a look, not a dump; it also bounds what is read to make one."""

METRIC_COLUMNS_MAX: Final = 6
"""More columns would need scrolling sideways."""

TRACEBACK_LINES_MAX: Final = 40

_P = ParamSpec("_P")

_MARKS: Final = {
    "succeeded": ("✓", "#1f9d55"),
    "failed": ("✗", "#e5484d"),
    "died": ("✗", "#e5484d"),
    "running": ("●", "#d08700"),
}

_LINE: Final = "1px solid rgba(128,128,128,.28)"
_BOX: Final = f"margin:.4em 0;padding:.6em .9em;border:{_LINE};border-radius:6px;display:inline-block;max-width:100%;overflow-x:auto;"
_PRE: Final = "margin:.2em 0 0;padding:.5em .7em;background:rgba(128,128,128,.12);color:inherit;border-radius:4px;overflow-x:auto;"


class _Html(str):
    """Text that is HTML already; any other is escaped when it is put into a page."""

    __slots__ = ()


def never_raise(view: Callable[_P, str]) -> Callable[_P, str]:
    """Return a view that shows why it is short instead of raising: a broken look must not look like broken work."""

    def show(*args: _P.args, **kwargs: _P.kwargs) -> str:
        try:
            return view(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the notebook's cell is not to blame
            message = str(error) if isinstance(error, HoldallError) else f"{type(error).__name__}: {error}"
            return box(_tag("div", code(repr(args[0]))), _tag("div", f"⚠ {message}"))

    return show


@never_raise
def client_html(client: Client) -> str:
    """Return the view of a client: where it looks, and the flows there."""
    client.repository.record()  # where there is no store, that is what to say
    spaces = client.namespaces
    looks = [client.namespace] if client.namespace is not None else spaces
    catalog = client.repository.catalog
    every = ((space, flow) for space in looks for flow in catalog.flows(space))
    # One listing for each row: the newest run's id tells its time, so that nothing has to be read.
    rows, more = take((space, flow) for space, flow in every)
    shown = []
    for space, flow in rows:
        newest = next(catalog.run_ids(space, flow), "")
        cells = [
            _tag("b", flow),
            *([space] if client.namespace is None else []),
            _when_of_id(newest),
            code(newest),
        ]
        shown.append(cells)
    heads = ["flow", *(["namespace"] if client.namespace is None else []), "newest run", ""]
    return box(
        title("Client", place_text(client.url)),
        facts_table(
            {
                "namespace": client.namespace or "all of them",
                "others" if client.namespace else "namespaces": listed(
                    [space for space in spaces if space != client.namespace]
                ),
                "pickles": "" if client.trusted else "not loaded from here without trust=True",
            }
        ),
        table(heads, shown, more, "flows")
        if shown
        else none(f"No flows in {client.namespace or 'any namespace'} yet."),
    )


@never_raise
def flow_html(flow: Flow) -> str:
    """Return the view of a flow: its newest runs."""
    runs, more = take(flow.runs(limit=ROWS_MAX + 1))
    shown, hidden = _runs_table(runs, several=len(flow.namespaces) > 1, more=more)
    return box(title("Flow", flow.name, ", ".join(flow.namespaces[:3]), place_text(flow.client.url)), shown, hidden)


@never_raise
def runs_html(runs: Runs) -> str:
    """Return the view of runs that were chosen."""
    flow = runs._flow
    taken, more = take(runs)
    shown, hidden = _runs_table(taken, several=len(flow.namespaces) > 1, more=more)
    return box(title("Runs", repr(runs)[5:-1], place_text(flow.client.url)), shown, hidden)


def _runs_table(runs: Sequence[Run], *, several: bool, more: bool) -> tuple[str, str]:
    """Return a table of runs, and what says how many of their metrics it has no column for."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    metrics = names[:METRIC_COLUMNS_MAX]
    tagged = any(run.tags for run in runs)
    rows = []
    for run in runs:
        last = run.metrics
        rows.append(
            [
                status_mark(run.status),
                code(run.id),
                *([run.namespace] if several else []),
                when(run.created_at),
                duration_text(run.duration),
                *([_tags(run.tags)] if tagged else []),
                *(number_text(last[name]) if name in last else "" for name in metrics),
            ]
        )
    heads = ["", "run", *(["namespace"] if several else []), "began", "took", *(["tags"] if tagged else []), *metrics]
    hidden = len(names) - len(metrics)
    return (
        table(heads, rows, more, "runs", numbers=("took", *metrics)) if rows else none("No runs."),
        none(f"{count_text(hidden, 'more metric')}: run.metrics has them all.") if hidden else "",
    )


@never_raise
def run_html(run: Run) -> str:
    """Return the view of a run: how it went, who made it with what, and what it saved."""
    exception = run.exception
    from holdall._html_steps import steps_table

    return box(
        title("Run", run.pathspec, run.namespace, place_text(run.client.url)),
        facts_table(
            {
                "status": status_mark(run.status, word=True),
                "began": when(run.created_at, full=True),
                "took": duration_text(run.duration),
                "by": who(run.info),
                "commit": _commit(run.info),
                "command": _command(run.info),
                "tags": _tags(run.tags),
            }
        ),
        failure(exception.type, exception.message, exception.traceback) if exception else "",
        _pairs("parameter", _params(run)),
        metrics_table(run),
        steps_table(run),
        artifacts_table(run),
    )


@never_raise
def artifact_html(artifact: Artifact) -> str:
    """Return the view of an artifact: what it is, and the line that loads it."""
    libraries = [f"{name} {version}" for name, version in artifact.libraries.items()]
    return box(
        title("Artifact", artifact.name, f"{artifact.flow}@{artifact.run_id}", artifact.namespace),
        facts_table(
            {
                "type": code(artifact.type),
                "size": f"{size_text(artifact.size)} ({new_text(artifact._stored.record, sentence=True)})",
                "saved": when(artifact.created_at, full=True),
                "digest": code(artifact.digest[:16], title=artifact.digest),
                "libraries": listed(libraries),
                "pickle": "loading it runs code that is stored in it" if artifact.runs_code else "",
            }
        ),
        _tag("pre", code(_snippet(artifact)), style=_PRE),
    )


def _snippet(artifact: Artifact) -> str:
    """Return a line that loads exactly this artifact, in this notebook or another."""
    from holdall._client import Client

    client = artifact.client
    call = f"holdall.load({artifact.reference!r})"
    if Client().url != client.url:
        call = f"holdall.Client({place_text(client.url)!r}).load({artifact.reference!r})"
    if artifact.runs_code and not client.trusted:
        call = call[:-1] + ", trust=True)"
    return call


def _params(run: Run) -> Mapping[str, str]:
    try:
        return {name: value_text(value) for name, value in itertools.islice(run.params.items(), ROWS_MAX + 1)}
    except HoldallError as error:
        return {"⚠": str(error)}


def metrics_table(run: Recorded) -> str:
    """Return the last value of each metric."""
    return _pairs("metric", {name: number_text(value) for name, value in run.metrics.items()})


def artifacts_table(run: Recorded) -> str:
    """Return what a run or a task saved."""
    if not len(run):
        return none("No artifacts.")
    artifacts, more = take(iter(run))
    rows = [
        [_tag("b", each.name), code(each.type), size_text(each.size), new_text(each._stored.record)]
        for each in artifacts
    ]
    return table(["artifact", "type", "size", "new bytes"], rows, more, "artifacts", numbers=("size", "new bytes"))


def failure(kind: str, message: str, traceback: str) -> str:
    lines = traceback.rstrip().splitlines()
    shown = _Html("\n".join(_escape(line) for line in lines[-TRACEBACK_LINES_MAX:]))
    told = _tag("div", _Html(_tag("b", kind) + _escape(f": {message}" if message else "")), style="margin:.4em 0;")
    if not shown:
        return told
    return told + _tag(
        "details",
        _Html(_tag("summary", "traceback", style="cursor:pointer;") + _tag("pre", code(shown), style=_PRE)),
    )


def who(info: Mapping[str, Any]) -> str:
    user, host, python = (value_text(info.get(name, "")) for name in ("user", "host", "python"))
    return " · ".join(
        part for part in (f"{user} on {host}" if host else user, f"Python {python}" if python else "") if part
    )


def _commit(info: Mapping[str, Any]) -> str:
    git = info.get("git")
    if not isinstance(git, Mapping) or not git.get("commit"):
        return ""
    branch = f" on {value_text(git['branch'])}" if git.get("branch") else ""
    changed = ", with changes that were not committed" if git.get("dirty") else ""
    commit = value_text(git["commit"])
    return _Html(code(commit[:12], title=commit) + _escape(branch + changed))


def _command(info: Mapping[str, Any]) -> str:
    command = info.get("command")
    if not isinstance(command, Sequence) or isinstance(command, str) or not command:
        return ""
    return code(value_text(" ".join(map(str, command))))


def status_mark(status: str, *, word: bool = False) -> _Html:
    mark, color = _MARKS.get(status, ("?", "inherit"))
    shown = f"{mark} {status}" if word else mark
    return _tag("span", shown, style=f"color:{color};font-weight:600;white-space:nowrap;", title=status)


def _tags(tags: Iterable[str]) -> str:
    return listed(sorted(tags))


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:ROWS_MAX]) + (", …" if len(names) > ROWS_MAX else "")


def when(moment: dt.datetime, *, full: bool = False) -> _Html:
    return _tag(
        "span",
        time_text(moment, full=full),
        style="white-space:nowrap;",
        title=time_text(moment, zone=dt.UTC, full=True),
    )


def _when_of_id(run_id: str) -> str:
    """Return the time in a run id, which is UTC."""
    if not run_id:
        return ""
    return when(dt.datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC))


def take(items: Iterable[Any]) -> tuple[list[Any], bool]:
    """Return the first `ROWS_MAX` items, and whether there are more."""
    taken = list(itertools.islice(items, ROWS_MAX + 1))
    return taken[:ROWS_MAX], len(taken) > ROWS_MAX


def title(kind: str, name: str, *places: str) -> _Html:
    rest = " · ".join(place for place in places if place)
    quiet = _tag("span", rest, style="opacity:.65;") if rest else ""
    heading = _tag("span", kind, style="opacity:.65;") + " " + _tag("b", name) + (" &nbsp; " + quiet if quiet else "")
    return _tag("div", _Html(heading), style="margin:0 0 .4em;")


def facts_table(facts: Mapping[str, str]) -> str:
    """Return a table of names and values; a fact without a value is left out."""
    rows = [
        _row([_cell("th", name, border=False), _cell("td", value, border=False)])
        for name, value in facts.items()
        if value
    ]
    return _tag("table", _Html(_tag("tbody", _Html("".join(rows)))), style="border-collapse:collapse;margin:0 0 .5em;")


def _pairs(what: str, pairs: Mapping[str, str]) -> str:
    if not pairs:
        return ""
    rows, more = take(pairs.items())
    return table([what, "value"], [[_tag("b", name), value] for name, value in rows], more, f"{what}s")


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], more: bool, what: str, *, numbers: Collection[str] = ()
) -> str:
    """Return a table; the columns of `numbers` are aligned at their last digit."""
    sides = ["right" if name in numbers else "left" for name in heads]
    head = _row([_cell("th", name, side) for name, side in zip(heads, sides, strict=True)])
    body = "".join(_row([_cell("td", cell, side) for cell, side in zip(row, sides, strict=True)]) for row in rows)
    inner = _Html(_tag("thead", head) + _tag("tbody", _Html(body)))
    table = _tag("table", inner, style="border-collapse:collapse;margin:.3em 0 .5em;")
    return table + (none(f"… and more {what}.") if more else "")


def _row(cells: Sequence[_Html]) -> _Html:
    # Jupyter paints every other row.
    return _tag("tr", _Html("".join(cells)), style="background:none;")


def _cell(name: str, content: str, side: str = "left", *, border: bool = True) -> _Html:
    style = f"padding:.25em 1.4em .25em 0;vertical-align:top;border:0;text-align:{side};"
    style += f"border-bottom:{_LINE};" if border else ""
    style += "font-weight:600;white-space:nowrap;opacity:.75;" if name == "th" else ""
    style += "font-variant-numeric:tabular-nums;white-space:nowrap;" if side == "right" else ""
    return _tag(name, content, style=style, align=side)


def none(text: str) -> _Html:
    return _tag("div", text, style="opacity:.65;margin:.2em 0;")


def box(*parts: str) -> str:
    return _tag("div", _Html("".join(parts)), style=_BOX)


def _tag(name: str, content: str, **attributes: str) -> _Html:
    """Return an element; its content is escaped unless it is HTML already."""
    written = "".join(f' {key}="{_escape(value)}"' for key, value in attributes.items())
    inner = content if isinstance(content, _Html) else _escape(content)
    return _Html(f"<{name}{written}>{inner}</{name}>")


def code(content: str, **attributes: str) -> _Html:
    # Jupyter paints a box behind code, of which a table would be full.
    return _tag("code", content, style="background:none;color:inherit;padding:0;", **attributes)


def _escape(text: str) -> str:
    return html.escape(clean(text))
