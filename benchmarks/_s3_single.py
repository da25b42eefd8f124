"""Everyone who reads one large object: into memory, or into a file where `target` is one. Called in a new process.

All have as many requests under way, of parts of one size. That what came is right is seen at the marks that
`make_marked` left in the object.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from benchmarks._s3_common import boto3_client, obstore_store, open_s3, repeat
from benchmarks._s3_readers import awscrt_manager, s3fs_filesystem, with_child_memory
from benchmarks._s3_sockets import Piece, into_file, into_memory, receive
from benchmarks._servers import find_tool

__all__ = [
    "BUDGET_BYTES",
    "PART_BYTES",
    "check_file",
    "make_marked",
    "one_awscrt",
    "one_boto3",
    "one_holdall",
    "one_obstore",
    "one_s3fs",
    "one_s5cmd",
    "one_sockets",
]

PART_BYTES: Final = 16 << 20
MARK_STEP: Final = (5 << 20) + 13
"""Marks lie anywhere in a part, never at its edge alone."""

MARK_BYTES: Final = 8

BUDGET_BYTES: Final = 256 << 20
"""What our lane may hold beside its result: its own default for what is under way."""

TOUCH_FILE_BYTES: Final = 1 << 30
"""What a file takes of the system's memory before the disk takes it over, roughly."""


def make_marked(path: Path, size: int) -> None:
    """Write a sparse file with a mark every so often."""
    with path.open("wb") as file:
        for at in range(0, size - MARK_BYTES, MARK_STEP):
            os.pwrite(file.fileno(), at.to_bytes(MARK_BYTES, "big"), at)
        file.truncate(size)


def check_file(path: str, size: int) -> None:
    """See that a file is what `make_marked` wrote."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            raise RuntimeError(f"{path} has a wrong size")
        _check(lambda at: os.pread(file.fileno(), MARK_BYTES, at), size)


def one_holdall(endpoint: str, key: str, size: int, concurrency: int, target: str = "") -> dict[str, Any]:
    """Read with `get`, or `get_files`; the budget is for what is not the result."""
    memory = BUDGET_BYTES if target else size + BUDGET_BYTES
    with open_s3(endpoint, "bucket", concurrency, memory=memory) as s3:
        if target:
            return _file(target, size, lambda: s3.get_files([(key, target)]))
        return _memory(size, lambda: s3.get(key).buffer)


def one_obstore(endpoint: str, key: str, size: int, concurrency: int, target: str = "") -> dict[str, Any]:
    """Read ranges from a pool of threads, and put each where it belongs."""
    import numpy as np
    import obstore

    store = obstore_store(endpoint, "bucket")

    def get(at: int) -> Any:
        return obstore.get_range(store, key, start=at, length=min(PART_BYTES, size - at))

    def to_file() -> None:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT)
        try:
            with ThreadPoolExecutor(concurrency) as pool:
                for _ in pool.map(lambda at: os.pwrite(descriptor, get(at), at), range(0, size, PART_BYTES)):
                    continue
        finally:
            os.close(descriptor)

    def to_memory() -> memoryview:
        whole = np.empty(size, dtype=np.uint8).data

        def keep(at: int) -> None:
            part = memoryview(get(at))
            whole[at : at + len(part)] = part

        with ThreadPoolExecutor(concurrency) as pool:
            for _ in pool.map(keep, range(0, size, PART_BYTES)):
                continue
        return whole

    return _file(target, size, to_file) if target else _memory(size, to_memory)


def one_boto3(endpoint: str, key: str, size: int, concurrency: int, target: str = "") -> dict[str, Any]:
    """Read with `download_file` or `download_fileobj`; a `TransferConfig` says how many threads and how large parts."""
    from boto3.s3.transfer import TransferConfig

    client = boto3_client(endpoint, concurrency)
    config = TransferConfig(
        max_concurrency=concurrency, multipart_chunksize=PART_BYTES, preferred_transfer_client="classic"
    )
    if target:
        return _file(target, size, lambda: client.download_file("bucket", key, target, Config=config))

    def to_memory() -> memoryview:
        whole = BytesIO()
        client.download_fileobj("bucket", key, whole, Config=config)
        return whole.getbuffer()

    return _memory(size, to_memory)


def one_awscrt(endpoint: str, key: str, size: int, concurrency: int, target: str = "") -> dict[str, Any]:
    """Read through s3transfer's manager for awscrt, which writes files itself."""
    with awscrt_manager(endpoint, concurrency, part_bytes=PART_BYTES) as manager:
        if target:
            return _file(target, size, lambda: manager.download("bucket", key, target).result())

        def to_memory() -> memoryview:
            whole = BytesIO()
            manager.download("bucket", key, whole).result()
            return whole.getbuffer()

        return _memory(size, to_memory)


def one_s3fs(endpoint: str, key: str, size: int, concurrency: int, target: str = "") -> dict[str, Any]:
    """Read with `get_file` or `cat_file`, which take the size of parts and how many at once."""
    fs = s3fs_filesystem(endpoint, concurrency)
    options = {"chunksize": PART_BYTES, "max_concurrency": concurrency}
    if target:
        return _file(target, size, lambda: fs.get_file(f"bucket/{key}", target, **options))
    return _memory(size, lambda: memoryview(fs.cat_file(f"bucket/{key}", **options)))


def one_s5cmd(endpoint: str, key: str, size: int, concurrency: int, target: str) -> dict[str, Any]:
    """Copy to a file; `--concurrency` and `--part-size`, in MiB, are for one object."""
    program = find_tool("s5cmd") or "s5cmd"
    options = ["--log", "error", "--endpoint-url", endpoint, "cp"]
    parts = ["--concurrency", str(concurrency), "--part-size", str(PART_BYTES >> 20)]
    command = [program, *options, *parts, f"s3://bucket/{key}", target]
    return with_child_memory(_file(target, size, lambda: subprocess.run(command, check=True)), 1)


def one_sockets(endpoint: str, key: str, size: int, concurrency: int, target: str = "") -> dict[str, Any]:
    """Read ranges with the bare socket loop."""
    import numpy as np

    pieces = [Piece(f"/bucket/{key}", min(PART_BYTES, size - at), at) for at in range(0, size, PART_BYTES)]

    def to_file() -> None:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT)
        try:
            receive(endpoint, pieces, concurrency, into_file(descriptor))
        finally:
            os.close(descriptor)

    def to_memory() -> memoryview:
        whole = np.empty(size, dtype=np.uint8).data
        receive(endpoint, pieces, concurrency, into_memory([], whole=whole))
        return whole

    return _file(target, size, to_file) if target else _memory(size, to_memory)


def _file(target: str, size: int, call: Callable[[], object]) -> dict[str, Any]:
    def fetch() -> int:
        call()
        return os.path.getsize(target)

    sample = repeat(fetch, 1, touch_bytes=min(size, TOUCH_FILE_BYTES))
    check_file(target, size)
    return sample


def _memory(size: int, call: Callable[[], memoryview]) -> dict[str, Any]:
    found: list[memoryview] = []

    def fetch() -> int:
        found.append(call())
        return found[0].nbytes

    sample = repeat(fetch, 1, touch_bytes=size)
    _check(lambda at: bytes(found[0][at : at + MARK_BYTES]), size)
    return {**sample, "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _check(read: Callable[[int], bytes], size: int) -> None:
    for at in range(0, size - MARK_BYTES, MARK_STEP):
        if int.from_bytes(read(at), "big") != at:
            raise RuntimeError(f"what came is wrong at {at}")
