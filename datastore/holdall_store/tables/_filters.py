"""Bloom filters, where they can leave row groups out that statistics cannot: which to fetch, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from holdall_store.errors import FormatError
from holdall_store.tables._bloom import bits_of, hash_of, may_contain
from holdall_store.tables._bound import BoundLeaf, Condition, Every, Not, Some, plain
from holdall_store.tables._footer import Footer
from holdall_store.tables._names import take_path
from holdall_store.tables._plain import plain_value
from holdall_store.tables._plan import Span, coalesce, cut, total
from holdall_store.tables._prune import Fact, fact
from holdall_store.tables._query import Absent, Query, look_into, plan_file, simplify, type_at
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._schema import Selection, leaves_below
from holdall_store.tables._source import FetchedSource, Fill, MappedSource, Source
from holdall_store.tables._sparse import SparseFile
from holdall_store.tables._units import OpenFile, is_late

__all__ = ["Tally", "equalities", "look_at_filters"]

WORTH: Final = 4
"""A filter is fetched where what it can save weighs so many times more: at worst, a quarter more is fetched."""

GAIN_BYTES_MIN: Final = 1 << 20
"""What filters can save has to weigh so much, or the round trip that they take would be longer."""

FILTER_BYTES_MAX: Final = 32 << 20
"""So many bytes of filters are held at once; what comes later is read without."""

VALUES_MAX: Final = 64
"""With more values than this, a filter that is wrong once in a hundred times finds one of them too often."""

VERDICTS_MAX: Final = 2048
"""What filters said, which is remembered: each at most some kilobytes."""

Path = tuple[str, ...]


class Wanted(NamedTuple):
    """A filter of a column of a row group, and what it is asked for: values, as they are compared and as they are written."""

    group: int
    path: Path
    span: Span
    values: tuple[tuple[Fact, bytes], ...]


@dataclass(slots=True)
class Tally:
    """What looking at filters took, and brought."""

    requests: int = 0
    bytes: int = 0
    row_groups: int = 0


_verdicts: dict[tuple[Any, ...], frozenset[Fact]] = {}
"""By place, file, version, filter and values."""


def equalities(condition: Condition | bool | None) -> Iterator[BoundLeaf]:
    """Yield the parts of a condition that filters can decide."""
    if isinstance(condition, BoundLeaf):
        if condition.operator in ("==", "!=", "in") and condition.ordinals:
            yield condition
    elif isinstance(condition, Every | Some):
        for part in condition.parts:
            yield from equalities(part)
    elif isinstance(condition, Not):
        yield from equalities(condition.inner)


def look_at_filters(
    source: Source, query: Query, opened: Sequence[tuple[OpenFile, tuple[int, ...] | None]], tally: Tally | None = None
) -> None:
    """Fetch the filters that can leave row groups of these files out, all at once, and tell the files what they say.

    Holds at most `FILTER_BYTES_MAX` of them.
    """
    chosen: list[tuple[OpenFile, list[Wanted]]] = []
    stake, left = 0, FILTER_BYTES_MAX
    for file, groups in opened:
        if file.footer is None or file.footer.whole is not None:
            continue
        wanted = []
        for found, weight in _wanted(query, file.footer, file.file, groups):
            size = total(each.span for each in found)
            if size <= left:
                left -= size
                stake += weight
                wanted += found
        if wanted:
            chosen.append((file, wanted))
    if isinstance(source, FetchedSource) and stake < GAIN_BYTES_MIN:
        return
    _decide(source, chosen)
    if tally is not None:
        for file, wanted in chosen:
            spans = _ranges(wanted)
            tally.requests += len(spans) if isinstance(source, FetchedSource) else 0
            tally.bytes += total(spans)
            assert file.footer is not None
            looked = tuple(dict.fromkeys(each.group for each in wanted))
            tally.row_groups += len(looked) - len(plan_file(query, file.footer, file.file, looked, file.absent))


def _wanted(
    query: Query, footer: Footer, file: TableFile, groups: tuple[int, ...] | None
) -> Iterator[tuple[list[Wanted], int]]:
    """Yield the filters that together can leave a row group out, and how many bytes would not be fetched then."""
    asked = _asked(query, footer, file)
    count = footer.metadata.num_row_groups
    chosen = [
        index
        for index in (range(count) if groups is None else groups)
        if index < count and any(_span(footer, index, leaf) is not None for leaf, _ in asked.values())
    ]
    if not chosen:
        return
    for plan in plan_file(query, footer, file, tuple(chosen)):
        condition = plan.condition
        paths = {leaf.path for leaf in equalities(condition)}
        found = []
        for path in paths & asked.keys():
            leaf, values = asked[path]
            span = _span(footer, plan.index, leaf)
            if span is not None:
                found.append(Wanted(plan.index, path, span, values))
        weight = _weight(query, footer, plan.index, condition)
        found.sort(key=lambda each: (each.span.length, each.span))
        while found and total(each.span for each in found) * WORTH > weight:
            found.pop()
        absent: Absent = {(each.group, each.path): frozenset(key for key, _ in each.values) for each in found}
        if found and simplify(condition, look_into(query, footer, file, plan.index, absent)) is False:
            yield found, weight


def _asked(query: Query, footer: Footer, file: TableFile) -> dict[Path, tuple[int, tuple[tuple[Fact, bytes], ...]]]:
    """Return the columns that filters can be asked about: their numbers in the file, and the values."""
    known = query.constants(file)
    found: dict[Path, dict[Fact, bytes]] = {}
    leaves: dict[Path, int] = {}
    for condition in equalities(query.condition_for(file)):
        path = condition.path
        kind = None if path[0] in known else type_at(footer.schema, path)
        below = [] if kind is None else leaves_below(footer.schema, _only(path))
        if len(below) != 1 or condition.ordinals is None or len(condition.ordinals) > VALUES_MAX:
            continue
        leaves[path] = below[0]
        table = plain(take_path(query.table.field(path[0]).type, path[1:]))
        column = footer.metadata.schema.column(below[0])
        if column.max_repetition_level:
            continue
        for ordinal in condition.ordinals:
            written = plain_value(ordinal, table, kind, column)
            if written is not None:
                found.setdefault(path, {})[fact(ordinal)] = written
    return {path: (leaves[path], tuple(values.items())) for path, values in found.items()}


def _only(path: Path) -> Selection:
    selection: Selection = {path[-1]: None}
    for name in reversed(path[:-1]):
        selection = {name: selection}
    return selection


def _span(footer: Footer, group: int, leaf: int) -> Span | None:
    """Return where the filter of a column chunk is, or ``None`` if there is none, or none where the footer says."""
    if leaf in footer.sealed:
        return None
    chunk = footer.chunk(group, leaf)
    # Versions of pyarrow that do not tell read without filters.
    begin, length = getattr(chunk, "bloom_filter_offset", None), getattr(chunk, "bloom_filter_length", None)
    if begin is None or length is None or begin < 4 or length <= 0 or begin + length > footer.begin:
        return None
    try:
        (data,) = footer.spans(group, [leaf])
    except FormatError:
        return None  # reading the column says so
    return (
        None if begin < data.end and data.begin < begin + length and not footer.padded else Span(begin, begin + length)
    )


def _weight(query: Query, footer: Footer, group: int, condition: Condition | None) -> int:
    """Return how many bytes are fetched of a row group before anybody knows whether it has rows."""
    looked = leaves_below(footer.schema, query.looked_at(condition))
    others = sorted(set(leaves_below(footer.schema, query.wanted)) - set(looked))
    first, rest = total(footer.spans(group, looked)), total(footer.spans(group, others))
    return first if is_late(first, rest) else first + rest


def _ranges(wanted: Sequence[Wanted]) -> list[Span]:
    return cut(coalesce(each.span for each in wanted))


def _decide(source: Source, chosen: Sequence[tuple[OpenFile, list[Wanted]]]) -> None:
    """Tell files what their filters say: those that are not remembered are fetched."""
    unknown: list[tuple[OpenFile, list[Wanted]]] = []
    for file, wanted in chosen:
        missing = []
        for each in wanted:
            verdict = _verdicts.get(_key(source, file, each))
            if verdict is None:
                missing.append(each)
            elif verdict:
                file.absent[each.group, each.path] = verdict
        if missing:
            unknown.append((file, missing))
    for file, wanted, read in _fetched(source, unknown):
        for each in wanted:
            verdict = _absent(read(each.span), each)
            if verdict:
                file.absent[each.group, each.path] = verdict
            if file.file.found.version:
                if len(_verdicts) >= VERDICTS_MAX:
                    _verdicts.clear()
                _verdicts[_key(source, file, each)] = verdict


def _key(source: Source, file: OpenFile, wanted: Wanted) -> tuple[Any, ...]:
    found = file.file.found
    return source.identity, found.key, found.size, found.version, wanted.span, wanted.values


def _fetched(
    source: Source, chosen: Sequence[tuple[OpenFile, list[Wanted]]]
) -> Iterator[tuple[OpenFile, list[Wanted], Any]]:
    """Yield files with the filters wanted of them, and a function that gives their bytes."""
    if isinstance(source, MappedSource):
        for file, wanted in chosen:
            mapped = source.map(file.file.found)

            def read(span: Span, mapped: Any = mapped) -> memoryview:
                mapped.seek(span.begin)
                return memoryview(mapped.read_buffer(span.length)).cast("B")  # Arrow's are signed

            yield file, wanted, read
            source.check(file.file.found)
        return
    assert isinstance(source, FetchedSource)
    held = [(file, wanted, SparseFile(file.url, file.file.found.size)) for file, wanted in chosen]
    fills = [Fill(file.file.found, _ranges(wanted), sparse.view, at) for at, (file, wanted, sparse) in enumerate(held)]
    for fill in source.fetch(fills, bytes_max=FILTER_BYTES_MAX):
        file, wanted, sparse = held[fill.tag]
        yield file, wanted, lambda span, view=sparse.view: view[span.begin : span.end]


def _absent(data: memoryview, wanted: Wanted) -> frozenset[Fact]:
    """Return which values a filter excludes: none, if it makes no sense."""
    try:
        bits = bits_of(data)
    except ValueError:
        return frozenset()  # the column itself is looked at
    return frozenset(key for key, written in wanted.values if not may_contain(bits, hash_of(written)))
