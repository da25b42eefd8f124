"""Everyone who puts many objects of one size: one function for each, called in a new process, as in `_s3_readers`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._s3_common import boto3_client, keys_of, make_objects, obstore_store, open_s3, repeat
from benchmarks._s3_readers import awscrt_manager, run_s5cmd, s3fs_filesystem, scratch, with_child_memory
from benchmarks._s3_sockets import send

__all__ = [
    "write_awscrt",
    "write_boto3",
    "write_holdall",
    "write_obstore",
    "write_s3fs",
    "write_s5cmd",
    "write_sockets",
]

DISTINCT = 16
"""So many different bodies are sent again and again: what they are makes no difference, and memory is not the matter."""


def write_holdall(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Put with one call of `put_many`."""
    bodies = _bodies(size)
    pairs = [(key, bodies[number % DISTINCT]) for number, key in enumerate(keys_of(prefix, count))]
    with open_s3(endpoint, bucket, concurrency) as s3:

        def put() -> int:
            s3.put_many(pairs)
            return count * size

        return repeat(put, passes)


def write_obstore(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Put from a pool of threads, each object in one request."""
    import obstore

    store = obstore_store(endpoint, bucket)
    return _from_threads(
        lambda key, body: obstore.put(store, key, body, use_multipart=False), prefix, count, concurrency, passes, size
    )


def write_boto3(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Put with one client from a pool of threads."""
    client = boto3_client(endpoint, concurrency)
    return _from_threads(
        lambda key, body: client.put_object(Bucket=bucket, Key=key, Body=body), prefix, count, concurrency, passes, size
    )


def write_awscrt(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Put through s3transfer's manager for awscrt, from memory."""
    from io import BytesIO

    bodies = _bodies(size)
    with awscrt_manager(endpoint, concurrency) as manager:

        def put() -> int:
            futures = [
                manager.upload(BytesIO(bodies[number % DISTINCT]), bucket, key)
                for number, key in enumerate(keys_of(prefix, count))
            ]
            for future in futures:
                future.result()
            return count * size

        return repeat(put, passes)


def write_s3fs(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Put with one call of `pipe`, which takes many paths; `batch_size` says how many at once."""
    fs = s3fs_filesystem(endpoint, concurrency)
    bodies = _bodies(size)
    contents = {f"{bucket}/{key}": bodies[number % DISTINCT] for number, key in enumerate(keys_of(prefix, count))}

    def put() -> int:
        fs.pipe(contents, batch_size=concurrency)
        return count * size

    return repeat(put, passes)


def write_s5cmd(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Copy a folder of files, which lies in memory."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        make_objects(Path(folder), "", count, size, distinct=DISTINCT)
        command = ["cp", f"{folder}/*", f"s3://{bucket}/{prefix}"]

        def put() -> int:
            run_s5cmd(endpoint, concurrency, command)
            return count * size

        return with_child_memory(repeat(put, passes), passes)


def write_sockets(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    """Put with the bare socket loop."""
    body, paths = os.urandom(size), [f"/{bucket}/{key}" for key in keys_of(prefix, count)]

    def put() -> int:
        send(endpoint, paths, body, concurrency)
        return count * size

    return repeat(put, passes)


def _bodies(size: int) -> list[bytes]:
    return [os.urandom(size) for _ in range(DISTINCT)]


def _from_threads(
    put: Callable[[str, bytes], object], prefix: str, count: int, concurrency: int, passes: int, size: int
) -> dict[str, Any]:
    bodies, keys = _bodies(size), keys_of(prefix, count)

    def put_all() -> int:
        for _ in pool.map(put, keys, (bodies[number % DISTINCT] for number in range(count))):
            continue
        return count * size

    with ThreadPoolExecutor(concurrency) as pool:
        return repeat(put_all, passes)
