"""Serializers of Python's own values that hold no other objects."""

from __future__ import annotations

import array
import datetime
import decimal
import math
import pathlib
import sys
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from holdall_store.errors import FormatError, MissingDependencyError
from holdall_store.serializers._nodes import INLINE_BYTES, bytes_node, integer, malformed, member, read_bytes, text
from holdall_store.serializers._tree import BuiltinSerializer, TreeDecoder

if TYPE_CHECKING:
    import fractions
    import zoneinfo
    from collections.abc import Callable

    from holdall_store.serializers._protocol import Encoder, Node

__all__ = ["BY_NAME", "INLINE_CHARACTERS", "INLINE_INTEGER", "SERIALIZERS", "encode_float", "encode_int", "encode_str"]

_T = TypeVar("_T")

INLINE_INTEGER = 2**53
"""Whole numbers up to this are JSON numbers: past it, some readers of JSON round them."""

INLINE_CHARACTERS = 4096
"""Strings up to this stand in the node: a record should stay something that a person can read."""

_INLINE_BITS = 8192
"""Whole numbers up to this are hexadecimal in the node."""

_FRACTION_BITS = 2**16
"""Fractions of longer numbers are pickled: reducing those of a hostile node would take forever."""


def encode_int(value: int, encoder: Encoder) -> Node:
    """Encode a whole number of any size; hexadecimal, because decimal stops at 4300 digits and takes quadratic time."""
    if -INLINE_INTEGER <= value <= INLINE_INTEGER:
        return value
    bits = value.bit_length()
    if bits <= _INLINE_BITS:
        return {"$": "int", "hex": hex(value)}
    return {"$": "int", "buffer": encoder.buffer(value.to_bytes(bits // 8 + 1, "little", signed=True))}


def encode_float(value: float) -> Node:
    """Encode a float; JSON has no NaN and no infinity."""
    if math.isfinite(value):
        return value
    return {"$": "float", "value": repr(value)}


def encode_str(value: str, encoder: Encoder) -> Node:
    """Encode a string; one that UTF-8 cannot hold (it has half of a surrogate pair) as bytes."""
    if len(value) <= INLINE_CHARACTERS and value.isascii():
        return value
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError:
        return {"$": "str", **bytes_node(memoryview(value.encode("utf-8", "surrogatepass")), encoder)}
    if len(value) <= INLINE_CHARACTERS:
        return value
    return {"$": "str", "buffer": encoder.buffer(data)}


class _Int(BuiltinSerializer):
    tag = "int"
    identity = False

    def encode(self, obj: int, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = encode_int(obj, encoder)
        return node

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> int:
        if "buffer" in node:
            return int.from_bytes(read_bytes(node, decoder), "little", signed=True)
        return _parse(node, text(node, "hex"), lambda value: int(value, 16), ValueError)


class _Float(BuiltinSerializer):
    tag = "float"
    identity = False

    def encode(self, obj: float, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        node: dict[str, Node] = encode_float(obj)
        return node

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> float:  # noqa: ARG002
        return _parse(node, text(node, "value"), float, ValueError)


class _Str(BuiltinSerializer):
    tag = "str"

    def encode(self, obj: str, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = encode_str(obj, encoder)
        return node

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> str:
        try:
            return str(read_bytes(node, decoder), "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise malformed(node, f"its bytes are not text ({error.reason})") from None


class _Bytes(BuiltinSerializer):
    tag = "bytes"

    def is_value(self, obj: object) -> bool:
        return len(obj) <= INLINE_BYTES  # type: ignore[arg-type]

    def encode(self, obj: bytes, encoder: Encoder) -> dict[str, Node]:
        return bytes_node(memoryview(obj), encoder)

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> bytes:
        return bytes(read_bytes(node, decoder))


class _Bytearray(BuiltinSerializer):
    tag = "bytearray"
    leaf = True
    mutable = True

    def encode(self, obj: bytearray, encoder: Encoder) -> dict[str, Node]:
        return bytes_node(memoryview(obj), encoder)

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> bytearray:
        return bytearray(read_bytes(node, decoder))


class _Array(BuiltinSerializer):
    """``array.array`` of numbers, stored little-endian."""

    tag = "array"
    leaf = True
    mutable = True

    def handles(self, obj: object) -> bool:
        return isinstance(obj, array.array) and obj.typecode != "u"

    def encode(self, obj: array.array[Any], encoder: Encoder) -> dict[str, Node]:
        if sys.byteorder == "big":
            obj = array.array(obj.typecode, obj)
            obj.byteswap()
        view = memoryview(obj).cast("B")
        size = obj.itemsize
        return {"typecode": obj.typecode, "size": size, **bytes_node(view, encoder, item_bytes=size, dense=True)}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> array.array[Any]:
        code = text(node, "typecode")
        if code not in tuple("bBhHiIlLqQfd"):
            raise malformed(node, "its type code is none of array.array's")
        result: array.array[Any] = array.array(code)
        if integer(node, "size") != result.itemsize:
            raise malformed(node, f"items of type {code!r} have another size on this machine")
        data = read_bytes(node, decoder)
        if len(data) % result.itemsize:
            raise malformed(node, "its last item is cut off")
        result.frombytes(data)
        if sys.byteorder == "big":
            result.byteswap()
        return result


class _Complex(BuiltinSerializer):
    tag = "complex"
    identity = False

    def encode(self, obj: complex, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        return {"real": encode_float(obj.real), "imag": encode_float(obj.imag)}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> complex:
        real, imag = decoder.node(member(node, "real")), decoder.node(member(node, "imag"))
        if type(real) is not float or type(imag) is not float:
            raise malformed(node, "its parts are not floats")
        return complex(real, imag)


class _Text(BuiltinSerializer):
    """A value that one string says exactly."""

    identity = False

    def __init__(self, tag: str, parse: Callable[[str], Any], write: Callable[[Any], str] = str) -> None:
        self.tag = tag  # type: ignore[misc]
        self._parse = parse
        self._write = write

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        return {"value": encode_str(self._write(obj), encoder)}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        value = decoder.node(member(node, "value"))
        if not isinstance(value, str):
            raise malformed(node, "'value' is not a string")
        return _parse(node, value, self._parse, (ValueError, ArithmeticError))


class _Clock(BuiltinSerializer):
    """A ``datetime`` or a ``time``: ISO text, the time zone beside it."""

    identity = False

    def __init__(self, tag: str, kind: Any) -> None:
        self.tag = tag  # type: ignore[misc]
        self._kind = kind

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = {"value": obj.replace(tzinfo=None).isoformat()}
        if obj.fold:
            node["fold"] = 1
        if obj.tzinfo is not None:
            node["zone"] = encoder.node(obj.tzinfo, ".tzinfo")
        return node

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        value = _parse(node, text(node, "value"), self._kind.fromisoformat, ValueError)
        fold = integer({"fold": 0, **node}, "fold", maximum=1)
        zone = decoder.node(node.get("zone"))
        if zone is not None and not isinstance(zone, datetime.tzinfo):
            raise malformed(node, "'zone' is no time zone")
        return value.replace(fold=fold, tzinfo=zone)


class _Timedelta(BuiltinSerializer):
    tag = "timedelta"
    identity = False

    def encode(self, obj: datetime.timedelta, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        return {"days": obj.days, "seconds": obj.seconds, "microseconds": obj.microseconds}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> datetime.timedelta:  # noqa: ARG002
        return datetime.timedelta(
            integer(node, "days", -999_999_999, 999_999_999),
            integer(node, "seconds", 0, 86_399),
            integer(node, "microseconds", 0, 999_999),
        )


class _Timezone(BuiltinSerializer):
    """A fixed offset, in whole microseconds, and its name if it was given one."""

    tag = "timezone"
    identity = False

    def encode(self, obj: datetime.timezone, encoder: Encoder) -> dict[str, Node]:
        offset, *name = obj.__getinitargs__()  # type: ignore[attr-defined]
        node: dict[str, Node] = {"microseconds": offset // datetime.timedelta(microseconds=1)}
        if name:
            node["name"] = encode_str(name[0], encoder)
        return node

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> datetime.timezone:
        day = 86_400_000_000
        offset = datetime.timedelta(microseconds=integer(node, "microseconds", 1 - day, day - 1))
        if "name" not in node:
            return datetime.timezone(offset)
        name = decoder.node(node["name"])
        if not isinstance(name, str):
            raise malformed(node, "'name' is not a string")
        return datetime.timezone(offset, name)


class _ZoneInfo(BuiltinSerializer):
    tag = "zoneinfo"
    identity = False

    def handles(self, obj: object) -> bool:
        """Take the zone that its key gives back; those read from a file, or made past the cache, are others."""
        import zoneinfo  # with the first of them: most objects hold none

        if not isinstance(obj, zoneinfo.ZoneInfo) or not obj.key:
            return False
        try:
            return zoneinfo.ZoneInfo(obj.key) is obj
        except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
            return False

    def encode(self, obj: zoneinfo.ZoneInfo, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        return {"key": obj.key}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> zoneinfo.ZoneInfo:  # noqa: ARG002
        import zoneinfo

        key = text(node, "key")
        try:
            return zoneinfo.ZoneInfo(key)
        except zoneinfo.ZoneInfoNotFoundError as error:
            raise MissingDependencyError(
                f"the time zone {key[:80]!r} is not known to this system: pip install tzdata", name="tzdata"
            ) from error
        except (OSError, ValueError) as error:
            raise malformed(node, f"{key[:80]!r} names no time zone") from error


class _Fraction(BuiltinSerializer):
    tag = "fraction"
    identity = False

    def handles(self, obj: object) -> bool:
        import fractions

        return (
            isinstance(obj, fractions.Fraction)
            and type(obj.numerator) is int
            and type(obj.denominator) is int
            and max(obj.numerator.bit_length(), obj.denominator.bit_length()) <= _FRACTION_BITS
        )

    def encode(self, obj: fractions.Fraction, encoder: Encoder) -> dict[str, Node]:
        return {
            "numerator": encode_int(obj.numerator, encoder),
            "denominator": encode_int(obj.denominator, encoder),
        }

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> fractions.Fraction:
        numbers = [decoder.node(member(node, key)) for key in ("numerator", "denominator")]
        if not all(type(number) is int and number.bit_length() <= _FRACTION_BITS for number in numbers):
            raise malformed(node, "its parts are not whole numbers of a bearable size")
        if numbers[1] <= 0:
            raise malformed(node, "its denominator is not positive")
        import fractions

        return fractions.Fraction(*numbers)


class _Uuid(BuiltinSerializer):
    tag = "uuid"
    identity = False

    def encode(self, obj: uuid.UUID, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        safe = {} if obj.is_safe is uuid.SafeUUID.unknown else {"safe": obj.is_safe is uuid.SafeUUID.safe}
        return {"value": str(obj), **safe}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> uuid.UUID:  # noqa: ARG002
        safe = {None: uuid.SafeUUID.unknown, True: uuid.SafeUUID.safe, False: uuid.SafeUUID.unsafe}
        said = node.get("safe")
        if said is not None and not isinstance(said, bool):
            raise malformed(node, "'safe' is neither true nor false")
        return _parse(node, text(node, "value"), lambda value: uuid.UUID(value, is_safe=safe[said]), ValueError)


class _Triple(BuiltinSerializer):
    """A ``range`` or a ``slice``."""

    identity = False

    def __init__(self, tag: str, kind: type[range | slice[Any, Any, Any]]) -> None:
        self.tag = tag  # type: ignore[misc]
        self._kind = kind

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        return {key: encoder.node(getattr(obj, key), f".{key}") for key in ("start", "stop", "step")}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        parts = [decoder.node(member(node, key)) for key in ("start", "stop", "step")]
        if self._kind is range and not (all(type(part) is int for part in parts) and parts[2]):
            raise malformed(node, "a range takes three whole numbers, and a step that is not 0")
        return self._kind(*parts)


class _Constant(BuiltinSerializer):
    identity = False

    def __init__(self, value: object) -> None:
        self.tag = repr(value)  # type: ignore[misc]
        self._value = value

    def encode(self, obj: object, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        return {}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:  # noqa: ARG002
        return self._value


def _parse(
    node: dict[str, Node],
    value: str,
    parse: Callable[[str], _T],
    errors: type[Exception] | tuple[type[Exception], ...],
) -> _T:
    """Parse a string that a node holds."""
    try:
        return parse(value)
    except errors as error:
        raise malformed(node, f"{value[:80]!r} cannot be read ({error})") from None


def _path(tag: str, kind: Callable[[str], pathlib.PurePath]) -> Callable[[str], pathlib.PurePath]:
    """Return what makes a path, and says so where the other system's paths cannot be made."""

    def parse(value: str) -> pathlib.PurePath:
        try:
            return kind(value)
        except NotImplementedError as error:
            raise FormatError(f"{value!r} is a {tag}, which cannot exist on this system") from error

    return parse


SERIALIZERS: dict[type, BuiltinSerializer] = {
    int: _Int(),
    float: _Float(),
    str: _Str(),
    bytes: _Bytes(),
    bytearray: _Bytearray(),
    array.array: _Array(),
    complex: _Complex(),
    datetime.date: _Text("date", datetime.date.fromisoformat),
    datetime.datetime: _Clock("datetime", datetime.datetime),
    datetime.time: _Clock("time", datetime.time),
    datetime.timedelta: _Timedelta(),
    datetime.timezone: _Timezone(),
    decimal.Decimal: _Text("decimal", decimal.Decimal),
    uuid.UUID: _Uuid(),
    range: _Triple("range", range),
    slice: _Triple("slice", slice),
    type(Ellipsis): _Constant(Ellipsis),
    type(NotImplemented): _Constant(NotImplemented),
    **{
        kind: _Text(tag, _path(tag, kind))
        for tag, kind in {
            "posixpath": pathlib.PosixPath,
            "windowspath": pathlib.WindowsPath,
            "pureposixpath": pathlib.PurePosixPath,
            "purewindowspath": pathlib.PureWindowsPath,
        }.items()
    },
}
"""Exact type → its serializer."""

BY_NAME: dict[tuple[str, str], BuiltinSerializer] = {
    ("fractions", "Fraction"): _Fraction(),
    ("zoneinfo", "ZoneInfo"): _ZoneInfo(),
}
"""Module and name of a type → its serializer, where importing the module just to compare types would cost."""
