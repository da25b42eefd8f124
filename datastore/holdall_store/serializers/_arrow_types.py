"""Arrow types, fields and schemas as JSON, and back."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from holdall_store.errors import MissingDependencyError
from holdall_store.serializers._buffers import mapping
from holdall_store.serializers._nodes import boolean, integer, malformed, member, nodes, text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Unnamed", "describe_schema", "describe_type", "read_schema", "read_type"]

_PLAIN: dict[str, pa.DataType] = {
    str(plain): plain
    for plain in (
        *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
        *(pa.date32(), pa.date64(), pa.month_day_nano_interval()),
        *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
    )
}
_UNITS = ("s", "ms", "us", "ns")
_DECIMALS: dict[str, tuple[Callable[[int, int], pa.DataType], int]] = {
    "decimal32": (pa.decimal32, 9),
    "decimal64": (pa.decimal64, 18),
    "decimal128": (pa.decimal128, 38),
    "decimal256": (pa.decimal256, 76),
}
_LISTS: dict[str, tuple[Callable[[pa.DataType], bool], Callable[[pa.Field], pa.DataType]]] = {
    "list": (pa.types.is_list, pa.list_),
    "large_list": (pa.types.is_large_list, pa.large_list),
    "list_view": (pa.types.is_list_view, pa.list_view),
    "large_list_view": (pa.types.is_large_list_view, pa.large_list_view),
}
_INT32_MAX = 2**31 - 1


class Unnamed(TypeError):
    """An Arrow type that could not be read back as itself."""


def describe_type(kind: pa.DataType) -> Any:
    """Return the JSON for a type; `Unnamed` where `read_type` would give something else."""
    name = str(kind)
    if name in _PLAIN and _PLAIN[name] == kind:
        return name
    if isinstance(kind, pa.BaseExtensionType):
        return _describe_extension(kind)
    for name, (matches, _) in _LISTS.items():
        if matches(kind):
            return {"type": name, "item": _describe_field(kind.value_field)}
    for describe in (_describe_scalar, _describe_nested):
        described = describe(kind)
        if described is not None:
            return described
    raise Unnamed(f"the Arrow type {kind} is not known to this version of holdall")


def read_type(node: Any) -> pa.DataType:
    """Return the type that the JSON describes."""
    if isinstance(node, str):
        if node not in _PLAIN:
            raise malformed(node, f"no Arrow type is called {node!r}")
        return _PLAIN[node]
    name = text(node, "type")
    if name == "extension":
        return _read_extension(node)
    if name in _LISTS:
        return _LISTS[name][1](_read_field(mapping(node, "item")))
    if name in _DECIMALS:
        make, most = _DECIMALS[name]
        return make(integer(node, "precision", 1, most), integer(node, "scale", -(2**31), _INT32_MAX))
    if name in _READERS:
        return _READERS[name](node)
    raise malformed(node, f"no Arrow type is called {name!r}")


def describe_schema(schema: pa.Schema) -> dict[str, Any]:
    """Return the JSON for a schema: its fields and metadata."""
    described: dict[str, Any] = {"fields": [_describe_field(field) for field in schema]}
    if schema.metadata is not None:
        described["metadata"] = _describe_metadata(schema.metadata)
    return described


def read_schema(node: Any) -> pa.Schema:
    """Return the schema that the JSON describes."""
    return pa.schema([_read_field(field) for field in nodes(node, "fields")], metadata=_read_metadata(node))


def _describe_scalar(kind: pa.DataType) -> dict[str, Any] | None:
    types = pa.types
    if types.is_timestamp(kind):
        return {"type": "timestamp", "unit": kind.unit} | ({} if kind.tz is None else {"tz": kind.tz})
    if types.is_time32(kind) or types.is_time64(kind):
        return {"type": "time32" if types.is_time32(kind) else "time64", "unit": kind.unit}
    if types.is_duration(kind):
        return {"type": "duration", "unit": kind.unit}
    if types.is_decimal(kind):
        return {"type": f"decimal{kind.bit_width}", "precision": kind.precision, "scale": kind.scale}
    if types.is_fixed_size_binary(kind):
        return {"type": "fixed_size_binary", "bytes": kind.byte_width}
    return None


def _describe_nested(kind: pa.DataType) -> dict[str, Any] | None:
    types = pa.types
    if types.is_fixed_size_list(kind):
        return {"type": "fixed_size_list", "item": _describe_field(kind.value_field), "items": kind.list_size}
    if types.is_struct(kind):
        return {"type": "struct", "fields": [_describe_field(kind.field(i)) for i in range(kind.num_fields)]}
    if types.is_map(kind):
        pair = {"key": _describe_field(kind.key_field), "item": _describe_field(kind.item_field)}
        return {"type": "map", **pair, "sorted": kind.keys_sorted}
    if types.is_dictionary(kind):
        pair = {"index": describe_type(kind.index_type), "values": describe_type(kind.value_type)}
        return {"type": "dictionary", **pair, "ordered": kind.ordered}
    if types.is_run_end_encoded(kind):
        pair = {"run_end": describe_type(kind.run_end_type), "values": describe_type(kind.value_type)}
        return {"type": "run_end_encoded", **pair}
    if types.is_union(kind):
        fields = [_describe_field(kind.field(i)) for i in range(kind.num_fields)]
        return {"type": "union", "mode": kind.mode, "fields": fields, "codes": list(kind.type_codes)}
    return None


def _unit(node: Any, units: tuple[str, ...]) -> str:
    unit = text(node, "unit")
    if unit not in units:
        raise malformed(node, f"its unit {unit!r} is none of {', '.join(units)}")
    return unit


def _read_union(node: Any) -> pa.DataType:
    fields = [_read_field(field) for field in nodes(node, "fields")]
    codes = nodes(node, "codes")
    distinct = {code for code in codes if type(code) is int and 0 <= code < 128}
    if not len(distinct) == len(codes) == len(fields):
        raise malformed(node, "the codes of a union are not distinct numbers from 0 to 127, one for each field")
    return (pa.dense_union if text(node, "mode") == "dense" else pa.sparse_union)(fields, codes)


def _read_dictionary(node: Any) -> pa.DataType:
    index = read_type(member(node, "index"))
    if not pa.types.is_integer(index):
        raise malformed(node, "the index of a dictionary type is not an integer")
    return pa.dictionary(index, read_type(member(node, "values")), boolean(node, "ordered"))


def _read_run_end_encoded(node: Any) -> pa.DataType:
    run_end = read_type(member(node, "run_end"))
    if run_end not in (pa.int16(), pa.int32(), pa.int64()):
        raise malformed(node, "the run ends of a type are not 16, 32 or 64 bits wide")
    return pa.run_end_encoded(run_end, read_type(member(node, "values")))


def _read_map(node: Any) -> pa.DataType:
    key, item = _read_field(mapping(node, "key")), _read_field(mapping(node, "item"))
    return pa.map_(key, item, keys_sorted=boolean(node, "sorted"))


def _read_timestamp(node: Any) -> pa.DataType:
    return pa.timestamp(_unit(node, _UNITS), text(node, "tz") if "tz" in node else None)


_READERS: dict[str, Callable[[Any], pa.DataType]] = {
    "timestamp": _read_timestamp,
    "time32": lambda node: pa.time32(_unit(node, _UNITS[:2])),
    "time64": lambda node: pa.time64(_unit(node, _UNITS[2:])),
    "duration": lambda node: pa.duration(_unit(node, _UNITS)),
    "fixed_size_binary": lambda node: pa.binary(integer(node, "bytes", 0, _INT32_MAX)),
    "fixed_size_list": lambda node: pa.list_(_read_field(mapping(node, "item")), integer(node, "items", 0, _INT32_MAX)),
    "struct": lambda node: pa.struct([_read_field(field) for field in nodes(node, "fields")]),
    "map": _read_map,
    "dictionary": _read_dictionary,
    "run_end_encoded": _read_run_end_encoded,
    "union": _read_union,
}


def _describe_field(field: pa.Field) -> dict[str, Any]:
    described: dict[str, Any] = {"name": field.name, "type": describe_type(field.type)}
    if not field.nullable:
        described["nullable"] = False
    if field.metadata is not None:
        described["metadata"] = _describe_metadata(field.metadata)
    return described


def _read_field(node: Any) -> pa.Field:
    name = text(node, "name")
    nullable = boolean(node, "nullable") if "nullable" in node else True
    return pa.field(name, read_type(member(node, "type")), nullable, _read_metadata(node))


def _describe_metadata(metadata: dict[bytes, bytes]) -> list[list[Any]]:
    return [[_describe_bytes(key), _describe_bytes(value)] for key, value in metadata.items()]


def _read_metadata(node: Any) -> dict[bytes, bytes] | None:
    if "metadata" not in node:
        return None
    pairs = nodes(node, "metadata")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise malformed(node, "'metadata' is not made of pairs")
    return {_read_bytes(key): _read_bytes(value) for key, value in pairs}


def _describe_bytes(raw: bytes) -> Any:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def _read_bytes(node: Any) -> bytes:
    if isinstance(node, str):
        return node.encode("utf-8")
    try:
        return base64.b64decode(text(node, "base64"), validate=True)
    except binascii.Error as error:
        raise malformed(node, f"'base64' is not base64 ({error})") from error


def _describe_extension(kind: pa.BaseExtensionType) -> dict[str, Any]:
    # A schema message is how Arrow itself writes an extension type down, whichever language defines it.
    message = pa.schema([pa.field("", kind)]).serialize().to_pybytes()
    if pa.ipc.read_schema(pa.py_buffer(message)).field(0).type != kind:
        raise Unnamed(
            f"the extension type {kind.extension_name!r} is not registered, so it could not be read back; "
            "call pyarrow.register_extension_type first, or save the storage array"
        )
    return {"type": "extension", "name": kind.extension_name, "message": base64.b64encode(message).decode("ascii")}


def _read_extension(node: Any) -> pa.DataType:
    name = text(node, "name")
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text(node, "message"), validate=True)))
    except (binascii.Error, pa.ArrowException, OSError) as error:
        raise malformed(node, f"the Arrow extension type {name!r} cannot be read ({error})") from error
    kind = schema.field(0).type if len(schema) else None
    if not isinstance(kind, pa.BaseExtensionType):
        raise MissingDependencyError(
            f"A column has the Arrow extension type {name!r}, which is not registered in this process. "
            "Import the library that defines it, or call pyarrow.register_extension_type, and load again."
        )
    return kind
