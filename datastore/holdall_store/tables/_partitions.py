"""Columns that are not in the files but in the names of their folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from holdall_store.errors import FormatError, InvalidNameError

__all__ = ["NULL_NAME", "Partitioning", "Values", "check_partitioning", "parse_folders"]

NULL_NAME: Final = "__HIVE_DEFAULT_PARTITION__"
"""How Hive, and all after it, write a null."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")

Partitioning = str | tuple[str, ...] | None
Values = tuple[Any, ...]
"""Texts and whole numbers, or, where a log has them, whatever type the column is of."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The names of partition columns, and for each file their values; `integers` says which columns hold numbers."""

    names: tuple[str, ...]
    values: list[Values]
    integers: tuple[bool, ...]


def check_partitioning(partitioning: Any) -> Partitioning:
    """Return what a caller says of partitioning, or raise `InvalidNameError`."""
    if partitioning is None or partitioning == "hive":
        return partitioning  # type: ignore[no-any-return]
    if isinstance(partitioning, list | tuple) and all(isinstance(name, str) and name for name in partitioning):
        if len(set(partitioning)) == len(partitioning):
            return tuple(partitioning)
        raise InvalidNameError(f"partitioning={partitioning!r:.200} names a column twice.")
    raise InvalidNameError(
        f"partitioning={partitioning!r:.200} is not understood: give 'hive' for folders like day=2026-11-01, a list of "
        "names for folders like 2026-11-01, () for none, or None to look."
    )


def parse_folders(paths: Sequence[str], urls: Sequence[str], partitioning: Partitioning, schema: Any = None) -> Folders:
    """Return the partition columns of files by their `paths` below the root of the table.

    Those that `schema` knows hold numbers if it says so; of others the values tell.

    ``None`` looks: where all files lie in folders with the same ``name=``, these are columns, and else there are none.
    A file that lies elsewhere than the others raises `FormatError` with its URL.
    """
    if isinstance(partitioning, tuple):
        rows = [_positional(path, url, partitioning) for path, url in zip(paths, urls, strict=True)]
        return _typed(partitioning, rows, schema)
    found = [_hive(path) for path in paths]
    names = tuple(name for name, _ in found[0]) if found else ()
    for pairs, url in zip(found, urls, strict=True):
        own = tuple(name for name, _ in pairs)
        if len(set(own)) < len(own):
            raise FormatError(f"{url} lies in two folders of the same partition column.")
        if own == names:
            continue
        if partitioning is None and (not own or not names):
            # Some files lie in such folders and others do not: what would be a column is nothing that can be relied on.
            raise _stray(url if not own else urls[0], own or names)
        missing = [name for name in names if name not in own] or [name for name in own if name not in names]
        raise FormatError(
            f"{url} lies in folders of the partition columns {', '.join(own) or '(none)'}, and {urls[0]} in those of "
            f"{', '.join(names) or '(none)'}: {', '.join(missing) or 'the order'} differs."
        )
    if partitioning == "hive" and found and not names:
        raise FormatError(f"{urls[0]} lies in no folder such as day=2026-11-01: it has no Hive partitions.")
    return _typed(names, [tuple(value for _, value in pairs) for pairs in found], schema)


def _stray(url: str, names: Sequence[str]) -> FormatError:
    return FormatError(
        f"{url} lies in no folder of the partition columns {', '.join(names)}, as other files do: move it, name the "
        "files with a glob, or say partitioning=()."
    )


def _hive(path: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for folder in path.split("/")[:-1]:
        name, separator, value = folder.partition("=")
        if separator and name:
            found.append((unquote(name), _value(value)))
    return found


def _positional(path: str, url: str, names: tuple[str, ...]) -> tuple[str | None, ...]:
    folders = [folder for folder in path.split("/")[:-1] if folder]
    if len(folders) < len(names):
        raise FormatError(f"{url} lies {len(folders)} folders deep, and the partition columns are {', '.join(names)}.")
    return tuple(_value(folder) for folder in folders[: len(names)])


def _value(text: str) -> str | None:
    return None if text == NULL_NAME else unquote(text)


def _typed(names: tuple[str, ...], rows: list[tuple[str | None, ...]], schema: Any) -> Folders:
    """Make numbers of the columns in which every value is one, as other readers do, unless the schema says other."""
    integers = []
    for at, name in enumerate(names):
        known = [row[at] for row in rows if row[at] is not None]
        numbers = bool(known) and all(_INTEGER.fullmatch(text or "") for text in known)
        integers.append(numbers and _may_be_number(schema, name))
    values = [
        tuple(int(text) if number and text is not None else text for text, number in zip(row, integers, strict=True))
        for row in rows
    ]
    return Folders(names, values, tuple(integers))


def _may_be_number(schema: Any, name: str) -> bool:
    import pyarrow as pa

    return schema is None or name not in schema.names or pa.types.is_integer(schema.field(name).type)
