"""Stores in a bucket of the server of `_s3`, and a look at what lies there."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from holdall_store.storage._object import PROBE_NAME, ObjectStorage
from holdall_store.storage._object_config import make_config

if TYPE_CHECKING:
    from tests.storage._s3 import S3Server

KEYS: Final = {"key": "an-access-key", "secret": "a-secret-key"}
_numbers = itertools.count()


class Bucket:
    """The bucket of a server, in which every storage has a prefix of its own."""

    def __init__(self, server: S3Server, endpoint_url: str | None = None) -> None:
        self.server = server
        self.endpoint_url = endpoint_url or server.url
        server.buckets.setdefault("bucket", {})

    @property
    def options(self) -> dict[str, Any]:
        """What a client needs to reach the server."""
        return {**KEYS, "endpoint_url": self.endpoint_url, "region": "us-east-1"}

    def at(
        self, prefix: str, *, deadline: float = 20, request_timeout: float = 10, endpoint_url: str | None = None
    ) -> ObjectStorage:
        """Return a storage below `prefix`."""
        options = {**self.options, "endpoint_url": endpoint_url or self.endpoint_url}
        config = make_config(f"s3://bucket/{prefix}", options)
        return ObjectStorage(config, deadline=deadline, request_timeout=request_timeout)

    def empty(self, **options: Any) -> ObjectStorage:
        """Return a storage in which nothing lies yet."""
        return self.at(f"s{next(_numbers)}", **options)

    def holding(self, objects: Mapping[str, bytes]) -> ObjectStorage:
        """Return a storage in which `objects` lie."""
        storage = self.empty()
        prefix = storage.url.removeprefix("s3://bucket/") + "/"
        self.server.buckets["bucket"].update({prefix + key: data for key, data in objects.items()})
        return storage

    def objects(self, storage: ObjectStorage) -> dict[str, bytes]:
        """Return a copy of what lies in `storage`, by key, the probe left out."""
        prefix = storage.url.removeprefix("s3://bucket/") + "/"
        return {
            key.removeprefix(prefix): data
            for key, data in list(self.server.buckets["bucket"].items())
            if key.startswith(prefix) and not key.endswith(PROBE_NAME)
        }

    def replace(self, storage: ObjectStorage, objects: Mapping[str, bytes], gone: Collection[str] = ()) -> None:
        """Change what lies in `storage` behind everybody's back."""
        prefix = storage.url.removeprefix("s3://bucket/") + "/"
        everything = self.server.buckets["bucket"]
        everything.update({prefix + key: data for key, data in objects.items()})
        for key in gone:
            del everything[prefix + key]
