"""Loaded objects as ordinary files: the formats that other programs read."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from holdall._cli_json import strict_plain
from holdall.store import AlreadyExistsError, UnsupportedTypeError
from holdall_store.transfer._paths import keep_mode, plain_target

__all__ = [
    "as_bytes",
    "check_free",
    "default_suffix",
    "exported_bytes",
    "is_exported_whole",
    "json_bytes",
    "write_atomically",
    "write_object",
]

PICKLE_SUFFIXES: Final = (".pkl", ".pickle")
TABLE_SUFFIXES: Final = (".parquet", ".csv", ".feather")

_TABLES: Final = {
    ("pandas", "DataFrame"): "pandas",
    ("pandas", "Series"): "series",
    ("pyarrow", "Table"): "arrow",
    ("pyarrow", "RecordBatch"): "batch",
    ("polars", "DataFrame"): "polars",
    ("holdall", "Table"): "table",
    ("holdall_store", "Table"): "table",
}

_Writer = Callable[[IO[bytes]], None]


def is_exported_whole(type_name: str) -> bool:
    """Tell by the name of its type whether an object is a table or an array, and no text."""
    library, _, name = type_name.partition(".")
    return (library, name.rpartition(".")[2]) in _TABLES or type_name == "numpy.ndarray"


def as_bytes(value: Any) -> bytes | bytearray | None:
    """Return the bytes that a value is: bytes as they are, text in UTF-8; ``None`` for anything else."""
    if isinstance(value, bytes | bytearray):
        return value
    return value.encode("utf-8", "surrogatepass") if type(value) is str else None


def json_bytes(value: Any) -> bytes:
    """Return a plain value as one JSON document; `UnsupportedTypeError`, with the path, where there is no way."""
    converted = strict_plain(value)
    try:
        return (json.dumps(converted, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it as an escape
        return (json.dumps(converted, indent=2, allow_nan=False) + "\n").encode()


def default_suffix(value: Any) -> str:
    """Return the suffix of the format in which a value is written where nobody asked for another."""
    if _table(value):
        return ".parquet"
    if _is_array(value):
        return ".npy"
    if isinstance(value, bytes | bytearray):
        return ".bin"
    return ".txt" if type(value) is str else ".json"


def write_object(value: Any, path: Path, reference: str, *, replace: bool) -> None:
    """Write a value in the format that the suffix of `path` names; if that is a link, to what it leads to."""
    suffix = path.suffix.lower()
    check_free(path, replace=replace)
    write_atomically(Path(plain_target(str(path))), _writer(value, suffix, reference), replace=replace)


def exported_bytes(value: Any, reference: str) -> bytes:
    """Return a value in the format in which it is written where nobody asked for another."""
    target = io.BytesIO()
    _writer(value, default_suffix(value), reference)(target)
    return target.getvalue()


def write_atomically(path: Path, write: _Writer, *, replace: bool) -> None:
    """Make a file, and the folders above it, whole or not at all; `AlreadyExistsError` if something is there and may not be replaced.

    A file that is replaced hands its permissions on.
    """
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    check_free(path, replace=replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("xb") as file:
            write(file)
            check_free(path, replace=replace)
            keep_mode(file.fileno(), str(path))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_free(path: Path, *, replace: bool) -> None:
    """Raise `AlreadyExistsError` where `path` is taken; a plain file may be replaced, a directory or a device never."""
    if os.path.lexists(path) and not (replace and not path.is_dir()):
        hint = ", or --force to replace it" if path.is_file() or path.is_symlink() else ""
        raise AlreadyExistsError(f"{str(path)!r} is there already: name another place with -o{hint}.")


def _writer(value: Any, suffix: str, reference: str) -> _Writer:
    table = _table(value)
    raw = as_bytes(value)
    if suffix in PICKLE_SUFFIXES:
        return lambda file: _write_pickle(value, file)
    if table and suffix in TABLE_SUFFIXES:
        return lambda file: _write_table(value, table, suffix, file, reference)
    if _is_array(value) and suffix == ".npy":
        return lambda file: _write_array(value, file, reference)
    if raw is not None and suffix != ".json":
        return lambda file: _write_all(file, raw)
    if not table and not _is_array(value) and (suffix == ".json" or suffix == default_suffix(value)):
        try:
            text = json_bytes(value)
        except UnsupportedTypeError as error:
            raise UnsupportedTypeError(
                f"{reference} has no plain file format: {error}. In Python: holdall.load({reference!r}); or write a pickle: -o NAME.pkl."
            ) from None
        return lambda file: _write_all(file, text)
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}".removeprefix("builtins.")
    formats = TABLE_SUFFIXES if table else (".npy",) if _is_array(value) else (".json",) if _is_plain(value) else ()
    raise UnsupportedTypeError(
        f"{reference} is a {kind}, and there is no way to write one as {suffix or 'a file without suffix'}: "
        f"choose {', '.join((*formats, PICKLE_SUFFIXES[0]))}."
    )


def _write_all(file: IO[bytes], data: bytes | bytearray) -> None:
    file.write(data)


def _write_pickle(value: Any, file: IO[bytes]) -> None:
    import cloudpickle

    cloudpickle.dump(value, file, protocol=5)  # the standard pickle module reads it


def _write_array(value: Any, file: IO[bytes], reference: str) -> None:
    import numpy as np

    try:
        np.save(file, value, allow_pickle=False)
    except ValueError:
        raise UnsupportedTypeError(
            f"{reference} is an array of Python objects, which .npy holds only as a pickle: -o NAME.pkl."
        ) from None


def _write_table(value: Any, kind: str, suffix: str, file: IO[bytes], reference: str) -> None:
    import pyarrow as pa

    try:
        if kind == "pandas" or kind == "series":
            frame = value if kind == "pandas" else value.to_frame("value" if value.name is None else value.name)
            _write_pandas(frame, suffix, file)
        elif kind == "polars":
            {".parquet": value.write_parquet, ".csv": value.write_csv, ".feather": value.write_ipc}[suffix](file)
        else:
            if kind == "table":  # a reference, of which the rows are wanted
                value = value.to_arrow()
            _write_arrow(pa.Table.from_batches([value]) if kind == "batch" else value, suffix, file)
    except (ValueError, TypeError, NotImplementedError, pa.ArrowException) as error:
        reason = "; ".join(str(part) for part in error.args) or type(error).__name__
        others = ".csv or .pkl" if suffix != ".csv" else ".parquet or .pkl"
        raise UnsupportedTypeError(f"{reference} cannot be written as {suffix}: {reason}. Choose {others}.") from error


def _write_pandas(frame: Any, suffix: str, file: IO[bytes]) -> None:
    if suffix == ".csv":
        import pandas as pd

        plain_index = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
        frame.to_csv(file, index=not plain_index)
        return
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"it has several columns {name!r}")
    if frame.columns.inferred_type.startswith("mixed"):
        raise ValueError("the names of its columns are not all of one type")
    if suffix == ".parquet":
        frame.to_parquet(file, engine="pyarrow")
    else:
        frame.to_feather(file)


def _write_arrow(table: Any, suffix: str, file: IO[bytes]) -> None:
    if suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(table, file)
    elif suffix == ".parquet":
        from pyarrow import parquet

        parquet.write_table(table, file)
    else:
        from pyarrow import feather

        feather.write_feather(table, file)


def _table(value: Any) -> str:
    kind = type(value)
    return _TABLES.get((kind.__module__.partition(".")[0], kind.__name__), "")


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"


def _is_plain(value: Any) -> bool:
    try:
        strict_plain(value)
    except UnsupportedTypeError:
        return False
    return True
