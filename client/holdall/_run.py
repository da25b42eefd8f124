"""A run, as it was when it was looked up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from holdall._aliases import check_alias, check_note
from holdall._artifact import Artifact
from holdall._client import Client, missing_artifact
from holdall._defaults import default_user
from holdall._messages import readable
from holdall._reference import Reference
from holdall._tagging import Tagged, TagPlace, TagSource
from holdall._text import count_text
from holdall._values import MetricPoint, decode_params, normal_form, number, points_of
from holdall.store import ArtifactNotFoundError
from holdall_store.format import ExceptionInfo, check_namespace
from holdall_store.repository import RunView, parse_time

__all__ = ["Run", "RunData", "RunOrigin"]


class RunOrigin(NamedTuple):
    """The run that another one was promoted from, by its reference, who did it, and why."""

    reference: str
    who: str
    note: str


class Run(Tagged):
    """One run of a flow, as it was when it was looked up; artifacts are loaded when they are asked for.

    ``Run("churn/20261123T081402")`` looks in the default store and the current namespace; a beginning of the id will
    do where it is unambiguous. ``run.data.model`` and ``run["model"].load()`` are the same object.
    """

    _client: Client
    _view: RunView

    def __init__(self, pathspec: str) -> None:
        found = Client().run(pathspec)
        self._client, self._view, self._tag_place = found._client, found._view, found._tag_place

    @classmethod
    def _of(cls, client: Client, view: RunView, tags: TagSource | None = None) -> Run:
        run = cls.__new__(cls)
        run._client, run._view = client, view
        run._tag_place = TagPlace(client, (view.namespace, view.flow, view.run), view.tags, tags)
        return run

    @property
    def id(self) -> str:
        """Id of the run: its time in UTC, to the microsecond, and six random characters."""
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
    def pathspec(self) -> str:
        """``flow/run``, for `Run`."""
        return f"{self.flow}/{self.id}"

    @property
    def client(self) -> Client:
        """The client that found it."""
        return self._client

    @property
    def status(self) -> str:
        """``running``, ``succeeded`` or ``failed``."""
        return self._view.status

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
        """When it came to its end; ``None`` while it runs."""
        return parse_time(self._view.updated) if self.finished else None

    @property
    def duration(self) -> dt.timedelta:
        """How long it took, or has taken until its last record."""
        return parse_time(self._view.updated) - self.created_at

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters it was begun with."""
        return readable(decode_params(self._view.params, trust=self._client.trusted), "parameter", self._called())

    @property
    def metrics(self) -> Mapping[str, float | int | bool]:
        """The last value of each metric."""
        return readable({name: number(value) for name, value in self._view.summary.items()}, "metric", self._called())

    def metric(self, name: str) -> list[MetricPoint]:
        """Return all points of a metric, in the order in which they were logged; `NotFoundError` where there is none."""
        view, name = self._view, normal_form(name)
        _ = self.metrics[name]  # which says what there is instead
        if not view.metrics_whole:
            view = self._client.repository.catalog.whole_run(self.namespace, self.flow, self.id)
        if name not in view.metrics and view.origin is not None:  # its points stay with the run that logged them
            origin = view.origin
            return _rebuild(self._client, origin.namespace, origin.flow, origin.run).metric(name)
        return points_of(view.metrics[name])

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

    @property
    def origin(self) -> RunOrigin | None:
        """Where it was promoted from, by whom and why; ``None`` for a run that was recorded where it lies."""
        origin = self._view.origin
        if origin is None:
            return None
        return RunOrigin(str(Reference(origin.namespace, origin.flow, run=origin.run)), origin.who, origin.note)

    def promote(self, namespace: str, *, alias: str | None = None, note: str = "") -> Run:
        """Make it a new run of another namespace, such as ``production:churn``, and return that.

        No byte of an artifact is copied: the new run refers to what is stored, and names this one as its `origin`. It
        is the newest run there, so who loads ``churn/model`` in that namespace gets it. With `alias`, that alias means
        the new run from then on. Raises `RunStateError` while the run goes on.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     saved = run.save(model="v1")
        >>> promoted = holdall.Run(run.pathspec).promote("production:churn", alias="champion", note="passed")
        >>> holdall.load("production:churn/churn/model:champion")
        'v1'
        """
        client = self._client._beside(check_namespace(namespace))
        if alias is not None:
            check_alias(alias)
        view = self._client.repository.promote(
            replace(self._view, tags=tuple(sorted(self.tags))),
            str(client.namespace),
            who=default_user(client.settings),
            note=check_note(note),
        )
        promoted = Run._of(client, view)
        if alias is not None:
            client.aliases.set(promoted, alias, note=note, who=default_user(client.settings))
        return promoted

    def reload(self) -> Run:
        """Return the run as it is now."""
        return Run._of(self._client, self._client.repository.catalog.run(self.namespace, self.flow, self.id))

    def keys(self) -> list[str]:
        """Return the names of the artifacts."""
        return list(self._view.artifacts)

    def __getitem__(self, name: str) -> Artifact:
        name = normal_form(name)
        stored = self._view.artifacts.get(name)
        if stored is None:
            raise missing_artifact(name, self._view.artifacts, f"run {self.id} of flow {self.flow!r}")
        return Artifact._of(self._client, self.namespace, self.flow, self.id, name, stored)

    def __iter__(self) -> Iterator[Artifact]:
        return (self[name] for name in self._view.artifacts)

    def __len__(self) -> int:
        return len(self._view.artifacts)

    def __bool__(self) -> bool:
        return True  # a run that holds no artifact is a run all the same

    def __contains__(self, name: object) -> bool:
        return normal_form(name.name if isinstance(name, Artifact) else name) in self._view.artifacts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._client, self.namespace, self.flow, self.id)

    def __repr__(self) -> str:
        return (
            f"Run({self.pathspec!r}, namespace={self.namespace!r}, {self.status}, {count_text(len(self), 'artifact')})"
        )

    def _repr_html_(self) -> str:
        from holdall._html import run_html

        return run_html(self)

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()

    def _called(self) -> str:
        return f"Run {self.id} of flow {self.flow!r}"

    def _identity(self) -> tuple[object, ...]:
        return self._client.url, self.namespace, self.flow, self.id


class RunData:
    """The artifacts of a run by attribute, loaded when they are asked for, and kept."""

    _run: Run

    def __init__(self, run: Run) -> None:
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


def _rebuild(client: Client, namespace: str, flow: str, run_id: str) -> Run:
    return Run._of(client, client.repository.catalog.run(namespace, flow, run_id))
