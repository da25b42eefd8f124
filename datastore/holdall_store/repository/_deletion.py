"""Deleting runs and artifacts, and bringing them back: records that hide them, until a collection has taken their packs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdall_store.errors import ArtifactNotFoundError, ConflictError, IntegrityError, RunStateError
from holdall_store.format import FORMAT_VERSION, PackRef, RunRecord, run_prefix, slot_key
from holdall_store.repository._artifacts import StoredArtifact
from holdall_store.repository._cache import Cache
from holdall_store.repository._clock import Clock
from holdall_store.repository._gclog import CondemnedPacks, MovedPacks
from holdall_store.repository._log import Log
from holdall_store.repository._tags import TagLogs
from holdall_store.repository._views import RunView
from holdall_store.storage import Storage

__all__ = ["Deletion", "lost_packs"]


class Deletion:
    """Hides runs and artifacts of one store, and shows them again."""

    def __init__(self, storage: Storage, cache: Cache | None, tags: TagLogs, clock: Clock) -> None:
        self._storage = storage
        self._cache = cache
        self._tags = tags
        self._clock = clock

    def delete(self, view: RunView, names: Sequence[str] = (), *, who: str = "", note: str = "") -> None:
        """Hide a run, or the artifacts in `names`; what is hidden already stays so."""
        if view.deleted:
            return
        for name in names:
            if name not in view.artifacts:
                raise ArtifactNotFoundError(f"Run {view.run} of {view.flow} holds no artifact {name!r} to delete.")
        self._append(view, "deleted", names, who, note)

    def restore(self, view: RunView, names: Sequence[str] = (), *, who: str = "", note: str = "") -> None:
        """Show a run again, or the artifacts in `names`; `ConflictError` where a collection has taken, or is taking, them."""
        wanted = {name: view.deleted_artifacts[name] for name in names} if names else view.artifacts
        slot = self._append(view, "restored", names, who, note)
        # In this order: a collection that condemns them after this look finds the record before it deletes anything.
        lost = lost_packs(wanted.values(), self._storage, self._cache)
        if lost:
            view.slots = slot + 1
            self._append(view, "deleted", names, who, "a collection has taken it")
            raise ConflictError(
                f"Run {view.run} of {view.flow} cannot be brought back: a collection has taken {len(lost)} of the packs that "
                "it refers to, or is about to. If one is under way, try again when it is over."
            )

    def _append(self, view: RunView, event: str, names: Sequence[str], who: str, note: str) -> int:
        log = Log(self._storage, run_prefix(view.namespace, view.flow, view.run), RunRecord)

        def make(slot: int) -> RunRecord:
            self._tags.change(
                view.namespace,
                view.flow,
                view.run,
                view.tags,
                lambda state: state._replace(log_slots=max(state.log_slots, slot + 1)),
                who=who,
                note=f"{event} {' '.join(names)}".strip() + (f": {note}" if note else ""),
            )
            return RunRecord(
                holdall=FORMAT_VERSION,
                log="run",
                event=event,
                slot=slot,
                write_id=self._clock.token(16),
                time=self._clock.now().isoformat(timespec="microseconds"),
                namespace=view.namespace,
                flow=view.flow,
                run=view.run,
                names=tuple(names),
            )

        def learn(taken: RunRecord) -> None:
            """Go on after what changes nothing about this: a fence, or another artifact that was deleted or restored."""
            if taken.event == event and set(taken.names) == set(names):
                raise _AlreadyDone(taken.slot)
            if taken.event != "fence" and not (taken.event in ("deleted", "restored") and taken.names and not names):
                raise RunStateError(
                    f"Run {view.run} of {view.flow} was changed meanwhile ({taken.event}). Look at it again, then decide."
                )

        try:
            slot = log.append(view.slots, make, learn)
        except _AlreadyDone as done:
            slot = done.slot
        if self._cache is not None:  # what was kept of it says that it has ended, and would be believed unseen
            for number in range(slot):
                self._cache.drop_record(slot_key(log.prefix, number))
        return slot


class _AlreadyDone(Exception):
    """Somebody else wrote the same meanwhile."""

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.slot = slot


def lost_packs(artifacts: Iterable[StoredArtifact], storage: Storage, cache: Cache | None) -> set[str]:
    """Return the packs that artifacts refer to and that are gone, or condemned: what was moved in time is not lost."""
    wanted = [
        (packs[number], first, count)
        for record, packs in artifacts
        for buffer in record.buffers
        for number, first, count in buffer.spans
    ]
    if not wanted:
        return set()
    condemned = CondemnedPacks(storage).look()
    if not any(pack.name in condemned for pack, _, _ in wanted):
        return set()
    moves = MovedPacks(storage, cache)
    moves.learn({pack.name for pack, _, _ in wanted} & condemned)
    return {pack.name for pack, first, count in wanted if not _is_there(pack, first, count, condemned, moves)}


def _is_there(pack: PackRef, first: int, count: int, condemned: frozenset[str], moves: MovedPacks) -> bool:
    if pack.name not in condemned:
        return True
    if moves.find(pack.name) is None:
        return False
    try:
        return all(target.name not in condemned for target, _, _ in moves.spans(pack, first, count))
    except IntegrityError:
        return False  # some of it was nobody's when the pack was taken apart
