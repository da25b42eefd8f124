"""Bulk transfer from and to S3, with the verbs of ``metaflow.S3``."""

from __future__ import annotations

from holdall_store.transfer._plan import Step
from holdall_store.transfer._s3 import S3
from holdall_store.transfer._s3_objects import RangeInfo, S3GetObject, S3Object, S3PutObject
from holdall_store.transfer._s3_session import Progress, Reporter

__all__ = ["S3", "Progress", "RangeInfo", "Reporter", "S3GetObject", "S3Object", "S3PutObject", "Step"]
