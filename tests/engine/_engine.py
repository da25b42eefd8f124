"""What tests of the engine share: a clock, stores, raw values, and ways to look inside."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from holdall_store.config import Compression, Settings
from holdall_store.format import PackTable, pack_key
from holdall_store.repository import Clock, Repository, RunWriter, StoredArtifact
from holdall_store.repository._index import read_table
from holdall_store.serializers import BufferSource, Encoded
from holdall_store.storage import LocalStorage, MemoryStorage, Storage
from holdall_store.testing import WrappedStorage

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class Ticking(Clock):
    """A clock that goes on by a second at each look, from an hour and with tokens that the seed gives."""

    def __init__(self, seed: int = 0) -> None:
        self._moment = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC) + dt.timedelta(hours=seed)
        self._random = random.Random(seed)

    def now(self) -> dt.datetime:
        """Return the next second."""
        self._moment += dt.timedelta(seconds=1)
        return self._moment

    def token(self, length: int) -> str:
        """Return the next token."""
        return "".join(self._random.choice(ALPHABET) for _ in range(length))


class Unmappable(WrappedStorage):
    """A storage that gives no maps, as a bucket does, with packs of `pack_bytes`."""

    def __init__(self, inner: Storage, pack_bytes: int) -> None:
        super().__init__(inner)
        self._pack_bytes = pack_bytes

    @property
    def traits(self) -> Any:
        return type(self.inner.traits)(pack_bytes=self._pack_bytes, mappable=False, private=True)

    def map(self, key: str) -> memoryview | None:
        self.inner.head(key)
        return None


def stretch(seed: int, size: int) -> bytes:
    """Return `size` bytes that nothing compresses, the same for the same seed."""
    return blake3(seed.to_bytes(8, "little")).digest(length=size)


def repository(storage: Storage, home: Path, *, seed: int = 0, compression: Compression = "auto") -> Repository:
    """Return the store in `storage`; its caches lie in `home`."""
    return Repository(storage, Settings(home=home, compression=compression), Ticking(seed))


def storages(folder: Path, pack_bytes: int = 1 << 20) -> dict[str, Storage]:
    """Return one storage of each kind, empty."""
    return {
        "local": LocalStorage(folder / "mapped"),
        "unmapped": Unmappable(LocalStorage(folder / "plain"), pack_bytes),
        "memory": MemoryStorage(pack_bytes=pack_bytes),
    }


def source(data: bytes, item_bytes: int = 1, *, dense: bool = False) -> BufferSource:
    """Return a buffer to save."""
    return BufferSource(memoryview(data), len(data), item_bytes, dense)


def value(*buffers: bytes | BufferSource, node: object = "raw") -> Encoded:
    """Return an encoded object of these buffers."""
    made = [part if isinstance(part, BufferSource) else source(part) for part in buffers]
    return Encoded(node, made, "test.Value")


def begin(store: Repository, flow: str = "flow", namespace: str = "user:ana", **options: Any) -> RunWriter:
    """Return the writer of a new run."""
    return store.begin_run(namespace, flow, params={}, info=dict, **options)


def save(
    store: Repository, objects: Mapping[str, Encoded], flow: str = "flow", namespace: str = "user:ana"
) -> dict[str, StoredArtifact]:
    """Save `objects` in a run of their own, and return what is recorded of them."""
    run = begin(store, flow, namespace)
    saved = run.save(objects, commit=True)
    run.end("succeeded")
    return saved


def read(store: Repository, artifact: StoredArtifact, *, verify: bool = True) -> list[bytes]:
    """Return the buffers of an artifact."""
    record, packs = artifact
    return [bytes(part) for part in store.reader.read(record.buffers, packs, verify=verify)]


def latest(store: Repository, flow: str = "flow", namespace: str = "user:ana") -> dict[str, list[bytes]]:
    """Return what the newest run holds, read as a new process reads it."""
    fresh = Repository(store.storage, store.settings)
    view = next(fresh.catalog.newest(namespace, flow))
    return {name: read(fresh, artifact) for name, artifact in view.artifacts.items()}


def keys(storage: Storage, prefix: str = "") -> list[str]:
    """Return the keys in a storage."""
    return [info.key for info in storage.list(prefix)]


def pack_bytes(storage: Storage) -> int:
    """Return the bytes in all packs."""
    return sum(info.size for info in storage.list("packs/"))


def chunks(storage: Storage, artifact: StoredArtifact) -> list[list[tuple[bytes, int]]]:
    """Return digest and size of each chunk of each buffer."""
    record, packs = artifact
    tables = [table_of(storage, ref.name) for ref in packs]
    return [
        [
            (entry.digest, entry.raw_bytes)
            for number, first, count in ref.spans
            for entry in tables[number].span(first, count)
        ]
        for ref in record.buffers
    ]


def table_of(storage: Storage, name: str) -> PackTable:
    """Return the table of a pack."""
    return read_table(storage, name, storage.head(pack_key(name)).size)[0]


def names_of(artifacts: Iterable[StoredArtifact]) -> set[str]:
    """Return the packs that artifacts refer to."""
    return {ref.name for artifact in artifacts for ref in artifact.packs}


def copy(storage: Storage, to: Storage, keys_: Sequence[str] | None = None) -> Storage:
    """Copy all objects, or those under `keys_`, and return where they are now."""
    for key in keys(storage) if keys_ is None else keys_:
        to.create(key, [storage.get(key)])
    return to
