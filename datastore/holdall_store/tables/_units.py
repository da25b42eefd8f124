"""The pieces in which a table is read: some row groups of one file, what to fetch for them, and how to decode them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from holdall_store.tables._bound import Condition, kernels
from holdall_store.tables._decode import THREADED_BYTES, Decoded, assemble, mask_of, read_columns
from holdall_store.tables._deleted import count_deleted, mask_of_kept
from holdall_store.tables._footer import Footer, parse_footer
from holdall_store.tables._plan import Span, coalesce, total
from holdall_store.tables._prune import Fact
from holdall_store.tables._query import GroupPlan, Query, plan_file
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._schema import leaves_below
from holdall_store.tables._source import MappedSource, Source, Tail
from holdall_store.tables._sparse import SparseFile

__all__ = ["UNIT_BYTES", "GroupUnit", "OpenFile", "Unit", "WholeUnit", "has_any", "is_late", "units_of"]

UNIT_BYTES: Final = 2 << 20
"""Small row groups are read together up to this size: each piece costs about a millisecond of its own."""

LATE_FACTOR: Final = 4
"""Columns that a condition looks at are read first if the others weigh so many times more: a second round costs time."""

LATE_BYTES_MIN: Final = 1 << 20
"""And if the others weigh at least so much."""


class Group(NamedTuple):
    """A row group, and where its columns are."""

    plan: GroupPlan
    spans: dict[int, Span]


class OpenFile:
    """A file while it is read: mapped, or as much of it as was fetched."""

    def __init__(self, source: Source, file: TableFile, footer: Footer | None) -> None:
        self.source = source
        self.file = file
        self.footer = footer
        self.url = source.url(file.found.key)
        self.releases = True
        """Whether memory can be given back piece by piece: not where pieces share bytes."""
        self.absent: dict[tuple[int, tuple[str, ...]], frozenset[Fact]] = {}
        """Values that filters say a column of a row group does not have."""
        self._sparse: SparseFile | None = None
        self._mapped: Any = None

    @property
    def is_here(self) -> bool:
        """Whether nothing has to be fetched."""
        return isinstance(self.source, MappedSource) or (self.footer is not None and self.footer.whole is not None)

    @property
    def sparse(self) -> SparseFile:
        """What was fetched of the file."""
        if self._sparse is None:
            self._sparse = SparseFile(self.url, self.file.found.size)
        return self._sparse

    def reader(self, spans: Sequence[Span]) -> Any:
        """Return a source for Arrow that has the bytes in `spans`."""
        if isinstance(self.source, MappedSource):
            if self._mapped is None:
                self._mapped = self.source.map(self.file.found)
            else:
                self.source.check(self.file.found)
            return self._mapped
        if self.is_here:
            import pyarrow as pa

            assert self.footer is not None
            return pa.BufferReader(pa.py_buffer(self.footer.whole))
        self.sparse.require(spans)
        return self.sparse.reader()


class Unit:
    """A piece of a table. ``first`` are the bytes that it needs, ``rest`` those that it needs if rows are found."""

    file: OpenFile
    first: list[Span]
    rest: list[Span]
    head: Any = None
    """How to read its first rows only, where that pays."""

    @property
    def is_late(self) -> bool:
        """Whether it is read in two rounds."""
        return bool(self.rest)

    @property
    def rows_at_most(self) -> int:
        """How many rows of the result it can have."""
        raise NotImplementedError

    def decode(self) -> Any:
        """Return its rows as a table, when ``first`` and ``rest`` are there."""
        raise NotImplementedError


class GroupUnit(Unit):
    """Row groups of one file whose rows have to be looked at for the same condition."""

    def __init__(self, query: Query, file: OpenFile, groups: Sequence[Group], *, alone: bool = False) -> None:
        assert file.footer is not None
        self.file = file
        self.footer = file.footer
        self.query = query
        self.condition: Condition | None = groups[0].plan.condition
        self.groups = [group.plan.index for group in groups]
        self.rows = sum(group.plan.rows for group in groups)
        facts = file.file.facts
        self.kept = None if facts is None else mask_of_kept(facts.deleted, self.footer, self.groups)
        """Which rows are not deleted, where some are."""
        self.alone = alone
        schema = self.footer.schema
        wanted = leaves_below(schema, query.wanted)
        looked = leaves_below(schema, query.looked_at(self.condition))
        self._looked = looked
        self._all = sorted({*wanted, *looked})
        self.chunks = groups[0].spans
        """Where the columns of the first row group are."""
        first = [group.spans[leaf] for group in groups for leaf in looked]
        rest = [group.spans[leaf] for group in groups for leaf in sorted(set(wanted) - set(looked))]
        late = self.condition is not None and is_late(total(first), total(rest))
        self.needs_first = first if late else first + rest
        self.needs_rest = rest if late else []
        self.first = coalesce(self.needs_first)
        self.rest = coalesce(self.needs_rest)

    @property
    def rows_at_most(self) -> int:
        return self.rows if self.kept is None else self.kept.true_count

    @property
    def is_masked(self) -> bool:
        """Whether some of its rows may not be rows of the result."""
        return self.condition is not None or self.kept is not None

    @property
    def weight(self) -> int:
        """How many bytes its columns have in the file."""
        return total(self.needs_first) + total(self.needs_rest)

    @property
    def dictionaries(self) -> list[str]:
        """The columns of texts that are decoded as dictionaries.

        Those that are to be given as such, and those that mostly are: a text for each row is made of these faster than
        Arrow decodes one.
        """
        given = [name for name in self.query.dictionaries if name in self.footer.texts]
        return list(dict.fromkeys([*given, *self.footer.folded(self.groups[0])]))

    def look(self) -> tuple[Any, Decoded]:
        """Return which rows the condition is true for, and the columns that it looked at, when ``first`` is there."""
        assert self.condition is not None
        columns = self._read(self._looked, self.needs_first)
        return self._mask(columns), columns

    def _mask(self, columns: Decoded) -> Any:
        assert self.condition is not None
        mask = mask_of(self.condition, self.query, self.footer, self.file.file.values, columns, self.rows)
        return mask if self.kept is None else kernels().and_kleene(mask, self.kept)

    def _read(self, leaves: Sequence[int], spans: Sequence[Span]) -> Decoded:
        threads = self.alone or self.weight >= THREADED_BYTES
        columns = read_columns(
            self.footer,
            self.file.reader(spans) if leaves else None,
            self.groups,
            leaves,
            threads=threads,
            dictionaries=self.dictionaries,
        )
        if isinstance(self.file.source, MappedSource):
            self.file.source.check(self.file.file.found)
        return columns

    def decode(self) -> Any:
        mask = self.kept
        if self.is_late:
            mask, looked = self.look()
            return self.finish(mask, looked)
        columns = self._read(self._all, self.needs_first)
        if self.condition is not None:
            mask = self._mask(columns)
        self.release()
        return assemble(self.query, self.footer, self.file.file.values, columns, self.rows, mask)

    def finish(self, mask: Any, looked: Decoded) -> Any:
        """Return the rows that `look` found, when ``rest`` is there, too."""
        if not has_any(mask):
            return self.query.schema.empty_table()
        # Columns that were looked at whole are there; of a struct other fields may be wanted than were looked at.
        seen = self.query.looked_at(self.condition)
        there = {name: looked[name] for name in looked if seen.get(name, 0) is None}
        missing = {name: inner for name, inner in self.query.wanted.items() if name not in there}
        columns = self._read(leaves_below(self.footer.schema, missing), self.needs_first + self.needs_rest)
        self.release()
        return assemble(self.query, self.footer, self.file.file.values, {**columns, **there}, self.rows, mask)

    def release(self) -> None:
        """Give the fetched bytes back."""
        if not self.file.is_here and self.file.releases:
            self.file.sparse.release([*self.first, *self.rest])


class WholeUnit(Unit):
    """A small file of which nothing is known: fetched as a whole, and only then understood."""

    def __init__(self, query: Query, file: OpenFile, check: Callable[[Footer], None]) -> None:
        self.file = file
        self.query = query
        self._check = check
        self.first = [Span(0, file.file.found.size)]
        self.rest = []

    @property
    def rows_at_most(self) -> int:
        return 0  # nobody knows yet

    def decode(self) -> Any:
        import pyarrow as pa

        file = self.file
        file.sparse.require(self.first)
        footer = parse_footer(file.url, Tail(file.file.found, 0, file.sparse.view))
        assert isinstance(footer, Footer)
        self._check(footer)
        file.footer = self.query.footer(footer, file.file)
        tables = [unit.decode() for unit in units_of(self.query, file, None)]
        if not tables:
            return self.query.schema.empty_table()
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables)


def units_of(
    query: Query, file: OpenFile, groups: tuple[int, ...] | None, *, alone: bool = False, split: bool = False
) -> list[GroupUnit]:
    """Return the pieces in which a file is read: `alone`, all of it in one if it can be; `split`, one per row group."""
    footer = file.footer
    assert footer is not None
    found: list[GroupUnit] = []
    batch: list[Group] = []
    weight, size = 0, 0 if split else UNIT_BYTES
    wanted = leaves_below(footer.schema, query.wanted)
    facts = file.file.facts
    deleted = None if facts is None else facts.deleted
    for plan in plan_file(query, footer, file.file, groups, file.absent):
        if deleted is not None and count_deleted(deleted, footer, plan.index) == plan.rows:
            continue
        if batch and (batch[0].plan.condition is not plan.condition or (weight >= size and not alone)):
            found.append(GroupUnit(query, file, batch, alone=alone))
            batch, weight = [], 0
        looked = leaves_below(footer.schema, query.looked_at(plan.condition))
        leaves = sorted({*wanted, *looked})
        batch.append(Group(plan, dict(zip(leaves, footer.spans(plan.index, leaves), strict=True))))
        weight += total(batch[-1].spans.values())
    if batch:
        found.append(GroupUnit(query, file, batch, alone=alone))
    file.releases = not footer.padded and _apart(found)
    return found


def _apart(units: Sequence[GroupUnit]) -> bool:
    """Tell whether pieces lie one after the other, so that what is fetched for one has nothing of another."""
    edges = [(spans[0].begin, spans[-1].end) for unit in units if (spans := sorted([*unit.first, *unit.rest]))]
    edges.sort()
    return all(before[1] <= after[0] for before, after in itertools.pairwise(edges))


def is_late(first: int, rest: int) -> bool:
    """Tell whether columns of `first` bytes, which a condition looks at, are read before others of `rest` bytes."""
    return rest >= max(LATE_BYTES_MIN, LATE_FACTOR * first)


def has_any(mask: Any) -> bool:
    """Tell whether a condition is true for any row."""
    pc = kernels()

    return bool(pc.any(mask).as_py())
