"""Tables as artifacts: a reference to the exact files, and never their data.

The node is ``{"$": "holdall_store.Table", "source", "format", "files", …}``; docs/format.md tells its members. Nothing of it
is code, and nothing is a secret: who reads the table does it with their own credentials.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Sequence
from typing import Any, Final

from holdall_store.errors import InvalidNameError
from holdall_store.serializers import Decoder, Encoder, Node, Serializer
from holdall_store.serializers._nodes import integers, malformed, member, nodes, text
from holdall_store.storage import without_secrets
from holdall_store.tables._as_of import check_as_of
from holdall_store.tables._expression import COMPARISONS, All, AnyOf, Column, Expression, Leaf, Negation
from holdall_store.tables._resolve import Listing, TableFile, check_sources
from holdall_store.tables._snapshot import LOGS, Snapshot
from holdall_store.tables._source import Found
from holdall_store.tables._table import Parts, Table, parts_of, table_of

__all__ = ["SERIALIZERS"]

FORMATS: Final = ("parquet", *LOGS)

DEPTH_MAX: Final = 50
"""Conditions nested deeper than this were made by nobody who means well."""

_VALUES: Final = (
    bool,
    int,
    float,
    str,
    bytes,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
)
"""What a condition compares with and is saved as it is; arrays and times of NumPy and pandas are, too."""


class _TableSerializer(Serializer):
    """Tables of files: what they are made of, and what was seen of it."""

    tag = "holdall_store.Table"

    def handles(self, obj: object) -> bool:
        return isinstance(obj, Table)

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        parts = parts_of(obj)
        snapshot = parts.snapshot
        if not isinstance(snapshot, Snapshot):
            raise encoder.unsupported(
                obj, "it is a view of another artifact: save what to_arrow() or to_pandas() gives"
            )
        listing = snapshot.listing
        files = {
            "keys": [file.found.key for file in listing.files],
            "sizes": [file.found.size for file in listing.files],
            "versions": [file.found.version for file in listing.files],
        }
        known: dict[str, Node] = {
            "options": encoder.node(without_secrets(snapshot.options), ".options"),
            "files": encoder.node(files, ".files"),
        }
        if listing.log is not None:
            log = listing.log
            known |= {"format": log.kind.lower(), "source": encoder.node([log.origin], ".source"), "as_of": log.pinned}
        else:
            known |= {
                "format": "parquet",
                "source": encoder.node(
                    [
                        address.place + "/" + address.key if address.place else address.key
                        for address in snapshot.addresses
                    ],
                    ".source",
                ),
                "partitions": encoder.node(list(listing.names), ".partitions"),
                "numbers": list(listing.integers),
                "values": encoder.node(
                    [list(file.values) for file in listing.files] if listing.names else [], ".values"
                ),
                "schema": encoder.node(snapshot.schema, ".schema"),
            }
        return known | _selection(parts, encoder, obj)

    def decode_columns(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any]) -> Any:
        """Return the table with `columns` alone: nothing is read for it."""
        return self.decode(node, decoder).select(*columns)

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        kind = text(node, "format")
        if kind not in FORMATS:
            raise malformed(node, f"{kind!r:.40} is no format of tables that is known here")
        options = decoder.node(member(node, "options"))
        source = decoder.node(member(node, "source"))
        if not isinstance(options, dict) or not isinstance(source, list):
            raise malformed(node, "'options' or 'source' is not what it must be")
        files = _files(node, decoder)
        try:
            addresses = check_sources(source)
            as_of = check_as_of(node.get("as_of"))
            snapshot = Snapshot(addresses, options, None, None, kind, as_of)
        except (InvalidNameError, TypeError) as error:
            raise malformed(node, f"its source or its options are none: {error}") from None
        if kind == "parquet":
            listing = _listing(node, files, decoder)
            schema = decoder.node(member(node, "schema"))
            if type(schema).__name__ != "Schema" or not set(listing.names) <= set(schema.names):
                raise malformed(node, "'schema' is none, or lacks columns of partitions")
            snapshot.pin(listing, schema)
        else:
            snapshot.expect(tuple(files))
        return table_of(_read_parts(node, snapshot, len(files), decoder))


def _selection(parts: Parts, encoder: Encoder, obj: object) -> dict[str, Node]:
    found: dict[str, Node] = {}
    if parts.condition is not None:
        found["where"] = _encode_condition(parts.condition, encoder, obj)
    if parts.columns is not None:
        found["select"] = encoder.node(list(parts.columns), ".select")
    if parts.limit is not None:
        found["head"] = parts.limit
    if parts.pieces is not None:
        files = parts.snapshot.listing.files
        numbers = {id(file): at for at, file in enumerate(files)}
        places = [file if isinstance(file, int) else numbers[id(file)] for file, _ in parts.pieces]
        found["pieces"] = [
            [at, None if groups is None else list(groups)] for at, (_, groups) in zip(places, parts.pieces, strict=True)
        ]
    return found


def _files(node: dict[str, Node], decoder: Decoder) -> list[Found]:
    files = decoder.node(member(node, "files"))
    columns = [files.get(name) for name in ("keys", "sizes", "versions")] if isinstance(files, dict) else []
    if not columns or not all(isinstance(column, list) and len(column) == len(columns[0] or ()) for column in columns):
        raise malformed(node, "'files' are not three lists of the same length")
    found = []
    for key, size, version in zip(*columns, strict=True):
        if not isinstance(key, str) or type(size) is not int or size < 0 or not isinstance(version, str):
            raise malformed(node, "'files' has one without a name, a size or a version")
        found.append(Found(key, size, version))
    return found


def _listing(node: dict[str, Node], files: list[Found], decoder: Decoder) -> Listing:
    names = decoder.node(member(node, "partitions"))
    numbers = nodes(node, "numbers")
    values = decoder.node(member(node, "values"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(numbers) != len(names):
        raise malformed(node, "'partitions' and 'numbers' are not lists of the same length")
    if not isinstance(values, list) or len(values) != (len(files) if names else 0):
        raise malformed(node, "'values' does not have those of each file")
    for row in values:
        if (
            not isinstance(row, list)
            or len(row) != len(names)
            or not all(type(v) in (int, str, type(None)) for v in row)
        ):
            raise malformed(node, "'values' has what is no value of a partition")
    rows = values or [[]] * len(files)
    return Listing(
        tuple(TableFile(found, tuple(row)) for found, row in zip(files, rows, strict=True)),
        tuple(names),
        tuple(bool(number) for number in numbers),
    )


def _read_parts(node: dict[str, Node], snapshot: Snapshot, files: int, decoder: Decoder) -> Parts:
    condition = _decode_condition(node, node["where"], decoder) if "where" in node else None
    columns = decoder.node(node["select"]) if "select" in node else None
    if columns is not None and not (
        isinstance(columns, list) and columns and all(isinstance(name, str) for name in columns)
    ):
        raise malformed(node, "'select' is not a list of names")
    limit = node.get("head")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise malformed(node, "'head' is not a number of rows")
    pieces: list[tuple[TableFile | int, tuple[int, ...] | None]] | None = None
    if "pieces" in node:
        pieces = []
        for piece in nodes(node, "pieces"):
            number = piece[0] if isinstance(piece, list) and len(piece) == 2 else None
            if type(number) is not int or not 0 <= number < files:
                raise malformed(node, "'pieces' has what is no piece")
            groups = None if piece[1] is None else tuple(integers({"groups": piece[1]}, "groups"))
            pieces.append((number, groups))
    return Parts(
        snapshot,
        condition,
        None if columns is None else tuple(columns),
        limit,
        None if pieces is None else tuple(pieces),
    )


def _encode_condition(condition: Expression, encoder: Encoder, obj: object) -> Node:
    if isinstance(condition, All | AnyOf):
        parts = [_encode_condition(part, encoder, obj) for part in condition.parts]
        return {"and" if isinstance(condition, All) else "or": parts}
    if isinstance(condition, Negation):
        return {"not": _encode_condition(condition.inner, encoder, obj)}
    assert isinstance(condition, Leaf)
    found: dict[str, Node] = {"column": encoder.node(condition.name, ".column"), "is": condition.operator}
    if isinstance(condition.operand, Column):
        found["other"] = encoder.node(condition.operand.name, ".column")
        return found
    values = condition.operand if condition.operator == "in" else (condition.operand,)
    for value in values:
        known = (
            value is None
            or isinstance(value, _VALUES)
            or type(value).__module__.partition(".")[0] in ("numpy", "pandas")
        )
        if not known:
            raise encoder.unsupported(obj, f"a condition compares with {value!r:.80}, which is no plain value")
    found["value"] = encoder.node(list(values) if condition.operator == "in" else condition.operand, ".value")
    return found


def _decode_condition(whole: dict[str, Node], node: Node, decoder: Decoder, depth: int = 0) -> Expression:
    if not isinstance(node, dict) or depth > DEPTH_MAX:
        raise malformed(whole, "'where' is no condition, or one that is nested too deeply")
    for name, kind in (("and", All), ("or", AnyOf)):
        if name in node:
            parts = [_decode_condition(whole, part, decoder, depth + 1) for part in nodes(node, name)]
            if not parts:
                raise malformed(whole, "'where' has a condition without parts")
            return kind(parts)
    if "not" in node:
        return Negation(_decode_condition(whole, node["not"], decoder, depth + 1))
    operator, name = text(node, "is"), decoder.node(member(node, "column"))
    if operator not in {*COMPARISONS, "in", "null", "prefix"} or not isinstance(name, str) or not name:
        raise malformed(whole, f"'where' has {operator!r:.40}, which is no comparison")
    if "other" in node:
        other = decoder.node(node["other"])
        if not isinstance(other, str) or not other or operator not in COMPARISONS:
            raise malformed(whole, "'where' compares with what is no column")
        return Leaf(operator, name, Column(other))
    value = decoder.node(member(node, "value"))
    if isinstance(value, list) != (operator == "in") or (operator == "prefix" and not isinstance(value, str)):
        raise malformed(whole, "'where' compares with what is no value")
    return Leaf(operator, name, tuple(value) if operator == "in" else value)


SERIALIZERS: tuple[Serializer, ...] = (_TableSerializer(),)
