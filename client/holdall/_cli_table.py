"""``holdall table``: what is in Parquet files, without a program."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import re
from collections.abc import Callable
from typing import Any, Final

from holdall._cli_find import parse
from holdall._cli_json import plain
from holdall._cli_output import Output, Styled
from holdall._cli_parser import S3_OPTIONS
from holdall._tables import Table, col
from holdall._text import value_text
from holdall.store import InvalidNameError, TableNotFoundError
from holdall_store.tables import Expression
from holdall_store.transfer._paths import nearest_path

__all__ = ["condition_of", "table"]

ROWS_DEFAULT: Final = 10
"""As ``head`` of Unix has it."""

_S3: Final = re.compile(r"s3[an]?://")
_CONDITION: Final = re.compile(
    r"""\s*(?P<name>"[^"]+"|`[^`]+`|[^\s"`<>=!]+)
        \s*(?P<operator>==|=|!=|<>|<=|>=|<|>|\bis\s+not\s+null\b|\bis\s+null\b|\bnot\s+in\b|\bin\b|\bstarts\s+with\b)
        \s*(?P<value>.*?)\s*""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_FORMS: Final = "'x > 3', 'name = Ana', 'country in US, CA', 'country not in US', 'name starts with A', 'x is null' or 'x is not null'"


def table(open_client: Callable[[], Any], options: argparse.Namespace, output: Output) -> int:
    """Show the schema, the first rows, the number of rows, the statistics of a table, or what reading it takes."""
    chosen = _table_of(open_client, options)
    for text in options.where:
        chosen = chosen.where(condition_of(text))
    names = [name.strip() for text in options.select for name in text.split(",")]
    if names:
        chosen = chosen.select(*names)
    {"schema": _schema, "head": _head, "count": _count, "stats": _stats, "explain": _explain}[options.what](
        chosen, options, output
    )
    return 0


def _table_of(open_client: Callable[[], Any], options: argparse.Namespace) -> Table:
    """Return the table that SOURCE names: files, or a frame of a store."""
    source = options.source
    if _S3.match(source):
        found = {
            "endpoint_url": options.endpoint_url,
            "profile": options.profile,
            "region": options.region,
            "anon": options.no_sign_request or None,
        }
        reach = {name: value for name, value in found.items() if value is not None}
        return Table(source, partitioning=_partitioning(options), storage_options=reach or None, as_of=_as_of(options))
    given = [flag for name, flag in S3_OPTIONS.items() if getattr(options, name)]
    if given:
        raise InvalidNameError(f"{given[0]} goes with s3:// URLs, and {source!r:.200} is none.")
    if _is_file(source):
        return Table(source, partitioning=_partitioning(options), as_of=_as_of(options))
    return _artifact_of(open_client, options, source)


def _is_file(source: str) -> bool:
    """Tell whether SOURCE is a path or a URL; what is not there, and looks like no path, may be a reference."""
    likely = "://" in source or source.startswith(("/", "./", "../", "~")) or re.search(r"[*?\[\\]|\.\w+$", source)
    return bool(likely) or os.path.exists(source)


def _artifact_of(open_client: Callable[[], Any], options: argparse.Namespace, source: str) -> Table:
    reference = parse(source)
    if reference.artifact is None:
        raise TableNotFoundError(
            f"There is no file or folder {source!r:.200}, and it names no artifact (flow/artifact).{nearest_path(source)}"
        )
    for name, flag in (("partitioning", "--partitioning"), ("as_of", "--as-of")):
        if getattr(options, name) is not None:
            raise InvalidNameError(f"{flag} is for files, and {source!r:.200} is an artifact of a store.")
    with open_client() as client:
        client.repository.record()
        found: Table = client.artifact(reference).table()
    return found


def _partitioning(options: argparse.Namespace) -> Any:
    given = options.partitioning
    if given in (None, "hive"):
        return given
    return () if given == "none" else [name.strip() for name in given.split(",")]


def _as_of(options: argparse.Namespace) -> Any:
    given = options.as_of
    return int(given) if given is not None and given.isdecimal() else given


def condition_of(text: str) -> Expression:
    """Return the condition that a text such as ``x > 3`` says; raise `InvalidNameError` for what says none."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise InvalidNameError(f"--where {text!r:.200} is not understood: write {_FORMS}.")
    name, value = match["name"].strip('"`'), match["value"]
    operator = " ".join(match["operator"].lower().split())
    column = col(name)
    if operator in ("is null", "is not null"):
        if value:
            raise InvalidNameError(
                f"--where {text!r:.200} goes on after {operator!r}: give each condition its own --where."
            )
        return column.is_null() if operator == "is null" else ~column.is_null()
    if not value:
        raise InvalidNameError(f"--where {text!r:.200} compares with nothing: an empty text is ''.")
    if operator in ("in", "not in"):
        found = column.isin(_values(value))
        return found if operator == "in" else ~found & ~column.is_null()
    plainly = _unquoted(value)
    if operator == "starts with":
        return column.starts_with(plainly)
    compared: Expression = {
        "=": column.__eq__,
        "==": column.__eq__,
        "!=": column.__ne__,
        "<>": column.__ne__,
        "<": column.__lt__,
        "<=": column.__le__,
        ">": column.__gt__,
        ">=": column.__ge__,
    }[operator](plainly)
    return compared


def _values(text: str) -> list[str]:
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    quote = '"' if inner.lstrip().startswith('"') else "'"
    (row,) = csv.reader([inner.replace("\n", " ")], quotechar=quote, skipinitialspace=True)
    return [value.strip() for value in row]


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _schema(chosen: Table, options: argparse.Namespace, output: Output) -> None:
    del options
    partitions = {name for part in chosen.partitions()[:1] for name in part}
    if output.as_json:
        output.json(
            [
                {"name": each.name, "type": str(each.type), "partition": each.name in partitions}
                for each in chosen.schema
            ]
        )
        return
    rows = [[each.name, str(each.type), "partition" if each.name in partitions else ""] for each in chosen.schema]
    output.table(["column", "type", "kind"], rows, ids={"column"}, keep={"type"})


def _head(chosen: Table, options: argparse.Namespace, output: Output) -> None:
    limit = ROWS_DEFAULT if options.limit is None else options.limit
    found = (chosen.head(limit) if limit else chosen).to_arrow()
    rows = found.to_pylist()
    if output.as_json:
        output.json([plain(row) for row in rows])
        return
    import pyarrow as pa

    numbers = {each.name for each in found.schema if pa.types.is_integer(each.type) or pa.types.is_floating(each.type)}
    cells = [[_cell(value) for value in row.values()] for row in rows]
    output.table(found.schema.names, cells, right=numbers, ids=found.schema.names[:1])
    if not rows:
        output.note("There are no such rows.")


def _cell(value: Any) -> str | Styled:
    if value is None:
        return Styled("null", "dim")
    if value == "":
        return Styled("''", "dim")  # or a column of empty texts would be left out
    if isinstance(value, dict | list):
        return value_text(json.dumps(plain(value), ensure_ascii=False))
    return value_text(value if isinstance(value, str) else str(plain(value)))


def _count(chosen: Table, options: argparse.Namespace, output: Output) -> None:
    del options
    rows = chosen.num_rows
    if output.as_json:
        output.json({"rows": rows})
    else:
        output.line(str(rows))


def _stats(chosen: Table, options: argparse.Namespace, output: Output) -> None:
    del options
    schema, stats = chosen.schema, chosen.stats
    if output.as_json:
        output.json(
            [
                {"name": name, "type": str(schema.field(name).type), **plain(dataclasses.asdict(each))}
                for name, each in stats.items()
            ]
        )
        return
    rows = [
        [
            name,
            str(schema.field(name).type),
            *("" if bound is None else _cell(bound) for bound in (each.min, each.max)),
            "" if each.null_count is None else str(each.null_count),
        ]
        for name, each in stats.items()
    ]
    output.table(["column", "type", "least", "greatest", "nulls"], rows, right={"nulls"}, ids={"column"})


def _explain(chosen: Table, options: argparse.Namespace, output: Output) -> None:
    limit = options.limit
    found = (chosen.head(limit) if limit else chosen).explain()
    if output.as_json:
        output.json(plain(dataclasses.asdict(found)))
        return
    for line in str(found).splitlines():
        output.line(line)
