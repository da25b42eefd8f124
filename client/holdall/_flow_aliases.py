"""The aliases of one flow: what each means, who moved it, and the way back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from holdall._defaults import default_user
from holdall._text import time_text
from holdall_store.format import AliasRecord, check_name
from holdall_store.repository import parse_time

if TYPE_CHECKING:
    from holdall._flow import Flow
    from holdall._run import Run

__all__ = ["Alias", "AliasChange", "FlowAliases"]


class AliasChange(NamedTuple):
    """One change of an alias: `previous` and `run` are ids of runs, or ``None`` where it meant none."""

    when: dt.datetime
    who: str
    previous: str | None
    run: str | None
    note: str

    def __str__(self) -> str:
        note = f": {self.note}" if self.note else ""
        return f"{time_text(self.when, full=True)}  {self.who or '?'}  {self.previous or 'none'} -> {self.run or 'none'}{note}"


class Alias:
    """One alias of a flow, as it was when it was looked up."""

    _flow: Flow
    _record: AliasRecord

    def __init__(self, flow: Flow, record: AliasRecord) -> None:
        self._flow, self._record = flow, record
        self._seen = (
            record.slot
        )  # what was looked at last: who decides on the grounds of that is refused if it has changed

    @property
    def name(self) -> str:
        """Name of the alias."""
        return self._record.alias

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._record.flow

    @property
    def namespace(self) -> str:
        """The namespace that it and its run lie in."""
        return self._record.namespace

    @property
    def run_id(self) -> str:
        """Id of the run that it means."""
        return self._record.run

    @property
    def run(self) -> Run:
        """The run that it means."""
        return self._home()[self._record.run]

    @property
    def note(self) -> str:
        """Why it was set to this run."""
        return self._record.note

    @property
    def who(self) -> str:
        """Who set it to this run."""
        return self._record.who

    @property
    def changed_at(self) -> dt.datetime:
        """When it was set to this run."""
        return parse_time(self._record.time)

    @property
    def history(self) -> list[AliasChange]:
        """Every change since the alias was first set, oldest first, in the order in which they took effect."""
        records = self._flow.client.aliases.history(self.namespace, self.flow, self.name)
        self._seen = records[-1].slot if records else self._seen
        before: list[str | None] = [None, *(record.run or None for record in records)]
        return [
            AliasChange(parse_time(record.time), record.who, previous, record.run or None, record.note)
            for previous, record in zip(before, records, strict=False)
        ]

    def rollback(self, *, note: str = "") -> Run:
        """Let the alias mean the run that it meant before, and return that; each rollback goes one step further back.

        Raises `ConflictError` where there is nothing further back, or where somebody moved the alias since this was looked
        up, or its history was; `RunNotFoundError` where that run was deleted. The alias stays then where it is.
        """
        run, self._seen = self._flow.client.aliases.rollback(
            self.namespace, self.flow, self.name, seen=self._seen, note=note, who=_who(self._flow)
        )
        return run

    def remove(self, *, note: str = "") -> None:
        """Let the alias mean nothing any more; its history stays."""
        self._flow.client.aliases.remove(self.namespace, self.flow, self.name, note=note, who=_who(self._flow))

    def __repr__(self) -> str:
        return f"Alias({self.namespace}/{self.flow}:{self.name} -> {self.run_id})"

    def _home(self) -> Flow:
        return self._flow.client._beside(self.namespace)._flow_in(self.namespace, self.flow)


class FlowAliases(Mapping[str, Alias]):
    """The aliases of a flow by name, read anew at each look; those that were removed are not among them."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __getitem__(self, name: str) -> Alias:
        aliases, checked = self._flow.client.aliases, check_name(name, "alias")
        for namespace in self._flow.namespaces:
            record = aliases.newest(namespace, self._flow.name, checked)
            if record is not None and record.run:
                return Alias(self._flow, record)
        raise aliases.missing(self._flow, checked)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def values(self) -> list[Alias]:  # type: ignore[override]
        """Return the aliases, by name."""
        return list(self._all().values())

    def items(self) -> list[tuple[str, Alias]]:  # type: ignore[override]
        """Return pairs of name and alias, by name."""
        return list(self._all().items())

    def __repr__(self) -> str:
        meant = ", ".join(f"{name} -> {alias.run_id}" for name, alias in self._all().items())
        return f"FlowAliases({self._flow.name!r}: {meant or 'none'})"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _all(self) -> dict[str, Alias]:
        found: dict[str, Alias] = {}
        for namespace in self._flow.namespaces:
            for name, record in self._flow.client.aliases.current(namespace, self._flow.name).items():
                found.setdefault(name, Alias(self._flow, record))
        return dict(sorted(found.items()))


def _who(flow: Flow) -> str:
    return default_user(flow.client.settings)
