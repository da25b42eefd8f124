"""Recording steps and tasks: ``with run.step("train") as step``, ``with step.task("fold-3") as task``."""

from __future__ import annotations

import contextvars
from abc import abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from holdall._defaults import default_user
from holdall._keeper import Keeper, begun
from holdall._messages import kind_of, shown
from holdall._provenance import process_info
from holdall._saver import OWN_TASK, Saver, current, end_with, outcome
from holdall._values import normal_form
from holdall.store import InvalidNameError, RunStateError, nearest
from holdall_store.format import OriginInfo, check_name
from holdall_store.repository import RunView, chosen_attempts, task_head
from holdall_store.transfer import run_all

if TYPE_CHECKING:
    from holdall._artifact import TaskPlace
    from holdall._recorder import ActiveRun
    from holdall_store.repository import RunWriter

__all__ = ["ActiveStep", "ActiveTask", "origin_of", "parent_names"]


class ActiveUnit(Saver):
    """What steps and tasks have in common: a log of their own, and a block."""

    def __init__(self, run: ActiveRun, step: str, task: str, parents: tuple[str, ...]) -> None:
        super().__init__()
        run._check_open()
        self._run = run
        self._client = run._client
        self._parents = parents
        user = default_user(self._client.settings)
        repository = self._client.repository
        self._origin = run._origin_view()
        self._resumed = self._find_before(step).get(task)
        origin = None if self._resumed is None else origin_of(self._resumed, user)
        head = task_head(repository.clock, run._place, step, task, parents=parents, origin=origin)
        self._writer: RunWriter = repository.begin(head, lambda: process_info(user), run._announce)
        self._keeper: Keeper | None = None
        self._token: contextvars.Token[Saver | None] | None = None
        self._over = False

    @property
    def run(self) -> ActiveRun:
        """The run that it belongs to."""
        return self._run

    @property
    def pathspec(self) -> str:
        """``flow/run/step/task``, for `holdall.Task`."""
        head = self._writer.head
        return f"{self._run.pathspec}/{head.step}/{head.task}"

    @property
    def done(self) -> bool:
        """Whether the run that this one resumes did it well already: then it holds what that saved, by reference."""
        return self._resumed is not None and self._resumed.status == "succeeded"

    def end(self, error: BaseException | None = None) -> None:
        """End it: as succeeded, or as failed by `error`. The ``with`` block does it; ending twice does nothing."""
        if self._keeper is not None:
            self._keeper.stop()
        status, exception = outcome(error)
        if self._is_worth_recording(error):
            self._writer.end(status, exception)
        self._over = True
        begun.pop(id(self), None)
        self._run._note(self._view(status))

    def __enter__(self) -> Self:
        if self._over or self._token is not None:
            raise RunStateError(f"{self._called} was begun already: call {self._maker} again for another attempt.")
        self._run._check_open()
        if self.done:
            self._take_over()
        self._token = current.set(self)
        self._keeper = Keeper(self._writer, announce=self._announces)
        begun[id(self)] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._token is not None:
                current.reset(self._token)
        except ValueError:
            current.set(None)  # left from another context than it was entered in, as generators can be
        end_with(self, error)

    def _before(self) -> RunView | None:
        return self._resumed

    def _find_before(self, step: str) -> dict[str, RunView]:
        """Return what the run that this one resumes has of a step: of each task the attempt that counts."""
        if self._origin is None:
            return {}
        catalog, place = self._client.repository.catalog, self._origin.place[:3]
        views = catalog.found_tasks(*place, catalog.find_tasks(*place, step))
        return {view.task: view for view in chosen_attempts(view for view in views if isinstance(view, RunView))}

    def _take_over(self) -> None:
        """Hold what was saved before, by reference."""
        if self._resumed is not None:
            self._writer.refer(self._resumed.artifacts, self._resumed.summary)

    @property
    def _announces(self) -> bool:
        """Whether others are to hear of it although it holds nothing yet."""
        return True

    @property
    @abstractmethod
    def _maker(self) -> str:
        """How another attempt is begun, for messages."""

    @property
    def _active_run(self) -> ActiveRun:
        return self._run

    @property
    def _task(self) -> TaskPlace:
        head = self._writer.head
        return head.step, head.task, self._writer.attempt if self._writer.recorded else None

    @property
    def _called(self) -> str:
        return self._writer.head.called

    def _is_worth_recording(self, error: BaseException | None) -> bool:  # noqa: ARG002
        return True

    def _view(self, status: str) -> RunView:
        head = self._writer.head
        return RunView(
            head.namespace,
            head.flow,
            head.run,
            status=status,
            started=head.started,
            artifacts=self._writer.view_pending(),
            summary=self._writer.view_summary(),
            step=head.step,
            task=head.task,
            attempt=self._writer.attempt,
            parents=self._parents,
        )


class ActiveTask(ActiveUnit):
    """A task that is being recorded: it saves, logs and loads as a run does. `ActiveStep.task` makes it.

    A task of a name that the step has already is another attempt: the newest that succeeds counts.
    """

    def __init__(self, step: ActiveStep, name: str) -> None:
        self._step = step
        super().__init__(step._run, step.name, name, step._parents)

    @property
    def name(self) -> str:
        """Name of the task."""
        return self._writer.head.task

    @property
    def step(self) -> ActiveStep:
        """The step that it belongs to."""
        return self._step

    @property
    def attempt(self) -> int:
        """How often a task of this name was begun before, in any process; to ask makes this attempt known."""
        if not self._writer.recorded:
            self._writer.flush()
        return self._writer.attempt

    def end(self, error: BaseException | None = None) -> None:
        """End it: as succeeded, or as failed by `error`. The ``with`` block does it; ending twice does nothing."""
        self._step._failure = error
        super().end(error)

    def __reduce__(self) -> tuple[Any, ...]:
        raise RunStateError(
            f"{self._called} is recorded by one process. Send its step, and begin the task there: step.task(name)."
        )

    def __repr__(self) -> str:
        return f"ActiveTask({self.pathspec!r}, {'ended' if self._over else 'running'})"

    def _find_before(self, step: str) -> dict[str, RunView]:  # noqa: ARG002
        return self._step._tasks_before

    @property
    def _maker(self) -> str:
        return f"step.task({self.name!r})"


class ActiveStep(ActiveUnit):
    """A step of a run that is being recorded: it saves, logs and loads as a run does, and has tasks.

    It may be sent to other threads, processes and machines (pickled), which then begin tasks of it; what is saved to the
    step itself is saved by one process. `ActiveRun.step` makes it.
    """

    def __init__(self, run: ActiveRun, name: str, parents: tuple[str, ...]) -> None:
        self._tasks_before: dict[str, RunView] = {}
        super().__init__(run, name, OWN_TASK, parents)
        self._has_tasks = False
        self._failure: BaseException | None = None

    @property
    def name(self) -> str:
        """Name of the step."""
        return self._writer.head.step

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the steps that it comes after."""
        return self._parents

    def task(self, name: str | int) -> ActiveTask:
        """Return a task of this step, to be recorded as a ``with`` block, here or where the step was sent to.

        >>> import holdall
        >>> with holdall.run("churn") as run, run.step("folds") as step:
        ...     for number in range(2):
        ...         with step.task(number) as task:
        ...             saved = task.save(score=number / 2)
        >>> [task["score"].load() for task in holdall.Flow("churn").latest_run.steps["folds"].tasks]
        [0.0, 0.5]
        """
        checked = check_name(str(name) if type(name) is int else name, "task")
        if checked == OWN_TASK:
            raise InvalidNameError(
                f"A task cannot be called {OWN_TASK!r}: that is the step itself. Save to the step, or name it otherwise."
            )
        self._has_tasks = True
        return ActiveTask(self, checked)

    @property
    def done(self) -> bool:
        """Whether the run that this one resumes did it well already, with all of its tasks: then this has them, by reference."""
        before = self._tasks_before.values()
        return bool(before) and all(view.status == "succeeded" for view in before)

    def _find_before(self, step: str) -> dict[str, RunView]:
        self._tasks_before = super()._find_before(step)
        return self._tasks_before

    def _take_over(self) -> None:
        """Hold what was saved before, and the tasks that there were, by reference."""
        super()._take_over()
        tasks = [view for name, view in self._tasks_before.items() if name != OWN_TASK]

        def take(view: RunView) -> None:
            task = self.task(view.task)
            ActiveUnit._take_over(task)
            task.end()

        run_all(tasks, take, threads=self._client.repository.storage.traits.concurrency or 1)

    def __reduce__(self) -> tuple[Any, ...]:
        self._has_tasks = True
        return _rebuild_step, (self._run, self.name, self._parents)

    def __repr__(self) -> str:
        return f"ActiveStep({self._run.pathspec + '/' + self.name!r}, {'ended' if self._over else 'running'})"

    @property
    def _announces(self) -> bool:
        return not self._run.joined

    @property
    def _maker(self) -> str:
        return f"run.step({self.name!r})"

    def _is_worth_recording(self, error: BaseException | None) -> bool:
        # Of a step that was joined, each of many processes has its part: what these did is told by their tasks.
        told = self._has_tasks and (error is None or error is self._failure)
        holds = self._writer.view_pending() or self._writer.view_summary()
        return not (self._run.joined and told) or self._writer.recorded or bool(holds)


def origin_of(view: RunView, who: str) -> OriginInfo:
    """Return what a record says of the run, or the task, that it goes on from."""
    return OriginInfo(view.namespace, view.flow, view.run, who, how="resumed", attempt=view.attempt)


def parent_names(parents: Iterable[object] | None, run: ActiveRun, name: str) -> tuple[str, ...]:
    """Return the names of the steps that a new step of `run` comes after.

    Where nothing is said these are the steps that have ended and that none that has ended comes after: of steps that
    follow each other the one before, of several that went on side by side all of them.
    """
    ended = {step: before for step, before in list(run._ended.items()) if step != name}
    if parents is None:
        inner = {parent for before in ended.values() for parent in before}
        return tuple(step for step in ended if step not in inner)
    if isinstance(parents, str) or not isinstance(parents, Iterable):
        raise InvalidNameError(f"parents are a list of steps; write parents=[{shown(parents)}].")
    names = []
    for parent in parents:
        text = getattr(parent, "name", parent)
        if not isinstance(text, str):
            raise InvalidNameError(f"A parent is a step or the name of one, not {kind_of(parent)}.")
        known = [*run._step_names]
        if normal_form(text) not in known and not run._shared:
            has = f" There are: {', '.join(known)}." if known else " No step was begun yet."
            raise InvalidNameError(f"Run {run.id} has no step {shown(text)}.{nearest(text, known)}{has}")
        names.append(check_name(text, "step"))
    if name in names:
        raise InvalidNameError(f"Step {name!r} cannot come after itself.")
    return tuple(dict.fromkeys(names))


def _rebuild_step(run: ActiveRun, name: str, parents: tuple[str, ...]) -> ActiveStep:
    return ActiveStep(run, name, parents)
