"""Deleting runs, flows and artifacts, and bringing them back until a collection has taken them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from holdall._aliases import check_note
from holdall._defaults import default_user
from holdall._messages import listed
from holdall._reference import Reference
from holdall.store import ConflictError, InvalidNameError, NotFoundError, RunNotFoundError, RunStateError
from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import flow_prefix
from holdall_store.repository import RunView
from holdall_store.repository._deletion import Deletion
from holdall_store.transfer import run_all

if TYPE_CHECKING:
    from holdall._client import Client

__all__ = ["delete_artifact", "delete_runs", "deletion_of", "undelete"]

DELETES_AT_ONCE: Final = 32
"""Runs that are deleted at once, where each takes a few round trips."""


def deletion_of(client: Client) -> Deletion:
    """Return what hides runs and artifacts of a client's store, and shows them again."""
    repository = client.repository
    repository.refuse_offline()
    return Deletion(repository.storage, repository.cache, repository.tags, repository.clock)


def delete_runs(
    client: Client, views: Sequence[RunView], *, note: str, even_running: bool, names: Sequence[str] = ()
) -> None:
    """Hide runs of one flow, or artifacts of one run; nothing of it happens where anything is protected."""
    note = check_note(note)
    repository = client.repository
    deletion = deletion_of(client)
    for view in views:
        if view.status == "running" and not even_running:
            raise RunStateError(
                f"Run {view.run} of {view.flow} is still running, or its process died: delete(even_running=True) deletes it "
                "all the same, and whoever still records it is told."
            )
    _check_unprotected(client, views)
    who = default_user(client.settings)
    threads = min(DELETES_AT_ONCE, repository.storage.traits.concurrency) or 1
    run_all(views, lambda view: deletion.delete(view, names, who=who, note=note), threads=threads)
    try:
        _check_unprotected(client, views)  # somebody may have set an alias meanwhile, and not have seen this
    except ConflictError:
        for view in views:
            now = repository.catalog.run(view.namespace, view.flow, view.run, deleted=True)
            deletion.restore(now, names, who=who, note="protected meanwhile")
        raise


def _check_unprotected(client: Client, views: Sequence[RunView]) -> None:
    """Refuse what an alias points at, or what is kept."""
    places = {(view.namespace, view.flow) for view in views}
    runs = {(view.namespace, view.flow, view.run) for view in views}
    for namespace, flow in sorted(places):
        pointing = [
            f"{name} -> {record.run}"
            for name, record in client.aliases.current(namespace, flow).items()
            if (namespace, flow, record.run) in runs
        ]
        if pointing:
            raise ConflictError(
                f"What an alias points at is not deleted: {listed(pointing)} of {namespace}/{flow}. Move or remove the alias "
                "first: flow.aliases[name].remove()."
            )
        reader = client.repository.tags.reader(namespace, flow)
        for run_id in sorted((run for space, name, run in runs if (space, name) == (namespace, flow)), reverse=True):
            record = reader.of(run_id)
            if record is not None and record.kept:
                raise ConflictError(
                    f"Run {run_id} of {namespace}/{flow} is kept{f' ({record.note})' if record.note else ''}: run.unkeep() lets "
                    "it be deleted."
                )


def delete_artifact(client: Client, place: tuple[str, str, str], name: str, note: str) -> None:
    """Hide one artifact of a run that has ended."""
    view = client.repository.catalog.run(*place)
    if view.status == "running":
        raise RunStateError(f"Run {view.run} of {view.flow} is still running: delete the artifact when it has ended.")
    delete_runs(client, [view], note=note, even_running=False, names=[name])


def undelete(client: Client, reference: str, note: str) -> RunView:
    """Show a run, or an artifact of it, again."""
    parsed = Reference.parse(reference)
    if parsed.flow is None or parsed.run is None:
        raise InvalidNameError(f"{reference!r:.200} names no run: write flow@run, or flow/artifact@run.")
    if parsed.namespace is not None:
        spaces: Iterable[str] = [parsed.namespace]
    else:
        spaces = client.namespaces if client.namespace is None else [client.namespace]
    catalog = client.repository.catalog
    found = [(space, run) for space in spaces for run in catalog.find(space, parsed.flow, parsed.run, 2)]
    if len(found) != 1:
        many = "several runs" if found else "no run"
        raise RunNotFoundError(
            f"{reference!r:.200} means {many} ({client.url}). Write the whole id, and the namespace."
        )
    view = catalog.run(found[0][0], parsed.flow, found[0][1].run_id, deleted=True)
    if view.deleted:  # one that was deleted as a whole is shown by its last record alone
        view = _whole(client, view)
    names = [] if parsed.artifact is None else [parsed.artifact]
    if names and parsed.artifact not in view.deleted_artifacts:
        raise NotFoundError(f"{reference!r:.200}: no artifact of that name was deleted from run {view.run}.")
    if names or view.deleted:
        deletion_of(client).restore(view, names, who=default_user(client.settings), note=check_note(note))
    return catalog.run(view.namespace, view.flow, view.run, deleted=True)


def _whole(client: Client, view: RunView) -> RunView:
    try:
        return client.repository.catalog.whole_run(view.namespace, view.flow, view.run)
    except (IntegrityError, FormatError) as error:
        raise type(error)(
            f"Run {view.run} of {view.flow} cannot be brought back: {error} ({flow_prefix(view.namespace, view.flow)})"
        ) from None
