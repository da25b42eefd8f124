"""Numpy's dtypes as JSON: everything that has a fixed size, exactly, and nothing from a node that has not been checked."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np

from holdall_store.serializers._nodes import boolean, integer, malformed, member, nodes
from holdall_store.serializers._protocol import Node

__all__ = ["MAX_DIMENSIONS", "Undescribed", "describe_dtype", "read_dtype", "read_shape"]

MAX_DIMENSIONS = 64
"""As many as numpy allows."""

_MAX_FIELD_LEVELS = 32
"""Records in records: more than anybody nests, and few enough for the stack."""

_SIMPLE = re.compile(r"[<>|](?:[biufcSUV][0-9]{1,9}|[mM]8(?:\[[0-9]{0,10}(?:[YMWDhms]|ms|us|ns|ps|fs|as)\])?|[qQlL])")
"""What ``dtype.str`` says of a dtype with no fields; and of C types that have the size of another, their letter."""


class Undescribed(Exception):
    """The dtype holds what a node cannot say: objects, metadata, titles that are no strings."""


def describe_dtype(dtype: np.dtype[Any], *, objects: bool = False) -> Node:
    """Return a dtype as JSON, or raise `Undescribed`."""
    if dtype.metadata is not None:
        raise Undescribed
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": describe_dtype(base), "shape": list(shape)}
    if dtype.names is not None:
        return _describe_fields(dtype)
    if objects and dtype == np.dtype(object):
        return "|O"
    if dtype.hasobject or not _SIMPLE.fullmatch(dtype.str):
        raise Undescribed
    if dtype.char in "gG":  # the same size on two machines may be two formats
        return {"float": dtype.str, "mantissa": int(np.finfo(np.longdouble).nmant)}
    if np.dtype(dtype.str).num != dtype.num:
        order = {"little": "<", "big": ">"}[sys.byteorder] if dtype.byteorder == "=" else dtype.byteorder
        return f"{order}{dtype.char}"
    return dtype.str


def _describe_fields(dtype: np.dtype[Any]) -> Node:
    fields: list[Node] = []
    for name in dtype.names or ():
        field, offset, *title = dtype.fields[name]  # type: ignore[index]
        if not all(type(text) is str and _is_utf8(text) for text in (name, *title)):
            raise Undescribed
        fields.append([name, describe_dtype(field), offset, *title])
    node: dict[str, Node] = {"fields": fields, "itemsize": dtype.itemsize}
    if dtype.isalignedstruct:
        node["aligned"] = True
    if dtype.type is np.record:
        node["record"] = True
    elif dtype.type is not np.void:
        raise Undescribed
    if read_dtype(node) != dtype:
        raise Undescribed
    return node


def _is_utf8(text: str) -> bool:
    """Tell whether JSON can hold a string."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_dtype(node: Node, *, objects: bool = False, level: int = 0) -> np.dtype[Any]:
    """Return the dtype that a node describes; one of objects only if the caller can do with that."""
    if objects and node == "|O":
        return np.dtype(object)
    if level > _MAX_FIELD_LEVELS:
        raise malformed(node, "its dtype is nested too deeply")
    try:
        if isinstance(node, str) and _SIMPLE.fullmatch(node):
            return np.dtype(node)
        if isinstance(node, dict) and "base" in node:
            return np.dtype((read_dtype(node["base"], level=level + 1), tuple(read_shape(node))))
        if isinstance(node, dict) and "float" in node:
            return _read_long_double(node)
        if isinstance(node, dict) and "fields" in node:
            return _read_fields(node, level)
    except (TypeError, ValueError, OverflowError, SyntaxError, MemoryError) as error:
        raise malformed(node, f"numpy does not take its dtype ({error})") from None
    raise malformed(node, f"{str(node)[:80]!r} is no dtype")


def read_shape(node: dict[str, Node]) -> list[int]:
    """Return the shape that a node holds."""
    shape = nodes(node, "shape")
    if len(shape) > MAX_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise malformed(node, f"its shape is not a list of up to {MAX_DIMENSIONS} sizes")
    if math.prod(size or 1 for size in shape) >= 2**63:
        raise malformed(node, "its shape is too large")
    return shape


def _read_long_double(node: dict[str, Node]) -> np.dtype[Any]:
    name = member(node, "float")
    if name not in {np.dtype(order + code).str for code in "gG" for order in "<>"}:
        raise malformed(node, "this machine has no such long double: convert it to float64 before saving it")
    if integer(node, "mantissa") != np.finfo(np.longdouble).nmant:
        raise malformed(node, "this machine has another long double: convert it to float64 before saving it")
    return np.dtype(name)


def _read_fields(node: dict[str, Node], level: int) -> np.dtype[Any]:
    spec: dict[str, list[Any]] = {"names": [], "formats": [], "offsets": [], "titles": []}
    for field in nodes(node, "fields"):
        if not isinstance(field, list) or not 3 <= len(field) <= 4:
            raise malformed(node, "a field is not a name, a dtype and an offset")
        name, kind, offset, title = (*field, None)[:4]
        if not isinstance(name, str) or type(offset) is not int or not (title is None or isinstance(title, str)):
            raise malformed(node, "a field is not a name, a dtype and an offset")
        for key, value in zip(spec, (name, read_dtype(kind, level=level + 1), offset, title), strict=True):
            spec[key].append(value)
    if all(title is None for title in spec["titles"]):
        del spec["titles"]
    itemsize = integer(node, "itemsize", maximum=2**31 - 1)
    dtype = np.dtype({**spec, "itemsize": itemsize, "aligned": boolean(node, "aligned", default=False)})  # type: ignore[call-overload]
    return np.dtype((np.record, dtype)) if boolean(node, "record", default=False) else dtype
