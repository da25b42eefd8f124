"""Schemas: of a file as it is, of a table over many files, and of what is selected from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from holdall_store.errors import FormatError, InvalidNameError
from holdall_store.tables._bound import plain
from holdall_store.tables._names import find_path
from holdall_store.tables._widen import wider_type

__all__ = [
    "Selection",
    "count_leaves",
    "leaves_below",
    "normal",
    "normal_schema",
    "project",
    "select_paths",
    "unify",
    "with_dictionaries",
]

Selection = dict[str, Any]
"""What is wanted of each column, by name: ``None`` for all of it, or a selection of its fields."""

PANDAS = b"pandas"


def normal(kind: Any) -> Any:
    """Return the type in which a column is given: views, which few kernels understand, are plain texts and lists."""
    import pyarrow as pa

    types = pa.types
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, normal(kind.value_type), kind.ordered)
    if types.is_struct(kind):
        return pa.struct([_with_type(kind.field(i), normal(kind.field(i).type)) for i in range(kind.num_fields)])
    if types.is_map(kind):
        return pa.map_(
            _with_type(kind.key_field, normal(kind.key_type)), _with_type(kind.item_field, normal(kind.item_type))
        )
    if types.is_fixed_size_list(kind):
        return pa.list_(_with_type(kind.value_field, normal(kind.value_type)), kind.list_size)
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(_with_type(kind.value_field, normal(kind.value_type)))
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(_with_type(kind.value_field, normal(kind.value_type)))
    return kind


def _with_type(field: Any, kind: Any) -> Any:
    return field if field.type == kind else field.with_type(kind)


def normal_schema(schema: Any, name: str) -> Any:
    """Return the schema in which the file `name` is given, every column nullable; duplicate names raise `FormatError`."""
    import pyarrow as pa

    names = schema.names
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise FormatError(f"{name} has two columns called {twice!r}: rename one of them.")
    fields = [field.with_type(normal(field.type)).with_nullable(True).remove_metadata() for field in schema]
    kept = (schema.metadata or {}).get(PANDAS)
    return pa.schema(fields, {PANDAS: kept} if kept else None)


def unify(schemas: Iterable[tuple[str, Any]], way_out: str = "give schema=…, or read the files apart") -> Any:
    """Return the schema of a table whose files have `schemas`, by name: each column in the widest of its types.

    Columns stand in the order in which they first come. Types that nothing is wide enough for raise `FormatError`, which
    tells the `way_out`.
    """
    import pyarrow as pa

    distinct: list[tuple[str, Any]] = []
    for name, schema in schemas:
        if not any(schema.equals(other) for _, other in distinct):
            distinct.append((name, schema))
    if not distinct:
        return pa.schema([])
    fields: dict[str, Any] = {field.name: field for field in distinct[0][1]}
    first_with = dict.fromkeys(fields, distinct[0][0])
    for name, schema in distinct[1:]:
        for field in schema:
            known = fields.get(field.name)
            first_with.setdefault(field.name, name)
            if known is None:
                fields[field.name] = field
                continue
            wider = _wider(known, field)
            if wider is None:
                raise FormatError(
                    f"The column {field.name!r} is {known.type} in {first_with[field.name]} and {field.type} in {name}, and "
                    f"no type has room for both: {way_out}."
                )
            fields[field.name] = wider
    return pa.schema(list(fields.values()), distinct[0][1].metadata)


def _wider(one: Any, other: Any) -> Any:
    """Return the field in which the values of both have room, or ``None`` where no type has."""
    import pyarrow as pa

    if one.type == other.type:
        return one
    if pa.types.is_dictionary(one.type) != pa.types.is_dictionary(other.type):
        one, other = one.with_type(plain(one.type)), other.with_type(plain(other.type))
    try:
        return one.with_type(wider_type(one.type, other.type))
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def count_leaves(kind: Any) -> int:
    """Return how many columns of Parquet a type has."""
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return count_leaves(kind.storage_type)
    if types.is_struct(kind):
        return sum(count_leaves(kind.field(i).type) for i in range(kind.num_fields))
    if types.is_map(kind):
        return count_leaves(kind.key_type) + count_leaves(kind.item_type)
    if types.is_nested(kind) and hasattr(kind, "value_type"):
        return count_leaves(kind.value_type)
    return 1


def leaves_below(fields: Any, wanted: Selection, begin: int = 0) -> list[int]:
    """Return which columns of Parquet hold what is `wanted` of `fields`, a file's schema or struct, from number `begin`.

    Of a struct that has none of the fields that are wanted of it, one is read nevertheless: it tells the nulls.
    """
    import pyarrow as pa

    found: list[int] = []
    at = begin
    for field in fields:
        count = count_leaves(field.type)
        if field.name in wanted:
            inner = wanted[field.name]
            if inner is None or not pa.types.is_struct(field.type):
                found += range(at, at + count)
            else:
                parts = [field.type.field(i) for i in range(field.type.num_fields)]
                found += leaves_below(parts, inner, at) or [at]
        at += count
    return found


def select_paths(names: Sequence[str], schema: Any, where: str) -> Selection:
    """Return the selection of the columns and fields that a caller names."""
    wanted: Selection = {}
    for name in names:
        path = find_path(name, schema, where)
        level = wanted
        for part in path[:-1]:
            if part in level and level[part] is None:
                break  # all of it is wanted already
            level = level.setdefault(part, {})
        else:
            level[path[-1]] = None
    if not wanted:
        raise InvalidNameError("Nothing is selected: name at least one column.")
    return wanted


def project(schema: Any, wanted: Selection) -> Any:
    """Return `schema` with what is wanted of it, in the order of the selection."""
    import pyarrow as pa

    fields = [
        schema.field(name).with_type(_project_type(schema.field(name).type, inner)) for name, inner in wanted.items()
    ]
    return pa.schema(fields, schema.metadata)


def _project_type(kind: Any, wanted: Selection | None) -> Any:
    import pyarrow as pa

    if wanted is None:
        return kind
    return pa.struct(
        [kind.field(name).with_type(_project_type(kind.field(name).type, inner)) for name, inner in wanted.items()]
    )


def with_dictionaries(schema: Any, names: Sequence[str], where: str) -> Any:
    """Return `schema` with the columns `names`, which are of texts, as dictionaries."""
    import pyarrow as pa

    for name in names:
        path = find_path(name, schema, where)
        field = schema.field(path[0])
        kind = plain(field.type)
        if path != (name,) or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise InvalidNameError(f"categories are columns of texts, and {name!r:.200} is {field.type}.")
        if not pa.types.is_dictionary(field.type):
            at = schema.get_field_index(path[0])
            schema = schema.set(at, field.with_type(pa.dictionary(pa.int32(), pa.string())))
    return schema
