"""Creating a pack where the answer may be lost: what is there tells whether it is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdall_store.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError, StorageError
from holdall_store.format import PackRef, pack_key
from holdall_store.repository._index import read_table
from holdall_store.repository._log import answer_was_lost
from holdall_store.storage import Storage

__all__ = ["create_pack"]


def create_pack(
    storage: Storage, name: str, parts: Iterable[bytes | memoryview], ref: Callable[[], PackRef | None]
) -> None:
    """Create the pack `name` of `parts`; `ref` says how a record refers to it, once all parts were taken.

    Raises `ConflictError` where another pack has its name, and what the storage said where there is none.
    """
    key = pack_key(name)
    try:
        storage.create(key, parts)
    except (AlreadyExistsError, StorageError) as error:
        # Either may be said of a try that took effect; what is there tells.
        if isinstance(error, StorageError) and not answer_was_lost(error):
            raise
        try:
            size = storage.head(key).size
        except ObjectNotFoundError:
            raise error from None
        if read_table(storage, name, size)[1] != ref():
            raise ConflictError(f"{key} exists already, with other content. Its name should be unique.") from None
