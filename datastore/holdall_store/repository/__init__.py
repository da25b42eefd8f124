"""The store itself: the write-once log, chunks in packs, runs, and the reading of it all."""

from holdall_store.repository._artifacts import StoredArtifact
from holdall_store.repository._catalog import Catalog
from holdall_store.repository._clock import Clock, SystemClock
from holdall_store.repository._gclog import CondemnedPacks
from holdall_store.repository._log import Log
from holdall_store.repository._reader import BufferReader
from holdall_store.repository._repository import Repository
from holdall_store.repository._run_writer import Point, RunHead, RunWriter
from holdall_store.repository._views import RunView, parse_time

__all__ = [
    "BufferReader",
    "Catalog",
    "Clock",
    "CondemnedPacks",
    "Log",
    "Point",
    "Repository",
    "RunHead",
    "RunView",
    "RunWriter",
    "StoredArtifact",
    "SystemClock",
    "parse_time",
]
