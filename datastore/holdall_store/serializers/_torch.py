"""Serializers of torch's tensors and parameters, and how tensors inside a pickle leave their bytes out of it.

Every tensor is saved with its own values: two that share their storage come back apart, one that occurs twice comes
back as one. All come back on the CPU, without gradients and without the graph that computed them.
"""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from holdall_store.serializers._buffers import MAX_ITEMS, Array, get, numbers_in, put, reading
from holdall_store.serializers._nodes import boolean, integers, malformed, text
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REDUCERS", "SERIALIZERS", "rebuild_tensor", "reduce_tensor"]

_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
    if hasattr(torch, name)
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_HOOKS = "_backward_hooks"


class _TensorSerializer(Serializer):
    """Tensors."""

    tag = "torch.Tensor"

    def handles(self, obj: object) -> bool:
        return type(obj) is torch.Tensor and _is_plain(obj)

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        array, order = _bytes_of(obj)
        node: dict[str, Any] = {"dtype": _NAMES[obj.dtype], "shape": list(obj.shape), "buffers": {}}
        put(node["buffers"], "values", array.view(f"V{obj.element_size()}"), encoder, dense=True)
        if order is not None:
            node["order"] = order
        if obj.requires_grad != self._requires_grad():
            node["requires_grad"] = obj.requires_grad
        return node

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            name, shape = text(node, "dtype"), integers(node, "shape", 0, MAX_ITEMS)
            if name not in _DTYPES:
                raise malformed(node, f"torch has no dtype {name!r} that this version knows")
            order = integers(node, "order", 0, len(shape)) if "order" in node else None
            if order is not None and sorted(order) != list(range(len(shape))):
                raise malformed(node, "its 'order' does not name every dimension once")
            decoder.prefetch(numbers_in(node))
            view = get(node, "values", decoder, math.prod(shape) * _DTYPES[name].itemsize)
            if name == "bool" and view.nbytes and int(np.frombuffer(view, np.uint8).max()) > 1:
                raise malformed(node, "its booleans are neither 0 nor 1")
            requires_grad = boolean(node, "requires_grad", self._requires_grad())
            return self._build(_tensor(view, name, shape, order), requires_grad)

    def _requires_grad(self) -> bool:
        return False

    def _build(self, tensor: Any, requires_grad: bool) -> Any:
        return tensor.requires_grad_(requires_grad)


class _ParameterSerializer(_TensorSerializer):
    """Parameters of modules."""

    tag = "torch.nn.Parameter"

    def handles(self, obj: object) -> bool:
        return type(obj) is torch.nn.Parameter and _is_plain(obj)

    def _requires_grad(self) -> bool:
        return True

    def _build(self, tensor: Any, requires_grad: bool) -> Any:
        return torch.nn.Parameter(tensor, requires_grad)


def reduce_tensor(tensor: Any) -> Any:
    """Reduce a tensor for pickle 5 with its bytes out of band; `NotImplemented` for those that torch must reduce."""
    if not _is_plain(tensor):
        return NotImplemented
    array, order = _bytes_of(tensor)
    is_parameter = type(tensor) is torch.nn.Parameter
    parts = (_NAMES[tensor.dtype], tuple(tensor.shape), order, bool(tensor.requires_grad), is_parameter)
    return rebuild_tensor, (pickle.PickleBuffer(array.data), *parts)


def rebuild_tensor(
    data: Any, dtype: str, shape: tuple[int, ...], order: list[int] | None, requires_grad: bool, is_parameter: bool
) -> Any:
    """Return the tensor that `reduce_tensor` reduced; pickles name this function, so it keeps its place."""
    view = memoryview(data)
    tensor = _tensor(memoryview(bytearray(view)) if view.readonly else view, dtype, shape, order)
    return torch.nn.Parameter(tensor, requires_grad) if is_parameter else tensor.requires_grad_(requires_grad)


def _is_plain(tensor: Any) -> bool:
    """Tell whether values, shape and dtype are all that there is to the tensor."""
    return (
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and tensor.dtype in _NAMES
        and not tensor.is_nested
        and all(name is None for name in getattr(tensor, "names", ()))
        and not vars(tensor)
        and not getattr(tensor, _HOOKS)
    )


def _bytes_of(tensor: Any) -> tuple[Array, list[int] | None]:
    """Return the bytes of a tensor, without a copy if it is dense, and the order its dimensions lie in if not usual."""
    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    order = None
    if not values.is_contiguous():
        permutation = sorted(range(values.dim()), key=lambda dimension: -values.stride(dimension))
        permuted = values.permute(permutation)
        if permuted.is_contiguous():
            values, order = permuted, permutation
    flat: Array = values.contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat, order


def _tensor(view: memoryview, name: str, shape: Any, order: list[int] | None) -> Any:
    dtype = _DTYPES[name]
    stored = list(shape) if order is None else [shape[dimension] for dimension in order]
    if not view.nbytes:
        tensor = torch.empty(stored, dtype=dtype)
    else:
        data = np.frombuffer(view, np.uint8)
        if data.ctypes.data % dtype.itemsize:
            data = data.copy()
        tensor = torch.from_numpy(data).view(dtype).reshape(stored)
    if order is None:
        return tensor
    return tensor.permute([order.index(dimension) for dimension in range(len(order))])


REDUCERS: dict[type, Callable[[Any], Any]] = {torch.Tensor: reduce_tensor, torch.nn.Parameter: reduce_tensor}
"""How a pickler reduces what a pickle would otherwise copy into its stream, by exact type."""

SERIALIZERS: tuple[Serializer, ...] = (_TensorSerializer(), _ParameterSerializer())
