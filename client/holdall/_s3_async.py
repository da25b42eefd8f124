"""Bulk transfer for programs with an event loop, with a bar for people who watch."""

from __future__ import annotations

from typing import ClassVar

from holdall._s3 import S3
from holdall_store.transfer import aio
from holdall_store.transfer import s3 as engine

__all__ = ["AsyncS3"]


class AsyncS3(aio.AsyncS3):
    __doc__ = aio.AsyncS3.__doc__

    kind: ClassVar[type[engine.S3]] = S3
