"""Polars dtypes as JSON, and back, and which dtype their values are stored in."""

from __future__ import annotations

from typing import Any

import polars as pl

from holdall_store.serializers._nodes import integer, malformed, member, nodes, text

__all__ = ["describe_dtype", "read_dtype", "stored_as"]

_PLAIN: dict[str, Any] = {
    name: getattr(pl, name)
    for name in (
        *("Boolean", "Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "UInt128"),
        *("Float16", "Float32", "Float64", "String", "Binary", "Date", "Time", "Null"),
    )
    if hasattr(pl, name)
}
_UNITS = ("ms", "us", "ns")
_WITHOUT_ARROW = {"Int128", "UInt128"}
_GLOBAL = ("", "", "UInt32")
"""Name, namespace and physical type of the categories that a categorical has if it is not told of others."""


def describe_dtype(dtype: Any) -> Any:
    """Return the JSON for a dtype, or None if there is none."""
    name = type(dtype).__name__
    if _PLAIN.get(name) == dtype:
        return name
    if isinstance(dtype, pl.Datetime):
        return {"dtype": "Datetime", "unit": dtype.time_unit, "tz": dtype.time_zone}
    if isinstance(dtype, pl.Duration):
        return {"dtype": "Duration", "unit": dtype.time_unit}
    if isinstance(dtype, pl.Decimal):
        return {"dtype": "Decimal", "precision": dtype.precision, "scale": dtype.scale}
    if isinstance(dtype, pl.Enum):
        return {"dtype": "Enum", "categories": dtype.categories.to_list()}
    if isinstance(dtype, pl.Categorical):
        return {"dtype": "Categorical"} | _describe_categories(dtype)
    return _describe_nested(dtype)


def read_dtype(node: Any) -> Any:
    """Return the dtype that the JSON describes."""
    if isinstance(node, str):
        if node not in _PLAIN:
            raise malformed(node, f"no dtype of polars is called {node!r} here")
        return _PLAIN[node]()
    name = text(node, "dtype")
    if name == "Datetime":
        return pl.Datetime(_unit(node), None if member(node, "tz") is None else text(node, "tz"))
    if name == "Duration":
        return pl.Duration(_unit(node))
    if name == "Decimal":
        return pl.Decimal(integer(node, "precision", 1, 38), integer(node, "scale", 0, 38))
    if name == "Enum":
        return pl.Enum(_texts(node))
    if name == "Categorical":
        return _read_categorical(node)
    if name == "List":
        return pl.List(read_dtype(member(node, "inner")))
    if name == "Array":
        return pl.Array(read_dtype(member(node, "inner")), integer(node, "width", 1, 2**31))
    if name == "Struct":
        return pl.Struct([pl.Field(text(field, "name"), read_dtype(member(field, "dtype"))) for field in _fields(node)])
    raise malformed(node, f"no dtype of polars is called {name!r} here")


def stored_as(dtype: Any) -> Any:
    """Return the dtype whose Arrow array says all that an array of `dtype` says: text, for what Arrow lacks."""
    if isinstance(dtype, pl.List):
        return pl.List(stored_as(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.Array(stored_as(dtype.inner), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, stored_as(field.dtype)) for field in dtype.fields])
    is_text = isinstance(dtype, (pl.Enum, pl.Categorical)) or type(dtype).__name__ in _WITHOUT_ARROW
    return pl.String() if is_text else dtype


def _describe_nested(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        fields = [{"name": field.name, "dtype": describe_dtype(field.dtype)} for field in dtype.fields]
        return None if any(field["dtype"] is None for field in fields) else {"dtype": "Struct", "fields": fields}
    if not isinstance(dtype, (pl.List, pl.Array)) or (isinstance(dtype, pl.Array) and not dtype.size):
        return None  # polars cannot take back arrays of no width from Arrow if some are null
    inner = describe_dtype(dtype.inner)
    if inner is None:
        return None
    if isinstance(dtype, pl.List):
        return {"dtype": "List", "inner": inner}
    return {"dtype": "Array", "inner": inner, "width": dtype.size}


def _describe_categories(dtype: Any) -> dict[str, Any]:
    categories = getattr(dtype, "categories", None)
    if categories is None:
        return {}
    described = (categories.name(), categories.namespace(), str(categories.physical()))
    return {} if described == _GLOBAL else dict(zip(("name", "namespace", "physical"), described, strict=True))


def _read_categorical(node: Any) -> Any:
    if "name" not in node:
        return pl.Categorical()
    physical = text(node, "physical")
    if physical not in ("UInt8", "UInt16", "UInt32"):
        raise malformed(node, f"categories are not counted in {physical!r}")
    return pl.Categorical(pl.Categories(text(node, "name"), text(node, "namespace"), _PLAIN[physical]))


def _texts(node: Any) -> list[str]:
    categories = nodes(node, "categories")
    if not all(isinstance(category, str) for category in categories):
        raise malformed(node, "its categories are not all text")
    return categories


def _fields(node: Any) -> list[Any]:
    fields = nodes(node, "fields")
    if len({text(field, "name") for field in fields}) != len(fields):
        raise malformed(node, "two fields have one name")
    return fields


def _unit(node: Any) -> Any:
    unit = text(node, "unit")
    if unit not in _UNITS:
        raise malformed(node, f"its unit {unit!r} is none of {', '.join(_UNITS)}")
    return unit
