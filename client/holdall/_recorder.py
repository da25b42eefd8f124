"""Recording a run: ``with holdall.run("churn") as run``."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import inspect
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, overload

from holdall._artifact import Artifact
from holdall._client import Client, missing_artifact
from holdall._defaults import default_flow, default_user, resolve_namespace
from holdall._messages import kind_of, readable, shown
from holdall._provenance import Provenance
from holdall._reference import Reference
from holdall._tagging import AsBegun, Tagged, TagPlace
from holdall._values import check_tags, clean_text, encode_params, metric_step, metric_value, normal_form, params_dict
from holdall.store import HoldallError, InvalidNameError, RunStateError, UnsupportedTypeError
from holdall_store.config import logger
from holdall_store.format import ExceptionInfo, check_name
from holdall_store.repository import Point, RunWriter, StoredArtifact

__all__ = ["ActiveRun", "RunContext", "current_run"]

ANNOUNCE_SECONDS: Final = 1.0
"""A run that takes longer becomes visible to others; a shorter one is written once, when it ends."""

FLUSH_SHARE: Final = 0.05
FLUSH_SECONDS_MAX: Final = 60.0
"""Small values wait for at most a twentieth of what the run has taken so far, and a minute: long runs keep short logs."""

TRACEBACK_CHARACTERS_MAX: Final = 20_000
MESSAGE_CHARACTERS_MAX: Final = 5_000

_P = ParamSpec("_P")
_R = TypeVar("_R")

_current: contextvars.ContextVar[ActiveRun | None] = contextvars.ContextVar("holdall_run", default=None)


_begun: dict[int, ActiveRun] = {}
"""Runs that have not ended: what they were given must not be lost if they never do."""


@atexit.register
def _flush_begun() -> None:
    """Make durable what runs hold that were entered and never left, as `contextlib.ExitStack` allows."""
    for run in list(_begun.values()):
        if run._writer.process != os.getpid() or run._writer.ended:
            continue
        try:
            run.flush()
        except (HoldallError, OSError) as error:
            logger().warning("What run %s held at the exit of the process is lost: %s", run.id, error)
        warnings.warn(
            f"Run {run.id} of flow {run.flow!r} was begun and never ended, so it will not count as successful. Use it as a "
            "`with` block, or call its end().",
            RuntimeWarning,
            stacklevel=1,
        )


def current_run() -> ActiveRun | None:
    """Return the run whose ``with`` block is being executed, or ``None``.

    >>> import holdall
    >>> with holdall.run("churn") as run:
    ...     holdall.current_run() is run
    True
    """
    return _current.get()


def client_or_default(client: object) -> Client:
    """Return the client that a call was given, or the one that is meant where it was given none."""
    if client is None:
        return Client()
    if not isinstance(client, Client):
        hint = f": holdall.Client({shown(client)})" if isinstance(client, str | os.PathLike) else ""
        raise UnsupportedTypeError(f"client= takes a holdall.Client{hint}; this is {kind_of(client)}.")
    return client


class ActiveRun(Tagged):
    """A run that is being recorded. Its methods may be called from several threads."""

    def __init__(
        self,
        client: Client,
        flow: str,
        *,
        params: object = None,
        tags: Iterable[str] = (),
        single_saves: bool = False,
    ) -> None:
        settings = client.settings
        self._client = client
        user = default_user(settings)
        namespace = client.namespace or resolve_namespace(settings) or f"user:{user}"
        self._params = params_dict(params)
        encoded = encode_params(self._params)
        self._single_saves = single_saves
        provenance = Provenance(user)
        self._writer: RunWriter = client.repository.begin_run(
            namespace,
            check_name(flow, "flow"),
            params=encoded,
            tags=check_tags(tags),
            info=provenance.info,
            single_saves=single_saves,
        )
        head = self._writer.head
        self._tag_place = TagPlace(client, (namespace, head.flow, head.run), head.tags, AsBegun())
        self._steps: dict[str, int] = {}
        self._steps_lock = threading.Lock()
        self._keeper = None if single_saves else _Keeper(self._writer)
        if not single_saves:
            _begun[id(self)] = self

    @property
    def id(self) -> str:
        """Id of the run."""
        return self._writer.head.run

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._writer.head.flow

    @property
    def namespace(self) -> str:
        """The namespace that the run lies in."""
        return self._writer.head.namespace

    @property
    def pathspec(self) -> str:
        """``flow/run``, for `holdall.Run`."""
        return f"{self.flow}/{self.id}"

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters that the run was begun with."""
        return readable(self._params, "parameter", f"Run {self.id} of flow {self.flow!r}")

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
        encoded = {check_name(name, "artifact"): encode(value, name=name) for name, value in every.items()}
        if len(encoded) != len(every):
            raise InvalidNameError("Two of the names to save are the same once they are in Unicode's normal form.")
        return self._handles(self._writer.save(encoded, commit=self._single_saves))

    def save_file(self, path: str | os.PathLike[str], name: str | None = None) -> Artifact:
        """Save a file as it is, under its own name or `name`; it need not fit in memory."""
        from holdall_store.serializers.files import encode_file

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
        from holdall._files import encode_folder

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

    def flush(self) -> None:
        """Make durable all that was saved or logged so far."""
        self._writer.flush()

    def end(self, error: BaseException | None = None) -> None:
        """End the run: as succeeded, or as failed by `error`. The ``with`` block does it; ending twice does nothing."""
        if self._keeper is not None:
            self._keeper.stop()
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self._writer.end("succeeded")
        else:
            self._writer.end("failed", _described(error))
        _begun.pop(id(self), None)

    def __getitem__(self, name: str) -> Artifact:
        stored, name = self._writer.view_pending(), normal_form(name)
        if name not in stored:
            raise missing_artifact(name, stored, f"run {self.id} of flow {self.flow!r}")
        return self._handles({name: stored[name]})[name]

    def __iter__(self) -> Iterator[Artifact]:
        return iter(self._handles(self._writer.view_pending()).values())

    def __contains__(self, name: object) -> bool:
        return normal_form(name.name if isinstance(name, Artifact) else name) in self._writer.view_pending()

    def __reduce__(self) -> tuple[Any, ...]:
        raise RunStateError(
            f"Run {self.id} is being recorded by this process, and cannot be sent to another one: begin a run of its own "
            "there (holdall.run), or return what is to be saved."
        )

    def __repr__(self) -> str:
        state = "ended" if self._writer.ended else "running"
        return f"ActiveRun({self.pathspec!r}, {state})"

    def _handles(self, stored: Mapping[str, StoredArtifact]) -> dict[str, Artifact]:
        head = self._writer.head
        return {
            name: Artifact._of(self._client, head.namespace, head.flow, head.run, name, artifact)
            for name, artifact in stored.items()
        }


class RunContext:
    """What `holdall.run` returns: a ``with`` block, or a decorator."""

    def __init__(self, flow: str | None, *, params: object, tags: Iterable[str], client: Client | None) -> None:
        self._flow = flow
        self._params = params
        self._tags = tuple(check_tags(tags))
        self._client = None if client is None else client_or_default(client)
        self._entered: list[tuple[ActiveRun, contextvars.Token[ActiveRun | None]]] = []
        if callable(flow):
            raise InvalidNameError(
                "As a decorator it is written with parentheses: @holdall.run() or @holdall.run('flow')."
            )
        if flow is not None:
            parsed = Reference.parse(flow)
            if parsed.artifact or parsed.run or parsed.alias:
                raise InvalidNameError(f"{flow!r} is not the name of a flow, which has no '/', ':' or '@' in it.")

    def __enter__(self) -> ActiveRun:
        run = self._begin(self._params)
        self._entered.append((run, _current.set(run)))
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # One object may be entered by several threads: each leaves the run that it began.
        last = len(self._entered) - 1
        mine = next((n for n in range(last, -1, -1) if self._entered[n][0] is _current.get()), last)
        run, token = self._entered.pop(mine)
        try:
            _current.reset(token)
        except ValueError:
            _current.set(None)  # left from another context than it was entered in, as generators can be
        _end(run, error)

    @overload
    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]: ...
    @overload
    def __call__(self, function: Any) -> Any: ...
    def __call__(self, function: Any) -> Any:
        """Return `function` as one whose every call is a run.

        Arguments become parameters; a returned dict whose keys are names becomes artifacts, any other value but
        ``None`` the artifact ``result``. `current_run` gives the run inside of it.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UnsupportedTypeError(
                f"{function.__name__} is a generator: nothing of it has run when it returns. Use `with holdall.run(...)` in it."
            )
        signature = inspect.signature(function)

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunContext:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__qualname__}() {error}") from None
            bound.apply_defaults()
            params = {**params_dict(self._params), **_plain(_flat(signature, bound.arguments))}
            return RunContext(self._flow or function.__name__, params=params, tags=self._tags, client=self._client)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with begin(args, kwargs) as run:
                    result = await function(*args, **kwargs)
                    _save_result(run, result)
                    return result

            return call_async

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with begin(args, kwargs) as run:
                result = function(*args, **kwargs)
                _save_result(run, result)
                return result

        return call

    def __getattr__(self, name: str) -> Any:
        hint = ""
        if not name.startswith("_") and hasattr(ActiveRun, name):
            flow = "" if self._flow is None else repr(self._flow)
            hint = f". The run begins with its block: `with holdall.run({flow}) as run:`, and in it run.{name}"
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        return f"run({self._flow!r})"

    def _begin(self, params: object) -> ActiveRun:
        flow, client = self._flow or default_flow(), client_or_default(self._client)
        parsed = Reference.parse(flow)
        if parsed.namespace is not None:
            client = client.in_namespace(parsed.namespace)
        return ActiveRun(client, parsed.flow or flow, params=params, tags=self._tags)


class _Keeper:
    """Makes a run known, and its small values durable, from time to time."""

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._stop = threading.Event()
        self._told = False
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="holdall-run", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _keep(self) -> None:
        while not self._stop.wait(self._pause()):
            try:
                self._writer.flush()
            except Exception as error:  # noqa: BLE001 - the values are still pending: the end of the run tries again, and raises
                self._tell(error)

    def _tell(self, error: Exception) -> None:
        text = f"Small values of run {self._writer.head.run} are not durable yet: {error}"
        logger().warning("%s", text)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeWarning):  # who makes errors of warnings hears of it at the end
                warnings.warn(
                    f"{text} It is tried again, and told at the end of the run.", RuntimeWarning, stacklevel=2
                )

    def _pause(self) -> float:
        return min(max(ANNOUNCE_SECONDS, FLUSH_SHARE * (time.monotonic() - self._began)), FLUSH_SECONDS_MAX)


def _end(run: ActiveRun, error: BaseException | None) -> None:
    """End a run; where it failed already, a failure to write that down is told, but does not hide why."""
    if error is None:
        run.end()
        return
    try:
        run.end(error)
    except Exception as second:  # noqa: BLE001 - whatever it is, the first error is the one to be told
        error.add_note(f"holdall could not record this failure of run {run.id}: {second}")


def _all_named(objects: Mapping[str, Any] | None, named: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Return what a call names in its mapping and by keywords; refuse what it names in both."""
    for name in named:
        if name in (objects or ()):
            raise InvalidNameError(f"{name!r} is named twice in one call of {verb}: in the mapping, and as {name}=….")
    return {**(objects or {}), **named}


def _save_result(run: ActiveRun, result: object) -> None:
    if isinstance(result, dict) and all(_is_artifact_name(name) for name in result):
        if result:
            run.save(result)
    elif result is not None:
        run.save(result=result)


def _is_artifact_name(name: object) -> bool:
    try:
        check_name(name, "artifact")
    except InvalidNameError:
        return False
    return True


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that can be parameters; large ones, such as frames, are no parameters."""
    plain = {}
    for name, value in arguments.items():
        try:
            encode_params({name: value})
        except HoldallError:
            continue
        plain[name] = value
    return plain


def _flat(signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name: those that ``**kwargs`` takes under their own, and ``*args`` where there are any."""
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            flat.update(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
            flat[name] = value
    return flat


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
