"""Parquet from anywhere into Arrow and pandas: only the bytes that are asked for, as fast as the link."""

from __future__ import annotations

from holdall_store.tables._explain import ColumnStats, Explanation, FileInfo
from holdall_store.tables._expression import Column, Expression, col
from holdall_store.tables._frame import Frame, frame_table
from holdall_store.tables._schema import normal_schema
from holdall_store.tables._table import Table
from holdall_store.tables._written import Written

__all__ = [
    "Column",
    "ColumnStats",
    "Explanation",
    "Expression",
    "FileInfo",
    "Frame",
    "Table",
    "Written",
    "col",
    "frame_table",
    "normal_schema",
]
