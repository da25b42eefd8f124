"""Arrow arrays as canonical buffers, and back.

Equal arrays give equal buffers wherever they were sliced from: no offsets but lengths, so that an inserted row does not
change what follows; no bytes under nulls; a validity bitmap only where something is null.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from holdall_store.serializers._arrow_types import Unnamed, describe_type, read_type
from holdall_store.serializers._buffers import MAX_ITEMS, Array, get, has, mapping, packed, put, typed
from holdall_store.serializers._nodes import integer, malformed, nodes
from holdall_store.serializers._protocol import Decoder, Encoder

__all__ = ["PIECE_BYTES", "Unnamed", "decode_array", "decode_chunked", "encode_array", "encode_chunked", "unpacked"]

_INT32_MAX = 2**31 - 1
_LENGTH_BYTES = (1, 2, 4, 8)
PIECE_BYTES = _INT32_MAX
"""The most bytes in one array of a type with 32-bit offsets: what its offsets can count."""


def encode_chunked(array: pa.ChunkedArray, encoder: Encoder) -> dict[str, Any]:
    """Return the node of a chunked array: one piece, or as few as the offsets of its type can count."""
    pieces = [{"rows": len(piece)} | encode_array(piece, encoder) for piece in _pieces(array)]
    return {"type": describe_type(array.type), "pieces": pieces}


def decode_chunked(node: Any, rows: int, decoder: Decoder) -> pa.ChunkedArray:
    """Return the chunked array of `rows` rows that a node describes."""
    kind = read_type(node.get("type"))
    pieces = nodes(node, "pieces")
    lengths = [integer(piece, "rows", 0, MAX_ITEMS) for piece in pieces]
    if sum(lengths) != rows:
        raise malformed(node, f"a column has {sum(lengths)} rows instead of {rows}")
    chunks = [decode_array(piece, kind, length, decoder) for piece, length in zip(pieces, lengths, strict=True)]
    return pa.chunked_array(chunks, type=kind)


def encode_array(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    """Return the node of an array, without its type and length."""
    encode = next(encode for matches, encode, _ in _LAYOUTS if matches(array.type))
    return encode(array, encoder)


def decode_array(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    """Return the array of `rows` rows of a type that a node describes."""
    decode = next(decode for matches, _, decode in _LAYOUTS if matches(kind))
    try:
        array = decode(node, kind, rows, decoder)
        array.validate()
    except (pa.ArrowException, OSError) as error:
        raise malformed(node, f"an Arrow array of type {kind} cannot be built from it ({error})") from error
    if array.type != kind or len(array) != rows:
        raise malformed(node, f"it is an Arrow array of {len(array)} × {array.type} instead of {rows} × {kind}")
    return array


def _pieces(array: pa.ChunkedArray) -> list[pa.Array]:
    chunks = [chunk for chunk in array.chunks if len(chunk)]
    if len(chunks) <= 1:
        return chunks or array.chunks[:1]
    if pa.types.is_dictionary(array.type):
        chunks = [chunk for chunk in array.unify_dictionaries().chunks if len(chunk)]
    pieces: list[list[pa.Array]] = [[]]
    size = 0
    for chunk in chunks:
        size += chunk.nbytes
        if size > PIECE_BYTES and pieces[-1] and _counts_in_32_bits(array.type):
            pieces.append([])
            size = chunk.nbytes
        pieces[-1].append(chunk)
    return [piece[0] if len(piece) == 1 else pa.concat_arrays(piece) for piece in pieces]


def _counts_in_32_bits(kind: pa.DataType) -> bool:
    if _is_extension(kind):
        return _counts_in_32_bits(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return False
    types = pa.types
    if types.is_string(kind) or types.is_binary(kind) or types.is_list(kind) or types.is_map(kind):
        return True
    return any(_counts_in_32_bits(kind.field(i).type) for i in range(kind.num_fields))


# --- validity


def _valid(array: pa.Array) -> Array | None:
    """Return which slots hold a value, or None where all do."""
    if array.null_count == 0:
        return None
    bitmap = array.buffers()[0]
    if bitmap is None:
        return np.zeros(len(array), np.bool_)
    return unpacked(bitmap, array.offset, len(array))


def unpacked(bitmap: Any, offset: int, rows: int) -> Array:
    """Return the booleans of a bitmap, from bit `offset` on."""
    first = offset // 8
    whole = np.frombuffer(bitmap, np.uint8)[first : (offset + rows + 7) // 8]
    skip = offset - first * 8
    mask: Array = np.unpackbits(whole, count=skip + rows, bitorder="little").view(np.bool_)
    return mask[skip:]


def _add_valid(buffers: dict[str, Any], array: pa.Array, encoder: Encoder) -> Array | None:
    valid = _valid(array)
    if valid is not None:
        put(buffers, "valid", packed(valid), encoder)
    return valid


def _bitmap(node: Any, key: str, rows: int, decoder: Decoder) -> pa.Buffer | None:
    return pa.py_buffer(get(node, key, decoder, (rows + 7) // 8)) if has(node, key) else None


# --- values of one width


def _is_fixed(kind: pa.DataType) -> bool:
    types = pa.types
    numeric = types.is_primitive(kind) or types.is_decimal(kind)
    return bool(numeric or types.is_fixed_size_binary(kind) or kind == pa.month_day_nano_interval())


def _encode_fixed(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    buffers: dict[str, Any] = {}
    width, rows = array.type.bit_width // 8, len(array)
    valid = _add_valid(buffers, array, encoder)
    stored = array.buffers()[1]
    start = array.offset * width
    values = np.zeros(0, np.uint8) if stored is None else np.frombuffer(stored, np.uint8)[start : start + rows * width]
    if values.size < rows * width:  # nothing but nulls, and no room kept for them
        values = np.zeros(rows * width, np.uint8)
    elif valid is not None:
        values = _zeroed(values, valid, width)
    put(buffers, "values", values.view(f"V{width}") if width > 1 else values, encoder)
    return {"buffers": buffers}


def _zeroed(values: Array, valid: Array, width: int) -> Array:
    if width in (1, 2, 4, 8):
        items = values.view(f"u{width}")
        masked: Array = items * valid.astype(items.dtype)
        return masked.view(np.uint8)
    zeroed = values.copy()
    if width:
        zeroed.reshape(-1, width)[~valid] = 0
    return zeroed


def _decode_fixed(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    width = kind.bit_width // 8
    view = get(node, "values", decoder, rows * width)
    values = typed(view, f"u{width}") if width in (2, 4, 8) else view
    return pa.Array.from_buffers(kind, rows, [_bitmap(node, "valid", rows, decoder), pa.py_buffer(values)])


def _encode_bool(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    buffers: dict[str, Any] = {}
    valid = _add_valid(buffers, array, encoder)
    stored = array.buffers()[1]
    flags = np.zeros(len(array), np.bool_) if stored is None else unpacked(stored, array.offset, len(array))
    put(buffers, "values", packed(flags if valid is None else flags & valid), encoder)
    return {"buffers": buffers}


def _decode_bool(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    values = pa.py_buffer(get(node, "values", decoder, (rows + 7) // 8))
    return pa.Array.from_buffers(kind, rows, [_bitmap(node, "valid", rows, decoder), values])


def _encode_null(_array: pa.Array, _encoder: Encoder) -> dict[str, Any]:
    return {}


def _decode_null(_node: Any, _kind: pa.DataType, rows: int, _decoder: Decoder) -> pa.Array:
    return pa.nulls(rows)


# --- values of many widths


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    binary = types.is_binary(kind) or types.is_large_binary(kind)
    return bool(binary or types.is_string(kind) or types.is_large_string(kind))


def _is_text_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _offsets(array: pa.Array) -> Array:
    types, kind = pa.types, array.type
    wide = types.is_large_string(kind) or types.is_large_binary(kind) or types.is_large_list(kind)
    stored = array.buffers()[1]
    if stored is None or stored.size == 0:
        return np.zeros(1, np.int64)
    offsets = np.frombuffer(stored, np.int64 if wide else np.int32)
    return offsets[array.offset : array.offset + len(array) + 1]


def _compacted(array: pa.Array, valid: Array | None, offsets: Array) -> tuple[pa.Array, Array]:
    """Return the array and its offsets, such that nulls are empty."""
    if valid is None or not np.any((offsets[1:] != offsets[:-1])[~valid]):
        return array, offsets
    taken = array.take(pa.array(np.arange(len(array))))
    return taken, _offsets(taken)


def _add_lengths(node: dict[str, Any], offsets: Array, encoder: Encoder) -> None:
    lengths = np.diff(offsets)
    longest = int(lengths.max()) if len(lengths) else 0
    # As narrow as the longest allows: most texts are short, and every byte is hashed with every load.
    width = next(width for width in _LENGTH_BYTES if longest < 1 << (8 * width))
    node["length_bytes"] = width
    put(node["buffers"], "lengths", lengths.astype(f"u{width}"), encoder)


def _read_offsets(node: Any, rows: int, decoder: Decoder, *, wide: bool) -> Array:
    width = integer(node, "length_bytes", 1, 8)
    if width not in _LENGTH_BYTES:
        raise malformed(node, f"'length_bytes' is none of {_LENGTH_BYTES}")
    lengths = typed(get(node, "lengths", decoder, rows * width), f"u{width}")
    offsets = np.empty(rows + 1, np.int64)
    offsets[0] = 0
    largest = int(lengths.max()) if rows else 0
    # A sum that wraps round could pass for a small one, with offsets far outside the data on the way to it.
    if largest * rows >= 2**63 and sum(lengths.tolist()) >= 2**63:
        raise malformed(node, "lengths add up to more than any buffer holds")
    offsets[1:] = lengths  # to widen first is several times as fast, and to add up in place needs no more memory
    np.add.accumulate(offsets, out=offsets)
    if wide:
        return offsets
    if int(offsets[-1]) > _INT32_MAX:
        raise malformed(node, "lengths add up to more than 32-bit offsets can count")
    return offsets.astype(np.int32)


def _encode_text(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    node: dict[str, Any] = {"buffers": {}}
    valid = _add_valid(node["buffers"], array, encoder)
    array, offsets = _compacted(array, valid, _offsets(array))
    stored = array.buffers()[2]
    data = np.zeros(0, np.uint8) if stored is None else np.frombuffer(stored, np.uint8)
    _add_lengths(node, offsets, encoder)
    put(node["buffers"], "data", data[int(offsets[0]) : int(offsets[-1])], encoder)
    return node


def _decode_text(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    offsets = _read_offsets(node, rows, decoder, wide=wide)
    data = get(node, "data", decoder, int(offsets[-1]))
    valid = _bitmap(node, "valid", rows, decoder)
    array = pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(offsets), pa.py_buffer(data)])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _check_utf8(node, data, offsets)
    return array


def _check_utf8(node: Any, data: memoryview, offsets: Array) -> None:
    """Refuse texts that are no UTF-8: kernels trust it, and half a character would make them read past the end.

    All texts together are checked as one, and that none begins within a character: half of what Arrow's own check takes.
    """
    if _is_ascii(data):
        return
    whole = [None, pa.py_buffer(np.array([0, len(data)], np.int64)), pa.py_buffer(data)]
    try:
        pa.Array.from_buffers(pa.large_string(), 1, whole).validate(full=True)
    except pa.ArrowInvalid:
        raise malformed(node, "its text is no UTF-8") from None
    starts = offsets[:-1]
    if int(offsets[-1]) < len(data) or not len(starts):
        raise malformed(node, "its lengths do not add up to its text")
    begins = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)]
    # A text that begins where all of it ends is empty; the byte before says nothing of it.
    if np.any(((begins & 0xC0) == 0x80) & (starts < len(data))):
        raise malformed(node, "a text begins within a character")


def _is_ascii(data: memoryview) -> bool:
    whole = np.frombuffer(data, np.uint8)
    cut = len(whole) // 8 * 8
    words = typed(data[:cut], np.uint64)
    high = int(np.bitwise_or.reduce(words)) if len(words) else 0
    return not high & 0x8080808080808080 and not np.any(whole[cut:] & 0x80)


def _encode_text_view(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    return _encode_text(array.cast(_stored_as(array.type)), encoder)


def _decode_text_view(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    return _decode_text(node, _stored_as(kind), rows, decoder).cast(kind)


def _stored_as(kind: pa.DataType) -> pa.DataType:
    return pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()


# --- lists


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind))


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _item_type(kind: pa.DataType) -> pa.DataType:
    return pa.struct([kind.key_field, kind.item_field]) if pa.types.is_map(kind) else kind.value_type


def _items(array: pa.Array) -> pa.Array:
    if not pa.types.is_map(array.type):
        return array.values
    return pa.StructArray.from_arrays([array.keys, array.items], fields=[array.type.key_field, array.type.item_field])


def _encode_list(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    node: dict[str, Any] = {"buffers": {}}
    valid = _add_valid(node["buffers"], array, encoder)
    array, offsets = _compacted(array, valid, _offsets(array))
    _add_lengths(node, offsets, encoder)
    start, end = int(offsets[0]), int(offsets[-1])
    node["items"] = encode_array(_items(array).slice(start, end - start), encoder)
    return node


def _decode_list(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    offsets = _read_offsets(node, rows, decoder, wide=pa.types.is_large_list(kind))
    items = decode_array(mapping(node, "items"), _item_type(kind), int(offsets[-1]), decoder)
    if pa.types.is_map(kind) and items.field(0).null_count:
        raise malformed(node, "a map has a null for a key")
    valid = _bitmap(node, "valid", rows, decoder)
    return pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(offsets)], children=[items])


def _encode_list_view(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    node: dict[str, Any] = {"buffers": {}}
    _add_valid(node["buffers"], array, encoder)
    lengths = pc.call_function("list_value_length", [array]).fill_null(0).to_numpy()
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    _add_lengths(node, offsets, encoder)
    node["items"] = encode_array(array.flatten(), encoder)
    return node


def _decode_list_view(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    offsets = _read_offsets(node, rows, decoder, wide=pa.types.is_large_list_view(kind))
    items = decode_array(mapping(node, "items"), kind.value_type, int(offsets[-1]), decoder)
    valid = _bitmap(node, "valid", rows, decoder)
    parts = [valid, pa.py_buffer(offsets[:-1].copy()), pa.py_buffer(np.diff(offsets))]
    return pa.Array.from_buffers(kind, rows, parts, children=[items])


def _encode_fixed_list(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    node: dict[str, Any] = {"buffers": {}}
    _add_valid(node["buffers"], array, encoder)
    node["items"] = encode_array(array.flatten(), encoder)
    return node


def _decode_fixed_list(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    view = get(node, "valid", decoder, (rows + 7) // 8) if has(node, "valid") else None
    valid = np.ones(rows, np.bool_) if view is None else unpacked(view, 0, rows)
    items = decode_array(mapping(node, "items"), kind.value_type, int(valid.sum()) * kind.list_size, decoder)
    if view is not None:  # the items of nulls are not stored, but Arrow wants room for them
        wanted = np.repeat(valid, kind.list_size)
        items = items.take(pa.array(np.cumsum(wanted) - 1, mask=~wanted))
    bitmap = None if view is None else pa.py_buffer(view)
    return pa.Array.from_buffers(kind, rows, [bitmap], children=[items])


# --- arrays made of arrays


def _encode_struct(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    node: dict[str, Any] = {"buffers": {}}
    _add_valid(node["buffers"], array, encoder)
    node["fields"] = [encode_array(field, encoder) for field in array.flatten()]
    return node


def _decode_struct(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    parts = nodes(node, "fields")
    if len(parts) != kind.num_fields:
        raise malformed(node, f"it has {len(parts)} fields instead of {kind.num_fields}")
    fields = [decode_array(part, kind.field(i).type, rows, decoder) for i, part in enumerate(parts)]
    return pa.Array.from_buffers(kind, rows, [_bitmap(node, "valid", rows, decoder)], children=fields)


def _encode_dictionary(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    indices = encode_array(array.indices, encoder)
    values = {"rows": len(array.dictionary)} | encode_array(array.dictionary, encoder)
    return {"indices": indices, "values": values}


def _decode_dictionary(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    indices = decode_array(mapping(node, "indices"), kind.index_type, rows, decoder)
    part = mapping(node, "values")
    values = decode_array(part, kind.value_type, integer(part, "rows", 0, MAX_ITEMS), decoder)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered, safe=True)  # checks every index


def _is_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


def _encode_extension(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    return encode_array(array.storage, encoder)


def _decode_extension(node: Any, kind: pa.DataType, rows: int, decoder: Decoder) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, decode_array(node, kind.storage_type, rows, decoder))


# --- what is rare: one record batch in Arrow's own stream format


def _encode_ipc(array: pa.Array, encoder: Encoder) -> dict[str, Any]:
    if pa.types.is_union(array.type):  # taking its rows leaves out values that none of them points at
        array = array.take(pa.array(np.arange(len(array))))
    elif pa.types.is_run_end_encoded(array.type):
        options = pc.RunEndEncodeOptions(run_end_type=array.type.run_end_type)
        array = pc.call_function("run_end_encode", [pc.call_function("run_end_decode", [array])], options)
        # What the encoder leaves under nulls is whatever the memory held; taking the values writes zeros there.
        values = array.values.take(pa.array(np.arange(len(array.values))))
        array = pa.RunEndEncodedArray.from_arrays(array.run_ends, values)
    batch = pa.record_batch([array], names=["_"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    buffers: dict[str, Any] = {}
    put(buffers, "stream", np.frombuffer(sink.getvalue(), np.uint8), encoder)
    return {"buffers": buffers}


def _decode_ipc(node: Any, _kind: pa.DataType, _rows: int, decoder: Decoder) -> pa.Array:
    batch = pa.ipc.open_stream(pa.py_buffer(get(node, "stream", decoder))).read_next_batch()
    batch.validate(full=True)
    return batch.column(0)


_Encode = Callable[[pa.Array, Encoder], dict[str, Any]]
_Decode = Callable[[Any, pa.DataType, int, Decoder], pa.Array]
_LAYOUTS: tuple[tuple[Callable[[pa.DataType], bool], _Encode, _Decode], ...] = (
    (_is_extension, _encode_extension, _decode_extension),
    (pa.types.is_null, _encode_null, _decode_null),
    (pa.types.is_boolean, _encode_bool, _decode_bool),
    (pa.types.is_dictionary, _encode_dictionary, _decode_dictionary),
    (_is_fixed, _encode_fixed, _decode_fixed),
    (_is_text, _encode_text, _decode_text),
    (_is_text_view, _encode_text_view, _decode_text_view),
    (_is_list, _encode_list, _decode_list),
    (_is_list_view, _encode_list_view, _decode_list_view),
    (pa.types.is_fixed_size_list, _encode_fixed_list, _decode_fixed_list),
    (pa.types.is_struct, _encode_struct, _decode_struct),
    (lambda _kind: True, _encode_ipc, _decode_ipc),
)
