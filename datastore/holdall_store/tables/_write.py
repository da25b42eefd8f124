"""Writing a table: rows become files, the files are stored, and one commit makes them the table's."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from holdall_store.config import check_flags, logger
from holdall_store.errors import ColumnNotFoundError, FormatError, HoldallError, InvalidNameError, StorageError, nearest
from holdall_store.tables._commit import Clock, Intent, Scene, check_mode, commit, look, wrong_partitions
from holdall_store.tables._files import Layout, MadeFile, make_empty, make_files, sort_rows
from holdall_store.tables._fit import check_storable, fit_schema, fit_table, narrowed
from holdall_store.tables._folders import check_partition_by
from holdall_store.tables._frames import Rows, rows_of, slices
from holdall_store.tables._history import History
from holdall_store.tables._log import LOG_PREFIX, FileEntry, data_name, unpack_schema
from holdall_store.tables._pandas_metadata import of_no_order
from holdall_store.tables._resolve import Address, check_sources
from holdall_store.tables._snapshot import Snapshot
from holdall_store.tables._table import Parts, table_of
from holdall_store.tables._target import Target, exists_as_file, open_target
from holdall_store.tables._vacuum import KEEP_DAYS
from holdall_store.tables._written import Written

__all__ = ["MODES", "Options", "check_address", "write_table"]

MODES: Final = ("append", "overwrite", "overwrite_partitions", "error")

COMPRESSIONS: Final = ("zstd", "snappy", "lz4", "gzip", "brotli", "none")

UPLOADED_BYTES: Final = 256 << 20
"""Files that are under way hold at most about this much, and the next one is made meanwhile."""

UPLOADS_MAX: Final = 16
"""Files under way at once: small ones are many, and the parts of large ones travel side by side anyway."""

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"


class SystemClock:
    """The clock and the randomness of the machine."""

    def now(self) -> dt.datetime:
        """Return the time, in UTC."""
        return dt.datetime.now(dt.UTC)

    def token(self, length: int) -> str:
        """Return `length` random characters of base 32."""
        return "".join(_ALPHABET[byte & 31] for byte in os.urandom(length))


@dataclass(frozen=True)
class Options:
    """How a table is written, checked as far as that is possible without its columns."""

    mode: str
    partition_by: Any
    sort_by: tuple[tuple[str, bool], ...]
    merge_schema: bool
    keep_replaced: bool
    layout: Layout

    @staticmethod
    def check(
        mode: Any,
        partition_by: Any,
        sort_by: Any,
        compression: Any,
        file_bytes: Any,
        row_group_bytes: Any,
        **flags: bool,
    ) -> Options:
        """Return the options that a caller gives, or raise `InvalidNameError` for what means nothing."""
        check_flags(**flags)
        _one_of("mode", mode, MODES)
        _one_of("compression", compression, COMPRESSIONS)
        for name, value in (("file_bytes", file_bytes), ("row_group_bytes", row_group_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidNameError(f"{name}={value!r:.80} is no number of bytes from 1 on.")
        layout = Layout(compression=compression, file_bytes=file_bytes, row_group_bytes=row_group_bytes)
        order = _check_sort_by(sort_by)
        return Options(mode, partition_by, order, flags["merge_schema"], flags["keep_replaced"], layout)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidNameError(
            f"{name}={value!r:.80} is not understood: give {', '.join(map(repr, known))}.{nearest(str(value), known)}"
        )


def _check_sort_by(sort_by: Any) -> tuple[tuple[str, bool], ...]:
    """Return columns, and whether they descend: names, or pairs of a name and a direction as pyarrow has them."""
    given = [sort_by] if isinstance(sort_by, str) else sort_by
    found: list[tuple[str, bool]] = []
    for each in given if isinstance(given, Iterable) else [given]:
        name, order = each if isinstance(each, tuple) and len(each) == 2 else (each, "ascending")
        if not isinstance(name, str) or order not in ("ascending", "descending"):
            raise InvalidNameError(
                f"sort_by={sort_by!r:.200} is not understood: give names of columns, or pairs such as ('x', 'descending')."
            )
        found.append((name, order == "descending"))
    return tuple(found)


def write_table(
    url: Any, frame: Any, options: Options, storage_options: Mapping[str, Any] | None, clock: Clock | None = None
) -> Written:
    """Write the rows of `frame` to the table at `url`, in one commit."""
    clock = clock or SystemClock()
    started = clock.now()
    address = check_address(url)
    rows = rows_of(frame)
    target = open_target(address, storage_options)
    if address.place and address.key.endswith((".parquet", ".parq", ".pq")) and exists_as_file(target, address.key):
        raise InvalidNameError(f"{address.text} is a file, and a table is a folder: choose another name.")
    _refuse_partition(target, address)
    scene = look(target, address.text)
    check_mode(scene, options.mode)
    plan = _plan(scene, rows, options, partial(Snapshot, (address,), storage_options, None))
    target.prepare()
    begun: list[str] = []

    def forget() -> None:
        _forget(target, begun)

    try:
        stored = list(_store(target, _made(plan, rows), clock, begun))
    except Exception:
        forget()
        raise
    if clock.now() - started > dt.timedelta(days=KEEP_DAYS - 1):
        forget()
        raise StorageError(
            f"{scene.name}: the write took longer than {KEEP_DAYS - 1} days, and is not committed any more."
        )
    intent = replace(plan.intent, files=tuple(sorted(stored, key=lambda entry: entry.path)))
    made = commit(target, scene, intent, clock, forget)
    _forget(target, made.doomed)
    return Written(
        address.text,
        made.state.version,
        made.state.time,
        len(stored),
        sum(entry.rows for entry in stored),
        sum(entry.bytes for entry in stored),
        len(made.replaced),
    )


def _refuse_partition(target: Target, address: Address) -> None:
    """Raise where the folder is one of a table's partitions: its log would not name the files, and nobody see the rows."""
    folders = target.root.rstrip("/").split("/")
    names = []
    while folders and "=" in folders[-1]:
        names.append(folders.pop().partition("=")[0])
    if not names:
        return
    root = "/".join([*folders, ""])
    if History(target.source, root, list(target.source.list(root + LOG_PREFIX))).slots:
        raise InvalidNameError(
            f"{address.text} is a partition of the table {target.source.url(root)}, which would not see the rows: write "
            f"them to that table, with the columns {', '.join(reversed(names))}. mode='overwrite_partitions' replaces those "
            "of their partitions."
        )


def check_address(url: Any) -> Address:
    """Return the one folder that a caller names."""
    if not isinstance(url, str | os.PathLike):
        raise InvalidNameError(f"A table is written to one path or URL, and not to {url!r:.80}.")
    (address,) = check_sources(url)
    if address.is_glob:
        raise InvalidNameError(f"{address.text!r:.200} is a pattern: a table is written to one folder.")
    return address


@dataclass(frozen=True)
class _Plan:
    """How the rows are written: in the schema of the table, as files of a layout, and by which commit."""

    intent: Intent
    layout: Layout
    name: str
    is_new: bool
    """Whether the table has no files but these."""


def _plan(scene: Scene, rows: Rows, options: Options, opened: Callable[[Any], Snapshot]) -> _Plan:
    """Decide on the schema and the partitions, from what is there; whatever does not fit raises.

    `opened` gives the table as it is there, in a schema.
    """
    check_storable(rows.schema)
    given = None if options.partition_by is None else check_partition_by(options.partition_by, rows.schema)
    schema, names = rows.schema, given or ()
    if options.mode in ("append", "overwrite_partitions") and scene.exists:
        if scene.state.version >= 0:
            known, names = unpack_schema(scene.state.schema, scene.name), scene.state.partition_by
        else:
            snapshot = opened(None)
            known, names = snapshot.schema, snapshot.listing.names
        if given is not None and given != names:
            raise wrong_partitions(scene.name, names, given)
        schema = fit_schema(rows.schema, known, scene.name, names, merge=options.merge_schema)
        check_storable(schema)
        check_partition_by(names, schema)
        _check_room(known, schema, scene.name, opened)
    if options.mode == "overwrite_partitions" and not names:
        raise InvalidNameError("mode='overwrite_partitions' is for tables with partitions: give partition_by=…")
    for name, _ in options.sort_by:
        if name not in schema.names:
            hint = nearest(name, schema.names)
            if name in ("ascending", "descending"):
                hint = f" A list of pairs is meant, perhaps: sort_by=[({options.sort_by[0][0]!r:.200}, {name!r})]."
            raise ColumnNotFoundError(f"There is no column {name!r:.200} to sort by.{hint}")
    if names or options.sort_by:
        schema = of_no_order(schema)
    layout = replace(options.layout, partition_by=names, sort_by=options.sort_by, is_sorted=rows.whole is not None)
    intent = Intent(options.mode, schema, names, (), options.merge_schema, options.keep_replaced, scene.state.version)
    is_new = options.mode == "overwrite" or not scene.exists
    return _Plan(intent, layout, scene.name, is_new)


def _check_room(known: Any, schema: Any, name: str, opened: Callable[[Any], Snapshot]) -> None:
    """Read the columns that are to be of types that some values may have no room in: a commit is not to make them unreadable."""
    narrow = narrowed(known, schema)
    if not narrow:
        return
    try:
        for _ in table_of(Parts(opened(schema))).select(*narrow).batches():
            pass
    except FormatError as error:
        column = narrow[0]
        raise FormatError(
            f"The column {column!r:.200} of {name} is {known.field(column).type}, and as {schema.field(column).type}, which "
            f"has room for the frame, it could not be read: {error} Cast the frame's column, give it another name, or "
            "overwrite the table."
        ) from error


def _made(plan: _Plan, rows: Rows) -> Iterator[MadeFile]:
    """Yield the files that the rows become; where there are none, one that tells the columns, if no folder has to."""
    layout = plan.layout
    pieces = rows.pieces
    if layout.sort_by and rows.whole is not None:
        pieces = slices(sort_rows(rows.whole, layout.sort_by))
    empty = True
    for made in make_files((fit_table(piece, plan.intent.schema, plan.name) for piece in pieces), layout):
        empty = False
        yield made
    if empty and not layout.partition_by and plan.is_new:
        yield make_empty(plan.intent.schema, layout)


def _store(target: Target, files: Iterator[MadeFile], clock: Clock, begun: list[str]) -> Iterator[FileEntry]:
    """Store files under names that are never used twice, some at once, and yield what the log says of them.

    The paths of all that were `begun` are noted before.
    """
    stamp, token = clock.now().strftime("%Y%m%dT%H%M%S%f"), clock.token(12)

    def path_of(number: int, made: MadeFile) -> str:
        path = made.folder + data_name(stamp, token, number)
        begun.append(path)
        return path

    def put(path: str, made: MadeFile) -> FileEntry:
        data = memoryview(made.data)
        target.put(path, data)
        return FileEntry(path, len(data), made.rows)

    threads = min(target.concurrency, UPLOADS_MAX)
    if threads <= 1:
        for number, made in enumerate(files):
            yield put(path_of(number, made), made)
        return
    waiting: deque[tuple[Future[FileEntry], int]] = deque()
    with ThreadPoolExecutor(threads, "holdall-write") as pool:
        under_way = 0
        try:
            for number, made in enumerate(files):
                while waiting and (under_way + made.data.size > UPLOADED_BYTES or len(waiting) >= threads * 2):
                    future, size = waiting.popleft()
                    yield future.result()
                    under_way -= size
                waiting.append((pool.submit(put, path_of(number, made), made), made.data.size))
                under_way += made.data.size
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()


def _forget(target: Target, paths: Iterable[str]) -> None:
    """Delete files that are nobody's rows; what cannot be deleted stays, and is told."""
    doomed = list(paths)
    if not doomed:
        return
    try:
        with contextlib.suppress(InvalidNameError):
            target.delete(doomed)
    except HoldallError as error:
        logger().warning("Files that are no longer rows of the table stay for now: %s", error)
