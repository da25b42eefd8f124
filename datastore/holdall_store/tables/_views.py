"""Files whose stored Arrow schema has views: they are told plain texts, so that Arrow decodes into these at once.

Arrow decodes into views value by value, and has to cast them then, because few of its functions know them: two copies
where none is needed. What is read as which type says the Arrow schema in the footer, and no option overrides it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from holdall_store.tables._schema import normal

__all__ = ["without_views"]

_KEY: Final = b"ARROW:schema"

_BEFORE: Final = bytes([0x18, len(_KEY)]) + _KEY + b"\x18"
"""As Thrift's compact protocol writes a pair: the first field is a text, here the key, and so is the next one."""


def without_views(metadata: Any, footer: memoryview) -> Any:
    """Return `metadata`, which was read from `footer`, with plain types in place of views; the same where there are none.

    Both are one text in the footer. Where it is not found once, and replaced to the effect that nothing else changed,
    the metadata stay as they are: that costs time, and no correctness.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = (metadata.metadata or {}).get(_KEY)
    if stored is None:
        return metadata
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored)))
        fields = [field.with_type(normal(field.type)) for field in schema]
        plain = pa.schema(fields, schema.metadata)
        if plain.equals(schema):
            return metadata
        replaced = _replaced(bytes(footer), stored, base64.b64encode(plain.serialize()))
        found = pq.read_metadata(pa.BufferReader(replaced)) if replaced is not None else None
        return found if found is not None and _is_same(metadata, found) else metadata
    except (pa.ArrowException, OSError, ValueError, NotImplementedError, binascii.Error):
        return metadata


def _replaced(footer: bytes, stored: bytes, other: bytes) -> bytes | None:
    """Return a footer, with its last 8 bytes, in which another text stands for the stored schema."""
    old = _BEFORE + _varint(len(stored)) + stored
    if footer.count(old) != 1:
        return None
    new = _BEFORE + _varint(len(other)) + other
    body = footer[:-8].replace(old, new)
    return body + len(body).to_bytes(4, "little") + footer[-4:]


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two footers say the same but for the stored schema."""
    first, second = dict(one.metadata), dict(other.metadata)
    first.pop(_KEY, None)
    second.pop(_KEY, None)
    return first == second and one.schema.equals(other.schema) and _facts(one) == _facts(other)


def _facts(metadata: Any) -> tuple[Any, ...]:
    return metadata.num_rows, metadata.num_row_groups, metadata.num_columns, metadata.created_by
