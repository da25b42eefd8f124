"""Stores as an attacker would make them: every hash is right, and what they say is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import zstandard
from blake3 import blake3

from holdall import Client
from holdall_store.format import HEADER, Entry, StoreRecord, build_tail, run_prefix, seal, slot_key
from holdall_store.storage import MemoryStorage, Storage

NAMESPACE, FLOW, RUN = "user:eve", "flow", "20261123T081402123456-abcdef"
PACK = "a" * 16 + "-1"
KEY = slot_key(run_prefix(NAMESPACE, FLOW, RUN), 0)


def sealed(body: bytes) -> bytes:
    """Return `body`, an object of JSON, with a right hash."""
    body = body.rstrip()[:-1]
    return body + b',"blake3":"' + blake3(body).hexdigest().encode() + b'"}\n'


def record(**members: Any) -> dict[str, Any]:
    """Return the record of a whole run that holds one artifact, changed by `members`."""
    head = {"holdall": 1, "log": "run", "event": "end", "slot": 0, "write_id": "w", "time": "2026-11-23T08:14:02+00:00"}
    names = {"namespace": NAMESPACE, "flow": FLOW, "run": RUN, "status": "succeeded", "complete": True}
    return {**head, **names, "artifacts": {"a": artifact()}, **members}


def artifact(**members: Any) -> dict[str, Any]:
    """Return the record of an artifact, changed by `members`."""
    return {"type": "bytes", "bytes": 3, "new": 0, "digest": "0" * 64, "saved": "2026-11-23T08:14:02+00:00",
            "node": [1, 2, 3], **members}  # fmt: skip


def large(spans: Sequence[Sequence[int]], size: int, **members: Any) -> dict[str, Any]:
    """Return an artifact whose node is a buffer of `size` bytes in `spans`."""
    return artifact(node={"$": "bytes", "buffer": 0}, buffers=[{"bytes": size, "spans": spans}], **members)


def store(body: bytes | dict[str, Any], pack: bytes | None = None) -> Client:
    """Return a client that trusts a store with one record and one pack."""
    storage: Storage = MemoryStorage()
    storage.create("holdall.json", [seal(StoreRecord(holdall=1, store="s" * 26, created=""))])
    storage.create(KEY, [sealed(json.dumps(body).encode() if isinstance(body, dict) else body)])
    if pack is not None:
        storage.create(f"packs/{PACK}", [pack])
    return Client(storage, namespace=NAMESPACE, trust=True)


def pack_of(entries: Sequence[Entry], content: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return a pack with these entries, and how a record refers to it."""
    end = len(HEADER) + len(content)
    table, footer = build_tail(list(entries), end)
    ref = {"name": PACK, "table_offset": end, "entries": len(entries), "table": blake3(table).hexdigest()}
    return HEADER + content + table + footer, ref


def zeros(size: int) -> tuple[Entry, bytes]:
    """Return a chunk of `size` zeros, which takes a few bytes."""
    stored = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(size))
    return Entry(blake3(bytes(size)).digest(), len(HEADER), len(stored), size, 1, 0, 1), stored


def as_json(value: Any) -> bytes:
    """Return `value` as msgspec writes it."""
    return msgspec.json.encode(value)
