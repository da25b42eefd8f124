"""Nodes of files and folders, which may come from anywhere: checked until nothing in them can point elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Literal

from holdall_store.serializers._nodes import integer, integers, malformed, member, nodes, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdall_store.serializers._protocol import Node

__all__ = ["DIRECTORY_TAG", "FILE_TAG", "Entry", "link_problem", "parse_directory", "parse_file"]

FILE_TAG = "holdall.File"
DIRECTORY_TAG = "holdall.Directory"

ENTRIES_MAX = 10_000_000
"""More than any folder that can be worked with; without a bound a small node could ask for all memory."""

PATH_BYTES_MAX = 4096
NAME_BYTES_MAX = 255
"""What Linux takes."""

_SIZE_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a folder.

    ``path`` is relative to the folder, with slashes; it is empty for the folder itself. A file with bytes is the
    ``size`` bytes from ``offset`` of the artifact's buffer number ``buffer``; ``target`` is that of a symbolic link.
    """

    path: str
    kind: Literal["file", "directory", "symlink"]
    mode: int = 0
    size: int = 0
    buffer: int | None = None
    offset: int = 0
    target: str | None = None


def parse_file(node: Node, buffer_sizes: Sequence[int] | None = None) -> Entry:
    """Return the file that a node describes, its name as ``path``, or raise `FormatError`."""
    _check_tag(node, FILE_TAG)
    size = integer(node, "size")
    buffer = integer(node, "buffer") if member(node, "buffer") is not None else None
    if (buffer is None) != (size == 0):
        raise malformed(node, "its size and its buffer do not agree")
    if buffer is not None and buffer_sizes is not None:
        _check_buffer(node, buffer, size, buffer_sizes)
    return Entry(_name(node, text(node, "name")), "file", integer(node, "mode", 0, 0o777), size, buffer)


def parse_directory(node: Node, buffer_sizes: Sequence[int] | None = None) -> list[Entry]:
    """Return what a node describes, sorted by the bytes of the paths, or raise `FormatError`.

    The first entry is the folder itself. No path and no symbolic link leads out of it, none occurs twice, and each but
    the first lies in a folder that is an entry, too. With `buffer_sizes` (of the artifact's buffers, by number) the
    sizes of the files have to agree with them.
    """
    _check_tag(node, DIRECTORY_TAG)
    _name(node, text(node, "name"))
    columns = member(node, "entries")
    if not isinstance(columns, dict):
        raise malformed(node, "'entries' is not an object")
    folders = _folders(node, columns)
    entries = [
        Entry(path, "directory", mode)
        for path, mode in zip(folders, _modes(node, columns, "folder_modes", len(folders)), strict=True)
    ]
    entries += _files(node, columns, folders, buffer_sizes)
    entries += _links(node, columns, set(folders))
    entries.sort(key=lambda entry: entry.path)
    for entry, following in zip(entries, islice(entries, 1, None), strict=False):
        if entry.path == following.path:
            raise malformed(node, f"{entry.path[:200]!r} occurs twice")
    return entries


def link_problem(path: str, target: str) -> str | None:
    """Return why a symbolic link at `path` in a folder may lead out of it; ``None`` if it cannot.

    A target may go up only at its beginning: there ``..`` is the parent of a real folder. After the name of another
    link it would be the parent of wherever that link leads.
    """
    if not target or "\0" in target:
        return "is no path"
    if target.startswith("/"):
        return "is absolute"
    try:
        size = len(target.encode())
    except UnicodeEncodeError:
        return "is no text"
    if size > PATH_BYTES_MAX:
        return "is too long"
    depth = path.count("/")
    descended = False
    for part in target.split("/"):
        if part == "..":
            if descended:
                return "goes up after it has gone down"
            depth -= 1
            if depth < 0:
                return "leads out of the folder"
        elif part not in ("", "."):
            descended = True
    return None


def _check_tag(node: Node, tag: str) -> None:
    if not isinstance(node, dict) or node.get("$") != tag:
        raise malformed(node, f"it is no {tag!r}")


def _check_buffer(node: Node, buffer: int, size: int, buffer_sizes: Sequence[int]) -> None:
    if buffer >= len(buffer_sizes):
        raise malformed(node, f"there is no buffer {buffer}")
    if buffer_sizes[buffer] != size:
        raise malformed(node, f"buffer {buffer} has {buffer_sizes[buffer]} bytes where its files have {size}")


def _name(node: Node, name: str) -> str:
    """Return a name that is one segment of a path."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise malformed(node, f"{name[:100]!r} is no name of a file")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError:
        size = NAME_BYTES_MAX + 1
    if size > NAME_BYTES_MAX:
        raise malformed(node, f"{name[:100]!r} is too long for the name of a file, or no text")
    return name


def _path(node: Node, path: str, folders: set[str]) -> str:
    """Return a path whose parent is one of `folders`."""
    parent, _, name = path.rpartition("/")
    _name(node, name)
    if parent not in folders or path.startswith("/"):
        raise malformed(node, f"{path[:200]!r} lies in no folder of it")
    if len(path) > PATH_BYTES_MAX // 4 and len(path.encode()) > PATH_BYTES_MAX:
        raise malformed(node, f"{path[:200]!r}… is too long")
    return path


def _texts(node: Node, columns: dict[str, Any], key: str) -> list[str]:
    values = nodes(columns, key)
    if len(values) > ENTRIES_MAX:
        raise malformed(node, f"{key!r} has more than {ENTRIES_MAX} items")
    if not all(type(value) is str for value in values):
        raise malformed(node, f"{key!r} is not a list of strings")
    return values


def _folders(node: Node, columns: dict[str, Any]) -> list[str]:
    folders = _texts(node, columns, "folders")
    if not folders or folders[0] != "":
        raise malformed(node, "its first folder is not the folder itself")
    known = {""}
    for before, path in pairwise(folders):
        if before >= path:
            raise malformed(node, "its folders are not sorted")
        known.add(_path(node, path, known))
    return folders


def _modes(node: Node, columns: dict[str, Any], key: str, count: int) -> list[int]:
    column = member(columns, key)
    other = column.get("other") if isinstance(column, dict) else None
    if not isinstance(other, dict):
        raise malformed(node, f"{key!r} are no modes")
    modes = [integer(column, "most", 0, 0o777)] * count
    for index, mode in other.items():
        if not (
            isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10 and int(index) < count
        ):
            raise malformed(node, f"{key!r} has a mode for {str(index)[:40]!r}, which is not there")
        if type(mode) is not int or not 0 <= mode <= 0o777:
            raise malformed(node, f"{key!r} has a mode that is none")
        modes[int(index)] = mode
    return modes


def _files(
    node: Node, columns: dict[str, Any], folders: list[str], buffer_sizes: Sequence[int] | None
) -> Iterator[Entry]:
    names = _texts(node, columns, "files")
    counts = integers(columns, "counts", 0, ENTRIES_MAX)
    sizes = integers(columns, "sizes", 0, _SIZE_MAX)
    if len(counts) != len(folders) or sum(counts) != len(names) or len(sizes) != len(names):
        raise malformed(node, "its columns do not agree")
    modes = _modes(node, columns, "file_modes", len(names))
    places = _places(node, columns, sizes, buffer_sizes)
    number = 0
    for folder, count in zip(folders, counts, strict=True):
        prefix = f"{folder}/" if folder else ""
        before = ""
        for _ in range(count):
            name = _name(node, names[number])
            if name <= before or len(prefix) + len(name) > PATH_BYTES_MAX:
                raise malformed(node, "its files are not sorted, or a path is too long")
            before = name
            buffer, offset = places[number]
            yield Entry(prefix + name, "file", modes[number], sizes[number], buffer, offset)
            number += 1


def _places(
    node: Node, columns: dict[str, Any], sizes: list[int], buffer_sizes: Sequence[int] | None
) -> list[tuple[int | None, int]]:
    """Return the buffer and the offset of each file."""
    small_below = integer(columns, "small_below")
    bundles = integers(columns, "bundles", 1, ENTRIES_MAX)
    buffers = integers(node, "buffers", 0, _SIZE_MAX)
    small = [index for index, size in enumerate(sizes) if 0 < size < small_below]
    large = [index for index, size in enumerate(sizes) if size and size >= small_below]
    if sum(bundles) != len(small) or len(bundles) + len(large) != len(buffers) or len(set(buffers)) != len(buffers):
        raise malformed(node, "its bundles and buffers do not agree with its files")
    places: list[tuple[int | None, int]] = [(None, 0)] * len(sizes)
    totals = []
    members = iter(small)
    for buffer, count in zip(buffers, bundles, strict=False):
        offset = 0
        for index in islice(members, count):
            places[index] = (buffer, offset)
            offset += sizes[index]
        totals.append(offset)
    for buffer, index in zip(buffers[len(bundles) :], large, strict=True):
        places[index] = (buffer, 0)
        totals.append(sizes[index])
    if sum(totals) > _SIZE_MAX:
        raise malformed(node, "its files are larger than any disk")
    if buffer_sizes is not None:
        for buffer, total in zip(buffers, totals, strict=True):
            _check_buffer(node, buffer, total, buffer_sizes)
    return places


def _links(node: Node, columns: dict[str, Any], folders: set[str]) -> Iterator[Entry]:
    links = nodes(columns, "links")
    if len(links) > ENTRIES_MAX:
        raise malformed(node, f"it has more than {ENTRIES_MAX} links")
    for link in links:
        if not (isinstance(link, list) and len(link) == 2 and all(type(part) is str for part in link)):
            raise malformed(node, "a symbolic link is no pair of strings")
        path = _path(node, link[0], folders)
        problem = link_problem(path, link[1])
        if problem:
            raise malformed(node, f"it has a symbolic link {path[:200]!r} to {link[1][:200]!r}, which {problem}")
        yield Entry(path, "symlink", target=link[1])
