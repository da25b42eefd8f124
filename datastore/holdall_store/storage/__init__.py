"""Where bytes live: one small contract, and the storages that keep it."""

from __future__ import annotations

from holdall_store.storage._contract import Buffer, ObjectInfo, Storage, StorageTraits
from holdall_store.storage._durable import make_folder
from holdall_store.storage._keys import check_key, check_prefix
from holdall_store.storage._local import LocalStorage
from holdall_store.storage._memory import MemoryStorage
from holdall_store.storage._open import open_storage, without_secrets

__all__ = [
    "Buffer",
    "LocalStorage",
    "MemoryStorage",
    "ObjectInfo",
    "Storage",
    "StorageTraits",
    "check_key",
    "check_prefix",
    "make_folder",
    "open_storage",
    "without_secrets",
]
