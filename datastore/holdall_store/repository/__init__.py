"""The store itself: the write-once log, chunks in packs, runs, and the reading of it all."""

from holdall_store.repository._artifacts import StoredArtifact
from holdall_store.repository._cache_buffers import artifact_key
from holdall_store.repository._cache_space import (
    COMPLETE_MARK,
    FILES_FOLDER,
    REMOTE_FOLDER,
    CacheUsage,
    cache_usage,
    clear_cache,
    is_private,
    trim_cache,
)
from holdall_store.repository._catalog import Catalog, FoundTask, was_deleted
from holdall_store.repository._clock import Clock, SystemClock
from holdall_store.repository._collector import (
    ABANDON_AFTER,
    Collection,
    CollectionPlan,
    Collector,
    DeadPack,
    SilentLog,
)
from holdall_store.repository._gclog import CondemnedPacks
from holdall_store.repository._log import Log
from holdall_store.repository._reader import BufferReader
from holdall_store.repository._repository import Repository
from holdall_store.repository._run_head import Point, RunHead, task_head
from holdall_store.repository._run_rows import RunRow
from holdall_store.repository._run_writer import RunWriter
from holdall_store.repository._search import Match, RunSearch
from holdall_store.repository._tags import TagLogs, TagReader, TagState
from holdall_store.repository._views import Lifted, RunView, chosen_attempts, lift, order_steps, parse_time

__all__ = [
    "ABANDON_AFTER",
    "COMPLETE_MARK",
    "FILES_FOLDER",
    "REMOTE_FOLDER",
    "BufferReader",
    "CacheUsage",
    "Catalog",
    "Clock",
    "Collection",
    "CollectionPlan",
    "Collector",
    "CondemnedPacks",
    "DeadPack",
    "FoundTask",
    "Lifted",
    "Log",
    "Match",
    "Point",
    "Repository",
    "RunHead",
    "RunRow",
    "RunSearch",
    "RunView",
    "RunWriter",
    "SilentLog",
    "StoredArtifact",
    "SystemClock",
    "TagLogs",
    "TagReader",
    "TagState",
    "artifact_key",
    "cache_usage",
    "chosen_attempts",
    "clear_cache",
    "is_private",
    "lift",
    "order_steps",
    "parse_time",
    "task_head",
    "trim_cache",
    "was_deleted",
]
