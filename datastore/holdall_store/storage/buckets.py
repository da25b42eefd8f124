"""What the storage in buckets shares with bulk transfer: where a bucket is, who asks, and what its answers mean."""

from __future__ import annotations

from holdall_store.storage._contract import Storage
from holdall_store.storage._object import ObjectStorage
from holdall_store.storage._object_config import SCHEMES, ObjectConfig, make_config
from holdall_store.storage._object_errors import Answer, explain, read_reply
from holdall_store.storage._object_library import chained_credentials, configured_region

__all__ = [
    "SCHEMES",
    "Answer",
    "ObjectConfig",
    "ObjectStorage",
    "bucket_of",
    "chained_credentials",
    "configured_region",
    "explain",
    "make_config",
    "read_reply",
]


def bucket_of(storage: Storage) -> ObjectConfig | None:
    """Return where the objects of a storage lie, if that is S3 or what speaks like it."""
    if isinstance(storage, ObjectStorage) and storage.config.kind == "s3":
        return storage.config
    return None
