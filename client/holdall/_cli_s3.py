"""``holdall ls`` and ``holdall cat`` for objects of S3."""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from holdall._cli_output import Output, Styled
from holdall._cli_s3_names import Link, Url, check_scheme, open_link
from holdall._cli_transfer import LOOK_BYTES, refuse_binary
from holdall._text import size_text, time_text
from holdall.store import ConflictError, InvalidNameError, NotFoundError, ObjectNotFoundError
from holdall_store.transfer.s3 import S3GetObject, S3Object

__all__ = ["AHEAD_BYTES", "cat", "ls", "named", "write_array", "write_objects"]

PIECE_BYTES: Final = 8 << 20
"""An object is written while it is read, in pieces that are read in one request each."""

AHEAD_BYTES: Final = 128 << 20
"""So much of it is in memory, however large it is and however slow the reader."""

_RANGE: Final = re.compile(r"=?(?:([0-9]+)-([0-9]*)|-([0-9]+))")


def ls(open_client: Callable[[], Any], options: argparse.Namespace, output: Output) -> int:
    """List one level of a bucket, or all objects whose keys begin with what is given, or match it."""
    del open_client
    url = Url.parse(check_scheme(options.target))
    if options.tags:
        raise InvalidNameError("--tag chooses among the runs of a flow, and objects of S3 have no such tags.")
    with open_link(options, bar=False) as link:
        if not url.is_pattern:
            found = link.beginning_with(url.bucket, url.key, recursive=options.recursive)
        elif options.recursive:
            found = link.below(url)
        else:
            found = link.matching(url)
        first = list(itertools.islice(found, 1))
        if not first and url.key:
            raise NotFoundError(
                f"Nothing in the bucket {url.bucket!r} {'matches' if url.is_pattern else 'begins with'} {url.key!r}."
            )
        shown = itertools.islice(itertools.chain(first, found), options.limit or None)
        base = 0 if options.recursive or url.is_pattern else len(url.base)
        _write_listing(shown, base, output)
        if options.limit and next(found, None) is not None:
            sys.stdout.flush()
            output.note("There are more: --limit 0 lists them all.")
    return 0


def _write_listing(found: Iterable[S3Object], base: int, output: Output) -> None:
    """Write a line for each, as they come: a listing may be longer than memory holds."""
    if output.as_json:
        write_array(map(_listed_json, found))
        return
    for each in found:
        if output.quiet:
            output.line(each.url)
            continue
        name, size, modified = each.object_key[base:], each.size, each.last_modified
        if size is None:
            output.line(f"{'':{16 if output.terminal else 19}}  {'PRE':>12}  ", Styled(name, "bold"))
            continue
        if output.terminal:
            when, how_much = "" if modified is None else time_text(_moment(modified)), size_text(size)
        else:
            when, how_much = (
                "" if modified is None else f"{_moment(modified).astimezone():%Y-%m-%d %H:%M:%S}",
                str(size),
            )
        output.line(f"{when:{16 if output.terminal else 19}}  {how_much:>12}  {name}")


def _listed_json(found: S3Object) -> dict[str, Any]:
    modified = found.last_modified
    return {
        "kind": "object" if found.exists else "prefix",
        "url": found.url,
        "bucket": found.bucket,
        "key": found.object_key,
        "bytes": found.size,
        "modified": None if modified is None else _moment(modified).isoformat(),
        "etag": found.etag,
    }


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def write_array(items: Iterable[dict[str, Any]]) -> None:
    """Write a JSON array with an object on each line, as they come."""
    begin = "["
    for item in items:
        sys.stdout.write(f"{begin}\n  {json.dumps(item, allow_nan=False)}")
        begin = ","
    sys.stdout.write("[]\n" if begin == "[" else "\n]\n")


def cat(open_client: Callable[[], Any], options: argparse.Namespace, output: Output) -> int:
    """Write the bytes of an object, or of all that match a pattern, one after the other."""
    del open_client
    url = Url.parse(check_scheme(options.reference))
    with open_link(options, memory=AHEAD_BYTES, bar=False) as link:  # a bar would run through the pager's text
        if options.range is None:
            write_objects(link, named(link, url), output)
            return 0
        if url.is_pattern:
            raise InvalidNameError("--range is for one object, and a pattern may mean several.")
        found = link.get(_part(str(url), options.range))
        _write_bytes(found.blob or b"", output)
    return 0


def named(link: Link, url: Url) -> list[S3Object]:
    """Return the objects that `url` names, with their sizes: one, or all that match; `NotFoundError` for none."""
    if url.is_pattern:
        found = list(link.below(url))
        if not found:
            raise NotFoundError(f"Nothing in the bucket {url.bucket!r} matches {url.key!r}.")
        return found
    if url.is_folder:
        raise InvalidNameError(f"{str(url)!r:.200} is a folder: name an object, or all with {url.folder}*.")
    try:
        return [link.info(str(url))]
    except ObjectNotFoundError:
        if not any(True for _ in link.beginning_with(url.bucket, url.folder.key, recursive=True)):
            raise
    raise NotFoundError(f"There is no object {url}: it is a folder, so that it takes -r, or {url.folder}*.")


def write_objects(link: Link, objects: list[S3Object], output: Output) -> None:
    """Write objects to standard output one after the other, each while it is read."""
    for each in objects:
        if not each.size:
            continue
        for piece in link.iter_many(_pieces(each), ordered=True):
            if piece.etag != each.etag:
                raise ConflictError(f"{each.url} was replaced while it was read: what was written is not all of one.")
            _write_bytes(piece.buffer or b"", output)


def _pieces(found: S3Object) -> Iterator[S3GetObject]:
    for offset in range(0, found.size or 0, PIECE_BYTES):
        yield S3GetObject(found.url, offset, min(PIECE_BYTES, (found.size or 0) - offset))


def _part(url: str, text: str) -> S3GetObject:
    match = _RANGE.fullmatch(text)
    if match is None or (match[3] and not int(match[3])):
        raise InvalidNameError(
            f"--range {text}: write 0-99 for the first hundred bytes, 100- for the rest, -100 for the last."
        )
    if match[3]:
        return S3GetObject(url, None, -int(match[3]))
    begin = int(match[1])
    if match[2] and int(match[2]) < begin:
        raise InvalidNameError(
            f"--range {text} ends before it begins: both are counted from 0, and the last is included."
        )
    return S3GetObject(url, begin, int(match[2]) - begin + 1 if match[2] else None)


def _write_bytes(data: Any, output: Output) -> None:
    if output.terminal:
        refuse_binary(bytes(data[:LOOK_BYTES]), "'holdall cp URL PATH' writes them to a file.")
    sys.stdout.buffer.write(data)
