"""References: ``[namespace/]flow[/artifact][:alias|@run]``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from holdall.store import InvalidNameError
from holdall_store.format import check_name, check_namespace

__all__ = ["Reference", "is_run_id", "split_attempt"]

_GRAMMAR = "References are written [namespace/]flow[/artifact][:alias|@run], for example 'churn/model:champion'."


_RUN_ID = re.compile("[0-9]{8}T[0-9]{12}-[a-z2-7]{6}")


TASK_ARTIFACT_PARTS: Final = 5
"""``flow/run/step/task/artifact``"""

ATTEMPT_DIGITS_MAX: Final = 6
"""As many as a key has room for."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Names an artifact, a run or a flow; at most one of `alias` and `run` is given.

    Of a task's artifact, the step and the task are named as well, and the attempt where one is meant.
    """

    namespace: str | None = None
    flow: str | None = None
    artifact: str | None = None
    alias: str | None = None
    run: str | None = None
    step: str | None = None
    task: str | None = None
    attempt: int | None = None

    @classmethod
    def parse(cls, text: str, *, lone: str = "flow") -> Reference:
        """Return the reference that `text` writes; `lone` says what a single name stands for: ``flow`` or ``artifact``.

        A first part with a colon in it, such as ``user:ana``, is a namespace. A whole run id in the middle, as of
        ``Run.pathspec`` with an artifact behind it, means that run; a step and a task may stand between, as in
        ``flow/run/step/task/artifact``, and an attempt, as in ``task:1``. Raises `InvalidNameError`.
        """
        if not isinstance(text, str):
            raise InvalidNameError(f"A reference is a string, not {type(text).__name__}. {_GRAMMAR}")
        parts = text.split("/")
        namespace = None
        if len(parts) > 1 and ":" in parts[0]:
            namespace = check_namespace(parts.pop(0))
        if len(parts) == TASK_ARTIFACT_PARTS and parts[1][:1].isdigit():
            return cls._of_task(namespace, parts, text)
        if len(parts) == 3 and _RUN_ID.fullmatch(parts[1]) and not set(parts[2]) & {":", "@"}:
            parts = [parts[0], f"{parts[2]}@{parts[1]}"]
        elif namespace is None and len(parts) == 3:
            raise InvalidNameError(
                f"{text!r:.200}: {parts[0]!r:.80} is no namespace, they are written kind:name. {_GRAMMAR}"
            )
        if len(parts) > 2 or not all(parts):
            raise InvalidNameError(f"{text!r:.200} is no reference. {_GRAMMAR}")
        last, alias, run = _split_selector(parts.pop(), text)
        parts.append(last)
        names = [check_name(part, what) for part, what in zip(parts, ("flow", "artifact"), strict=False)]
        if len(names) == 1 and lone == "artifact" and namespace is None:
            return cls(None, None, check_name(names[0], "artifact"), alias, run)
        return cls(namespace, names[0], names[1] if len(names) == 2 else None, alias, run)

    def without_task(self) -> Reference:
        """Return this if it may name a run; refuse the artifact of a task."""
        if self.step:
            raise InvalidNameError(f"{str(self)!r:.200} names the artifact of a task; a run is written flow/run.")
        return self

    @classmethod
    def _of_task(cls, namespace: str | None, parts: list[str], text: str) -> Reference:
        flow, run, step, task, artifact = parts
        task, attempt = split_attempt(task, text)
        return cls(
            namespace,
            check_name(flow, "flow"),
            check_name(artifact, "artifact"),
            None,
            _check_run(run, text),
            check_name(step, "step"),
            check_name(task, "task"),
            attempt,
        )

    def at(self, run: str) -> Reference:
        """Return this reference, fixed to a run."""
        return replace(self, run=run, alias=None)

    def __str__(self) -> str:
        if self.step:
            attempt = "" if self.attempt is None else f":{self.attempt}"
            parts = (self.namespace, self.flow, self.run, self.step, f"{self.task}{attempt}", self.artifact)
            return "/".join(part for part in parts if part)
        names = "/".join(name for name in (self.namespace, self.flow, self.artifact) if name)
        return names + (f":{self.alias}" if self.alias else "") + (f"@{self.run}" if self.run else "")


def is_run_id(text: str) -> bool:
    """Tell whether `text` is a whole run id, rather than the beginning of one."""
    return _RUN_ID.fullmatch(text) is not None


def split_attempt(task: str, text: str) -> tuple[str, int | None]:
    """Return the name of a task, and the attempt behind its colon."""
    name, colon, attempt = task.partition(":")
    if colon and not (attempt.isascii() and attempt.isdigit() and len(attempt) <= ATTEMPT_DIGITS_MAX):
        raise InvalidNameError(f"{text!r:.200}: {attempt!r:.20} is no attempt; they are numbers, as in 'fold-3:1'.")
    return name, int(attempt) if colon else None


def _split_selector(last: str, text: str) -> tuple[str, str | None, str | None]:
    name, at, run = last.partition("@")
    name, colon, alias = name.partition(":")
    if (at and colon) or (at and not run) or (colon and not alias):
        raise InvalidNameError(f"{text!r:.200} is no reference. {_GRAMMAR}")
    return name, check_name(alias, "alias") if colon else None, _check_run(run, text) if at else None


def _check_run(run: str, text: str) -> str:
    day, t, rest = run.partition("T")
    time, hyphen, randomness = rest.partition("-")
    digits = day + time
    if not digits.isascii() or not digits.isdigit() or len(day) > 8 or (t and len(day) != 8) or len(time) > 12:
        raise InvalidNameError(
            f"{text!r:.200}: {run!r:.80} is no run. Runs are called by their time, such as 20261123T081402, or the beginning of it."
        )
    if hyphen and (len(time) != 12 or not set(randomness) <= set("abcdefghijklmnopqrstuvwxyz234567")):
        raise InvalidNameError(f"{text!r:.200}: {run!r:.80} is no run id; they look like 20261123T081402123456-k3f9qa.")
    return run
