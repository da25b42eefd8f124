"""Runs that were chosen among those of a flow: a sequence that reads the store as it is gone through."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

import msgspec

from holdall._messages import kind_of, shown
from holdall._moments import STATUSES, parse_duration, parse_moment
from holdall._provenance import process_is_gone
from holdall._run import Run
from holdall.store import (
    HoldallError,
    InvalidFilterError,
    InvalidNameError,
    MissingDependencyError,
    UnsupportedTypeError,
    nearest,
)
from holdall_store.repository import Match, RunRow, RunSearch, RunView
from holdall_store.transfer import run_ordered

if TYPE_CHECKING:
    import pandas as pd

    from holdall._flow import Flow
    from holdall._where import Filter

__all__ = ["Runs", "Selection", "check_statuses", "since_moment"]

ROWS_SHOWN: Final = 10

EPOCH_SECONDS_MIN: Final = 100_000_000
"""A smaller number is hardly meant as seconds since 1970: it would be before 1973."""

AHEAD_RUNS_MAX: Final = 64
"""Whole runs that are read together once they were found; the first alone, then two, four, …"""

NAMES_SAMPLED_RUNS: Final = 1000
"""Runs whose metrics and parameters are remembered by name, to say which are nearest to one that no run has."""

_END: Final = "~"
_COMPLEMENT: Final = str.maketrans("0123456789T", "9876543210t")


class Selection(NamedTuple):
    """Which runs are wanted."""

    tags: frozenset[str] = frozenset()
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    statuses: frozenset[str] = frozenset()
    where: Filter | None = None
    limit: int | None = None

    @property
    def bounds(self) -> tuple[str, str]:
        """The segments of keys behind which runs lie, and up to which."""
        after = f"{_segment(self.until)}-{_END}" if self.until else ""
        return after, f"{_segment(self.since)}-{_END}" if self.since else _END

    @property
    def plain(self) -> bool:
        """Whether nothing has to be known of a run to tell that it is wanted."""
        return not self.tags and not self.statuses and self.where is None

    def wants(self, row: RunRow) -> bool:
        """Tell whether a run is wanted."""
        if self.statuses and row.status not in self.statuses:
            return False
        if self.tags and not self.tags.issubset(row.tags):
            return False
        return self.where is None or self.where.matches(row) is True


class Runs(Iterable[Run]):
    """Runs of a flow, newest first, as `Flow.runs` chose them.

    Nothing is kept, so that any number of runs takes little memory: every look asks the store anew, and there is no ``len``,
    which ``list`` would ask for before it begins. ``runs[0]`` and ``runs[:10]`` read no further than they must; `count`
    and `to_pandas` go through all, and read none as a whole.
    """

    def __init__(self, flow: Flow, selection: Selection) -> None:
        self._flow = flow
        self._selection = selection
        self._iterator: Iterator[Run] | None = None

    def __iter__(self) -> Iterator[Run]:
        limit = self._selection.limit
        if limit == 0:
            return iter(())
        found = self._plain() if self._selection.plain else self._searched()
        return itertools.islice(found, limit)

    def __next__(self) -> Run:
        """Return the first run, then the next one, and so on: a way through that this object keeps."""
        if self._iterator is None:
            self._iterator = iter(self)
        return next(self._iterator)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        if isinstance(index, slice):
            parts = (index.start, index.stop, index.step)
            if all(part is None or part >= 0 for part in parts):
                return list(itertools.islice(iter(self), index.start, index.stop, index.step))
            return list(self)[index]
        if not hasattr(index, "__index__"):
            raise UnsupportedTypeError(
                f"Runs are counted, and runs[0] is the newest; {shown(index)} is {kind_of(index)}. A run of an id is "
                "flow[id]."
            )
        if index < 0:
            return list(self)[index]
        for run in itertools.islice(iter(self), index, None):
            return run
        raise IndexError(f"There are no {index + 1} runs: {self!r}.")

    def count(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self._rows())

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a row for each run: its id, status, times, user and tags, and every metric and parameter.

        >>> import holdall
        >>> with holdall.run("churn", params={"lr": 0.1}) as run:
        ...     run.log(auc=0.9)
        >>> holdall.Flow("churn").runs().to_pandas()[["status", "metrics.auc", "params.lr"]].values.tolist()
        [['succeeded', 0.9, 0.1]]
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingDependencyError("to_pandas() needs pandas: pip install pandas") from None
        rows = list(self._rows())
        frame: dict[str, Any] = {
            "run": [row.run for row in rows],
            "namespace": [row.namespace for row in rows],
            "status": [row.status for row in rows],
            "started": pd.to_datetime([row.started_s for row in rows], unit="s", utc=True),
            "seconds": [row.updated_s - row.started_s for row in rows],
            "user": [row.user for row in rows],
            "tags": [sorted(row.tags) for row in rows],
        }
        for group in ("metrics", "params"):
            names = dict.fromkeys(itertools.chain.from_iterable(getattr(row, group) for row in rows))
            for name in names:
                frame[f"{group}.{name}"] = [getattr(row, group).get(name) for row in rows]
        return pd.DataFrame(frame)

    def __repr__(self) -> str:
        asked = self._selection
        parts = [f"tags={sorted(asked.tags)!r}"] if asked.tags else []
        parts += [f"since={asked.since:%Y-%m-%dT%H:%M:%S%z}"] if asked.since else []
        parts += [f"until={asked.until:%Y-%m-%dT%H:%M:%S%z}"] if asked.until else []
        parts += [f"status={sorted(asked.statuses)!r}"] if asked.statuses else []
        parts += [f"where={asked.where.text!r}"] if asked.where else []
        parts += [f"limit={asked.limit}"] if asked.limit is not None else []
        return f"Runs({', '.join([repr(self._flow.name), *parts])})"

    def _repr_html_(self) -> str:
        from holdall._html import runs_html

        return runs_html(self)

    def _plain(self) -> Iterator[Run]:
        """Yield runs of which nothing has to be known before they are read."""
        client, (after, last) = self._flow.client, self._selection.bounds
        catalog = client.repository.catalog
        readers = {space: client.repository.tags.reader(space, self._flow.name) for space in self._flow.namespaces}
        together = self._selection.limit or 1
        streams = [
            catalog.newest(space, self._flow.name, _warn, together=together, after=after, last=last)
            for space in self._flow.namespaces
        ]
        views = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda view: view.run, reverse=True)
        return (Run._of(client, view, readers[view.namespace]) for view in views)

    def _searched(self) -> Iterator[Run]:
        """Yield runs that were found by what is remembered of them; more and more of them are read together."""
        client, limit = self._flow.client, self._selection.limit
        search, far = client.repository.search(), client.repository.storage.traits.concurrency
        readers = {space: client.repository.tags.reader(space, self._flow.name) for space in self._flow.namespaces}
        matches = self._matches(search)
        for count in map((1).__lshift__, itertools.count()):
            ahead = min(max(count, limit or 1), AHEAD_RUNS_MAX) if far else 1
            batch = list(itertools.islice(matches, ahead))
            if not batch:
                return

            def read(match: Match) -> Iterator[tuple[RunView | HoldallError, int]]:
                yield _whole(search, self._flow.name, match), 0

            for view in run_ordered(batch, read, bytes_max=1, threads=len(batch)):
                if isinstance(view, RunView):
                    yield Run._of(client, view, readers[view.namespace])
                else:
                    _warn(view)

    def _rows(self) -> Iterator[RunRow]:
        matches = self._matches(self._flow.client.repository.search())
        return itertools.islice((match.row for match in matches), self._selection.limit)

    def _matches(self, search: RunSearch) -> Iterator[Match]:
        """Yield the runs that are wanted, without regard to the limit."""
        wanted, (after, last) = self._selection, self._selection.bounds
        streams = [
            search.matches(space, self._flow.name, after, last, _warn, first=_first(wanted))
            for space in self._flow.namespaces
        ]
        every = (
            streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda match: match.row.run, reverse=True)
        )
        names: set[tuple[str, str]] = set()
        any_found = False
        for number, found in enumerate(every):
            match = _as_it_is(found)
            if wanted.where is not None and number < NAMES_SAMPLED_RUNS and wanted.where.asks:
                names.update(("metrics", name) for name in match.row.metrics)
                names.update(("params", name) for name in match.row.params)
            if wanted.wants(match.row):
                any_found = True
                yield match
        if not any_found and wanted.where is not None and names:
            _tell_unknown(wanted.where, names)


def _as_it_is(match: Match) -> Match:
    """Return what was found of a run; one that goes on by its records may have died on this machine."""
    row = match.row
    if row.status != "running" or row.ended or not process_is_gone({"pid": row.pid, "process": row.process}):
        return match
    return match._replace(row=msgspec.structs.replace(row, status="died"))


def _first(wanted: Selection) -> int:
    return 64 if wanted.limit is not None else 2000


def _whole(search: RunSearch, flow: str, match: Match) -> RunView | HoldallError:
    if match.view is not None:
        return match.view
    try:
        return search.view(match.row.namespace, flow, match.row)
    except HoldallError as error:
        return error


def _tell_unknown(where: Filter, names: set[tuple[str, str]]) -> None:
    """Warn of a metric or parameter that no run has: nothing matches, and it may be misspelt."""
    for group, name in where.asks:
        ways = [name[:position] for position, character in enumerate(name) if character == "."]
        if (group, name) in names or (group == "params" and any((group, way) in names for way in ways)):
            continue
        hint = nearest(name, {known for kind, known in names if kind == group})
        warnings.warn(f"No run was found that has {group}.{name}.{hint}", stacklevel=4)


def check_statuses(status: object) -> frozenset[str]:
    """Return the statuses that are wanted; all where none is named."""
    if status is None:
        return frozenset()
    several = [status] if isinstance(status, str) else status
    if not isinstance(several, Iterable):
        raise InvalidNameError(f"status is one of {', '.join(STATUSES)}, or a list of them; not {shown(status)}.")
    checked = set()
    for each in several:
        if each not in STATUSES:
            hint = nearest(each, STATUSES) if isinstance(each, str) else ""
            raise InvalidNameError(f"{shown(each)} is no status.{hint} There are: {', '.join(STATUSES)}.")
        checked.add(str(each))
    return frozenset(checked)


def since_moment(value: object, now: dt.datetime) -> dt.datetime | None:
    """Return a moment in UTC: one that is named, or one that is so long ago."""
    if value is None:
        return None
    if isinstance(value, dt.timedelta) or (isinstance(value, str) and _is_duration(value)):
        try:
            return now - dt.timedelta(seconds=parse_duration(value))
        except OverflowError:
            raise InvalidFilterError(f"{value!r:.60} ago is before the year 1.") from None
    if isinstance(value, int | float) and abs(value) < EPOCH_SECONDS_MIN:
        raise InvalidFilterError(f"{value!r:.60} would be a time of 1970: write '{value!r:.60}d' for so many days ago.")
    try:
        return parse_moment(value).astimezone(dt.UTC)
    except OverflowError:
        raise InvalidFilterError(f"{value!r:.60} lies beyond the years that a calendar has.") from None


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except InvalidFilterError:
        return False
    return True


def _segment(moment: dt.datetime) -> str:
    """Return how the keys of runs begin that began at a moment."""
    utc = moment.astimezone(dt.UTC)
    text = f"{utc.year:04d}{utc:%m%dT%H%M%S}{utc.microsecond:06d}"
    return text.translate(_COMPLEMENT)


def _warn(error: HoldallError) -> None:
    warnings.warn(f"Left out: {error}", stacklevel=4)
