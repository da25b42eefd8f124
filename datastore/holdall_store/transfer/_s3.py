"""Bulk transfer from and to S3."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from holdall_store.config import check_choices
from holdall_store.transfer._s3_folders import S3Folders
from holdall_store.transfer._s3_reading import S3Reading
from holdall_store.transfer._s3_session import Reporter, make_session

__all__ = ["S3"]


class S3(S3Reading, S3Folders):
    """Read and write objects of S3 in bulk; the verbs are those of ``metaflow.S3``.

    Keys are relative to the root, which is `url` (or `s3root`), or `bucket` and `prefix`; with `run`, a run of holdall
    or Metaflow, it is the folder ``flow/run`` below that. Without a root all keys are whole ``s3://`` URLs. Credentials
    come from where every AWS tool finds them; `storage_options` are those of pandas and polars (``key``, ``secret``,
    ``endpoint_url``, ``region``, ``profile``, ``anon``).

    `encryption` is ``"AES256"`` or ``"aws:kms"`` (with `kms_key_id`); `customer_key` are the 32 bytes of SSE-C.
    `concurrency` is how many requests are under way at once; by default it adapts to what the server bears. `memory` is
    the budget in bytes, or as ``"2GB"``, by default a quarter of the machine's and at most 2 GiB: what is above it goes
    through files in a temporary folder, below `tmproot` if given. `deadline` is in seconds, for each request. `progress`
    is a function that gets a `Progress` now and then, or ``False``. `verify` compares checksums that the server sends if
    that is cheap; ``True`` compares all, the MD5 that an ETag is too; ``False`` none.

    It may be used from several threads, after a fork, and pickled, without secrets. Temporary files go when it is closed,
    which the end of a ``with`` block does.

    >>> import holdall
    >>> with holdall.S3("s3://bucket/images") as s3:  # and in it, s3.get_many(["a.png", "b.png"])
    ...     s3.url
    's3://bucket/images'
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        bucket: str | None = None,
        prefix: str | None = None,
        s3root: str | None = None,
        run: object = None,
        storage_options: Mapping[str, Any] | None = None,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        customer_key: bytes | None = None,
        concurrency: int | None = None,
        memory: int | str | None = None,
        tmproot: str | os.PathLike[str] | None = None,
        deadline: float | None = None,
        progress: bool | Reporter | None = None,
        verify: bool | None = None,
    ) -> None:
        check_choices(verify=verify, progress=None if callable(progress) else progress)
        self._progress = progress
        self._session = make_session(
            url,
            bucket,
            prefix,
            s3root,
            run,
            storage_options,
            encryption,
            kms_key_id,
            customer_key,
            concurrency=concurrency,
            memory=memory,
            tmproot=tmproot,
            deadline=deadline,
            verify=verify,
        )
