"""What can be saved to while it is being recorded: a run, a step or a task."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from holdall._artifact import Artifact, TaskPlace
from holdall._client import missing_artifact
from holdall._messages import kind_of
from holdall._values import clean_text, metric_step, metric_value, normal_form
from holdall.store import InvalidNameError, RunStateError, UnsupportedTypeError
from holdall_store.format import ExceptionInfo, check_name
from holdall_store.repository import Point

if TYPE_CHECKING:
    from holdall._client import Client
    from holdall._recorder import ActiveRun
    from holdall_store.repository import RunView, RunWriter, StoredArtifact

__all__ = ["OWN_TASK", "Saver", "current", "end_with", "outcome", "refuse_in_artifact"]

TRACEBACK_CHARACTERS_MAX: Final = 20_000
MESSAGE_CHARACTERS_MAX: Final = 5_000


OWN_TASK: Final = "main"
"""What is saved to a step itself lies in a task of this name. On disk: it must not change."""

current: contextvars.ContextVar[Saver | None] = contextvars.ContextVar("holdall_saver", default=None)
"""What the innermost block saves to."""


encoding: contextvars.ContextVar[bool] = contextvars.ContextVar("holdall_encoding", default=False)
"""Objects are being made into artifacts, rather than sent to another process."""


def refuse_in_artifact(called: str) -> None:
    """Raise `RunStateError` where what is being recorded is about to become part of an artifact."""
    if encoding.get():
        raise RunStateError(
            f"{called} is being recorded, and cannot be part of an artifact: save its pathspec instead."
        )


class Saver(ABC):
    """A run, a step or a task that is being recorded. Its methods may be called from several threads."""

    _client: Client
    _writer: RunWriter
    _single_saves = False

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}
        self._steps_lock = threading.Lock()

    def save(self, objects: Mapping[str, Any] | None = None, /, **named: Any) -> dict[str, Artifact]:
        """Save any number of named objects, and return their handles by name.

        What is larger than about 4 KiB is durable when this returns. Smaller values become durable together: with the
        next large one, when the run ends, or after a second or so (`flush` does it at once). A name that was saved
        before now means the new object. If anything cannot be saved, an error names it, and nothing of this call is.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     saved = run.save(weights=[0.5, 0.25], note="first try")
        >>> sorted(saved)
        ['note', 'weights']
        """
        from holdall_store.serializers import encode

        if objects is not None and not isinstance(objects, Mapping):
            raise UnsupportedTypeError(
                f"What is saved needs a name: run.save(name=…), or a mapping of names to objects; this is "
                f"{kind_of(objects)}."
            )
        every = _all_named(objects, named, "save")
        token = encoding.set(True)
        try:
            encoded = {check_name(name, "artifact"): encode(value, name=name) for name, value in every.items()}
        finally:
            encoding.reset(token)
        if len(encoded) != len(every):
            raise InvalidNameError("Two of the names to save are the same once they are in Unicode's normal form.")
        return self._handles(self._writer.save(encoded, commit=self._single_saves))

    def save_file(self, path: str | os.PathLike[str], name: str | None = None) -> Artifact:
        """Save a file as it is, under its own name or `name`; it need not fit in memory."""
        from holdall._files import check_source
        from holdall_store.serializers.files import encode_file

        check_source(path)
        checked = check_name(name if name is not None else Path(path).resolve().name, "artifact")
        stored = self._writer.save({checked: encode_file(path)}, commit=self._single_saves)
        return self._handles(stored)[checked]

    def save_dir(
        self, path: str | os.PathLike[str], name: str | None = None, *, ignore: Iterable[str] = ()
    ) -> Artifact:
        """Save a directory with all that is in it, under its own name or `name`.

        `ignore` lists patterns of what is left out, such as ``*.tmp`` (names anywhere) or ``data/raw`` (paths from the
        top); ``.holdall``, and the store itself under any name, always are.

        Permissions, empty directories, and symbolic links that stay inside are kept, absolute ones as relative; a link
        that points outside raises `UnsupportedTypeError`, since what it means elsewhere cannot be known.
        """
        from holdall._files import check_source, encode_folder

        check_source(path, folder=True)
        checked = check_name(name if name is not None else Path(path).resolve().name, "artifact")
        encoded = encode_folder(self._client.repository, path, ignore)
        stored = self._writer.save({checked: encoded}, commit=self._single_saves)
        return self._handles(stored)[checked]

    def log(self, metrics: Mapping[str, Any] | None = None, /, *, step: float | None = None, **named: Any) -> None:
        """Add a point to each of the named metrics; `step` counts from 0 for each of them unless it is given.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     for loss in (0.9, 0.5, 0.4):
        ...         run.log(loss=loss)
        >>> holdall.Flow("churn").latest_run.metrics["loss"]
        0.4
        """
        if metrics is not None and not isinstance(metrics, Mapping):
            raise UnsupportedTypeError(
                f"A metric needs a name: run.log(name=…), or a mapping of names to numbers; this is {kind_of(metrics)}."
            )
        every = _all_named(metrics, named, "log")
        values = {check_name(name, "metric"): metric_value(name, value) for name, value in every.items()}
        if len(values) != len(every):
            raise InvalidNameError("Two of the metrics have the same name once it is in Unicode's normal form.")
        at = time.time()
        points = []
        with self._steps_lock:
            for name, value in values.items():
                number = self._steps.get(name, 0) if step is None else metric_step(name, step)
                points.append(Point(name, value, number, at))
            self._writer.log(points, commit=self._single_saves)
            self._steps.update({point.name: int(point.step) + 1 for point in points})

    def cached(self, name: str, make: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return the artifact `name` where this holds it, or what it resumes does; else what `make` returns, saved as `name`.

        What was saved before is taken over by reference. Nothing is compared: `resume` is for the same work again.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     rows = run.cached("rows", list, range(3))
        >>> with holdall.resume(holdall.Flow("churn").latest_run) as run:
        ...     run.cached("rows", list, "never called")
        [0, 1, 2]
        """
        name = check_name(name, "artifact")
        if not callable(make):
            raise UnsupportedTypeError(
                f"cached() takes a function that makes {name!r}, and its arguments; this is {kind_of(make)}."
            )
        if name not in self._held():
            before = self._before()
            if before is None or name not in before.artifacts:
                self.save({name: make(*args, **kwargs)})
            else:
                self._writer.refer({name: before.artifacts[name]})
        return self._held()[name].load()

    def _before(self) -> RunView | None:
        """Return what this goes on from, where it belongs to a run that resumes another."""
        return None

    def load(self, reference: str, **options: Any) -> Any:
        """Load as `holdall.load` does inside of this block: a plain name means what this holds, or else its run.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     saved = run.save(rows=[4, 2])
        ...     run.load("rows")
        [4, 2]
        """
        from holdall._session import load_in

        return load_in(self, reference, **options)

    @abstractmethod
    def end(self, error: BaseException | None = None) -> None:
        """End it: as succeeded, or as failed by `error`. The ``with`` block does it; ending twice does nothing."""

    def flush(self) -> None:
        """Make durable all that was saved or logged so far."""
        self._writer.flush()

    def __getitem__(self, name: str) -> Artifact:
        held, name = self._held(), normal_form(name)
        if name not in held:
            raise missing_artifact(name, held, self._called)
        return held[name]

    def __iter__(self) -> Iterator[Artifact]:
        return iter(self._held().values())

    def __contains__(self, name: object) -> bool:
        return normal_form(name.name if isinstance(name, Artifact) else name) in self._held()

    @property
    @abstractmethod
    def _called(self) -> str:
        """What messages call it."""

    @property
    @abstractmethod
    def _active_run(self) -> ActiveRun:
        """The run that it belongs to, or is."""

    @property
    def _task(self) -> TaskPlace | None:
        """The step, the task and the attempt that it is, if it is one; no attempt before a record tells it."""
        return None

    def _held(self) -> dict[str, Artifact]:
        """Return what it holds, as far as this process knows."""
        return self._handles(self._writer.view_pending())

    def _handles(self, stored: Mapping[str, StoredArtifact]) -> dict[str, Artifact]:
        head = self._writer.head
        return {
            name: Artifact._of(self._client, head.namespace, head.flow, head.run, name, artifact, self._task)
            for name, artifact in stored.items()
        }


def outcome(error: BaseException | None) -> tuple[Literal["succeeded", "failed"], ExceptionInfo | None]:
    """Return how something ended whose block was left by `error`, or by none."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "succeeded", None
    return "failed", _described(error)


def end_with(saver: Saver, error: BaseException | None) -> None:
    """End what a block recorded; where it failed already, a failure to write that down is told, but does not hide why."""
    if error is None:
        saver.end()
        return
    try:
        saver.end(error)
    except Exception as second:  # noqa: BLE001 - whatever it is, the first error is the one to be told
        error.add_note(f"holdall could not record this failure of {saver._called}: {second}")


def _all_named(objects: Mapping[str, Any] | None, named: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Return what a call names in its mapping and by keywords; refuse what it names in both."""
    for name in named:
        if name in (objects or ()):
            raise InvalidNameError(f"{name!r} is named twice in one call of {verb}: in the mapping, and as {name}=….")
    return {**(objects or {}), **named}


def _described(error: BaseException) -> ExceptionInfo:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - it is not ours, and may do anything
        message = "<its message could not be made>"
    import traceback

    text = "".join(traceback.format_exception(error))
    return ExceptionInfo(
        type=f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        message=clean_text(message[:MESSAGE_CHARACTERS_MAX]),
        traceback=clean_text(text[-TRACEBACK_CHARACTERS_MAX:]),
    )
