"""A store: the parts put together, in one place."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from holdall_store.config import Settings, logger, read_settings
from holdall_store.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    IntegrityError,
    ObjectNotFoundError,
    StorageError,
    StoreNotFoundError,
    UnsafeLoadError,
)
from holdall_store.format import (
    FORMAT_VERSION,
    STORE_KEY,
    LogHead,
    OriginInfo,
    StoreRecord,
    make_run_id,
    own_slots,
    pack_key,
    seal,
    slot_key,
    unseal,
)
from holdall_store.repository._artifacts import StoredArtifact, load_node
from holdall_store.repository._cache import make_cache
from holdall_store.repository._cache_buffers import CacheDamagedError, CachedBuffers
from holdall_store.repository._cached_log import CachedLog
from holdall_store.repository._catalog import Catalog
from holdall_store.repository._clock import Clock, SystemClock
from holdall_store.repository._gclog import MovedPacks
from holdall_store.repository._log import CREATE_TRIES, answer_was_lost
from holdall_store.repository._offline import OfflineStorage
from holdall_store.repository._reader import BufferReader, Pending, lost
from holdall_store.repository._run_head import RunHead
from holdall_store.repository._run_writer import RunWriter
from holdall_store.repository._tags import TagLogs
from holdall_store.repository._views import RunView
from holdall_store.storage import Storage

if TYPE_CHECKING:
    import msgspec

    from holdall_store.repository._index import ChunkIndex
    from holdall_store.repository._run_index import RunIndex
    from holdall_store.repository._search import RunSearch

__all__ = ["Repository"]

_PARENTS: Final[list[ChunkIndex | RunIndex]] = []
"""Connections of the process that this one was forked from: SQLite forbids even to close them here."""

RATIO_MAX_LOCAL = 1 / 32
"""Disks are faster than zstd: only what all but vanishes (zeros, constants) is compressed; the rest can be mapped."""

RATIO_MAX_REMOTE = 0.8
"""Networks are slower than zstd: a fifth saved is time saved."""

TABLE_TAGS: Final = ("pandas.", "pyarrow.", "polars.")

RATIO_MAX_SMALL = 0.95
"""Where every byte counts."""

MOVED_TRIES: Final = 5
"""Each try needs a collection that took a pack apart since the last one."""

DAMAGED_TRIES: Final = 2
"""A cache whose files are damaged again as soon as they are written lies on a broken disk: then it is left alone."""

_Record = TypeVar("_Record", bound=LogHead)
_Result = TypeVar("_Result")


class Repository:
    """One store of artifacts, in one storage.

    `trusted` says that pickles from it may be loaded: it is the user's own, or the settings say so.

    What is read of a remote storage is kept in the local cache. With ``settings.offline`` a remote storage is asked for
    nothing: what is not in the cache is `OfflineError`.
    """

    def __init__(self, storage: Storage, settings: Settings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or read_settings()
        self.clock = clock or SystemClock()
        self.cache = make_cache(storage, self.settings)
        offline = self.settings.offline and self.cache is not None
        self.storage = OfflineStorage(storage, self.cache) if offline and self.cache is not None else storage
        self.catalog = Catalog(self.storage, self.cache, offline=offline)
        self.tags = TagLogs(self.storage, self.cache, self.clock, offline=offline)
        self._make_readers()
        self._record: StoreRecord | None = None
        self._index: ChunkIndex | None = None
        self._runs: RunIndex | None = None
        self._lock = threading.Lock()
        self._record_lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """Where the store is, for people."""
        return self.storage.url

    @property
    def trusted(self) -> bool:
        """Whether what lies here may run code when it is loaded."""
        return self.settings.trust or self.storage.traits.private

    def exists(self) -> bool:
        """Tell whether there is a store."""
        try:
            self.record()
        except StoreNotFoundError:
            return False
        return True

    def record(self) -> StoreRecord:
        """Return what the store says of itself; `StoreNotFoundError` where there is none."""
        if self._record is not None:
            return self._record
        self._renew_after_fork()
        with self._record_lock:  # so that who comes while it is being read does not read it, too
            if self._record is None:
                self._record = self._read_record()
            return self._record

    def _read_record(self) -> StoreRecord:
        try:
            raw = self.storage.get(STORE_KEY)
        except ObjectNotFoundError:
            raise StoreNotFoundError(
                f"There is no store at {self.url} yet. The first save makes one: holdall.save(value, 'name')."
            ) from None
        return unseal(raw, StoreRecord, STORE_KEY)

    def create(self) -> StoreRecord:
        """Make the store if there is none, and return what it says of itself."""
        self.refuse_offline()
        try:
            return self.record()
        except StoreNotFoundError:
            record = StoreRecord(
                holdall=FORMAT_VERSION,
                store=self.clock.token(26),
                created=self.clock.now().isoformat(timespec="seconds"),
            )
        for trial in range(1, CREATE_TRIES + 1):
            try:
                self.storage.create(STORE_KEY, (seal(record),))
            except AccessDeniedError as error:
                told = f"{error.strerror or error} To keep the store elsewhere, set HOLDALL_STORE to a folder or a URL."
                raise AccessDeniedError(*error.args[:-1], told) from error
            except (AlreadyExistsError, StorageError) as error:
                if isinstance(error, StorageError) and not answer_was_lost(error):
                    raise
                # Another process was first, or the answer to our own try was lost: either will do, if it is there.
                try:
                    return self.record()
                except StoreNotFoundError:
                    if trial == CREATE_TRIES:
                        raise error from None
            else:
                self._record = record
                return record
        raise AssertionError("a loop that always returns or raises ended")

    def begin_run(
        self,
        namespace: str,
        flow: str,
        *,
        params: Mapping[str, msgspec.Raw],
        tags: Sequence[str] = (),
        info: Callable[[], Mapping[str, Any]],
        single_saves: bool = False,
        origin: OriginInfo | None = None,
    ) -> RunWriter:
        """Return the writer of a new run. Nothing is written before there is something to write.

        Where requests take their time, the first ones are made ready while the caller computes.
        """
        self.refuse_offline()
        if self.storage.traits.concurrency and self._record is None:
            threading.Thread(target=self._prepare, name="holdall-prepare", daemon=True).start()
        started = self.clock.now()
        head = RunHead(
            namespace=namespace,
            flow=flow,
            run=make_run_id(started, self.clock.token(6)),
            started=started.isoformat(timespec="microseconds"),
            params=dict(params),
            tags=tuple(tags),
            commit_status="succeeded" if single_saves else "running",
            origin=origin,
        )
        return self.begin(head, info)

    def begin(
        self, head: RunHead, info: Callable[[], Mapping[str, Any]], create: Callable[[], object] | None = None
    ) -> RunWriter:
        """Return the writer of a run or a task. `create` makes the store, and the run of a task, known before its first record."""
        self.refuse_offline()
        make = create or self.create
        return RunWriter(
            self.storage, self.index, head, clock=self.clock, ratio_max=self._ratio_max(), info=info, create=make
        )

    def promote(self, view: RunView, namespace: str, *, who: str = "", note: str = "") -> RunView:
        """Make a run that has ended a new run of another namespace, by reference, and return that."""
        from holdall_store.repository._promotion import promote

        self.refuse_offline()
        return promote(self.storage, self.clock, view, namespace, who=who, note=note)

    def refuse_offline(self) -> None:
        """Raise `OfflineError` where nothing may be asked of the storage: something was to be written."""
        if isinstance(self.storage, OfflineStorage):
            self.storage.refuse_to_write()

    def _prepare(self) -> None:
        try:
            self.storage.prepare()
            self.record()
        except Exception as error:  # noqa: BLE001 - it comes again, where somebody waits for an answer
            logger().debug("The store is not ready yet: %s", error)

    @property
    def reader(self) -> BufferReader:
        """What reads buffers."""
        self._renew_after_fork()
        return self._reader

    @property
    def offline(self) -> OfflineStorage | None:
        """What stands for the storage where it is asked for nothing."""
        return self.storage if isinstance(self.storage, OfflineStorage) else None

    def log(self, prefix: str, kind: type[_Record]) -> CachedLog[_Record]:
        """Return a log for reading: records that were read before are not fetched again."""
        return CachedLog(self.storage, prefix, kind, self.cache)

    def search(self) -> RunSearch:
        """Return what finds runs among many; it remembers what they say, on this disk, once they have ended."""
        self._renew_after_fork()
        with self._lock:
            if self._runs is None:
                from holdall_store.repository._run_index import RunIndex, index_path

                store = None if self.offline else self.record().store
                self._runs = RunIndex(index_path(self.settings.cache_folder() / "runs", self.url, store))
        from holdall_store.repository._search import RunSearch

        return RunSearch(self.storage, self.catalog, self.tags, self._runs)

    def index(self) -> ChunkIndex:
        """Return the index of chunks, opened when it is first asked for."""
        self._renew_after_fork()
        with self._lock:
            if self._index is None:
                from holdall_store.repository._index import ChunkIndex

                self._index = ChunkIndex(self._index_path())
            return self._index

    def load(
        self,
        artifact: StoredArtifact,
        *,
        trust: bool | None = None,
        verify: bool = True,
        columns: Sequence[str] | None = None,
        key: str | int | None = None,
        log: str = "",
    ) -> Any:
        """Return the object that was saved, or its part under `key` where it is a dict or a list.

        `trust` allows (or forbids) the running of stored code for this call. ``None`` leaves it to `trusted`, and to
        whether nobody else can have written the packs or the log of the run, whose prefix is `log`. With
        `columns`, only those columns of a table are read. Raises `UnsafeLoadError` before a byte is fetched.
        """
        try:
            return self._load(artifact, trust, verify, columns, key, log)
        except UnsafeLoadError as error:
            lost = self._lost_pack(artifact) if trust is None and self.trusted else None
            raise (lost or error) from None

    def _load(
        self,
        artifact: StoredArtifact,
        trust: bool | None,
        verify: bool,
        columns: Sequence[str] | None,
        key: str | int | None,
        log: str,
    ) -> Any:
        record = artifact.record
        allowed: bool | Callable[[], bool] = trust if trust is not None else lambda: self._may_run(artifact, log)
        if record.runs_code:  # of anything else it is seldom asked, and to find out takes longer than a small value
            allowed = allowed() if callable(allowed) else allowed
        if record.runs_code and not allowed and key is None:
            raise UnsafeLoadError(
                f"This {record.type} was saved with pickle, and loading it can run any code that its writer chose. "
                f"Others may have written it: the store {self.url}, or a folder or file in it, is not yours alone. If you trust whoever writes there: load(..., trust=True), or "
                "HOLDALL_TRUST=1."
            )

        for _ in range(DAMAGED_TRIES):
            try:
                return self._decode(artifact, allowed, verify, columns, key)
            except CacheDamagedError as error:
                logger().debug("Loaded again: %s", error)
        self._make_readers(use_cache=False)
        return self._decode(artifact, allowed, verify, columns, key)

    def _decode(
        self,
        artifact: StoredArtifact,
        allowed: bool | Callable[[], bool],
        verify: bool,
        columns: Sequence[str] | None,
        key: str | int | None,
    ) -> Any:
        """Return the object of an artifact, or a part of it; `allowed` says whether it may run code."""
        node = self.node(artifact)
        if key is not None:
            from holdall_store.serializers import child

            node = child(node, key)
        # Tables are built from their columns while these are still being verified: their serializers bear any bytes, and
        # write into none. What runs code sees verified bytes alone.
        tag = node.get("$", "") if isinstance(node, dict) else ""
        pending: list[Pending] | None = [] if verify and str(tag).startswith(TABLE_TAGS) else None
        try:
            ahead = {} if pending is None else self._read_ahead(artifact, node, columns, pending)

            def fetch(numbers: Sequence[int]) -> list[memoryview]:
                absent = [number for number in numbers if number not in ahead]
                read = self.read_buffers(artifact, absent, verify=verify, pending=pending) if absent else []
                found = ahead | dict(zip(absent, read, strict=True))
                for number in numbers:
                    ahead.pop(number, None)
                return [found[number] for number in numbers]

            from holdall_store.serializers import decode

            loaded = decode(node, fetch, trust=allowed, columns=columns, libraries=artifact.record.libraries)
        finally:
            for check in pending or ():
                check.wait()  # its failure is the cause of any other
        return loaded

    def _read_ahead(
        self, artifact: StoredArtifact, node: Any, columns: Sequence[str] | None, pending: list[Pending]
    ) -> dict[int, memoryview]:
        """Begin to verify what a table will ask for while its library is imported, where nothing has to be fetched."""
        if self._cached is not None or not self.storage.traits.mappable:
            return {}
        from holdall_store.serializers import buffers_ahead

        count = len(artifact.record.buffers)
        numbers = [number for number in buffers_ahead(node, columns) if number < count]
        return dict(zip(numbers, self.read_buffers(artifact, numbers, pending=pending), strict=True))

    def _may_run(self, artifact: StoredArtifact, log: str) -> bool:
        # Whatever the record says of itself: it may lie about needing trust.
        if self.settings.trust or not self.trusted:
            return self.trusted
        # Of the log alone: what tasks wrote, whose logs lie below that of a run, stands in other records.
        slots = own_slots(log, (info.key for info in self.storage.list(log)))[0] if log else []
        return all(self.storage.private(slot_key(log, slot)) for slot in slots) and self._are_private(artifact)

    def _are_private(self, artifact: StoredArtifact) -> bool:
        """Tell whether nobody else can have written the packs of an artifact, those of a collection included."""
        return all(map(self.storage.private, self._pack_keys(artifact))) or (
            self._moved.learn(self._pack_names(artifact)) and self._are_private(artifact)
        )

    def _lost_pack(self, artifact: StoredArtifact) -> ObjectNotFoundError | None:
        """Return the error for a pack that is gone: whoever owned it, that is no question of trust."""
        for key in self._pack_keys(artifact):
            try:
                self.storage.head(key)
            except ObjectNotFoundError as error:
                return lost(error)
        return None

    def node(self, artifact: StoredArtifact) -> Any:
        """Return the JSON node of an artifact."""
        record = artifact.record
        return load_node(record, lambda: self.read_buffers(artifact, [len(record.buffers) - 1])[0])

    def read_buffers(
        self,
        artifact: StoredArtifact,
        numbers: Sequence[int],
        *,
        verify: bool = True,
        pending: list[Pending] | None = None,
    ) -> list[memoryview]:
        """Return buffers of an artifact by number, from the cache where they are there; see `BufferReader.read`."""
        record, packs = artifact
        if not all(0 <= number < len(record.buffers) for number in numbers):
            raise IntegrityError("An artifact asks for a buffer that it does not have.")
        self._renew_after_fork()

        def read() -> list[memoryview]:
            if self._cached is not None:
                return self._cached.read(artifact, numbers, verify=verify, pending=pending)
            refs = [record.buffers[number] for number in numbers]
            return self._reader.read(refs, packs, verify=verify, pending=pending)

        return self._retried(artifact, read)

    def read_range(self, artifact: StoredArtifact, number: int, start: int, length: int) -> memoryview:
        """Return `length` bytes of a buffer of an artifact from `start` on; see `BufferReader.read_range`."""
        record, packs = artifact
        if not 0 <= number < len(record.buffers):
            raise IntegrityError("An artifact asks for a buffer that it does not have.")
        self._renew_after_fork()

        def read() -> memoryview:
            if self._cached is not None:
                return self._cached.read_range(artifact, number, start, length)
            return self._reader.read_range(record.buffers[number], packs, start, length)

        return self._retried(artifact, read)

    def _retried(self, artifact: StoredArtifact, read: Callable[[], _Result]) -> _Result:
        """Return what `read` returns; where a pack is gone, look whether a collection took it apart, and read again."""
        for _ in range(MOVED_TRIES):
            try:
                return read()
            except ObjectNotFoundError:
                if not self._moved.learn(self._pack_names(artifact)):
                    raise
        return read()

    def _pack_names(self, artifact: StoredArtifact) -> list[str]:
        """Return the packs that hold something of an artifact now, as far as is known."""
        return [name for pack in _packs_of(artifact) for name in self._moved.names(pack)]

    def _pack_keys(self, artifact: StoredArtifact) -> list[str]:
        return [pack_key(name) for name in self._pack_names(artifact)]

    def close(self) -> None:
        """Release files and connections."""
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._runs is not None:
            self._runs.close()
            self._runs = None
        self.storage.close()

    def _renew_after_fork(self) -> None:
        """Take new locks and a new connection in a child process: the parent's may be in use there."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._record_lock = threading.Lock()
            self._make_readers()
            for held in (self._index, self._runs):
                if held is not None:
                    _PARENTS.append(held)
            self._index = self._runs = None

    def _make_readers(self, *, use_cache: bool = True) -> None:
        self._moved = MovedPacks(self.storage, self.cache)
        self._reader = BufferReader(self.storage, moved=self._moved)
        cached = use_cache and self.cache is not None
        self._cached = CachedBuffers(self._reader, self.cache) if cached and self.cache is not None else None

    def _ratio_max(self) -> float:
        if self.settings.compression == "none":
            return 0.0
        if self.settings.compression == "small":
            return RATIO_MAX_SMALL
        return RATIO_MAX_LOCAL if self.storage.traits.mappable else RATIO_MAX_REMOTE

    def _index_path(self) -> Path | None:
        return self.settings.cache_folder() / "index" / f"{self.create().store}.sqlite"


def _packs_of(artifact: StoredArtifact) -> list[str]:
    """Return the packs that hold something of an artifact; a record may list packs for others, too."""
    used = {number for buffer in artifact.record.buffers for number, _, _ in buffer.spans}
    return [ref.name for number, ref in enumerate(artifact.packs) if number in used]
