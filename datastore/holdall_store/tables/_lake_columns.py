"""Which column of a file is which column of a table, where a log says so: by number or by the name in the files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from holdall_store.errors import FormatError

__all__ = ["FIELD_ID", "STORED_NAME", "Matched", "Matcher", "plain_type", "renamed"]

FIELD_ID: Final = b"PARQUET:field_id"
"""Where Arrow keeps the number that a field has in a file of Parquet; a table's schema has it at the same place."""

STORED_NAME: Final = b"holdall:stored_name"
"""How a column of a table is called in its files, in the metadata of its field, where that is not its name."""

HIDDEN: Final = "\1"
"""Begins the names of columns of a file that are no columns of the table, or not any more. C ends its texts at a zero."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The schema of a file under the table's names, with what is not the table's under names that nobody asks for."""

    stored: Any
    named: Any

    def columns(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """Return decoded columns under the table's names, and so the fields in them."""
        found = {}
        for name, column in decoded.items():
            at = self.stored.get_field_index(name)
            field = self.named.field(at)
            found[field.name] = renamed(column, _renamed_type(column.type, self.stored.field(at).type, field.type))
        return found


class Matcher:
    """Finds the columns of a table in its files.

    ``by`` is ``"id"`` for numbers (`FIELD_ID`) and ``"name"`` for the names in the files (`STORED_NAME`, or the column's
    own). Files without numbers are understood by `names`, paths of theirs to numbers, if there are any.
    """

    def __init__(self, schema: Any, by: Literal["id", "name"], names: dict[tuple[str, ...], int] | None = None) -> None:
        self.schema = schema
        self.by = by
        self._names = names
        self._last: Matched | None = None

    def match(self, stored: Any, url: str) -> Matched:
        """Return what the columns of a file of schema `stored` are."""
        last = self._last
        # Most files of a table are alike, and walking a schema of some hundred columns takes a millisecond.
        if last is not None and last.stored.equals(stored, check_metadata=True):
            return last
        if self.by == "id" and not _has_ids(stored):
            if self._names is None:
                raise FormatError(
                    f"{url} has no numbers for its columns, and the table's log has no mapping of their names."
                )
            stored_ids = self._names
        else:
            stored_ids = None
        import pyarrow as pa

        fields = self._fields(list(stored), list(self.schema), (), stored_ids)
        self._last = Matched(stored, pa.schema(fields))
        return self._last

    def _fields(
        self, stored: list[Any], wanted: list[Any], path: tuple[str, ...], ids: dict[tuple[str, ...], int] | None
    ) -> list[Any]:
        import pyarrow as pa

        known = {self._key(field): field for field in wanted}
        found = []
        for at, field in enumerate(stored):
            own = (*path, field.name)
            key: Any = field.name if self.by == "name" else ids.get(own) if ids is not None else _field_id(field)
            target = None if key is None else known.pop(key, None)
            if target is None:
                found.append(pa.field(f"{HIDDEN}{at}", field.type))
            else:
                found.append(pa.field(target.name, self._type(field.type, target.type, own, ids)))
        return found

    def _key(self, field: Any) -> Any:
        if self.by == "id":
            return _field_id(field)
        return (field.metadata or {}).get(STORED_NAME, field.name.encode()).decode()

    def _type(self, stored: Any, wanted: Any, path: tuple[str, ...], ids: dict[tuple[str, ...], int] | None) -> Any:
        """Return the type of a file's column with the table's names in it; where the kinds differ, as it is."""
        import pyarrow as pa

        types = pa.types
        if types.is_struct(stored) and types.is_struct(wanted):
            parts = [stored.field(i) for i in range(stored.num_fields)]
            return pa.struct(self._fields(parts, [wanted.field(i) for i in range(wanted.num_fields)], path, ids))
        if types.is_map(stored) and types.is_map(wanted):
            key = self._type(stored.key_type, wanted.key_type, (*path, "key"), ids)
            item = self._type(stored.item_type, wanted.item_type, (*path, "value"), ids)
            return pa.map_(stored.key_field.with_type(key), stored.item_field.with_type(item))
        if _is_list(stored) and _is_list(wanted):
            inner = self._type(stored.value_type, wanted.value_type, (*path, "element"), ids)
            return _list_of(stored, inner)
        return stored


def _field_id(field: Any) -> int | None:
    text = (field.metadata or {}).get(FIELD_ID)
    return int(text) if text is not None else None


def _has_ids(schema: Any) -> bool:
    return any(_field_id(field) is not None for field in schema)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _list_of(kind: Any, inner: Any) -> Any:
    import pyarrow as pa

    field = kind.value_field.with_type(inner)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(field, kind.list_size)
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)


def _renamed_type(decoded: Any, stored: Any, named: Any) -> Any:
    """Return the type of a decoded column, which may have some of the `stored` fields only, under the `named` ones."""
    import pyarrow as pa

    types = pa.types
    if types.is_struct(decoded):
        fields = []
        for i in range(decoded.num_fields):
            field = decoded.field(i)
            at = stored.get_field_index(field.name)
            inner = _renamed_type(field.type, stored.field(at).type, named.field(at).type)
            fields.append(pa.field(named.field(at).name, inner, field.nullable))
        return pa.struct(fields)
    if types.is_map(decoded):
        key = _renamed_type(decoded.key_type, stored.key_type, named.key_type)
        item = _renamed_type(decoded.item_type, stored.item_type, named.item_type)
        return pa.map_(decoded.key_field.with_type(key), decoded.item_field.with_type(item))
    if _is_list(decoded):
        return _list_of(decoded, _renamed_type(decoded.value_type, stored.value_type, named.value_type))
    return decoded


class _Retyped:
    """An array whose type has other names in it, for Arrow to take as it is: no byte is copied."""

    def __init__(self, kind: Any, array: Any) -> None:
        self._kind = kind
        self._array = array

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self._kind.__arrow_c_schema__(), self._array.__arrow_c_array__()[1]


def renamed(column: Any, kind: Any) -> Any:
    """Return a column as one of `kind`, which differs from its type in the names of fields alone."""
    import pyarrow as pa

    if column.type.equals(kind):
        return column
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([pa.array(_Retyped(kind, chunk)) for chunk in column.chunks], kind)
    return pa.array(_Retyped(kind, column))


def plain_type(kind: Any) -> Any:
    """Return a type as files of Parquet give it, with nothing but names: large texts and lists only take more memory."""
    import pyarrow as pa

    types = pa.types
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([_plain_field(field) for field in fields])
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    return kind


def _plain_field(field: Any) -> Any:
    return field.with_type(plain_type(field.type)).with_nullable(True).remove_metadata()
