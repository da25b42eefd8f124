"""Joining a run that another process records: ``holdall.join()``."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from holdall._messages import shown
from holdall._recorder import ActiveRun, client_or_default
from holdall._reference import Reference, is_run_id
from holdall._saver import Saver, current
from holdall._tagging import TagPlace
from holdall.store import InvalidNameError, NotFoundError, RunStateError

if TYPE_CHECKING:
    from holdall._artifact import Artifact
    from holdall._client import Client
    from holdall._run import Run
    from holdall_store.format import TagRecord
    from holdall_store.repository import RunView

__all__ = ["JoinedRun", "join"]


class JoinedRun(ActiveRun):
    """A run that another process began, in which this one records steps. `join` makes it."""

    def __init__(
        self, client: Client, place: tuple[str, str, str], resumes: tuple[str, str, str] | None = None, *known: bool
    ) -> None:
        self._begin(client, place)
        self._resumes = resumes
        self._knows_origin = all(known)
        self._shared = True
        self._tag_place = TagPlace(client, place, (), _AsStored(self))
        self._tokens: list[contextvars.Token[Saver | None]] = []

    @property
    def joined(self) -> bool:
        """Whether another process began it."""
        return True

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters that the run was begun with, which are read from the store."""
        return self._stored().params

    def flush(self) -> None:
        """Do nothing: what this process records of the run are steps."""

    def end(self, error: BaseException | None = None) -> None:
        """Do nothing: the run is ended by the process that began it."""

    def __enter__(self) -> Self:
        self._tokens.append(current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            current.reset(self._tokens.pop())
        except ValueError:
            current.set(None)

    def __repr__(self) -> str:
        return f"JoinedRun({self.pathspec!r})"

    def __getattr__(self, name: str) -> Any:
        if name == "_writer":
            raise RunStateError(
                f"Run {self.id} was begun by another process, and is saved to there. Here, save in a step or a task of it: "
                "with run.step('train').task('fold-3') as task."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def _check_open(self) -> None:
        """Do nothing: whether it goes on is known to the process that records it."""

    def _announce(self) -> None:
        """Do nothing: it is known."""

    def _held(self) -> dict[str, Artifact]:
        return {artifact.name: artifact for artifact in self._stored()}

    def _origin_view(self) -> RunView | None:
        if not self._knows_origin:
            origin = self._stored()._view.origin
            if origin is not None and origin.how == "resumed":
                self._resumes = origin.namespace, origin.flow, origin.run
            self._knows_origin = True
        if self._origin is None and self._resumes is not None:
            self._origin = self._client.repository.catalog.run(*self._resumes)
        return self._origin

    def __reduce__(self) -> tuple[Any, ...]:
        return JoinedRun, (self._client, self._place, self._resumes, self._knows_origin)

    def _stored(self) -> Run:
        from holdall._run import Run

        return Run._of(self._client, self._client.repository.catalog.run(*self._place))


class _AsStored:
    """What the store says of the tags of a run that was joined."""

    def __init__(self, run: JoinedRun) -> None:
        self._run = run

    def of(self, run_id: str) -> TagRecord | None:  # noqa: ARG002
        """Return the last record, or ``None`` where nothing was said after the run began."""
        place = self._run._stored()._tag_place
        self._run._tag_place.begun_with = place.begun_with
        return place.record


def join(reference: str | None = None, *, client: Client | None = None) -> JoinedRun:
    """Return a run that another process records, to record steps and tasks of it here.

    `reference` is that of the run, such as `ActiveRun.reference`; by default that in ``HOLDALL_RUN``, which
    `ActiveRun.environment` and ``holdall exec`` set. Raises `RunStateError` where there is none, or the run has ended.

    >>> import holdall
    >>> with holdall.run("churn") as run:
    ...     with holdall.join(run.reference).step("train").task("fold-3") as task:
    ...         saved = task.save(score=0.9)
    >>> holdall.load("churn/score")
    0.9
    """
    chosen = client_or_default(client)
    given = reference
    if reference is None:
        reference = chosen.settings.run
        if reference is None:
            raise RunStateError(
                "There is no run to join: HOLDALL_RUN is not set. Pass ActiveRun.environment() to the process that joins, "
                "start it with 'holdall exec FLOW -- COMMAND', or name the run: holdall.join(reference)."
            )
    try:
        parsed = Reference.parse(reference)
        if given is None and parsed.namespace and parsed.flow and parsed.run and is_run_id(parsed.run):
            return JoinedRun(chosen, (parsed.namespace, parsed.flow, parsed.run), None, False)
        found = chosen.run(reference)
    except (NotFoundError, InvalidNameError) as error:
        if given is not None:
            raise
        raise RunStateError(
            f"HOLDALL_RUN is {shown(reference)}, which names no run in {chosen.url}. Set it to ActiveRun.reference, as "
            "ActiveRun.environment() and 'holdall exec' do, with HOLDALL_STORE to where the run is recorded; or name the "
            "run: holdall.join(reference)."
        ) from error
    if found.finished:
        raise RunStateError(f"Run {found.id} of flow {found.flow!r} has ended ({found.status}): nothing can join it.")
    origin = found._view.origin
    resumes = (origin.namespace, origin.flow, origin.run) if origin is not None and origin.how == "resumed" else None
    return JoinedRun(chosen, (found.namespace, found.flow, found.id), resumes)
