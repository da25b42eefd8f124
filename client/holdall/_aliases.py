"""Aliases: names for runs that can be moved, with their history."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from holdall._messages import kind_of, listed
from holdall.store import AliasNotFoundError, ConflictError, HoldallError, InvalidNameError, RunNotFoundError, nearest
from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import (
    ALIASES_PREFIX,
    FORMAT_VERSION,
    AliasRecord,
    alias_prefix,
    check_name,
    escape_name,
    run_segment,
    slot_numbers,
    unescape_name,
)
from holdall_store.repository import Log
from holdall_store.transfer import run_ordered

if TYPE_CHECKING:
    from holdall._client import Client
    from holdall._flow import Flow
    from holdall._run import Run

__all__ = ["Aliases"]

RESERVED: Final = frozenset(("latest",))
"""``:latest`` always means what no alias at all means: the newest successful run."""


NOTE_CHARACTERS_MAX: Final = 1000
"""A note is a sentence of a history; what is longer belongs into an artifact."""


def check_note(note: object) -> str:
    """Return `note` if it can stand in a history."""
    if not isinstance(note, str):
        raise InvalidNameError(f"A note is a string that says why, not {kind_of(note)}.")
    if len(note) > NOTE_CHARACTERS_MAX:
        raise InvalidNameError(f"A note has at most {NOTE_CHARACTERS_MAX} characters; this one has {len(note)}.")
    return note.encode("utf-8", "replace").decode()


def _ignore(taken: AliasRecord) -> None:
    """Let another's change stand in the history: ours comes after it, and is the one that holds."""


def _give_way(taken: AliasRecord) -> None:
    """Refuse to go on: what was decided on the grounds of the history is wrong where that has grown."""
    whither = f"to {taken.run}" if taken.run else "away"
    raise ConflictError(
        f"The alias {taken.alias!r} of flow {taken.flow!r} was moved {whither} by {taken.who or 'somebody'} meanwhile. Look "
        "at its history, then decide again."
    )


class Aliases:
    """The aliases that a client sees. Each is a log: a change is a new record, so nothing of its history is lost."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def set(self, run: Run, alias: str, *, note: str = "", who: str = "") -> None:
        """Point `alias` at `run`, in the run's namespace and flow."""
        name, note = check_alias(alias), check_note(note)
        self._client.repository.refuse_offline()
        log = Log(self._client.repository.storage, alias_prefix(run.namespace, run.flow, name), AliasRecord)
        slots = log.slots()

        def make(slot: int) -> AliasRecord:
            return self._record(run.namespace, run.flow, name, slot, run.id, note, who)

        log.append(len(slots), make, _ignore)

    def remove(self, namespace: str, flow: str, alias: str, *, note: str = "", who: str = "") -> None:
        """Let `alias` mean nothing any more; its history stays. Raises `AliasNotFoundError` where it means nothing now."""
        history = self._known(namespace, flow, alias)
        self._after(history, "", None, check_note(note), who)

    def rollback(
        self, namespace: str, flow: str, alias: str, *, seen: int, note: str = "", who: str = ""
    ) -> tuple[Run, int]:
        """Let `alias` mean what it meant before; return that run, and the slot of the record that says so.

        Each rollback goes one step further back than the one before it. Raises `ConflictError` where there is nothing
        further back, or where somebody moved the alias after the slot that was `seen`, and `RunNotFoundError` where the run
        is not there any more; then the alias stays as it is.
        """
        history = self._known(namespace, flow, alias)
        if history[-1].slot != seen:
            _give_way(history[-1])
        slot = previous_slot(history)
        if slot is None:
            raise ConflictError(
                f"The alias {alias!r} of flow {flow!r} meant no other run before {history[-1].run}: there is nothing to go "
                "back to."
            )
        target, now = history[slot].run, history[-1].run
        try:
            run = self._client._beside(namespace)._flow_in(namespace, flow)[target]
        except RunNotFoundError as error:
            raise RunNotFoundError(
                f"The alias {alias!r} of flow {flow!r} still means {now}, because what it meant before is not there: {error} "
                f"Or let it mean another run: holdall.alias('{namespace}/{flow}@<run>', {alias!r})."
            ) from None
        return run, self._after(history, target, slot, check_note(note), who)

    def history(self, namespace: str, flow: str, alias: str) -> list[AliasRecord]:
        """Return every record of an alias, oldest first."""
        flow, alias = check_name(flow, "flow"), check_name(alias, "alias")
        log = self._client.repository.log(alias_prefix(namespace, flow, alias), AliasRecord)
        slots = log.slots() if self._client.repository.offline is None else log.kept_slots()
        records = self._read_all([(namespace, flow, alias, number) for number in slots])
        return list(records)

    def current(self, namespace: str, flow: str) -> dict[str, AliasRecord]:
        """Return the last record of every alias of a flow that points at a run, by name: one listing, and a read for each."""
        prefix = f"{ALIASES_PREFIX}{escape_name(namespace)}/{escape_name(flow)}/"
        listing = self._client.repository.storage.list(prefix)
        last: list[tuple[str, str, str, int]] = []
        for segment, infos in itertools.groupby(listing, key=lambda info: info.key[len(prefix) :].partition("/")[0]):
            try:
                name = unescape_name(segment)
            except FormatError:
                continue
            slots = slot_numbers(f"{prefix}{segment}/", [info.key for info in infos])
            if slots:
                last.append((namespace, flow, name, slots[-1]))
        return {record.alias: record for record in self._read_all(last) if record.run}

    def names(self, namespace: str, flow: str) -> list[str]:
        """Return the names of the aliases of a flow."""
        names = []
        prefix = f"{ALIASES_PREFIX}{escape_name(namespace)}/{escape_name(flow)}/"
        for segment in self._client.repository.storage.list_folders(prefix):
            try:
                names.append(unescape_name(segment))
            except FormatError:
                continue
        return sorted(names)

    def resolve(self, flow: Flow, alias: str) -> Run:
        """Return the run that `alias` of `flow` points at; raise `AliasNotFoundError` with the nearest name."""
        alias = check_name(alias, "alias")
        if alias in RESERVED:
            return flow.latest_successful_run
        for namespace in flow.namespaces:
            newest = self.newest(namespace, flow.name, alias)
            if newest is not None and newest.run:
                return self._client._beside(namespace)._flow_in(namespace, flow.name)[newest.run]
        raise self.missing(flow, alias)

    def newest(self, namespace: str, flow: str, alias: str) -> AliasRecord | None:
        """Return the last record of an alias; it points at no run where the alias was removed."""
        log = self._client.repository.log(alias_prefix(namespace, flow, alias), AliasRecord)
        slots = log.slots() if self._client.repository.offline is None else log.kept_slots()
        return _checked(log.read(slots[-1]), namespace, flow, alias) if slots else None

    def missing(self, flow: Flow, alias: str) -> HoldallError:
        """Return the error for an alias that means no run."""
        known = [name for namespace in flow.namespaces for name in self.names(namespace, flow.name)]
        if alias in known:
            removed = next(filter(None, (self.newest(space, flow.name, alias) for space in flow.namespaces)), None)
            why = "its records are gone" if removed is None else f"{removed.who or 'somebody'} removed it"
            return AliasNotFoundError(
                f"The alias {alias!r} of flow {flow.name!r} points at no run: {why} ({self._client.url}). "
                "Set it again: holdall.alias(reference, name)."
            )
        elsewhere = self._elsewhere(flow, alias)
        has = (
            elsewhere or f" It has: {listed(known)}."
            if known or elsewhere
            else " It has none: holdall.alias(reference, name) makes one."
        )
        return self._client._unless_offline(
            AliasNotFoundError(
                f"Flow {flow.name!r} has no alias {alias!r} ({self._client.url}).{nearest(alias, known)}{has}"
            )
        )

    def _elsewhere(self, flow: Flow, alias: str) -> str:
        """Return where else an alias is that is not here, and how to get there."""
        if self._client.repository.offline is not None:
            return ""
        for space in self._client.repository.catalog.namespaces():
            newest = self.newest(space, flow.name, alias) if space not in flow.namespaces else None
            if newest is not None and newest.run:
                return f" There is one in {space!r}: '{space}/{flow.name}:{alias}' as the reference."
        return ""

    def _known(self, namespace: str, flow: str, alias: str) -> list[AliasRecord]:
        """Return the history of an alias that points at a run; `AliasNotFoundError` where it does not."""
        self._client.repository.refuse_offline()
        history = self.history(namespace, flow, alias)
        if not history or not history[-1].run:
            raise self.missing(self._client._beside(namespace)._flow_in(namespace, flow), check_name(alias, "alias"))
        return history

    def _after(self, history: Sequence[AliasRecord], run: str, back_to: int | None, note: str, who: str) -> int:
        """Append a record to a history that is as it was read, and return its slot."""
        last = history[-1]
        log = Log(self._client.repository.storage, alias_prefix(last.namespace, last.flow, last.alias), AliasRecord)

        def make(slot: int) -> AliasRecord:
            return self._record(last.namespace, last.flow, last.alias, slot, run, note, who, back_to)

        return log.append(last.slot + 1, make, _give_way)

    def _record(
        self,
        namespace: str,
        flow: str,
        alias: str,
        slot: int,
        run: str,
        note: str,
        who: str,
        back_to: int | None = None,
    ) -> AliasRecord:
        if run:
            run_segment(run)
        clock = self._client.repository.clock
        return AliasRecord(
            holdall=FORMAT_VERSION,
            log="alias",
            event="set",
            slot=slot,
            write_id=clock.token(16),
            time=clock.now().isoformat(timespec="microseconds"),
            namespace=namespace,
            flow=flow,
            alias=alias,
            run=run,
            who=who,
            note=note,
            back_to=back_to,
        )

    def _read_all(self, wanted: Sequence[tuple[str, str, str, int]]) -> Iterator[AliasRecord]:
        """Yield records of aliases, by namespace, flow, alias and slot: several are read at once where that pays."""
        repository = self._client.repository

        def read(place: tuple[str, str, str, int]) -> Iterator[tuple[AliasRecord, int]]:
            namespace, flow, alias, slot = place
            log = repository.log(alias_prefix(namespace, flow, alias), AliasRecord)
            yield _checked(log.read(slot), namespace, flow, alias), 0

        threads = min(repository.storage.traits.concurrency, len(wanted))
        return run_ordered(wanted, read, bytes_max=1, threads=threads)


def previous_slot(history: Sequence[AliasRecord]) -> int | None:
    """Return the slot of the record whose target a rollback restores; ``None`` where there is nothing further back."""
    record = history[-1]
    while record.back_to is not None and 0 <= record.back_to < record.slot:
        record = history[record.back_to]
    now = history[-1].run
    for earlier in reversed(history[: record.slot]):
        if earlier.run and earlier.run != now:
            return earlier.slot
    return None


def check_alias(name: object) -> str:
    """Return `name` if an alias can be set under it."""
    checked = check_name(name, "alias")
    if checked in RESERVED:
        raise ConflictError(f"{checked!r} always means the newest successful run; choose another name.")
    return checked


def _checked(record: AliasRecord, namespace: str, flow: str, alias: str) -> AliasRecord:
    """Return `record` if it is one of this alias: it may be whole, and another's."""
    if (record.namespace, record.flow, record.alias) != (namespace, flow, alias):
        raise IntegrityError(
            f"The alias {namespace}/{flow}:{alias} holds a record of {record.namespace}/{record.flow}:{record.alias}: "
            "it was moved there."
        )
    return record
