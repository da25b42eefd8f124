"""Everyone who reads many objects: one function for each, called in a new process.

They take the same arguments: the endpoint, the bucket, a prefix and the number of keys below it, how many requests may
be under way at once, and how often to do it all. What is read is in memory when a call ends, but for programs that can
only write files; those get a folder in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks._s3_common import boto3_client, keys_of, obstore_store, open_s3, repeat
from benchmarks._s3_sockets import Piece, discard, into_memory, receive
from benchmarks._servers import find_tool

__all__ = ["read_awscrt", "read_boto3", "read_holdall", "read_obstore", "read_s3fs", "read_s5cmd", "read_sockets"]


def read_holdall(endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int) -> dict[str, Any]:
    """Read with one call of `get_many`, in memory."""
    keys = keys_of(prefix, count)
    with open_s3(endpoint, bucket, concurrency) as s3:
        return repeat(lambda: sum(found.buffer.nbytes for found in s3.get_many(keys)), passes)


def read_obstore(endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int) -> dict[str, Any]:
    """Read from a pool of threads; its blocking calls give up the lock, and the store keeps its connections."""
    import obstore

    store = obstore_store(endpoint, bucket)

    def get(key: str) -> Any:
        return obstore.get(store, key).bytes()

    return _from_threads(get, prefix, count, concurrency, passes)


def read_obstore_async(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int
) -> dict[str, Any]:
    """Read from one event loop, as many tasks as requests may be under way."""
    import obstore

    store = obstore_store(endpoint, bucket)

    async def fetch() -> int:
        keys = iter(keys_of(prefix, count))

        async def work() -> list[Any]:
            return [await (await obstore.get_async(store, key)).bytes_async() for key in keys]

        found = await asyncio.gather(*(work() for _ in range(concurrency)))
        return sum(len(content) for contents in found for content in contents)

    return repeat(lambda: asyncio.run(fetch()), passes)


def read_boto3(endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int) -> dict[str, Any]:
    """Read with one client from a pool of threads, as its manual says that clients may be shared."""
    client = boto3_client(endpoint, concurrency)

    def get(key: str) -> bytes:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    return _from_threads(get, prefix, count, concurrency, passes)


def read_awscrt(endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int) -> dict[str, Any]:
    """Read through s3transfer's manager for awscrt, which holds 128 transfers under way at most, into memory."""
    from io import BytesIO

    with awscrt_manager(endpoint, concurrency) as manager:

        def fetch() -> int:
            kept = [BytesIO() for _ in range(count)]
            futures = [
                manager.download(bucket, key, target) for key, target in zip(keys_of(prefix, count), kept, strict=True)
            ]
            for future in futures:
                future.result()
            return sum(target.getbuffer().nbytes for target in kept)

        return repeat(fetch, passes)


def read_s3fs(endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int) -> dict[str, Any]:
    """Read with one call of `cat`, which takes many paths; `batch_size` says how many at once.

    With a `max_concurrency` of 1, it does not ask for the size of an object in order to read it in parts.
    """
    fs = s3fs_filesystem(endpoint, concurrency)
    paths = [f"{bucket}/{key}" for key in keys_of(prefix, count)]
    return repeat(lambda: sum(map(len, fs.cat(paths, batch_size=concurrency, max_concurrency=1).values())), passes)


def read_s5cmd(
    endpoint: str,
    bucket: str,
    prefix: str,
    count: int,  # noqa: ARG001 - all that there are
    concurrency: int,
    passes: int,
) -> dict[str, Any]:
    """Copy all that begin with the prefix to a folder, the form that its manual recommends."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        numbers = itertools.count()

        def fetch() -> int:
            target = os.path.join(folder, f"pass-{next(numbers)}")
            run_s5cmd(endpoint, concurrency, ["cp", f"s3://{bucket}/{prefix}*", target + os.sep])
            return folder_bytes(target)

        return with_child_memory(repeat(fetch, passes), passes)


def read_sockets(
    endpoint: str, bucket: str, prefix: str, count: int, concurrency: int, passes: int, size: int, keep: bool
) -> dict[str, Any]:
    """Read with the bare socket loop, into fresh memory or into nothing."""
    pieces = [Piece(f"/{bucket}/{key}", size) for key in keys_of(prefix, count)]

    def fetch() -> int:
        kept: list[memoryview] = []
        receive(endpoint, pieces, concurrency, into_memory(kept) if keep else discard)
        return size * count

    return repeat(fetch, passes)


def awscrt_manager(endpoint: str, concurrency: int, *, part_bytes: int = 8 << 20) -> Any:
    """Return s3transfer's manager for awscrt.

    The library chooses the number of connections from the throughput that it is to reach, unless the configuration of
    s3transfer says it, as here. It asks for the size of each object before it reads it, which nothing can change.
    """
    import botocore.session
    from botocore.config import Config
    from s3transfer.crt import (
        BotocoreCRTCredentialsWrapper,
        BotocoreCRTRequestSerializer,
        CRTTransferManager,
        create_s3_crt_client,
    )
    from s3transfer.manager import TransferConfig

    session = botocore.session.Session()
    serializer = BotocoreCRTRequestSerializer(
        session,
        {
            "region_name": "us-east-1",
            "endpoint_url": endpoint,
            "use_ssl": False,
            "config": Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        },
    )
    provider = BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
    client = create_s3_crt_client(
        "us-east-1", provider, use_ssl=False, target_throughput=12_500_000_000, part_size=part_bytes
    )
    config = TransferConfig(max_request_concurrency=concurrency, multipart_chunksize=part_bytes)
    return CRTTransferManager(client, serializer, config=config)


def s3fs_filesystem(endpoint: str, concurrency: int) -> Any:
    """Return s3fs's filesystem with as many connections as requests; by default it has ten."""
    import s3fs

    return s3fs.S3FileSystem(
        endpoint_url=endpoint,
        config_kwargs={"max_pool_connections": concurrency, "s3": {"addressing_style": "path"}},
        skip_instance_cache=True,
    )


def run_s5cmd(endpoint: str, concurrency: int, arguments: list[str]) -> None:
    """Run s5cmd with so many workers. Its log of one line an object costs time; only errors are asked for."""
    program = find_tool("s5cmd") or "s5cmd"
    options = ["--log", "error", "--numworkers", str(concurrency), "--endpoint-url", endpoint]
    subprocess.run([program, *options, *arguments], check=True)


def with_child_memory(sample: dict[str, Any], passes: int) -> dict[str, Any]:
    """Put in what the largest child process took, and what time all of them took: the work was theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = (usage.ru_utime + usage.ru_stime) / passes
    return {**sample, "peak_bytes": usage.ru_maxrss * 1024, "cpu_seconds": cpu_seconds}


def scratch() -> str | None:
    """Return where files cost least: memory, where the system has a folder in it."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def folder_bytes(folder: str) -> int:
    """Return how many bytes the files of a folder hold."""
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries)


def _from_threads(get: Callable[[str], Any], prefix: str, count: int, concurrency: int, passes: int) -> dict[str, Any]:
    keys = keys_of(prefix, count)
    with ThreadPoolExecutor(concurrency) as pool:
        return repeat(lambda: sum(map(len, list(pool.map(get, keys)))), passes)
