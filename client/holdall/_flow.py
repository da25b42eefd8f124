"""A flow: all runs of one name."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from holdall._client import Client
from holdall._flow_aliases import FlowAliases
from holdall._messages import listed, shown
from holdall._run import Run
from holdall._runs import Runs, Selection, check_statuses, since_moment
from holdall._tagging import tag_runs
from holdall._values import check_tags, normal_form
from holdall.store import (
    ArtifactNotFoundError,
    HoldallError,
    InvalidNameError,
    NotFoundError,
    RunNotFoundError,
    nearest,
)
from holdall_store.config import check_flags
from holdall_store.format import run_segment
from holdall_store.repository import RunView, was_deleted

__all__ = ["Flow"]

LOOK_BACK_RUNS: int = 1000
"""How many successful runs are looked through for one that holds an artifact, before giving up."""


FEW_RUNS: int = 4
"""How many runs are looked for that a beginning of an id may mean: one more than are named in the error."""


class Flow:
    """All runs of one name, newest first; a light handle that reads what it is asked for.

    ``Flow("churn")`` looks in the default store and the current namespace; ``client.flow("churn")`` elsewhere.
    Raises `FlowNotFoundError` where there is none.
    """

    _client: Client
    _name: str
    _homes: tuple[str, ...]

    def __init__(self, name: str) -> None:
        found = Client().flow(name)
        self._client, self._name, self._homes = found._client, found._name, found._homes

    @classmethod
    def _of(cls, client: Client, name: str, homes: tuple[str, ...]) -> Flow:
        flow = cls.__new__(cls)
        flow._client, flow._name, flow._homes = client, name, homes
        return flow

    @property
    def name(self) -> str:
        """Name of the flow."""
        return self._name

    @property
    def id(self) -> str:
        """Name of the flow, under the word that Metaflow uses."""
        return self._name

    @property
    def client(self) -> Client:
        """The client that found it."""
        return self._client

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces in which runs are looked for."""
        return self._homes

    @property
    def aliases(self) -> FlowAliases:
        """The aliases by name: ``flow.aliases["champion"].history``, ``.rollback()``, ``.remove()``.

        >>> import holdall
        >>> for value in ("v1", "v2"):
        ...     with holdall.run("churn") as run:
        ...         saved = run.save(model=value)
        ...     holdall.alias(f"churn@{run.id}", "champion", note=f"{value} passed the shadow test")
        >>> champion = holdall.Flow("churn").aliases["champion"]
        >>> [change.note for change in champion.history]
        ['v1 passed the shadow test', 'v2 passed the shadow test']
        >>> champion.rollback(note="v2 is slow").data.model
        'v1'
        """
        return FlowAliases(self)

    @property
    def latest_run(self) -> Run:
        """The newest run, whatever became of it; raises `RunNotFoundError` where there is none."""
        for view in self._views():
            return Run._of(self._client, view)
        raise self._missing(RunNotFoundError(f"Flow {self._name!r} has no runs in {self._where()}."))

    @property
    def latest_successful_run(self) -> Run:
        """The newest run that succeeded; raises `RunNotFoundError` where there is none."""
        newest = ""
        for view in self._views():
            if view.status == "succeeded":
                return Run._of(self._client, view)
            newest = newest or f" The newest one, {view.run}, is {view.status}."
        raise self._missing(
            RunNotFoundError(
                f"Flow {self._name!r} has no successful run in {self._where()}.{newest} Flow.latest_run gives it all the "
                "same."
            )
        )

    def latest_run_with(self, artifact: str) -> Run:
        """Return the newest successful run that holds `artifact`; raise `ArtifactNotFoundError` with the nearest name."""
        artifact = normal_form(artifact)
        known: dict[str, str] = {}
        unsuccessful = ""
        for count, view in enumerate(self._views()):
            run = Run._of(self._client, view)
            if view.status == "succeeded" and artifact in run:
                return run
            if artifact in view.artifacts and not unsuccessful:
                unsuccessful = (
                    f" Run {view.run}, which is {view.status}, holds it: '{self._name}/{artifact}@{view.run}'."
                )
            for name in view.artifacts:
                known.setdefault(name, view.run)
            if count >= LOOK_BACK_RUNS:
                break
        others = f" There are: {listed(known)}." if known else ""
        raise self._missing(
            ArtifactNotFoundError(
                f"No successful run of flow {self._name!r} in {self._where()} holds an artifact {artifact!r}."
                f"{unsuccessful or nearest(artifact, known)}{others}"
            )
        )

    def runs(
        self,
        *with_tags: str,
        tags: Iterable[str] = (),
        since: object = None,
        until: object = None,
        status: str | Iterable[str] | None = None,
        where: str | None = None,
        limit: int | None = None,
    ) -> Runs:
        """Return the runs, newest first: those that carry all tags, began in a stretch of time, ended so, and match a filter.

        `since` (included) and `until` (excluded) are times, dates or texts such as ``2026-11-23``, in UTC where no zone is
        said; a `timedelta` or a text such as ``7d`` or ``12h`` is so long ago. `status` is ``succeeded``, ``failed``,
        ``running`` or ``died``, or several of them. `where` is a filter such as ``metrics.auc > 0.9 and params.lr < 0.1``, with ``and``,
        ``or``, ``not``, ``in`` and parentheses over ``metrics.*``, ``params.*``, ``tags``, ``artifacts``, ``status``,
        ``started``, ``finished``, ``duration``, ``user``, ``host``, ``git.commit``, ``git.branch``, ``git.dirty``,
        ``exception``, ``run`` and ``namespace``. A run that lacks what is compared does not match.

        What comes back can be iterated any number of times, and reads as it goes; what filters need to know of runs that
        have ended is remembered on this disk. A run whose records are damaged is left out, with a `UserWarning`; to ask for
        it by its id, or for the newest one where that is it, raises `IntegrityError`.

        >>> import holdall
        >>> for lr in (0.3, 0.1, 0.03):
        ...     with holdall.run("churn", params={"lr": lr}, tags=["nightly"]) as run:
        ...         run.log(auc=0.9 - lr)
        >>> [run.params["lr"] for run in holdall.Flow("churn").runs(where="metrics.auc > 0.7 and params.lr < 0.2")]
        [0.03, 0.1]
        """
        if not all(isinstance(tag, str) for tag in with_tags):
            raise InvalidNameError("Tags are given one by one: flow.runs('nightly', 'eu').")
        if limit is not None and (type(limit) is not int or limit < 0):
            raise InvalidNameError(f"limit is the number of runs to give at most, or None; not {shown(limit)}.")
        condition = None
        if where is not None:
            from holdall._where import parse_where  # with the first of them: a load looks for none

            condition = parse_where(where)
        now = self._client.repository.clock.now()
        wanted = frozenset(check_tags([*with_tags, *check_tags(tags)]))
        return Runs(
            self,
            Selection(
                tags=wanted,
                since=since_moment(since, now),
                until=since_moment(until, now),
                statuses=check_statuses(status),
                where=condition,
                limit=limit,
            ),
        )

    def delete(self, *, note: str = "", even_running: bool = False) -> int:
        """Delete all of its runs, and return how many; see `Run.delete`. If one is protected, none is deleted."""
        from holdall._deleting import delete_runs

        check_flags(even_running=even_running)
        views = list(self._views())
        for space in self._homes:
            delete_runs(
                self._client,
                [view for view in views if view.namespace == space],
                note=note,
                even_running=even_running,
            )
        return len(views)

    def tag(self, runs: Iterable[Run | str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> int:
        """Change the tags of many runs, given as runs or ids, and return of how many; each changes as a whole.

        If it fails for one, others may be changed already; to do it again is no error.

        >>> import holdall
        >>> for seed in range(3):
        ...     with holdall.run("churn", params={"seed": seed}) as run:
        ...         run.log(auc=0.5 + seed / 10)
        >>> flow = holdall.Flow("churn")
        >>> flow.tag((run for run in flow.runs() if run.metrics["auc"] > 0.55), add=["good"])
        2
        >>> [run.params["seed"] for run in flow.runs("good")]
        [2, 1]
        """
        if isinstance(runs, Run | str):
            raise InvalidNameError(f"Several runs are given as a list: flow.tag([{shown(str(runs))}], …).")
        chosen = [run if isinstance(run, Run) else self[run] for run in runs]
        for run in chosen:
            if (run.flow, run.client.url) != (self._name, self._client.url):
                raise InvalidNameError(f"{run!r} is no run of flow {self._name!r} in {self._client.url}.")
        return tag_runs(chosen, add, remove)

    def __getitem__(self, run_id: str) -> Run:
        """Return a run by its id or an unambiguous beginning of it."""
        catalog = self._client.repository.catalog
        text = str(run_id)
        if not text:
            raise RunNotFoundError(f"An empty id names no run; Flow.latest_run is the newest of {self._name!r}.")
        if _is_run_id(text):
            for space in self._homes:
                with contextlib.suppress(RunNotFoundError):
                    return Run._of(self._client, catalog.run(space, self._name, text))
        found = [(space, run) for space in self._homes for run in catalog.find(space, self._name, text, FEW_RUNS)]
        if len(found) == 1:
            view = catalog.found_run(found[0][0], self._name, found[0][1])
            if view.deleted:
                raise was_deleted(view, self._client.url)
            return Run._of(self._client, view)
        if not found:
            newest = next(iter(self.runs(limit=1)), None)
            hint = f" The newest is {newest.id}." if newest else ""
            hint = self._elsewhere(text) or hint
            raise self._missing(RunNotFoundError(f"Flow {self._name!r} has no run {text!r} in {self._where()}.{hint}"))
        listed = ", ".join(run.run_id for _, run in found[:3])
        raise RunNotFoundError(
            f"{text!r} is the beginning of several runs of {self._name!r}: {listed}, … Write more of it."
        )

    def _elsewhere(self, text: str) -> str:
        """Return where else a run is that is not here, and how to get there."""
        catalog = self._client.repository.catalog
        if self._client.repository.offline is not None:
            return ""
        for space in catalog.namespaces():
            found = catalog.find(space, self._name, text, 1) if space not in self._homes else []
            if found:
                return f" There is one in {space!r}: '{space}/{self._name}@{found[0].run_id}' as the reference."
        return ""

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs())

    def __contains__(self, run_id: object) -> bool:
        if isinstance(run_id, Run):
            return (run_id.flow, run_id._client.url) == (self._name, self._client.url) and run_id.id in self
        try:
            self[str(run_id)]
        except RunNotFoundError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self._client, self._name, self._homes))

    def __reduce__(self) -> tuple[Any, ...]:
        return Flow._of, (self._client, self._name, self._homes)

    def __repr__(self) -> str:
        return f"Flow({self._name!r}, namespace={', '.join(self._homes)!r})"

    def _repr_html_(self) -> str:
        from holdall._html import flow_html

        return flow_html(self)

    def _ipython_key_completions_(self) -> list[str]:
        return [run.id for run in self.runs(limit=50)]

    def _views(self) -> Iterator[RunView]:
        catalog = self._client.repository.catalog
        if len(self._homes) == 1:
            return catalog.newest(self._homes[0], self._name)
        streams = [catalog.newest(space, self._name) for space in self._homes]
        return heapq.merge(*streams, key=lambda view: view.run, reverse=True)

    def _missing(self, error: NotFoundError) -> HoldallError:
        """Return the error for what was not found; offline that is another than for what is not there."""
        return self._client._unless_offline(error)

    def _where(self) -> str:
        spaces = ", ".join(map(repr, self._homes[:3])) + (", …" if len(self._homes) > 3 else "")
        return f"namespace {spaces} ({self._client.url})"


def _is_run_id(text: str) -> bool:
    """Tell whether `text` is a whole run id, rather than the beginning of one."""
    try:
        run_segment(text)
    except InvalidNameError:
        return False
    return True
