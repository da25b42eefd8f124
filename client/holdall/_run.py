"""A run, as it was when it was looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from holdall._aliases import check_alias, check_note
from holdall._capture import CAPTURED, text_of
from holdall._client import Client
from holdall._defaults import default_user
from holdall._messages import readable
from holdall._recorded import Recorded, RunData, lift_tasks
from holdall._reference import Reference
from holdall._step import Steps, lifted_artifacts
from holdall._tagging import Tagged, TagPlace, TagSource
from holdall._text import count_text
from holdall._values import decode_params
from holdall_store.config import check_flags
from holdall_store.format import check_namespace
from holdall_store.repository import Lifted, RunView

if TYPE_CHECKING:
    from holdall._artifact import Artifact
    from holdall._debug import Debug
    from holdall._graph import Graph

__all__ = ["Run", "RunData", "RunOrigin"]


class RunOrigin(NamedTuple):
    """The run that another one was promoted from, or resumes, by its reference, who did it, and why."""

    reference: str
    who: str
    note: str
    how: str = "promoted"


class Run(Recorded, Tagged):
    """One run of a flow, as it was when it was looked up; artifacts are loaded when they are asked for.

    ``Run("churn/20261123T081402")`` looks in the default store and the current namespace; a beginning of the id will
    do where it is unambiguous. ``run.data.model`` and ``run["model"].load()`` are the same object.
    """

    _tasks: Lifted | None = None
    """What tasks hold, once it was looked up."""

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
    def pathspec(self) -> str:
        """``flow/run``, for `Run`."""
        return f"{self.flow}/{self.id}"

    @property
    def reference(self) -> str:
        """The reference that always means exactly this run."""
        return str(Reference(self.namespace, self.flow, run=self.id))

    @property
    def steps(self) -> Steps:
        """The steps, in order; ``run.steps["train"]`` is one of them. They are looked up now, whatever the run says."""
        return Steps(self)

    def graph(self) -> Graph:
        """Return the steps and what comes after what: as text, and as SVG, which a notebook shows."""
        from holdall._graph import Graph

        return Graph(self)

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters it was begun with."""
        return readable(decode_params(self._view.params, trust=self._client.trusted), "parameter", self._called())

    @property
    def origin(self) -> RunOrigin | None:
        """What it was promoted from, or resumes, by whom and why; ``None`` for a run that began from nothing."""
        origin = self._view.origin
        if origin is None:
            return None
        reference = str(Reference(origin.namespace, origin.flow, run=origin.run))
        return RunOrigin(reference, origin.who, origin.note, origin.how or "promoted")

    @property
    def stdout(self) -> str:
        """The last of what was written to standard output, of a run that was recorded with ``capture=True``."""
        return text_of(self._captured(), "out")

    @property
    def stderr(self) -> str:
        """The last of what was written to standard error, of a run that was recorded with ``capture=True``."""
        return text_of(self._captured(), "err")

    def log_tail(self, lines: int = 50) -> str:
        r"""Return the last lines of what was written to both, as they came, of a run that was recorded with ``capture=True``.

        >>> import holdall
        >>> with holdall.run("churn", capture=True) as run:
        ...     print("fitting")
        fitting
        >>> holdall.Flow("churn").latest_run.log_tail()
        'fitting\n'
        """
        return "".join(text_of(self._captured()).splitlines(keepends=True)[-lines:] if lines > 0 else [])

    def _captured(self) -> object:
        return self[CAPTURED].load(trust=False) if CAPTURED in self._view.artifacts else None

    def debug(self) -> Debug:
        """Return how to look at what went wrong, and to do it again: code, parameters, packages, and what differs here.

        >>> import holdall
        >>> with holdall.run("churn", params={"day": "2026-11-23"}) as run:
        ...     saved = run.save(rows=[4, 2])
        >>> print(str(holdall.Flow("churn").latest_run.debug()).splitlines()[0])  # doctest: +ELLIPSIS
        run churn/... succeeded
        """
        from holdall._debug import Debug

        return Debug(self)

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

    def delete(self, *, note: str = "", even_running: bool = False) -> None:
        """Hide it from whoever looks for runs, at once; what it saved goes with the next collection.

        Until then `Client.undelete` brings it back. Raises `ConflictError` where an alias points at it or it is kept, and
        `RunStateError` while it runs unless `even_running`.

        >>> import holdall
        >>> with holdall.run("churn") as run:
        ...     saved = run.save(model="v1")
        >>> holdall.Run(run.pathspec).delete(note="a trial")
        >>> run.pathspec in [found.pathspec for found in holdall.Flow("churn").runs()]
        False
        >>> holdall.Client().undelete(f"churn@{run.id}").data.model
        'v1'
        """
        from holdall._deleting import delete_runs

        check_flags(even_running=even_running)
        delete_runs(self._client, [self._view], note=note, even_running=even_running)

    def reload(self) -> Run:
        """Return the run as it is now."""
        return Run._of(self._client, self._client.repository.catalog.run(self.namespace, self.flow, self.id))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._client, self.namespace, self.flow, self.id)

    def __repr__(self) -> str:
        # What it holds itself: while it goes on, what its tasks hold is looked up when it is asked for.
        count = count_text(len(self._view.artifacts), "artifact")
        return f"Run({self.pathspec!r}, namespace={self.namespace!r}, {self.status}, {count})"

    def _repr_html_(self) -> str:
        from holdall._html import run_html

        return run_html(self)

    def _held(self) -> dict[str, Artifact]:
        held = super()._held()
        if self._view.lifted or not self._view.has_tasks:
            return held
        return {**lifted_artifacts(self._client, self._lifted()), **held}

    def _summary(self) -> dict[str, float | int | bool | str]:
        own = super()._summary()
        if self._view.lifted or not self._view.has_tasks:
            return own
        return {**{name: value for name, (_, value) in self._lifted().summary.items()}, **own}

    def _lifted(self) -> Lifted:
        """Return what tasks hold that the run's own record does not tell."""
        if self._tasks is None:
            self._tasks = lift_tasks(self._client, self._view)
        return self._tasks

    def _called_lower(self) -> str:
        return f"run {self.id} of flow {self.flow!r}"


def _rebuild(client: Client, namespace: str, flow: str, run_id: str) -> Run:
    return Run._of(client, client.repository.catalog.run(namespace, flow, run_id))
