"""What a write tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Written"]


@dataclass(frozen=True)
class Written:
    """What a write did: the version that it made, and how many files and rows came and files were replaced."""

    url: str
    version: int
    time: str
    files: int
    rows: int
    bytes: int
    replaced: int
