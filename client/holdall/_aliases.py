"""Aliases: names for runs that can be moved, with their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdall._messages import listed
from holdall.store import AliasNotFoundError, ConflictError, nearest
from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format import (
    ALIASES_PREFIX,
    FORMAT_VERSION,
    AliasRecord,
    alias_prefix,
    check_name,
    escape_name,
    unescape_name,
)
from holdall_store.repository import Log

if TYPE_CHECKING:
    from holdall._client import Client
    from holdall._flow import Flow
    from holdall._run import Run

__all__ = ["Aliases"]

RESERVED: Final = frozenset(("latest",))
"""``:latest`` always means what no alias at all means: the newest successful run."""


def _ignore(taken: AliasRecord) -> None:
    """Let another's change stand in the history: ours comes after it, and is the one that holds."""


class Aliases:
    """The aliases that a client sees. Each is a log: a change is a new record, so nothing of its history is lost."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def set(self, run: Run, alias: str, *, note: str = "", who: str = "") -> None:
        """Point `alias` at `run`, in the run's namespace and flow."""
        name = check_name(alias, "alias")
        if name in RESERVED:
            raise ConflictError(f"{name!r} always means the newest successful run; choose another name.")
        repository = self._client.repository
        log = Log(repository.storage, alias_prefix(run.namespace, run.flow, name), AliasRecord)
        slots = log.slots()

        def make(slot: int) -> AliasRecord:
            return AliasRecord(
                holdall=FORMAT_VERSION,
                log="alias",
                event="set",
                slot=slot,
                write_id=repository.clock.token(16),
                time=repository.clock.now().isoformat(timespec="microseconds"),
                namespace=run.namespace,
                flow=run.flow,
                alias=name,
                run=run.id,
                who=who,
                note=note,
            )

        log.append(len(slots), make, _ignore)

    def history(self, namespace: str, flow: str, alias: str) -> list[AliasRecord]:
        """Return every record of an alias, oldest first."""
        flow, alias = check_name(flow, "flow"), check_name(alias, "alias")
        log = self._client.repository.log(alias_prefix(namespace, flow, alias), AliasRecord)
        slots = log.slots() if self._client.repository.offline is None else log.kept_slots()
        return [_checked(log.read(number), namespace, flow, alias) for number in slots]

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
            log = self._client.repository.log(alias_prefix(namespace, flow.name, alias), AliasRecord)
            slots = log.slots() if self._client.repository.offline is None else log.kept_slots()
            newest = _checked(log.read(slots[-1]), namespace, flow.name, alias) if slots else None
            if newest is not None and newest.run:
                return self._client._beside(namespace)._flow_in(namespace, flow.name)[newest.run]
        known = [name for namespace in flow.namespaces for name in self.names(namespace, flow.name)]
        if alias in known:
            raise AliasNotFoundError(
                f"The alias {alias!r} of flow {flow.name!r} points at no run: its records are gone ({self._client.url}). "
                "Set it again: holdall.alias(reference, name)."
            )
        has = f" It has: {listed(known)}." if known else " It has none: holdall.alias(reference, name) makes one."
        raise self._client._unless_offline(
            AliasNotFoundError(
                f"Flow {flow.name!r} has no alias {alias!r} ({self._client.url}).{nearest(alias, known)}{has}"
            )
        )


def _checked(record: AliasRecord, namespace: str, flow: str, alias: str) -> AliasRecord:
    """Return `record` if it is one of this alias: it may be whole, and another's."""
    if (record.namespace, record.flow, record.alias) != (namespace, flow, alias):
        raise IntegrityError(
            f"The alias {namespace}/{flow}:{alias} holds a record of {record.namespace}/{record.flow}:{record.alias}: "
            "it was moved there."
        )
    return record
