"""What a notebook shows of tables: what is known of them, and on request the first rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from holdall._cli_json import plain
from holdall._html import ROWS_MAX, _tag, box, code, facts_table, never_raise, none, take
from holdall._html import table as html_table
from holdall._html import title as html_title
from holdall._text import clean, count_text, fit, size_text, value_text, width_of
from holdall_store.tables import ColumnStats
from holdall_store.tables._explain import gather_stats
from holdall_store.tables._footer import cached_footer
from holdall_store.tables._snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from holdall._tables import Table

__all__ = ["Preview", "known_stats", "make_preview", "preview_html", "table_html"]

CELL_CHARACTERS_MAX: Final = 60
"""A preview is a look: a longer text is cut."""

HINT: Final = ".preview() reads the first rows."

FILES_MAX: Final = 1000
"""Statistics of more files take longer to add up than a view may take."""


class Preview:
    """The first rows of a table, as they were when they were read: ``rows`` are a `pyarrow.Table`.

    ``stats`` are those of the columns where footers that were read by then tell them, and else empty.
    """

    def __init__(self, name: str, rows: pa.Table, stats: Mapping[str, ColumnStats], facts: Mapping[str, str]) -> None:
        self.name = name
        self.rows = rows
        self.stats = dict(stats)
        self.facts = dict(facts)

    def __repr__(self) -> str:
        return "\n".join([clean(self.name), *_text_table(self)])

    def _repr_html_(self) -> str:
        return preview_html(self)


def make_preview(table: Table, n: int) -> Preview:
    """Read the first rows of a table."""
    rows = table.head(n).to_arrow()
    return Preview(repr(table), rows, known_stats(table), _known_facts(table))


def known_stats(table: Table) -> dict[str, ColumnStats]:
    """Return the statistics of a table if all footers are known already; nothing is read."""
    snapshot = table._snapshot
    if (
        table._limit is not None
        or not isinstance(snapshot, Snapshot)
        or not snapshot.is_pinned
        or snapshot.known_schema is None
    ):
        return {}
    pieces = [piece for piece, _ in snapshot.pieces(table._pieces)]
    if len(pieces) > FILES_MAX or any(cached_footer(snapshot.source, file.found) is None for file in pieces):
        return {}
    return gather_stats(table._scan(table._query()))


def _known_facts(table: Table) -> dict[str, str]:
    """Return what is known of a table, by name; nothing is read."""
    snapshot = table._snapshot
    facts = {
        "where": repr(table._condition) if table._condition is not None else "",
        "select": ", ".join(table._columns or ()),
        "head": "" if table._limit is None else str(table._limit),
    }
    if not isinstance(snapshot, Snapshot):
        facts["rows"] = f"{sum(end - begin for begin, end in snapshot.pieces(table._pieces)):,}"
        return facts
    if not snapshot.is_pinned:
        return facts
    listing = snapshot.listing
    files = [file for file, _ in snapshot.pieces(table._pieces)]
    facts["files"] = f"{count_text(len(files), 'file')}, {size_text(sum(max(file.found.size, 0) for file in files))}"
    facts["partitions"] = ", ".join(listing.names)
    return facts


@never_raise
def table_html(table: Table) -> str:
    """Return the view of a table: what is known of it, without a request."""
    snapshot = table._snapshot
    facts = facts_table(
        {name: code(value) if name == "where" and value else value for name, value in _known_facts(table).items()}
    )
    title = html_title("Table", snapshot.name)
    if not isinstance(snapshot, Snapshot):
        # Types are known of columns that were loaded, or before.
        known = {each.name: str(each.type) for each in snapshot.frame.schema or snapshot._fields.values()}
        names, more = take(name for name in snapshot.frame.columns)
        listed = [[_tag("b", name), code(value_text(known.get(name, "")))] for name in names]
        return box(title, facts, html_table(["column", "type"], listed, more, "columns"), none(HINT))
    if not snapshot.is_pinned or snapshot.known_schema is None:
        return box(title, facts, none("Not looked at yet: .schema, .stats and .preview() do that."))
    stats = known_stats(table)
    schema = table._query().schema
    shown = list(schema)[:ROWS_MAX]
    heads = ["column", "type", *(["least", "greatest", "nulls"] if stats else [])]
    rows = [[_tag("b", each.name), code(value_text(str(each.type))), *_stats_cells(stats, each.name)] for each in shown]
    body = html_table(heads, rows, len(schema) > len(shown), "columns", numbers=("nulls",))
    return box(title, facts, body, none(HINT))


def _stats_cells(stats: Mapping[str, ColumnStats], name: str) -> list[str]:
    if not stats:
        return []
    found = stats[name]
    return [*map(_bound, (found.min, found.max)), "" if found.null_count is None else f"{found.null_count:,}"]


def _bound(value: Any) -> str:
    return "" if value is None else _cell_text(value)


@never_raise
def preview_html(preview: Preview) -> str:
    """Return the view of the first rows."""
    schema = preview.rows.schema
    names = schema.names[:ROWS_MAX]
    rows: list[list[str]] = [[code(value_text(str(schema.field(name).type), CELL_CHARACTERS_MAX)) for name in names]]
    for label, bound in (("least", "min"), ("greatest", "max"), ("nulls", "null_count")):
        cells = ["" if not preview.stats else _bound(getattr(preview.stats[name], bound)) for name in names]
        if any(cells):
            rows.append([_tag("span", f"{label} {cell}" if cell else "", style="opacity:.65;") for cell in cells])
    data = [list(row.values())[: len(names)] for row in preview.rows.to_pylist()]
    rows += [
        [_tag("span", "null", style="opacity:.5;") if value is None else _cell_text(value) for value in row]
        for row in data
    ]
    body = html_table(names, rows, len(schema) > len(names), "columns", numbers=_numbers(schema))
    facts = {name: value for name, value in preview.facts.items() if name in ("files", "partitions")}
    shown = none(f"The first {count_text(len(data), 'row')}.") if data else none("There are no such rows.")
    return box(html_title("Preview", preview.name), facts_table(facts), body, shown)


def _numbers(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    types = pa.types
    return [
        each.name
        for each in schema
        if types.is_integer(each.type) or types.is_floating(each.type) or types.is_decimal(each.type)
    ]


def _cell_text(value: Any) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(plain(value), ensure_ascii=False)
    return value_text(value if isinstance(value, str) else str(plain(value)), CELL_CHARACTERS_MAX)


def _text_table(preview: Preview) -> list[str]:
    """Return the rows below their names and types, aligned."""
    schema = preview.rows.schema
    lines = [[clean(name) for name in schema.names], [str(each.type) for each in schema]]
    lines += [
        ["null" if value is None else _cell_text(value) for value in row.values()] for row in preview.rows.to_pylist()
    ]
    cells = [[fit(cell, CELL_CHARACTERS_MAX) for cell in line] for line in lines]
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
    numbers = set(_numbers(schema))
    return [
        "  ".join(
            _pad(cell, width, name in numbers) for cell, width, name in zip(line, widths, schema.names, strict=True)
        ).rstrip()
        for line in cells
    ]


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - width_of(cell))
    return space + cell if right else cell + space
