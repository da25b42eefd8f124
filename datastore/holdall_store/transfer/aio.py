"""Bulk transfer from and to S3 for programs with an event loop."""

from __future__ import annotations

from holdall_store.transfer._s3_async import AsyncS3

__all__ = ["AsyncS3"]
