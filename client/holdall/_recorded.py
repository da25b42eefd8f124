"""What runs and tasks that were looked up have in common: how they went, and what they hold."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from holdall._artifact import Artifact
from holdall._client import missing_artifact
from holdall._messages import readable
from holdall._provenance import process_is_gone
from holdall._values import MetricPoint, normal_form, number, points_of
from holdall.store import ArtifactNotFoundError
from holdall_store.repository import RunView, lift, parse_time

if TYPE_CHECKING:
    from holdall._client import Client
    from holdall_store.format import ExceptionInfo, Series
    from holdall_store.repository import Lifted, StoredArtifact

__all__ = ["MissingAttributeError", "Recorded", "RunData"]


class Recorded(ABC):
    """A run or a task, as it was when it was looked up; artifacts are loaded when they are asked for."""

    _client: Client
    _view: RunView

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._view.run

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._view.flow

    @property
    def namespace(self) -> str:
        """The namespace that the run lies in."""
        return self._view.namespace

    @property
    def client(self) -> Client:
        """The client that found it."""
        return self._client

    @property
    def status(self) -> str:
        """``running``, ``succeeded`` or ``failed``; ``died`` where it was recorded on this machine by a process that is gone."""
        view = self._view
        return "died" if view.status == "running" and not view.ended and process_is_gone(view.info) else view.status

    @property
    def successful(self) -> bool:
        """Whether it succeeded."""
        return self.status == "succeeded"

    @property
    def finished(self) -> bool:
        """Whether it has come to an end, well or not."""
        return self.status != "running"

    @property
    def created_at(self) -> dt.datetime:
        """When it began."""
        return parse_time(self._view.started or self._view.updated)

    @property
    def finished_at(self) -> dt.datetime | None:
        """When it came to its end; ``None`` while it runs, or where it died: it was heard of for its `duration`."""
        return parse_time(self._view.updated) if self._view.status != "running" else None

    @property
    def duration(self) -> dt.timedelta:
        """How long it took, or has taken until its last record."""
        return parse_time(self._view.updated) - self.created_at

    @property
    def metrics(self) -> Mapping[str, float | int | bool]:
        """The last value of each metric."""
        return readable({name: number(value) for name, value in self._summary().items()}, "metric", self._called())

    def metric(self, name: str) -> list[MetricPoint]:
        """Return all points of a metric, in the order in which they were logged; `NotFoundError` where there is none."""
        name = normal_form(name)
        _ = self.metrics[name]  # which says what there is instead
        return points_of(_logged(self._client, self._view, name) or [])

    @property
    def exception(self) -> ExceptionInfo | None:
        """What made it fail: ``.type``, ``.message``, ``.traceback``; ``None`` if nothing did."""
        return self._view.exception

    @property
    def info(self) -> Mapping[str, Any]:
        """Who, where, and with what: user, host, command, git commit, Python and package versions."""
        return MappingProxyType(self._view.info)

    @property
    def user(self) -> str:
        """Who ran it."""
        return str(self._view.info.get("user", ""))

    @property
    def data(self) -> RunData:
        """The artifacts by attribute: ``run.data.model`` loads the model."""
        return RunData(self)

    @property
    def artifacts(self) -> list[Artifact]:
        """The artifacts, in the order in which they were saved."""
        return list(self)

    def keys(self) -> list[str]:
        """Return the names of the artifacts."""
        return list(self._held())

    def __getitem__(self, name: str) -> Artifact:
        name = normal_form(name)
        stored = self._view.artifacts.get(name)
        if stored is not None:
            return self._artifact(name, stored)
        held = self._held()
        if name not in held:
            raise missing_artifact(name, held, self._called_lower())
        return held[name]

    def __iter__(self) -> Iterator[Artifact]:
        return iter(self._held().values())

    def __len__(self) -> int:
        return len(self._held())

    def __bool__(self) -> bool:
        return True  # what holds no artifact is a run all the same

    def __contains__(self, name: object) -> bool:
        text = normal_form(name.name if isinstance(name, Artifact) else name)
        return text in self._view.artifacts or text in self._held()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()

    def _summary(self) -> dict[str, float | int | bool | str]:
        """Return the last value of each metric, as records hold it."""
        return self._view.summary

    def _held(self) -> dict[str, Artifact]:
        """Return the artifacts by name."""
        return {name: self._artifact(name, stored) for name, stored in self._view.artifacts.items()}

    def _artifact(self, name: str, stored: StoredArtifact) -> Artifact:
        view = self._view
        task = (view.step, view.task, view.attempt) if view.step else None
        return Artifact._of(self._client, view.namespace, view.flow, view.run, name, stored, task)

    def _called(self) -> str:
        called = self._called_lower()
        return called[0].upper() + called[1:]

    @abstractmethod
    def _called_lower(self) -> str:
        """Return what messages call it."""

    def _identity(self) -> tuple[object, ...]:
        return self._client.url, *self._view.place


def lift_tasks(client: Client, view: RunView) -> Lifted:
    """Return what a run shows of its tasks, which are looked up now."""
    catalog = client.repository.catalog
    found = catalog.find_tasks(*view.place[:3])
    views = [task for task in catalog.found_tasks(*view.place[:3], found) if isinstance(task, RunView)]
    return lift(views, succeeded=view.status == "succeeded")


def _logged(client: Client, view: RunView, name: str) -> list[Series] | None:
    """Return the points of a metric: they stay with what logged them, a task or another run."""
    catalog = client.repository.catalog
    while True:
        if not view.metrics_whole:
            view = catalog.whole_run(*view.place)
        if name in view.metrics:
            return view.metrics[name]
        task, _ = (None if view.step else lift_tasks(client, view).summary.get(name)) or (None, None)
        if task is not None:
            return _logged(client, task, name)
        origin = view.origin
        if origin is None:
            return None
        view = catalog.whole_run(origin.namespace, origin.flow, origin.run, view.step, view.task, origin.attempt)


class RunData:
    """The artifacts of a run or a task by attribute, loaded when they are asked for, and kept."""

    _run: Recorded

    def __init__(self, run: Recorded) -> None:
        self.__dict__["_run"] = run

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(
            f"A run that was looked up is read-only, so data.{name} cannot be set. Objects are saved while a run is "
            f"recorded: `with holdall.run({self._run.flow!r}) as run:`, and in it run.save({name}=…).",
            name=name,
            obj=self,
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_run":
            raise AttributeError(name)
        try:
            value = self._run[name].load()
        except ArtifactNotFoundError as error:
            raise MissingAttributeError(str(error)) from None
        self.__dict__[name] = value
        return value

    def __getitem__(self, name: str) -> Any:
        return self._run[name].load()

    def __contains__(self, name: object) -> bool:
        return name in self._run

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.keys())

    def __dir__(self) -> list[str]:
        return [*self._run.keys(), *super().__dir__()]

    def __repr__(self) -> str:
        return f"RunData({', '.join(self._run.keys())})"

    def _ipython_key_completions_(self) -> list[str]:
        return self._run.keys()


class MissingAttributeError(ArtifactNotFoundError, AttributeError):
    """A run holds no artifact of the name that was written after ``data.``."""
