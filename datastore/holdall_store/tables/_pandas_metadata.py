"""What pandas notes of its frames in a schema: which of it still holds for a table that is read."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["column_names", "for_frame", "of_no_order"]

_KEY = b"pandas"


def of_no_order(schema: Any) -> Any:
    """Return a schema without an index that only numbers the rows: they come to other places."""
    noted = schema.pandas_metadata
    if not noted or not any(isinstance(each, dict) for each in noted.get("index_columns", [])):
        return schema
    return _with(schema, {**noted, "index_columns": [each for each in noted["index_columns"] if isinstance(each, str)]})


def for_frame(schema: Any, *, index: bool, whole: bool) -> Any:
    """Return a schema with what pandas noted of those of its columns that still are of the type they were of.

    The index is there with `index` if all of its columns are, and one that only numbers the rows where the table is read
    as a `whole`: else nobody knows which rows these are. Names stay the texts that they are in Arrow.
    """
    noted = schema.pandas_metadata
    if not noted:
        return schema
    kinds = {field.name: _logical(field.type) for field in schema}
    columns = [
        each
        for each in noted.get("columns", [])
        if kinds.get(_place(each), "") == each.get("pandas_type") and _is_known(each.get("numpy_type"))
    ]
    parts = noted.get("index_columns", []) if index else []
    if not all(each in kinds if isinstance(each, str) else whole for each in parts):
        parts = []
    return _with(schema, {**noted, "index_columns": parts, "columns": columns, "column_indexes": []})


def column_names(schema: Any) -> tuple[list[str], Any]:
    """Return the columns beside the index, and their names as the frame had them that was written.

    There are none where the names are the texts of Arrow, or columns came that the frame did not have.
    """
    import pyarrow as pa

    noted = schema.pandas_metadata or {}
    levels = noted.get("column_indexes", [])
    known = {_place(each) for each in noted.get("columns", [])}
    if not levels or not known.issuperset(schema.names):
        return [], None
    if (
        len(levels) == 1
        and levels[0].get("pandas_type") in ("unicode", "string", "empty")
        and not levels[0].get("name")
    ):
        return [], None
    texts = [name for name in schema.names if name not in noted.get("index_columns", [])]
    bare = _with(pa.schema([schema.field(name) for name in texts]), {**noted, "index_columns": []})
    try:
        return texts, bare.empty_table().to_pandas().columns
    except (TypeError, ValueError, SyntaxError):  # as for dates among texts
        return [], None


def _place(noted: Any) -> Any:
    return noted.get("field_name", noted.get("name"))


def _logical(kind: Any) -> str:
    from pyarrow import pandas_compat

    return str(pandas_compat.get_logical_type(kind))


def _is_known(name: Any) -> bool:
    """Tell whether pandas here knows a type by its name."""
    import pandas as pd

    try:
        pd.api.types.pandas_dtype(name)
    except (TypeError, ValueError, NotImplementedError, ImportError):
        return False
    return True


def _with(schema: Any, noted: dict[str, Any]) -> Any:
    return schema.with_metadata({**(schema.metadata or {}), _KEY: json.dumps(noted).encode()})
