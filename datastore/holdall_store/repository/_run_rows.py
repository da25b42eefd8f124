"""What a search looks at of a run: small, flat, and without its artifacts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from holdall_store.errors import FormatError
from holdall_store.format import TagRecord
from holdall_store.repository._views import RunView, parse_time

__all__ = ["RunRow", "make_row", "with_tags"]

PARAM_BYTES_MAX: Final = 512
"""Nobody searches for a longer parameter, and an index of many runs is to stay small."""

_WORDS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

_PLAIN_TAGS: Final = frozenset(("date", "datetime", "decimal", "posixpath", "uuid"))
"""Nodes whose text is what a person would compare with."""


class RunRow(msgspec.Struct, array_like=True):
    """One run, for filters and tables. `slots` is how many records its own log had, `tag_slot` the last that told its tags.

    `process` and `pid` are those of one that goes on, to tell whether it died.
    """

    run: str
    namespace: str
    status: str
    slots: int
    ended: bool
    deleted: bool
    started_s: float
    updated_s: float
    user: str
    host: str
    exception: str
    git_commit: str
    git_branch: str
    git_dirty: bool | None
    tags: list[str]
    artifacts: list[str]
    metrics: dict[str, float | int | bool]
    params: dict[str, Any]
    begun_with: list[str]
    tag_slot: int = -1
    log_slots: int = 0
    process: str = ""
    pid: int = 0


def make_row(view: RunView) -> RunRow:
    """Return what a search looks at of the run that `view` shows; of its tags, those in its own log."""
    info = view.info
    git = info.get("git")
    git = git if isinstance(git, dict) else {}
    dirty = git.get("dirty")
    return RunRow(
        run=view.run,
        namespace=view.namespace,
        status=view.status,
        slots=view.slots,
        ended=view.ended,
        deleted=view.deleted,
        started_s=_seconds(view.started or view.updated),
        updated_s=_seconds(view.updated),
        user=_text(info.get("user")),
        host=_text(info.get("host")),
        exception="" if view.exception is None else view.exception.type,
        git_commit=_text(git.get("commit")),
        git_branch=_text(git.get("branch")),
        git_dirty=dirty if isinstance(dirty, bool) else None,
        tags=list(view.tags),
        artifacts=list(view.artifacts),
        metrics={
            name: _WORDS.get(value, math.nan) if isinstance(value, str) else value
            for name, value in view.summary.items()
        },
        params=_plain_params(view.params),
        begun_with=list(view.tags),
        process="" if view.ended else _text(info.get("process")),
        pid=0 if view.ended or type(info.get("pid")) is not int else int(info["pid"]),
    )


def with_tags(row: RunRow, record: TagRecord | None) -> RunRow:
    """Return a row with the tags that the last record of its tags tells."""
    if record is None:
        return msgspec.structs.replace(row, tags=row.begun_with, tag_slot=-1, log_slots=0)
    return msgspec.structs.replace(row, tags=list(record.tags), tag_slot=record.slot, log_slots=record.log_slots)


def _plain_params(params: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    plain = {}
    for name, raw in params.items():
        if len(raw) > PARAM_BYTES_MAX:
            continue
        try:
            value = _plain(msgspec.json.decode(raw))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue  # who looks at the run is told
        if value is not None:
            plain[name] = value
    return plain


def _plain(node: Any) -> Any:
    """Return what a node says, as far as numbers, texts, lists and dicts can; ``None`` for what they cannot."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    tag = node.get("$")
    if tag is None:
        return {key: _plain(item) for key, item in node.items()}
    value = node.get("value")
    if tag == "int":
        return _integer(node.get("hex"))
    if tag == "numpy.scalar":  # what is no number or text lies in it as bytes
        return _plain(value) if value is not None else None
    if tag == "fraction":
        parts = _plain(node.get("numerator")), _plain(node.get("denominator"))
        return parts[0] / parts[1] if all(isinstance(part, int | float) for part in parts) and parts[1] else None
    if tag == "float":
        return _WORDS.get(value) if isinstance(value, str) else None
    if tag == "tuple" and isinstance(node.get("items"), list):
        return [_plain(item) for item in node["items"]]
    return value if tag in _PLAIN_TAGS and isinstance(value, str) else None


def _integer(text: object) -> int | float | None:
    """Return a large integer as far as an index can hold it: beyond 64 bits as a floating point number."""
    try:
        number = int(text, 16) if isinstance(text, str) else None
        return number if number is None or -(1 << 63) <= number < 1 << 64 else float(number)
    except (ValueError, OverflowError):
        return None


def _seconds(text: str) -> float:
    try:
        return parse_time(text).timestamp()
    except (FormatError, OverflowError, OSError):
        return math.nan


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
