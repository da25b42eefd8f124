"""Bulk transfer with a bar for people who watch."""

from __future__ import annotations

import contextlib
from typing import ClassVar

from holdall._progress import Bar, is_watched
from holdall_store.transfer import s3 as engine
from holdall_store.transfer.s3 import Progress, RangeInfo, S3GetObject, S3Object, S3PutObject, Step

__all__ = ["S3", "Progress", "RangeInfo", "S3GetObject", "S3Object", "S3PutObject", "Step"]


class S3(engine.S3):
    __doc__ = engine.S3.__doc__

    shows_progress: ClassVar[bool | None] = None
    """Whether a bar is shown that nobody asked for; by default on a terminal and in a notebook."""

    def _default_reporter(self) -> contextlib.AbstractContextManager[engine.Reporter | None]:
        wished = self._progress is True or self.shows_progress
        if wished or (self.shows_progress is None and is_watched()):
            return Bar(self.statistics)
        return contextlib.nullcontext()
