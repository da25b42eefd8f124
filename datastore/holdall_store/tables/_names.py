"""Names of columns: from what a caller writes to a path into the schema, or an error with the nearest name."""

from __future__ import annotations

from typing import Any

from holdall_store.errors import ColumnNotFoundError, nearest

__all__ = ["all_names", "find_path", "names_within", "take_path"]

Path = tuple[str, ...]


def find_path(name: str, schema: Any, where: str) -> Path:
    """Return the names, outermost first, of the column or field `name`, whose dots lead into structs.

    A column whose own name has dots comes before a field of the same name.
    """
    path = _find(name, schema)
    if path is not None:
        return path
    names = all_names(schema)
    listed = "" if len(names) > 20 else f" It has {', '.join(map(repr, schema.names)) or 'no columns'}."
    raise ColumnNotFoundError(f"{where} has no column {name!r:.200}.{nearest(name, names) or listed}")


def _find(name: str, fields: Any) -> Path | None:
    """Look for `name` in a schema or in a struct."""
    own = [field.name for field in fields]
    if name in own:
        return (name,)
    dot = name.find(".")
    while dot > 0:
        head, rest = name[:dot], name[dot + 1 :]
        if head in own:
            inner = _fields(_type_of(fields, head))
            found = _find(rest, inner) if inner is not None else None
            if found is not None:
                return (head, *found)
        dot = name.find(".", dot + 1)
    return None


def _type_of(fields: Any, name: str) -> Any:
    return next(field.type for field in fields if field.name == name)


def _fields(kind: Any) -> list[Any] | None:
    import pyarrow as pa

    return [kind.field(i) for i in range(kind.num_fields)] if pa.types.is_struct(kind) else None


def all_names(fields: Any, prefix: str = "", depth: int = 4) -> list[str]:
    """Return the names of columns and of the fields of structs in them."""
    found = []
    for field in fields:
        found.append(prefix + field.name)
        inner = _fields(field.type)
        if inner and depth:
            found += all_names(inner, f"{prefix}{field.name}.", depth - 1)
    return found


def take_path(kind: Any, path: Path) -> Any:
    """Return the type at `path` in a struct type; of ``()`` the type itself."""
    for name in path:
        kind = kind.field(name).type
    return kind


def names_within(name: str, selected: Any, schema: Any) -> list[str]:
    """Return the names of what `name` is of a selection, whose `schema` is given: that, or those of its fields."""
    path = find_path(name, schema, "The selection")
    inner = selected
    for part in path:
        inner = inner[part]
        if inner is None:
            return [name]
    return [f"{name}.{field}" for field in _below(inner)]


def _below(selected: Any) -> list[str]:
    found = []
    for name, inner in selected.items():
        found += [name] if inner is None else [f"{name}.{field}" for field in _below(inner)]
    return found
