"""From what a caller names to files: one file, a folder, a glob, or a list of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from holdall_store.errors import FormatError, InvalidNameError, TableNotFoundError, UnsupportedTypeError, nearest
from holdall_store.tables._as_of import AsOf, describe
from holdall_store.tables._footer import Footer, MatchedFooter, load_footers
from holdall_store.tables._lake_columns import Matcher
from holdall_store.tables._live import Look, is_data, live_files, look_around
from holdall_store.tables._log import LOG_PREFIX, State, is_ours, unpack_schema
from holdall_store.tables._log_statistics import LogStatistics
from holdall_store.tables._partitions import Partitioning, Values, parse_folders
from holdall_store.tables._source import FetchedSource, Found, MappedSource, Source
from holdall_store.tables._source_local import LocalSource

__all__ = [
    "Address",
    "Listing",
    "Log",
    "LogFacts",
    "Pin",
    "TableFile",
    "check_sources",
    "key_in",
    "look_for_log",
    "open_source",
    "refuse_logs",
    "resolve",
]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_S3: Final = frozenset({"s3", "s3a"})
_S3N: Final = re.compile(r"^s3[an]://")
_WILDCARD: Final = re.compile(r"[*?\[]")
_FILE_NAME: Final = re.compile(r"\.(parquet|parq|pq)$", re.IGNORECASE)
_NAMES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Address:
    """A place, and a key, a folder or a pattern in it."""

    place: str
    key: str
    text: str

    @property
    def is_glob(self) -> bool:
        """Whether there are wildcards; not in a local file's name that is there as it is written."""
        return _WILDCARD.search(self.key) is not None and not (not self.place and os.path.exists(self.key))


@dataclass(frozen=True, slots=True, eq=False)
class LogFacts:
    """What the log of a table says of one file.

    ``number`` is the file's in the log's statistics. ``constants`` are columns whose value is the same in all rows,
    ``fills`` the values of columns that the file may not have, and ``deleted`` the positions of deleted rows, in order.
    """

    number: int
    constants: Mapping[str, Any] = field(default_factory=dict)
    fills: Mapping[str, Any] = field(default_factory=dict)
    deleted: Any = None


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of a table: what was seen of it, the values of the partition columns, and what a log says of it."""

    found: Found
    values: Values = ()
    facts: LogFacts | None = None

    def seen(self, footer: Footer) -> TableFile:
        """Return the file with the version of its footer, where no version was known."""
        if self.found.version or not footer.found.version:
            return self
        return replace(self, found=footer.found)


@dataclass(frozen=True, slots=True)
class Log:
    """What the log of a table says of all of its files.

    ``origin`` is where it was read, and ``pinned`` which state of what is there this is: with both, it is found again.
    """

    kind: str
    origin: str
    pinned: int | None
    schema: Any
    matcher: Matcher
    statistics: LogStatistics

    def footer(self, footer: Footer, file: TableFile) -> Footer:
        """Return a file's footer with the table's names for its columns."""
        matched = self.matcher.match(footer.schema, footer.url)
        fills = {} if file.facts is None else file.facts.fills
        missing = {name: value for name, value in fills.items() if name not in matched.named.names}
        return MatchedFooter(footer, matched, missing)


@dataclass(frozen=True, slots=True)
class Pin:
    """The version of a log that a table is read at, and the schema that the table had then."""

    version: int
    time: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a table, in order, and the names of their partition columns, with whether they hold numbers.

    ``log`` is what a log of Delta or Iceberg says, ``pin`` what one of ours does, and ``strangers`` are the files of which
    no log tells the columns.
    """

    files: tuple[TableFile, ...]
    names: tuple[str, ...] = ()
    integers: tuple[bool, ...] = ()
    log: Log | None = None
    strangers: tuple[TableFile, ...] = ()
    pin: Pin | None = None


@dataclass(slots=True)
class _Seen:
    """What an address means: files, the folder below which their folders are partitions, and what a log says of them."""

    root: str
    files: list[Found]
    state: State | None = None


def check_sources(source: Any) -> tuple[Address, ...]:
    """Return where the files are that a caller names, or raise `InvalidNameError`."""
    if isinstance(source, str | os.PathLike):
        return (_parse(source),)
    if not isinstance(source, Iterable) or isinstance(source, bytes | Mapping):
        raise UnsupportedTypeError(
            f"A Table is made of a path or URL, or of a list of them, not of a {type(source).__name__}."
        )
    found = tuple(_parse(each) for each in source)
    if not found:
        raise InvalidNameError("The list of files is empty: a Table has at least one.")
    if len({address.place for address in found}) > 1:
        raise InvalidNameError(
            f"The files of one Table are in one place, and {found[0].text!r:.200} is elsewhere than "
            f"{next(each.text for each in found if each.place != found[0].place)!r:.200}."
        )
    return found


def _parse(source: Any) -> Address:
    if not isinstance(source, str | os.PathLike):
        raise UnsupportedTypeError(f"{source!r:.80} is neither a path nor a URL.")
    text = os.fspath(source)
    if isinstance(text, bytes) or not text or "\0" in text:
        raise InvalidNameError(f"{text!r:.80} names no table: give a path or a URL.")
    match = _SCHEME.match(text)
    if match is None or not isinstance(source, str):
        return Address("", os.path.abspath(os.path.expanduser(text)) + ("/" if text.endswith("/") else ""), text)
    scheme = match[1].lower()
    if scheme in ("file", "local"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise InvalidNameError(f"{text!r:.200} names no file here: write file:///absolute/path, or the path alone.")
        return Address("", unquote(parts.path), text)
    host, _, key = text[match.end() :].partition("/")
    if "@" in host and (scheme in _S3 or ":" in host.rpartition("@")[0]):  # not shown: it may be a password
        raise InvalidNameError(f"A {scheme}:// URL holds no password: give it as storage_options.")
    if not host:
        raise InvalidNameError(f"{text!r:.200} names no place: write {scheme}://bucket/path.")
    return Address(f"{scheme}://{host}", key, text)


def open_source(place: str, storage_options: Mapping[str, Any] | None) -> Source:
    """Return the place where a table's files are."""
    if not place:
        if storage_options:
            raise InvalidNameError("storage_options are for buckets and servers, and mean nothing for local files.")
        return LocalSource()
    scheme, _, host = place.partition("://")
    if scheme in _S3:
        from holdall_store.tables._source_s3 import S3Source  # what it brings is only for whom it concerns

        return S3Source(scheme, host, storage_options)
    from holdall_store.tables._source_storage import StorageSource

    return StorageSource(place, storage_options)


def key_in(address: Address, location: str) -> str:
    """Return the key of a file that the log of the table at `address` names; `FormatError` if it is in another place."""
    match = _SCHEME.match(location)
    if match is None or match[1].lower() == "file":
        place = ""
        key = "/" + location.removeprefix("file:").lstrip("/") if location.startswith("file:") else location
    else:
        host, _, key = location[match.end() :].partition("/")
        place = f"{match[1].lower()}://{host}"
    if _S3N.sub("s3://", place) != _S3N.sub("s3://", address.place):
        raise FormatError(
            f"{address.text} has files elsewhere ({location!r:.200}): the files of one Table are in one place, as its log is."
        )
    return key


def look_for_log(source: Source, address: Address) -> tuple[str | None, list[Found] | None]:
    """Return what kind of log a folder has, if any, and what was listed to find out."""
    key = address.key
    if key.endswith((".metadata.json", ".metadata.json.gz")):
        return "iceberg", None
    if address.is_glob or _is_likely_file(source, address):
        return None, None
    root = key if key.endswith("/") or not key else key + "/"
    listed = []
    for found in source.list(root):
        kind = _log_kind(found.key[len(root) :])
        if kind:
            return kind.lower(), None
        listed.append(found)
    return None, listed


def resolve(
    source: Source,
    addresses: Sequence[Address],
    partitioning: Partitioning,
    listed: list[Found] | None = None,
    schema: Any = None,
    as_of: AsOf = None,
) -> Listing:
    """Return the files that are there now, or were `as_of` a version; where there are none, raise `TableNotFoundError`.

    `listed` is what is in the folder that is the only address, where somebody looked already, and `schema` the one that
    the caller gives, if any.
    """
    files: list[Found] = []
    paths: list[str] = []
    single = [address.key for address in addresses if _is_likely_file(source, address)]
    # All at once: a list of a thousand files is not a thousand round trips.
    looked = load_footers(source, [Found(key) for key in single])
    known = {key: footer.found if footer else None for key, footer in zip(single, looked, strict=True)}
    state: State | None = None
    for address in addresses:
        seen = _find(source, address, known, listed, as_of)
        state = seen.state if len(addresses) == 1 else None
        files += seen.files
        paths += [each.key[len(seen.root) :] for each in seen.files]
    urls = [source.url(found.key) for found in files]
    if state is None:
        folders = parse_folders(paths, urls, partitioning, schema)
        rows = tuple(TableFile(*row) for row in zip(files, folders.values, strict=True))
        return Listing(rows, folders.names, folders.integers, strangers=rows)
    pin = Pin(state.version, state.time, unpack_schema(state.schema, addresses[0].text))
    if partitioning is None:
        partitioning = "hive" if state.partition_by else ()
    folders = parse_folders(paths, urls, partitioning, pin.schema if schema is None else schema)
    names = folders.names or state.partition_by
    if partitioning == "hive" and set(names) != set(state.partition_by):
        raise FormatError(
            f"{addresses[0].text} is partitioned by {', '.join(state.partition_by)}, as its log says, and {urls[0]} lies in "
            f"folders of {', '.join(names)}: say partitioning=()."
        )
    rows = tuple(TableFile(*row) for row in zip(files, folders.values, strict=True))
    strangers = tuple(row for row, path in zip(rows, paths, strict=True) if path not in state.files)
    return Listing(rows, names, folders.integers or (False,) * len(names), strangers=strangers, pin=pin)


def _is_likely_file(source: Source, address: Address) -> bool:
    key = address.key
    if address.is_glob or not _FILE_NAME.search(key):
        return False
    return isinstance(source, FetchedSource) or not os.path.isdir(key)


def _find(
    source: Source,
    address: Address,
    known: Mapping[str, Found | None],
    listed: list[Found] | None,
    as_of: AsOf,
) -> _Seen:
    """Return what an address means. `known` are keys that were looked for already."""
    key = address.key
    if address.is_glob:
        folder = key[: _WILDCARD.search(key).start()].rpartition("/")  # type: ignore[union-attr]
        root = folder[0] + folder[1]
        pattern = re.compile(_translate(key))
        seen = _rows(source, root, look_around(source, root), as_of, address)
        seen.files = [each for each in seen.files if pattern.fullmatch(each.key)]
        if not seen.files:
            raise TableNotFoundError(f"No file matches {address.text!r:.200}.")
        return seen
    likely_file = key in known
    if one := known.get(key):
        return _alone(one, address, as_of)
    root = key if key.endswith("/") or not key else key + "/"
    look = look_around(source, root, listed)
    listed = look.listed
    if not listed and not likely_file and not key.endswith("/") and key and (one := _one(source, key)):
        return _alone(one, address, as_of)
    refuse_logs(listed, root, address.text)
    seen = _rows(source, root, look, as_of, address)
    if seen.state is not None:
        return seen
    ours = [each for each in seen.files if is_ours(each.key)]
    seen.files = [each for each in seen.files if not is_ours(each.key)]
    if seen.files:
        return seen
    if ours:
        raise TableNotFoundError(
            f"{address.text} holds only files of a write that did not come to its end, or that were copied without the "
            f"folder {LOG_PREFIX[:-1]}, which says which of them count ({ours[0].key[len(root) :]}). Write again, copy that "
            "folder, too, or name the files with a glob to read them as they are."
        )
    if listed:
        names = ", ".join(each.key[len(root) :] for each in listed[:_NAMES_SHOWN])
        raise TableNotFoundError(f"{address.text} holds no data, only files that are hidden or markers ({names}).")
    if isinstance(source, MappedSource) and os.path.isdir(key):
        raise TableNotFoundError(f"{address.text} is an empty folder.")
    near = _near(key) if isinstance(source, MappedSource) else ""
    raise TableNotFoundError(f"There is no file {address.text}, and no folder of that name with files in it.{near}")


def _near(key: str) -> str:
    """Return a hint at what is beside a local file that is not there."""
    folder, name = os.path.split(key.rstrip("/"))
    try:
        return nearest(name, os.listdir(folder or "."))
    except OSError:
        return ""


def _rows(source: Source, root: str, look: Look, as_of: AsOf, address: Address) -> _Seen:
    """Return the files of a folder that are rows: as its log says, or all."""
    if look.history.slots:
        state, found = live_files(source, root, look, as_of)
        return _Seen(root, found, state)
    if as_of is not None:
        raise _no_log(address, as_of)
    return _Seen(root, [each for each in look.listed if is_data(each, root)])


def _alone(found: Found, address: Address, as_of: AsOf) -> _Seen:
    if as_of is not None:
        raise _no_log(address, as_of)
    return _Seen("", [found])


def _no_log(address: Address, as_of: AsOf) -> InvalidNameError:
    return InvalidNameError(
        f"{address.text} has no log, so nothing is known of what it was{describe(as_of)}: as_of= is for tables of Delta, of "
        "Iceberg, and of Table.write."
    )


def _one(source: Source, key: str) -> Found | None:
    """Return a single file, if it is there; what is read of it for that is its footer."""
    for footer in load_footers(source, [Found(key)]):
        return footer.found if footer is not None else None
    return None


def refuse_logs(listed: Sequence[Found], root: str, name: str) -> None:
    """Raise `FormatError` where a log says which of the files count: all of them together are wrong rows."""
    for found in listed:
        kind = _log_kind(found.key[len(root) :])
        if kind:
            raise FormatError(
                f"{name} is a table of {kind}: files in it may hold rows that were deleted or replaced, and its "
                f"log says which. Give its folder alone, with format={kind.lower()!r} or none, or name the files that count "
                "as a list to read them as they are."
            )


def _log_kind(rest: str) -> str:
    """Return whose log a file is, by its key below the folder of the table."""
    if rest.startswith("_delta_log/"):
        return "Delta"
    return "Iceberg" if rest.startswith("metadata/") and rest.endswith(".metadata.json") else ""


def _translate(pattern: str) -> str:
    """Return a glob as a regular expression: ``*`` and ``?`` stay in a folder, ``**`` does not."""
    found = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at):
            found.append("(?:.*/)?")
            at += 3
            continue
        if pattern.startswith("**", at):
            found.append(".*")
            at += 2
            continue
        end = pattern.find("]", at + 2) if char == "[" else -1
        if end > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            found.append(f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]")
            at = end + 1
            continue
        found.append({"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char))
        at += 1
    return "(?s:" + "".join(found) + ")"
