"""Every key that holdall writes, and the ids in them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable

from holdall_store.errors import FormatError, InvalidNameError
from holdall_store.format._names import escape_name, unescape_name

__all__ = [
    "ALIASES_PREFIX",
    "GC_PREFIX",
    "PACKS_PREFIX",
    "RUNS_PREFIX",
    "STORE_KEY",
    "TAGS_PREFIX",
    "alias_prefix",
    "flow_prefix",
    "is_run_segment",
    "make_run_id",
    "namespace_prefix",
    "own_slots",
    "pack_key",
    "run_prefix",
    "run_segment",
    "segment_run_id",
    "segment_step",
    "segment_task",
    "slot_key",
    "slot_number",
    "slot_numbers",
    "step_prefix",
    "tags_flow_prefix",
    "tags_prefix",
    "task_prefix",
]

STORE_KEY = "holdall.json"
PACKS_PREFIX = "packs/"
RUNS_PREFIX = "runs/"
GC_PREFIX = "gc/"
ALIASES_PREFIX = "aliases/"
TAGS_PREFIX = "tags/"

SLOT_DIGITS = 8
"""Slots sort as text, so all have one width; a log of 10^8 records would have to be compacted long before."""

_RUN_ID = re.compile(r"([0-9]{8})T([0-9]{12})-([a-z2-7]{6})")
_RUN_SEGMENT = re.compile(r"([0-9]{8})t([0-9]{12})-([a-z2-7]{6})")
_SLOT = re.compile(r"[0-9]{8}")
_STEP_BEGIN = re.compile(r"[a-z_]|\^[a-z]|[^\x00-\x7f]")
_TASK_SEGMENT = re.compile(r"(.+?)(?:\^([1-9][0-9]{0,5}))?")
_COMPLEMENT = str.maketrans("0123456789", "9876543210")


def make_run_id(moment: dt.datetime, randomness: str) -> str:
    """Return a run id: the UTC time to the microsecond, a hyphen and six characters of base 32."""
    utc = moment.astimezone(dt.UTC)
    run_id = f"{utc:%Y%m%dT%H%M%S}{utc.microsecond:06d}-{randomness}"
    run_segment(run_id)
    return run_id


def run_segment(run_id: str) -> str:
    """Return the segment of a key for `run_id`: its nine's complement, so that a listing yields newest runs first."""
    match = _RUN_ID.fullmatch(run_id)
    if not match:
        raise InvalidNameError(f"{run_id!r:.80} is no run id; they look like 20261123T081402123456-k3f9qa.")
    day, time, randomness = match.groups()
    return f"{day.translate(_COMPLEMENT)}t{time.translate(_COMPLEMENT)}-{randomness}"


def is_run_segment(segment: str) -> bool:
    """Tell whether `run_segment` made `segment` of a run id."""
    return _RUN_SEGMENT.fullmatch(segment) is not None


def segment_run_id(segment: str) -> str:
    """Return the run id of which `run_segment` made `segment`."""
    match = _RUN_SEGMENT.fullmatch(segment)
    if not match:
        raise FormatError(f"{segment!r:.80} is no run of holdall's.")
    day, time, randomness = match.groups()
    return f"{day.translate(_COMPLEMENT)}T{time.translate(_COMPLEMENT)}-{randomness}"


def namespace_prefix(namespace: str) -> str:
    """Return the prefix of everything that the runs of `namespace` wrote."""
    return f"{RUNS_PREFIX}{escape_name(namespace)}/"


def flow_prefix(namespace: str, flow: str) -> str:
    """Return the prefix of all runs of `flow`."""
    return f"{namespace_prefix(namespace)}{escape_name(flow)}/"


def run_prefix(namespace: str, flow: str, run_id: str) -> str:
    """Return the prefix of the log of a run."""
    return f"{flow_prefix(namespace, flow)}{run_segment(run_id)}/"


def step_prefix(namespace: str, flow: str, run_id: str, step: str) -> str:
    """Return the prefix of the logs of all tasks of a step.

    A name that would come before or among the slots of the run's own log, such as ``2024``, has a ``^`` before it, which
    no escaped name begins with unless a letter follows: so a listing yields the run's own log first, and no folder of a
    step has the name of a slot.
    """
    escaped = escape_name(step)
    return f"{run_prefix(namespace, flow, run_id)}{'' if _STEP_BEGIN.match(escaped) else '^'}{escaped}/"


def task_prefix(namespace: str, flow: str, run_id: str, step: str, task: str, attempt: int = 0) -> str:
    """Return the prefix of the log of one attempt at a task: all but the first say their number behind a ``^``."""
    return f"{step_prefix(namespace, flow, run_id, step)}{escape_name(task)}{f'^{attempt}' if attempt else ''}/"


def segment_step(segment: str) -> str:
    """Return the name of the step that a segment below a run stands for."""
    marked = segment[:1] == "^" and not _STEP_BEGIN.match(segment)
    name = unescape_name(segment[1:] if marked else segment)
    if marked and _STEP_BEGIN.match(segment[1:]):
        raise FormatError(f"{segment!r:.80} is no step of holdall's.")
    return name


def segment_task(segment: str) -> tuple[str, int]:
    """Return the name of the task, and the number of the attempt, that a segment below a step stands for."""
    match = _TASK_SEGMENT.fullmatch(segment)
    if not match:
        raise FormatError(f"{segment!r:.80} is no task of holdall's.")
    return unescape_name(match[1]), int(match[2] or 0)


def alias_prefix(namespace: str, flow: str, alias: str) -> str:
    """Return the prefix of the log of an alias."""
    return f"{ALIASES_PREFIX}{escape_name(namespace)}/{escape_name(flow)}/{escape_name(alias)}/"


def tags_flow_prefix(namespace: str, flow: str) -> str:
    """Return the prefix of the tag logs of all runs of `flow`."""
    return f"{TAGS_PREFIX}{escape_name(namespace)}/{escape_name(flow)}/"


def tags_prefix(namespace: str, flow: str, run_id: str) -> str:
    """Return the prefix of the tag log of a run: it lies beside the run's own, which nobody adds to after its end."""
    return f"{tags_flow_prefix(namespace, flow)}{run_segment(run_id)}/"


def slot_key(prefix: str, number: int) -> str:
    """Return the key of slot `number` of the log at `prefix`."""
    if not 0 <= number < 10**SLOT_DIGITS:
        raise FormatError(f"The log {prefix} is full: slot {number} cannot be.")
    return f"{prefix}{number:0{SLOT_DIGITS}d}"


def slot_number(key: str) -> int:
    """Return the number of the slot at `key`."""
    name = key.rpartition("/")[2]
    if not _SLOT.fullmatch(name):
        raise FormatError(f"{key!r:.200} is no slot of a log.")
    return int(name)


def slot_numbers(prefix: str, keys: Iterable[str]) -> list[int]:
    """Return the numbers of the slots of the log at `prefix` among `keys`.

    What else lies there is nobody's record: logs of tasks deeper down, or a file that a synchronizing program left.
    """
    names = (key[len(prefix) :] for key in keys if key.startswith(prefix))
    return [int(name) for name in names if _SLOT.fullmatch(name)]


def own_slots(prefix: str, keys: Iterable[str]) -> tuple[list[int], bool]:
    """Return the slots of the log at `prefix` among `keys`, which are sorted, and whether logs of tasks lie below it.

    These come after the slots, so no more keys are asked for than up to the first of them: there may be very many.
    """
    numbers: list[int] = []
    for key in keys:
        name = key[len(prefix) :]
        if name[:1] > "9" and "/" in name:
            return numbers, True
        if _SLOT.fullmatch(name):
            numbers.append(int(name))
    return numbers, False


def pack_key(name: str) -> str:
    """Return the key of the pack called `name` (``<writer>-<number>``)."""
    if not re.fullmatch(r"[a-z2-7]{16}-[0-9]{1,8}", name):
        raise FormatError(f"{name!r:.80} is no name of a pack.")
    return PACKS_PREFIX + name
