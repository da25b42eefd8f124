"""Fields of dataclasses and named tuples: those of an object that was saved, against those that its class has now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from holdall_store.errors import FormatError, UnsafeLoadError, nearest
from holdall_store.serializers._nodes import malformed, member, text

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdall_store.serializers._protocol import Node
    from holdall_store.serializers._tree import TreeDecoder

__all__ = ["added_fields", "field_names", "in_fields"]

_EMPTY_MAKERS: Final = (list, dict, set, tuple, frozenset, str, bytes, bytearray, int, float)
"""Factories that run no code of the class."""


def field_names(obj: Any, stored: Collection[str]) -> dict[str, Node]:
    """Return what a node says of the fields of its class: nothing, where they are just what is stored."""
    names = [field.name for field in dataclasses.fields(obj)]
    return {} if set(names) == set(stored) else {"fields": names}


def added_fields(kind: Any, node: dict[str, Node], decoder: TreeDecoder) -> dict[str, Any]:
    """Return the defaults of the fields that a class was given since an object was saved.

    Raises `FormatError` where the class has lost a field, or was given one without a default: with its values under
    names that the class does not look at, an object would be broken, and nobody would be told.
    """
    stored = _stored_fields(node)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    gone = [name for name in stored if name not in fields]
    added = [field for field in fields.values() if field.name not in stored]
    required = [field for field in added if field.init and not _has_default(field)]
    if gone or required:
        raise FormatError(
            _explained(text(node, "class"), gone, [field.name for field in (added if gone else required)])
        )
    return {field.name: _default(field, node, decoder) for field in added if _has_default(field)}


def in_fields(kind: Any, node: dict[str, Node], items: list[Any]) -> list[Any]:
    """Return what a named tuple held, in the order in which its class has its fields now.

    Raises `FormatError` as `added_fields` does. Where a node has no names, nothing but their number can be compared.
    """
    fields: tuple[str, ...] = kind._fields
    if "fields" not in node:
        if len(items) != len(fields):
            raise FormatError(
                f"{text(node, 'class')} has {len(fields)} fields, and had {len(items)} when this was saved"
            )
        return items
    stored = _names(node, node["fields"])
    if len(stored) != len(items) or len(set(stored)) != len(stored):
        raise malformed(node, "its fields and its items do not agree")
    if tuple(stored) == fields:
        return items
    defaults = getattr(kind, "_field_defaults", {})
    gone = [name for name in stored if name not in fields]
    added = [name for name in fields if name not in stored]
    required = [name for name in added if name not in defaults]
    if gone or required:
        raise FormatError(_explained(text(node, "class"), gone, added if gone else required))
    values = {**defaults, **dict(zip(stored, items, strict=True))}
    return [values[name] for name in fields]


def _stored_fields(node: dict[str, Node]) -> list[str]:
    return _names(node, node.get("fields", list(member(node, "state"))))


def _names(node: dict[str, Node], names: Node) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed(node, "'fields' is not a list of names")
    return names


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: dataclasses.Field[Any], node: dict[str, Node], decoder: TreeDecoder) -> Any:
    factory = field.default_factory
    if factory is dataclasses.MISSING:
        return field.default
    if factory not in _EMPTY_MAKERS and not decoder.trusted:
        raise UnsafeLoadError(
            f"{text(node, 'class')} has the new field {field.name!r}, whose default would run code of the class: "
            "say that you trust the store, load(..., trust=True)"
        )
    return factory()


def _explained(name: str, gone: list[str], added: list[str]) -> str:
    parts = []
    if gone:
        parts.append(f"gone is {_listed(gone)}")
    if added:
        parts.append(f"new is {_listed(added)}" + ("" if gone else ", which has no default"))
    hint = nearest(gone[0], added) if gone else ""
    return (
        f"the fields of {name} have changed since this object was saved: {'; '.join(parts)}.{hint} "
        "Load with the code of that time, or give the class its fields back"
        + ("" if gone else ", or a default to the new ones")
    )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f", … ({len(names)} in all)" if len(names) > 5 else "")
