"""What the storage in buckets shares with bulk transfer: where a bucket is, who asks, and what its answers mean."""

from __future__ import annotations

from holdall_store.storage._object_config import ObjectConfig, make_config
from holdall_store.storage._object_errors import Answer, explain, read_reply
from holdall_store.storage._object_library import chained_credentials, configured_region

__all__ = [
    "Answer",
    "ObjectConfig",
    "chained_credentials",
    "configured_region",
    "explain",
    "make_config",
    "read_reply",
]
