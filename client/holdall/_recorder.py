"""Recording a run: ``with holdall.run("churn") as run``."""

from __future__ import annotations

import contextvars
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from holdall._artifact import Artifact
from holdall._client import Client
from holdall._defaults import default_flow, default_user, resolve_namespace
from holdall._keeper import Keeper, begun
from holdall._messages import kind_of, readable, shown
from holdall._provenance import Provenance
from holdall._reference import Reference
from holdall._saver import OWN_TASK, Saver, current, end_with, outcome, refuse_in_artifact
from holdall._tagging import AsBegun, Tagged, TagPlace
from holdall._values import check_tags, encode_params, params_dict
from holdall.store import HoldallError, InvalidNameError, RunStateError, UnsupportedTypeError
from holdall_store.config import check_flags, logger
from holdall_store.format import check_name
from holdall_store.repository import Lifted, RunView, RunWriter, lift

if TYPE_CHECKING:
    from holdall._capture import Capture
    from holdall._run import Run
    from holdall._step import Steps
    from holdall._steps import ActiveStep

__all__ = ["ActiveRun", "RunContext", "client_or_default", "current_run"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def current_run() -> ActiveRun | None:
    """Return the run whose ``with`` block, or a block of whose steps, is being executed, or ``None``.

    >>> import holdall
    >>> with holdall.run("churn") as run:
    ...     holdall.current_run() is run
    True
    """
    saver = current.get()
    return None if saver is None else saver._active_run


def client_or_default(client: object) -> Client:
    """Return the client that a call was given, or the one that is meant where it was given none."""
    if client is None:
        return Client()
    if not isinstance(client, Client):
        hint = f": holdall.Client({shown(client)})" if isinstance(client, str | os.PathLike) else ""
        raise UnsupportedTypeError(f"client= takes a holdall.Client{hint}; this is {kind_of(client)}.")
    return client


class ActiveRun(Saver, Tagged):
    """A run that is being recorded. Its methods may be called from several threads.

    It may be sent to other processes and machines (pickled), which then record steps of it; what is saved to the run itself
    is saved by the process that began it.
    """

    _keeper: Keeper | None = None
    _origin: RunView | None = None
    _capture: Capture | None = None

    def __init__(
        self,
        client: Client,
        flow: str,
        *,
        params: object = None,
        tags: Iterable[str] = (),
        single_saves: bool = False,
        resume: Run | None = None,
        capture: bool = False,
    ) -> None:
        settings = client.settings
        user = default_user(settings)
        self._origin = None if resume is None else resume._view
        if resume is not None and params is None:
            params = dict(resume.params)
        namespace = client.namespace or resolve_namespace(settings) or f"user:{user}"
        self._params = params_dict(params)
        from holdall._steps import origin_of

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
            origin=None if self._origin is None else origin_of(self._origin, user),
        )
        head = self._writer.head
        self._begin(client, (namespace, head.flow, head.run))
        self._tag_place = TagPlace(client, self._place, head.tags, AsBegun())
        if capture:
            from holdall._capture import Capture

            self._capture = Capture()
            self._capture.start()
        if not single_saves:
            self._keeper = Keeper(self._writer, keep=self._keep_output if capture else None)
            begun[id(self)] = self

    def _begin(self, client: Client, place: tuple[str, str, str]) -> None:
        """Take note of where the run lies; none of its steps is known yet."""
        super().__init__()
        self._client = client
        self._place = place
        self._shared = False
        self._tasks: list[RunView] = []
        self._ended: dict[str, tuple[str, ...]] = {}
        self._step_names: dict[str, None] = {}

    @property
    def id(self) -> str:
        """Id of the run."""
        return self._place[2]

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._place[1]

    @property
    def namespace(self) -> str:
        """The namespace that the run lies in."""
        return self._place[0]

    @property
    def pathspec(self) -> str:
        """``flow/run``, for `holdall.Run`."""
        return f"{self.flow}/{self.id}"

    @property
    def reference(self) -> str:
        """The reference that always means exactly this run, for `holdall.join` elsewhere; to ask makes the run known."""
        self._share()
        return str(Reference(self.namespace, self.flow, run=self.id))

    @property
    def joined(self) -> bool:
        """Whether another process began it."""
        return False

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters that the run was begun with."""
        return readable(self._params, "parameter", f"Run {self.id} of flow {self.flow!r}")

    def step(self, name: str, *, parents: Iterable[object] | None = None) -> ActiveStep:
        """Return a step of this run, to be recorded as a ``with`` block.

        `parents` are the steps that it comes after, by name or as they are; by default those that have ended and that no
        other comes after. A step of a name that was there before is another attempt.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     with run.step("prepare") as step:
        ...         saved = step.save(rows=[4, 2])
        ...     with run.step("train") as step:
        ...         saved = step.save(model=sum(step.load("rows")))
        >>> holdall.load("churn/model")
        6
        """
        from holdall._steps import ActiveStep, parent_names

        checked = check_name(name, "step")
        made = ActiveStep(self, checked, parent_names(parents, self, checked))
        self._step_names[checked] = None
        return made

    @property
    def steps(self) -> Steps:
        """The steps as they are now, those of other processes included: ``run.steps["folds"]["fold-3"]["score"].load()``."""
        from holdall._run import Run

        self._announce()
        return Run._of(self._client, self._client.repository.catalog.run(*self._place)).steps

    def environment(self) -> dict[str, str]:
        """Return the variables with which `holdall.join` finds this run in another process.

        >>> import holdall, os, subprocess, sys
        >>> task = "import holdall; run = holdall.join(); run.step('a').task('b').__enter__().end()"
        >>> with holdall.run("churn") as run:
        ...     done = subprocess.run([sys.executable, "-c", task], env={**os.environ, **run.environment()})
        >>> [task.name for task in holdall.Flow("churn").latest_run.steps["a"]]
        ['b']
        """
        return {"HOLDALL_RUN": self.reference, "HOLDALL_STORE": self._client.url}

    def end(self, error: BaseException | None = None) -> None:
        """End the run: as succeeded, or as failed by `error`. The ``with`` block does it; ending twice does nothing.

        A run that succeeded shows from then on what its tasks saved that succeeded before; one that failed, all that there
        is, what succeeded first. What they save afterwards is found in them alone.
        """
        if self._keeper is not None:
            self._keeper.stop()
        if self._capture is not None and os.getpid() == self._writer.process:
            self._capture.stop()
            self._keep_output()
        if not self._writer.ended:
            status, exception = outcome(error)
            lifted = self._lift(status) if self._shared or self._step_names else Lifted()
            self._writer.end(
                status,
                exception,
                steps=lifted.steps,
                lifted={name: stored for name, (_, stored) in lifted.artifacts.items()},
                summary={name: value for name, (_, value) in lifted.summary.items()},
            )
        begun.pop(id(self), None)

    def __reduce__(self) -> tuple[Any, ...]:
        refuse_in_artifact(self._called)
        self._share()
        from holdall._joined import JoinedRun

        resumes = None if self._origin is None else self._origin.place[:3]
        return JoinedRun, (self._client, self._place, resumes)

    def __repr__(self) -> str:
        state = "ended" if self._writer.ended else "running"
        return f"ActiveRun({self.pathspec!r}, {state})"

    @property
    def _called(self) -> str:
        return f"run {self.id} of flow {self.flow!r}"

    @property
    def _active_run(self) -> ActiveRun:
        return self

    def _keep_output(self) -> None:
        """Save what was written lately to standard output and standard error, if it was."""
        from holdall._capture import CAPTURED

        if self._capture is not None and self._capture.changed and not self._writer.ended:
            self.save({CAPTURED: self._capture.parts()})

    def _origin_view(self) -> RunView | None:
        """Return the run that this one resumes."""
        return self._origin

    def _before(self) -> RunView | None:
        return self._origin

    def _check_open(self) -> None:
        """Raise `RunStateError` where the run has ended: no step or task is begun in it then."""
        if self._writer.ended:
            raise RunStateError(
                f"Run {self.id} of flow {self.flow!r} has ended: no step or task can be begun in it. Begin it inside of the "
                f"run's block, or go on in a new run: with holdall.resume('{self.pathspec}') as run."
            )

    def _share(self) -> None:
        """Make the run known before others join it."""
        self._shared = True
        self._announce()

    def _announce(self) -> None:
        """Write the first record of the run before the first of a task, or before somebody looks for it."""
        if os.getpid() == self._writer.process and not self._writer.recorded:
            self._writer.flush()

    def _note(self, view: RunView) -> None:
        """Take notice of a task that has ended in this process."""
        self._tasks.append(view)
        if view.task == OWN_TASK:
            self._ended.pop(view.step, None)
            self._ended[view.step] = view.parents

    def _held(self) -> dict[str, Artifact]:
        tasks = lift(self._tasks).artifacts
        held = {
            name: Artifact._of(self._client, *self._place, name, stored, (view.step, view.task, view.attempt))
            for name, (view, stored) in tasks.items()
        }
        return {**held, **self._handles(self._writer.view_pending())}

    def _lift(self, status: str) -> Lifted:
        """Return what the run, which ends so, shows of its tasks, those of other processes among them."""
        catalog = self._client.repository.catalog
        known = {view.place[3:]: view for view in self._tasks}
        try:
            others = [found for found in catalog.find_tasks(*self._place) if found[:3] not in known]
            views = [view for view in catalog.found_tasks(*self._place, others) if isinstance(view, RunView)]
        except (HoldallError, OSError) as error:
            logger().warning("What tasks of run %s saved is found in them alone: %s", self.id, error)
            return Lifted()
        return lift([*known.values(), *views], succeeded=status == "succeeded")


class RunContext:
    """What `holdall.run` returns: a ``with`` block, or a decorator."""

    def __init__(
        self,
        flow: str | None,
        *,
        params: object,
        tags: Iterable[str],
        client: Client | None,
        resume: str | Run | None = None,
        capture: bool = False,
    ) -> None:
        check_flags(capture=capture)
        self._flow = flow
        self._resume = resume
        self._capture = capture
        self._params = params
        self._tags = tuple(check_tags(tags))
        self._client = None if client is None else client_or_default(client)
        self._entered: list[tuple[ActiveRun, contextvars.Token[Saver | None]]] = []
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
        self._entered.append((run, current.set(run)))
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # One object may be entered by several threads: each leaves the run that it began.
        last = len(self._entered) - 1
        mine = next((n for n in range(last, -1, -1) if self._entered[n][0] is current.get()), last)
        run, token = self._entered.pop(mine)
        try:
            current.reset(token)
        except ValueError:
            current.set(None)  # left from another context than it was entered in, as generators can be
        end_with(run, error)

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
            flow = self._flow or function.__name__
            return RunContext(
                flow,
                params=params,
                tags=self._tags,
                client=self._client,
                resume=self._resume,
                capture=self._capture,
            )

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
        client = client_or_default(self._client)
        origin = None if self._resume is None else _run_to_resume(self._resume, client)
        flow = self._flow or (default_flow() if origin is None else origin.flow)
        parsed = Reference.parse(flow)
        if parsed.namespace is not None:
            client = client.in_namespace(parsed.namespace)
        return ActiveRun(
            client, parsed.flow or flow, params=params, tags=self._tags, resume=origin, capture=self._capture
        )


def _run_to_resume(given: object, client: Client) -> Run:
    """Return the run that is to be resumed, which must lie in the same store."""
    from holdall._run import Run

    if isinstance(given, str):
        return client.run(given)
    if not isinstance(given, Run):
        raise InvalidNameError(f"A run is resumed by its reference or as it was looked up, not {kind_of(given)}.")
    if given.client.url != client.url:
        raise InvalidNameError(
            f"Run {given.pathspec} lies in {given.client.url}, and is resumed there alone: client=run.client."
        )
    return given


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
