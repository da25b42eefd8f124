"""Collections: what nothing refers to any more is found, looked at, and deleted."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from holdall._text import count_text, size_text
from holdall.store import InvalidNameError
from holdall_store.repository import ABANDON_AFTER, Collection, Collector, DeadPack, SilentLog

if TYPE_CHECKING:
    from holdall._client import Client

__all__ = ["CollectionPlan", "plan_collection"]

ABANDON_AFTER_MIN: Final = dt.timedelta(hours=1)
"""Clocks of two machines may differ by minutes; a run that is given up wrongly has to be begun again."""


class CollectionPlan:
    """What a collection would delete, as of when it was planned. Nothing happens before `apply`.

    Made by `Client.collect`. It is true if there is anything to do.
    """

    def __init__(self, client: Client, collector: Collector) -> None:
        self._client = client
        self._collector = collector
        self._plan = collector.plan()

    @property
    def delete(self) -> tuple[DeadPack, ...]:
        """Packs that nothing refers to, with ``name``, ``bytes`` and ``dead_bytes``."""
        return self._plan.delete

    @property
    def repack(self) -> tuple[DeadPack, ...]:
        """Packs of which a part is referred to: it is copied elsewhere before they are deleted."""
        return self._plan.repack

    @property
    def abandon(self) -> tuple[SilentLog, ...]:
        """Runs of which nothing was heard for long: they are given up and count as failed; what they saved stays."""
        return self._plan.abandon

    @property
    def bytes(self) -> int:
        """Bytes that are given back."""
        return self._plan.dead_bytes

    @property
    def packs(self) -> int:
        """How many packs the store has."""
        return self._plan.packs

    @property
    def bytes_before(self) -> int:
        """Bytes of all packs of the store."""
        return self._plan.bytes

    @property
    def bytes_left(self) -> int:
        """Dead bytes that stay, in packs of which little is dead: to copy the rest of them is not worth it."""
        return self._plan.left_bytes

    def apply(self) -> Collection:
        """Delete what the plan names, but for what was referred to since; return what was done.

        Any number of collections and saves may go on at the same time, and a collection that is interrupted is
        finished by the next one. What was damaged stays where it is, and is named in ``damaged``.
        """
        self._client.repository.refuse_offline()
        return self._collector.apply(self._plan)

    def __bool__(self) -> bool:
        return bool(self._plan)

    def __repr__(self) -> str:
        parts = [count_text(len(self.delete), "pack") + " to delete"] if self.delete else []
        parts += [count_text(len(self.repack), "pack") + " to take apart"] if self.repack else []
        parts += [count_text(len(self.abandon), "run") + " to give up"] if self.abandon else []
        parts += [count_text(len(self._plan.leftover), "pack") + " left over"] if self._plan.leftover else []
        what = ", ".join(parts) or "nothing to do"
        return f"CollectionPlan({what}; {size_text(self.bytes)} of {size_text(self.bytes_before)} given back)"


def plan_collection(client: Client, abandon_after: Any) -> CollectionPlan:
    """Return what there is to collect in the store of `client`."""
    after = ABANDON_AFTER if abandon_after is None else abandon_after
    if not isinstance(after, dt.timedelta) or after < ABANDON_AFTER_MIN:
        raise InvalidNameError(
            f"abandon_after is a datetime.timedelta of at least an hour, such as timedelta(days=7), not {after!r:.80}."
        )
    repository = client.repository
    repository.record()  # a store that is not there is no empty store
    repository.refuse_offline()
    return CollectionPlan(client, Collector(repository.storage, repository.clock, abandon_after=after))
