"""Sharing a table out: consecutive pieces of about the same weight, cut between row groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from holdall_store.tables._footer import load_footers
from holdall_store.tables._query import plan_file
from holdall_store.tables._scan import Piece, Scan
from holdall_store.tables._schema import leaves_below

__all__ = ["shares", "split_pieces"]

FINE: Final = 4
"""Files that weigh less than this part of a share are never cut: for them no footer has to be read."""


def split_pieces(scan: Scan, n: int, by: Literal["bytes", "rows"]) -> list[list[Piece]]:
    """Return what each of `n` parts reads."""
    weighed = list(_weighed(scan, n, by))
    groups = shares([weight for _, weight in weighed], n)
    return [_joined([weighed[at][0] for at in group]) for group in groups]


def shares(weights: Sequence[int], n: int) -> list[range]:
    """Return `n` consecutive ranges of positions whose weights are about equal: each item goes where its middle lies."""
    whole = sum(weights) or 1
    found: list[int] = []
    before = 0
    for weight in weights:
        found.append(min((2 * before + weight) * n // (2 * whole), n - 1))
        before += weight
    edges = [next((at for at, share in enumerate(found) if share >= number), len(found)) for number in range(n + 1)]
    edges[n] = len(found)
    return [range(begin, end) for begin, end in itertools.pairwise(edges)]


def _weighed(scan: Scan, n: int, by: str) -> Iterator[tuple[Piece, int]]:
    """Yield files, or single row groups of those that weigh much, with what they weigh."""
    query = scan.query
    pieces = [(file, groups) for file, groups in scan.pieces if query.condition_for(file) is not False]
    share = sum(file.found.size for file, _ in pieces) / n
    cuts = [groups is not None or by == "rows" or file.found.size * FINE > share for file, groups in pieces]
    footers = load_footers(scan.source, [file.found for (file, _), cut in zip(pieces, cuts, strict=True) if cut])
    for (file, groups), cut in zip(pieces, cuts, strict=True):
        footer = next(footers) if cut else None
        if footer is None:
            yield (file, groups), file.found.size
            continue
        footer = query.footer(footer, file)
        for plan in plan_file(query, footer, file, groups):
            leaves = leaves_below(footer.schema, {**query.wanted, **query.looked_at(plan.condition)})
            weight = plan.rows if by == "rows" else sum(span.length for span in footer.spans(plan.index, leaves))
            yield (file, (plan.index,)), weight


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces with the row groups of one file together."""
    found: list[Piece] = []
    for file, run in itertools.groupby(pieces, key=lambda piece: piece[0]):
        groups = [groups for _, groups in run]
        indices = tuple(index for each in groups if each is not None for index in each)
        found.append((file, indices if None not in groups else None))
    return found
