"""The write-once log: a numbered list of records in which appending is creating the next slot."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from holdall_store.errors import AlreadyExistsError, IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.format import LogHead, own_slots, seal, slot_key, unseal
from holdall_store.storage import Storage

__all__ = ["CREATE_TRIES", "Log", "answer_was_lost"]

_Record = TypeVar("_Record", bound=LogHead)

CREATE_TRIES: Final = 3
"""How often a create is tried that failed, or was refused, while the object is not there."""

_LOST: Final = frozenset(
    (None, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EPIPE, errno.ENETRESET, errno.EHOSTUNREACH)
)


def answer_was_lost(error: StorageError) -> bool:
    """Tell whether a failed request may have taken effect all the same: the network failed, not the disk."""
    return error.errno in _LOST


class Log(Generic[_Record]):
    """The log at `prefix`, of records of type `kind`.

    Two writers who want the same slot: one gets it, the other learns. Nothing else is promised, and nothing else is
    needed: whoever lost reads what is there and takes the next slot.
    """

    def __init__(self, storage: Storage, prefix: str, kind: type[_Record]) -> None:
        self.storage = storage
        self.prefix = prefix
        self._kind = kind

    def slots(self, after: int = -1) -> list[int]:
        """Return the numbers of the slots that are taken, in order, from the one after `after` on.

        Raises `IntegrityError` where one is missing between others: a listing that is not whole is no basis for
        anything.
        """
        start = slot_key(self.prefix, after) if after >= 0 else ""
        numbers, _ = own_slots(self.prefix, (info.key for info in self.storage.list(self.prefix, start)))
        for expected, number in enumerate(numbers, start=after + 1):
            if number != expected:
                raise IntegrityError(f"The log {self.prefix} lacks slot {expected}, though slot {number} is there.")
        return numbers

    def read(self, number: int) -> _Record:
        """Return the record in a slot, verified; it must be the one of this log and this slot."""
        key = slot_key(self.prefix, number)
        record = unseal(self.storage.get(key), self._kind, key)
        if record.slot != number:
            raise IntegrityError(f"{key} holds the record of slot {record.slot}.")
        return record

    def read_all(self, after: int = -1) -> list[_Record]:
        """Return all records from the one after `after` on."""
        return [self.read(number) for number in self.slots(after)]

    def create(self, number: int, record: _Record) -> bool:
        """Create slot `number`; return whether it is ours, rather than another writer's.

        A lost answer looks like "already there", or like a failed request: the slot is read back, and it is ours if
        the write id in it is ours.
        """
        key = slot_key(self.prefix, number)
        data = seal(record)
        for trial in range(1, CREATE_TRIES + 1):
            try:
                self.storage.create(key, (data,))
            except (AlreadyExistsError, StorageError) as error:
                if isinstance(error, StorageError) and not answer_was_lost(error):
                    raise
                try:
                    return self.read(number).write_id == record.write_id
                except ObjectNotFoundError:
                    # Nothing landed: the request was lost, or "already there" was a conflict that all sides lost.
                    if trial == CREATE_TRIES:
                        raise error from None
            else:
                return True
        raise AssertionError("a loop that always returns or raises ended")

    def append(self, first: int, make: Callable[[int], _Record], on_taken: Callable[[_Record], None]) -> int:
        """Create the next free slot, `first` or after it, with the record that ``make(number)`` returns; return its number.

        When a slot turns out to be taken, its record and those of all slots after it go to `on_taken`, in order, which
        may raise to give up; `make` is called again afterwards. In this order: what a writer must look at before it
        commits is looked at after the slot was learnt.
        """
        number = first
        while True:
            record = make(number)
            if self.create(number, record):
                return number
            # The slot itself is read, not looked for: a listing that is late must not make us try it forever.
            on_taken(self.read(number))
            number += 1
            for taken in self.slots(number - 1):
                on_taken(self.read(taken))
                number = taken + 1
