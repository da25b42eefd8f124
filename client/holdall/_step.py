"""Steps and tasks of a run, as they were when they were looked up."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from holdall._client import Client
from holdall._messages import listed, shown
from holdall._recorded import Recorded, RunData
from holdall._reference import Reference, split_attempt
from holdall._saver import OWN_TASK
from holdall._text import count_text
from holdall._values import normal_form
from holdall.store import InvalidNameError, TaskNotFoundError, nearest
from holdall_store.repository import Catalog, FoundTask, Lifted, RunView, chosen_attempts, lift, order_steps

if TYPE_CHECKING:
    from holdall._artifact import Artifact
    from holdall._run import Run
    from holdall_store.format import ExceptionInfo

__all__ = ["Step", "Steps", "Task", "Tasks"]

_T = TypeVar("_T", "Step", "Task")


class _Named(ABC, Generic[_T]):
    """Steps or tasks, in order: they are iterated, counted, and found by name; to call it gives them one by one."""

    def __call__(self) -> Iterator[_T]:
        return iter(self)

    @abstractmethod
    def __iter__(self) -> Iterator[_T]: ...

    def __len__(self) -> int:
        return len(self.keys())

    def __bool__(self) -> bool:
        return len(self) > 0

    def __contains__(self, name: object) -> bool:
        return normal_form(getattr(name, "name", name)) in self.keys()

    def keys(self) -> list[str]:
        """Return their names."""
        return [each.name for each in self]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({listed(self.keys())})"

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()


class Steps(_Named["Step"]):
    """The steps of a run, each after its parents; ``steps["train"]`` is one of them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._order: list[Step] | None = None

    def __iter__(self) -> Iterator[Step]:
        if self._order is None:
            view = self._run._view
            names = list(self._run.client.repository.catalog.step_names(*view.place[:3]))
            steps = {name: Step._of(self._run, name) for name in names}
            if set(view.steps) >= set(names):
                order: Iterable[str] = (name for name in view.steps if name in steps)
            else:
                began = sorted(steps.values(), key=lambda step: (step._head.started, step.name))
                order = order_steps({step.name: step._head.parents for step in began})
            self._order = [steps[name] for name in order]
        return iter(self._order)

    def __getitem__(self, name: str) -> Step:
        step = Step._of(self._run, normal_form(name))
        if not step._found:
            raise _missing(f"step {shown(name)} in run {self._run.id} of flow {self._run.flow!r}", name, self.keys())
        return step


class Tasks(_Named["Task"]):
    """The tasks of a step, in the order in which they began; ``tasks["fold-3"]`` is one of them.

    Each is the newest attempt that succeeded, or else the newest.
    """

    def __init__(self, step: Step) -> None:
        self._step = step

    def __iter__(self) -> Iterator[Task]:
        views = self._step._chosen()
        # The step's own task is shown where anything was saved to it, or nothing else was done.
        named = [view for view in views if view.task != OWN_TASK or view.artifacts or view.summary]
        return (Task._of(self._step.client, view) for view in named or views)

    def __getitem__(self, name: str | int) -> Task:
        return self._step[name]


class Step:
    """One step of a run, as it was when it was looked up: its tasks, and how they went.

    ``Step("churn/20261123T081402/train")`` looks in the default store and the current namespace; ``run.steps["train"]``
    elsewhere. ``step["fold-3"]`` is a task; ``step.data.model`` is what the run shows of its tasks.
    """

    _run: Run
    _name: str
    _listed: list[FoundTask] | None
    _read: list[RunView] | None

    def __init__(self, pathspec: str) -> None:
        run, _, name = _pathspec(pathspec, "step", "churn/20261123T081402/train").rpartition("/")
        found = Client().run(run).steps[name]
        self._run, self._name, self._listed, self._read = found._run, found._name, found._listed, None

    @classmethod
    def _of(cls, run: Run, name: str) -> Step:
        step = cls.__new__(cls)
        step._run, step._name, step._listed, step._read = run, name, None, None
        return step

    @property
    def name(self) -> str:
        """Name of the step."""
        return self._name

    @property
    def id(self) -> str:
        """Name of the step, under the word that Metaflow uses."""
        return self._name

    @property
    def run(self) -> Run:
        """The run that it belongs to."""
        return self._run

    @property
    def client(self) -> Client:
        """The client that found it."""
        return self._run.client

    @property
    def pathspec(self) -> str:
        """``flow/run/step``, for `Step`."""
        return f"{self._run.pathspec}/{self._name}"

    @property
    def tasks(self) -> Tasks:
        """The tasks, in the order in which they began."""
        return Tasks(self)

    @property
    def task(self) -> Task:
        """The newest task: of a step without tasks of a name, what was saved to the step itself."""
        return list(self.tasks)[-1]

    @property
    def parents(self) -> list[Step]:
        """The steps that it comes after."""
        there = self._run.steps
        return [there[name] for name in self._head.parents if name in there]

    @property
    def children(self) -> list[Step]:
        """The steps that come after it."""
        return [step for step in self._run.steps if self._name in step._head.parents]

    @property
    def status(self) -> str:
        """``failed`` or ``died`` if any of its tasks has, else ``running`` if any of them is, else ``succeeded``."""
        states = {Task._of(self.client, view).status for view in self._chosen()}
        return next(state for state in ("failed", "died", "running", "succeeded") if state in states)

    @property
    def successful(self) -> bool:
        """Whether all of its tasks succeeded; of each the newest attempt that did counts."""
        return self.status == "succeeded"

    @property
    def finished(self) -> bool:
        """Whether all of its tasks have come to an end, well or not."""
        return self.status != "running"

    @property
    def exception(self) -> ExceptionInfo | None:
        """What made the first of its tasks fail that did; ``None`` if nothing did."""
        failed = [view for view in self._chosen() if view.status == "failed"]
        named = [view for view in failed if view.task != OWN_TASK] or failed
        return named[0].exception if named else None

    @property
    def created_at(self) -> dt.datetime:
        """When its first task began."""
        return min(Task._of(self.client, view).created_at for view in self._views())

    @property
    def finished_at(self) -> dt.datetime | None:
        """When its last task came to its end; ``None`` while one runs."""
        ends = [Task._of(self.client, view).finished_at for view in self._chosen()]
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None

    @property
    def artifacts(self) -> list[Artifact]:
        """What the run shows of its tasks' artifacts: of each name what the newest saved that succeeded, or else the newest."""
        return list(self._held().values())

    @property
    def data(self) -> RunData:
        """The artifacts by attribute: ``step.data.model`` loads the model."""
        return RunData(_StepArtifacts(self))

    def reload(self) -> Step:
        """Return the step as it is now."""
        return Step._of(self._run.reload(), self._name)

    def __getitem__(self, name: str | int) -> Task:
        """Return a task by its name."""
        wanted = normal_form(str(name) if isinstance(name, int) else name)
        known = self._read is not None
        views = [view for view in self._views() if view.task == wanted] if known else self._task(wanted)
        if not views:
            names = list(dict.fromkeys(found.task for found in self._found))
            raise _missing(f"task {shown(name)} in step {self.pathspec}", str(name), names)
        return Task._of(self.client, chosen_attempts(views)[0])

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __contains__(self, name: object) -> bool:
        return normal_form(getattr(name, "name", name)) in {found.task for found in self._found}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and (self._run, self._name) == (other._run, other._name)

    def __hash__(self) -> int:
        return hash((self._run, self._name))

    def __reduce__(self) -> tuple[Any, ...]:
        return Step._of, (self._run, self._name)

    def __repr__(self) -> str:
        names = list(dict.fromkeys(found.task for found in self._found))
        return f"Step({self.pathspec!r}, {count_text(len([n for n in names if n != OWN_TASK]) or len(names), 'task')})"

    def _repr_html_(self) -> str:
        from holdall._html_steps import step_html

        return step_html(self)

    def _ipython_key_completions_(self) -> list[str]:
        return list(dict.fromkeys(found.task for found in self._found))

    @property
    def _found(self) -> list[FoundTask]:
        if self._listed is None:
            self._listed = list(self._catalog.find_tasks(*self._place, self._name))
        return self._listed

    @property
    def _head(self) -> RunView:
        """What one attempt at one of its tasks says, for what all of them say."""
        if self._read:
            return self._read[0]
        own = [found for found in self._found if found.task == OWN_TASK]
        return self._catalog.found_task(*self._place, (own or self._found)[0])

    @property
    def _catalog(self) -> Catalog:
        return self.client.repository.catalog

    @property
    def _place(self) -> tuple[str, str, str]:
        return self._run._view.place[:3]

    def _views(self) -> list[RunView]:
        if self._read is None:
            self._read = _whole(self._catalog.found_tasks(*self._place, self._found))
        return self._read

    def _task(self, name: str) -> list[RunView]:
        found = [each for each in self._found if each.task == name]
        return _whole(self._catalog.found_tasks(*self._place, found))

    def _chosen(self) -> list[RunView]:
        return chosen_attempts(self._views())

    def _held(self) -> dict[str, Artifact]:
        return lifted_artifacts(self.client, lift(self._views()))


class _StepArtifacts(Recorded):
    """The artifacts of a step, for `RunData`."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._client = step.client
        self._view = replace(step._run._view, artifacts={})

    def _held(self) -> dict[str, Artifact]:
        return self._step._held()

    def _called_lower(self) -> str:
        return f"step {self._step.pathspec}"


class Task(Recorded):
    """One task of a step, as it was when it was looked up; artifacts are loaded when they are asked for.

    ``Task("churn/20261123T081402/train/fold-3")`` looks in the default store and the current namespace. It is the newest
    attempt that succeeded, or else the newest; ``attempt=0`` is the first.
    """

    def __init__(self, pathspec: str, *, attempt: int | None = None) -> None:
        example = "churn/20261123T081402/train/fold-3"
        step, _, name = _pathspec(pathspec, "task", example).rpartition("/")
        run, _, step_name = _pathspec(step, "task", example).rpartition("/")
        name, number = split_attempt(name, pathspec)
        found = Client().run(run).steps[step_name][name]
        wanted = attempt if attempt is not None else number
        if wanted is not None:
            found = found._at(wanted)
        self._client, self._view = found._client, found._view

    @classmethod
    def _of(cls, client: Client, view: RunView) -> Task:
        task = cls.__new__(cls)
        task._client, task._view = client, view
        return task

    @property
    def name(self) -> str:
        """Name of the task; what was saved to a step itself lies in its task ``main``."""
        return self._view.task

    @property
    def id(self) -> str:
        """Name of the task, under the word that Metaflow uses."""
        return self._view.task

    @property
    def step(self) -> Step:
        """The step that it belongs to."""
        return self.run.steps[self._view.step]

    @property
    def parent(self) -> Step:
        """The step that it belongs to, under the word that Metaflow uses."""
        return self.step

    @property
    def run(self) -> Run:
        """The run that it belongs to."""
        from holdall._run import Run

        return Run._of(self._client, self._client.repository.catalog.run(*self._view.place[:3]))

    @property
    def attempt(self) -> int:
        """How often a task of this name had been begun before."""
        return self._view.attempt

    @property
    def attempts(self) -> list[Task]:
        """All attempts at the task, the first one first."""
        catalog = self._client.repository.catalog
        place = self._view.place
        found = catalog.find_tasks(*place[:3], self._view.step, self._view.task)
        views = _whole(catalog.found_tasks(*place[:3], found))
        return [Task._of(self._client, view) for view in sorted(views, key=lambda view: view.attempt)]

    @property
    def pathspec(self) -> str:
        """``flow/run/step/task``, for `Task`."""
        return f"{self.flow}/{self.run_id}/{self._view.step}/{self._view.task}"

    def reload(self) -> Task:
        """Return this attempt as it is now."""
        return self._at(self.attempt)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._client, self._view.place)

    def __repr__(self) -> str:
        attempt = f", attempt={self.attempt}" if self.attempt else ""
        count = count_text(len(self), "artifact")
        return f"Task({self.pathspec!r}{attempt}, namespace={self.namespace!r}, {self.status}, {count})"

    def _repr_html_(self) -> str:
        from holdall._html_steps import task_html

        return task_html(self)

    def _called_lower(self) -> str:
        return f"task {self.pathspec}"

    def _at(self, attempt: int) -> Task:
        return _rebuild(self._client, (*self._view.place[:5], attempt))


def lifted_artifacts(client: Client, lifted: Lifted) -> dict[str, Artifact]:
    """Return what a run shows of the artifacts of tasks."""
    from holdall._artifact import Artifact

    return {
        name: Artifact._of(client, *view.place[:3], name, stored, view.place[3:])
        for name, (view, stored) in lifted.artifacts.items()
    }


def task_artifact(run: Run, reference: Reference) -> Artifact:
    """Return the artifact of a task that a reference names."""
    task = run.steps[str(reference.step)][str(reference.task)]
    if reference.attempt is not None and reference.attempt != task.attempt:
        task = task._at(reference.attempt)
    return task[str(reference.artifact)]


def _rebuild(client: Client, place: tuple[str, str, str, str, str, int]) -> Task:
    catalog = client.repository.catalog
    every = list(catalog.find_tasks(*place[:5]))
    for found in every:
        if found.attempt == place[5]:
            return Task._of(client, catalog.found_task(*place[:3], found))
    has = f" Its attempts are: {', '.join(str(found.attempt) for found in every)}." if every else ""
    raise TaskNotFoundError(f"There is no attempt {place[5]} at task {'/'.join(place[1:5])}.{has}")


def _whole(views: Iterable[Any]) -> list[RunView]:
    """Return the views; raise what is wrong with the first that cannot be read."""
    found: list[RunView] = []
    for view in views:
        if not isinstance(view, RunView):
            raise view
        found.append(view)
    return found


def _pathspec(text: object, what: str, example: str) -> str:
    if not isinstance(text, str) or not all(text.split("/")) or "/" not in text:
        raise InvalidNameError(f"A {what} is named by a string such as {example!r}, not {shown(text)}.")
    return text


def _missing(what: str, name: object, known: list[str]) -> TaskNotFoundError:
    has = f" There are: {listed(known)}." if known else " There are none."
    return TaskNotFoundError(f"There is no {what}.{nearest(str(name), known)}{has}")
