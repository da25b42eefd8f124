"""Serializers of numpy's arrays, scalars and dtypes.

An array that is not contiguous comes back with equal values, contiguous; a ``memmap`` as an array of its values.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from holdall_store.serializers._nodes import boolean, bytes_node, malformed, member, read_bytes, text
from holdall_store.serializers._numpy_dtypes import Undescribed, describe_dtype, read_dtype, read_shape
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SERIALIZERS", "array_members", "read_array"]

_T = TypeVar("_T")

_CLASSES: dict[str, type[np.ndarray[Any, Any]]] = {
    "matrix": np.matrix,
    "recarray": np.recarray,
}

_STRINGS = np.dtypes.StringDType


def array_members(array: np.ndarray[Any, Any], encoder: Encoder) -> dict[str, Node]:
    """Return the members that hold the values of an array of fixed-size items, in its own order of dimensions."""
    array = np.asarray(array)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    flat = (array.T if fortran else np.ascontiguousarray(array)).reshape(-1)
    size = array.dtype.itemsize
    view = flat.view(np.uint8).data if array.nbytes else memoryview(b"")
    node: dict[str, Node] = {"dtype": describe_dtype(array.dtype), "shape": list(array.shape)}
    if fortran:
        node["order"] = "F"
    return {**node, **bytes_node(view, encoder, item_bytes=max(size, 1), dense=True)}


def read_array(node: dict[str, Node], decoder: Decoder) -> np.ndarray[Any, Any]:
    """Return what `array_members` stored: a writable view of the buffer."""
    dtype, shape = read_dtype(member(node, "dtype")), read_shape(node)
    data = read_bytes(node, decoder)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise malformed(node, f"its shape and dtype do not make the {len(data)} bytes that it has")
    order = _order(node)
    if not len(data):
        return _checked(node, np.ndarray, tuple(shape), dtype, order=order)
    array: np.ndarray[Any, Any] = np.ndarray(tuple(shape), dtype, buffer=data, order=order)
    return array if array.flags.aligned else array.copy(order)


def _order(node: dict[str, Node]) -> Any:
    order = node.get("order", "C")
    if order not in ("C", "F"):
        raise malformed(node, "'order' is neither C nor F")
    return order


def _checked(node: dict[str, Node], make: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Call numpy with what a node says, and say that it is the node's fault if numpy does not take it."""
    try:
        return make(*arguments, **options)
    except (TypeError, ValueError, OverflowError) as error:
        raise malformed(node, f"numpy does not take it ({error})") from None


class _Array(Serializer):
    """An array of any dtype, with or without a class of its own."""

    tag = "numpy.ndarray"

    def handles(self, obj: object) -> bool:
        kind = type(obj)
        if not isinstance(obj, np.ndarray) or kind not in (np.ndarray, np.memmap, *_CLASSES.values()):
            return False
        if kind in _CLASSES.values() and (vars(obj).keys() - {"_getitem"} or obj.dtype.hasobject):
            return False
        if kind is np.recarray and obj.dtype.names is not None and obj.dtype.type is not np.record:
            return False
        return _is_described(obj.dtype)

    def encode(self, obj: np.ndarray[Any, Any], encoder: Encoder) -> dict[str, Node]:
        if obj.dtype == object:
            return {"objects": _encode_objects(obj, encoder), **_layout(obj)}
        if isinstance(obj.dtype, _STRINGS):
            return {"strings": _encode_strings(obj, encoder), **_layout(obj)}
        name = next((name for name, kind in _CLASSES.items() if type(obj) is kind), None)
        return {**({"class": name} if name else {}), **array_members(obj, encoder)}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        if "objects" in node:
            return _filled(node, np.dtype(object), decoder.node(node["objects"]))
        if "strings" in node:
            dtype, values = _decode_strings(member(node, "strings"), decoder)
            return _filled(node, dtype, values)
        array = read_array(node, decoder)
        if "class" not in node:
            return array
        name = text(node, "class")
        if name not in _CLASSES or (name == "matrix" and array.ndim != 2):
            raise malformed(node, f"numpy has no such {name[:40]!r}")
        return _checked(node, array.view, _CLASSES[name])


def _is_described(dtype: np.dtype[Any]) -> bool:
    if isinstance(dtype, _STRINGS):
        return _describe_missing(dtype) is not None
    try:
        describe_dtype(dtype, objects=True)
    except Undescribed:
        return False
    return True


def _layout(array: np.ndarray[Any, Any]) -> dict[str, Node]:
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return {"shape": list(array.shape), **({"order": "F"} if fortran else {})}


def _encode_objects(array: np.ndarray[Any, Any], encoder: Encoder) -> list[Node]:
    """Encode the elements of an array of objects, in C order whatever the array's is."""
    flat = array.ravel()
    return [encoder.node(flat[index], f".flat[{index}]") for index in range(flat.size)]


def _filled(node: dict[str, Node], dtype: np.dtype[Any], values: Any) -> np.ndarray[Any, Any]:
    """Return an array with these elements, given in C order."""
    shape, order = read_shape(node), _order(node)
    if type(values) is not list or math.prod(shape) != len(values):
        raise malformed(node, "it does not have as many elements as its shape says")
    flat = np.empty(len(values), dtype=dtype)
    for index, value in enumerate(values):
        flat[index] = value
    array: np.ndarray[Any, Any] = flat.reshape(shape)
    return array.copy("F") if order == "F" else array


def _describe_missing(dtype: Any) -> dict[str, Node] | None:
    """Return what stands for a missing string, or None if a node cannot say it."""
    node: dict[str, Node] = {} if dtype.coerce else {"coerce": False}
    if not hasattr(dtype, "na_object"):
        return node
    missing = dtype.na_object
    if missing is None or type(missing) is str:
        return {**node, "missing": missing}
    if type(missing) is float and math.isnan(missing):
        return {**node, "missing": {"$": "float", "value": "nan"}}
    return None


def _encode_strings(array: np.ndarray[Any, Any], encoder: Encoder) -> dict[str, Node]:
    """Encode variable-width strings: their UTF-8 one after the other, and the length of each (-1: missing)."""
    values = [value.encode() if isinstance(value, str) else None for value in array.ravel().tolist()]
    missing = getattr(array.dtype, "na_object", None)
    if isinstance(missing, str):  # then a missing string and one that says the same cannot be told apart, nor need be
        values = [missing.encode() if value is None else value for value in values]
    lengths = np.array([-1 if value is None else len(value) for value in values], dtype="<i8")
    return {
        **(_describe_missing(array.dtype) or {}),
        "lengths": array_members(lengths, encoder),
        "text": bytes_node(memoryview(b"".join(value or b"" for value in values)), encoder),
    }


def _decode_strings(node: Node, decoder: Decoder) -> tuple[np.dtype[Any], list[Any]]:
    if not isinstance(node, dict):
        raise malformed(node, "'strings' is not an object")
    options: dict[str, Any] = {"coerce": boolean(node, "coerce", default=True)}
    if "missing" in node:
        missing = decoder.node(node["missing"])
        if not (missing is None or isinstance(missing, (str, float))):
            raise malformed(node, "'missing' is no None, NaN or string")
        options["na_object"] = missing
    parts = [member(node, key) for key in ("lengths", "text")]
    if not all(isinstance(part, dict) for part in parts):
        raise malformed(node, "'lengths' or 'text' is missing")
    lengths, data = read_array(parts[0], decoder), bytes(read_bytes(parts[1], decoder))
    if lengths.dtype != np.dtype("<i8") or lengths.ndim != 1:
        raise malformed(node, "'lengths' are not 64-bit integers")
    values: list[Any] = []
    position = 0
    for length in lengths.tolist():
        if length < -1 or position + length > len(data) or (length == -1 and "missing" not in node):
            raise malformed(node, "a string has an impossible length")
        values.append(options["na_object"] if length == -1 else _text(node, data[position : position + length]))
        position += max(length, 0)
    return np.dtype(_STRINGS(**options)), values


def _text(node: dict[str, Node], data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise malformed(node, f"a string is not UTF-8 ({error.reason})") from None


class _MaskedArray(Serializer):
    """Also what the mask hides, the fill value, and whether the mask is hard."""

    tag = "numpy.MaskedArray"

    def handles(self, obj: object) -> bool:
        return (
            type(obj) is np.ma.MaskedArray
            and type(obj.data) is np.ndarray
            and not getattr(obj, "_optinfo", None)
            and not obj.dtype.hasobject
            and _is_described(obj.dtype)
        )

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        fill = obj._fill_value  # noqa: SLF001 - reading `fill_value` would set it
        return {
            "data": array_members(obj.data, encoder),
            "mask": None if obj.mask is np.ma.nomask else array_members(obj.mask, encoder),
            "fill": None if fill is None else array_members(np.asarray(fill), encoder),
            "hard": bool(obj.hardmask),
        }

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        parts = {}
        for key in ("data", "mask", "fill"):
            part = member(node, key)
            if not isinstance(part, dict) and (part is not None or key == "data"):
                raise malformed(node, f"{key!r} is no array")
            parts[key] = None if part is None else read_array(part, decoder)
        data, mask, fill = parts["data"], parts["mask"], parts["fill"]
        hard = boolean(node, "hard")
        if data is None or (mask is not None and mask.shape != data.shape):
            raise malformed(node, "its mask has another shape than its data")
        if mask is not None and mask.dtype != np.ma.make_mask_descr(data.dtype):
            raise malformed(node, "its mask has a dtype that does not fit its data")
        if fill is not None and (fill.dtype != data.dtype or fill.ndim):
            raise malformed(node, "its fill value does not fit its data")
        array: Any = np.ma.MaskedArray(data, mask=np.ma.nomask if mask is None else mask, copy=False, hard_mask=hard)
        array._fill_value = fill  # noqa: SLF001 - the public way makes another of the same value
        return array


class _Scalar(Serializer):
    """A numpy scalar: readable where a JSON value says it exactly, else its bytes."""

    tag = "numpy.scalar"
    identity: ClassVar[bool] = False

    def handles(self, obj: object) -> bool:
        if not isinstance(obj, np.generic) or obj.dtype.type is not type(obj):
            return False
        return type(obj).__module__ == "numpy" and not obj.dtype.hasobject and _is_described(obj.dtype)

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        dtype = obj.dtype
        if isinstance(obj, (np.str_, np.bytes_)):  # an array would drop the zeros at the end
            value = str.__str__(obj) if isinstance(obj, np.str_) else bytes(obj)  # str() drops zeros too
            return {"dtype": dtype.str[:2] + "0", "value": encoder.node(value, "")}
        spec = describe_dtype(dtype)
        if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8 and math.isfinite(obj)):
            return {"dtype": spec, "value": encoder.node(obj.item(), "")}
        return {"dtype": spec, **bytes_node(memoryview(obj.tobytes()), encoder)}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        dtype = read_dtype(member(node, "dtype"))
        if "value" in node:
            value = decoder.node(node["value"])
            expected = {"b": bool, "i": int, "u": int, "f": float, "U": str, "S": bytes}.get(dtype.kind)
            if type(value) is not expected:
                raise malformed(node, "its value is not of its dtype")
            return _checked(node, dtype.type, value)
        data = read_bytes(node, decoder)
        if dtype.itemsize != len(data):
            raise malformed(node, f"its dtype does not make the {len(data)} bytes that it has")
        if not len(data):
            return np.zeros((), dtype)[()]
        array: np.ndarray[Any, Any] = np.ndarray((), dtype, buffer=data)
        return array[()]


class _Dtype(Serializer):
    tag = "numpy.dtype"
    identity: ClassVar[bool] = False

    def handles(self, obj: object) -> bool:
        return isinstance(obj, np.dtype) and _is_described(obj) and not isinstance(obj, _STRINGS)

    def encode(self, obj: np.dtype[Any], encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002
        return {"dtype": describe_dtype(obj, objects=True)}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> np.dtype[Any]:  # noqa: ARG002
        return read_dtype(member(node, "dtype"), objects=True)


SERIALIZERS: tuple[Serializer, ...] = (_Array(), _Scalar(), _MaskedArray(), _Dtype())
"""Numpy's serializers; arrays first, because they are what there is most of."""
