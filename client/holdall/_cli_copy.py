"""``holdall cp`` and ``holdall sync``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from holdall._cli_copy_plan import Move, plan
from holdall._cli_find import parse
from holdall._cli_output import Output
from holdall._cli_s3 import AHEAD_BYTES, named, write_array, write_objects
from holdall._cli_s3_names import Link, MissingSourceError, Url, is_path, is_s3, open_link
from holdall._cli_transfer import get, save_path, write_artifact
from holdall._client import Client
from holdall._text import count_text, size_text
from holdall.store import InvalidNameError, NotFoundError
from holdall_store.transfer._paths import nearest_path
from holdall_store.transfer._s3_files import is_partial_name
from holdall_store.transfer.s3 import S3PutObject

__all__ = ["cp", "sync"]

OpenClient = Callable[[], Client]

GOES_ON: Final = "\nholdall: Interrupted. The same command goes on where it was.\n"
"""The line above it may end with the ^C of the terminal."""


def cp(open_client: OpenClient, options: argparse.Namespace, output: Output) -> int:
    """Copy files, objects and artifacts."""
    sources, target = options.sources, options.target
    to_s3 = is_s3(target)
    if "-" in sources and len(sources) > 1:
        raise InvalidNameError("Standard input is copied alone: 'holdall cp - DST'.")
    if target == "-":
        return _to_stdout(open_client, options, output)
    kinds = {source: _kind(source) for source in sources}
    local = [source for source in sources if kinds[source] in ("path", "-")]
    if local and not to_s3:
        return _save(open_client, options, local, output)
    began = time.monotonic()
    references = [source for source in sources if kinds[source] == "reference"]
    with tempfile.TemporaryDirectory(prefix="holdall-") as scratch:
        moves, written = [], []
        if references and to_s3:
            moves += _exported(open_client, options, references, Path(scratch))
        elif references:
            written = _written(open_client, options, references)
        rest = [source for source in sources if source not in references]
        with open_link(options) as link:
            if sources == ["-"]:
                moves.append(_upload_stdin(link, Url.parse(target, raw=True), options))
            elif rest or moves:
                moves = plan(link, rest, moves, options)
                try:
                    moves = _run(link, moves, options)
                except BaseException:
                    ends = {each.target for each in link.done}
                    _tell_failed([*written, *(move for move in moves if move.target in ends)], options, output)
                    raise
    _tell([*written, *moves], options, output, time.monotonic() - began)
    return 0


def _kind(source: str) -> str:
    """Return what a source is: ``-``, ``s3``, a ``path``, or else a ``reference``."""
    if source == "-":
        return "-"
    if not source:
        raise InvalidNameError("An empty SRC names nothing. The working directory is '.'.")
    if is_s3(source):
        return "s3"
    return "path" if is_path(source) else "reference"


def _to_stdout(open_client: OpenClient, options: argparse.Namespace, output: Output) -> int:
    """Write all sources to standard output, one after the other."""
    for source in options.sources:
        kind = _kind(source)
        if kind in ("-", "path"):
            raise InvalidNameError(f"{source!r} is of this machine, and so is standard output: cat writes it there.")
        if options.dry_run or output.as_json:
            raise InvalidNameError("Standard output is where the bytes go: without --dry-run and --json.")
        if kind == "reference":
            with open_client() as client:
                get(client, argparse.Namespace(reference=source, output="-", trust=options.trust), output)
            continue
        with open_link(options, memory=AHEAD_BYTES, bar=False) as link:
            write_objects(link, named(link, Url.parse(source, raw=options.raw)), output)
    return 0


def _save(open_client: OpenClient, options: argparse.Namespace, local: list[str], output: Output) -> int:
    """Save a file of this machine as an artifact."""
    target: str = options.target
    if len(options.sources) > 1:
        raise InvalidNameError(f"Several files are copied into a folder of S3, and {target!r} is none.")
    if is_path(target) or (os.path.isdir(os.path.dirname(target)) and local[0] != "-"):
        raise InvalidNameError(
            f"{local[0]!r} and {target!r} are both of this machine: the system's cp copies it. 'holdall put' saves it "
            "as an artifact, whatever folders there are."
        )
    if "/" not in target:
        raise InvalidNameError(
            f"{target!r} is neither s3://bucket/key nor flow/artifact. 'holdall put' takes a flow alone."
        )
    if options.if_absent or options.dry_run:
        raise InvalidNameError("Every save is a new run and replaces nothing: without --if-absent and --dry-run.")
    if local[0] != "-":
        _check_there(local[0], recursive=options.recursive)
    with open_client() as client:
        artifact = save_path(client, local[0], target, [])
    _tell([Move("save", local[0], artifact.reference, artifact.size)], options, output, 0.0)
    return 0


def _check_there(path: str, *, recursive: bool) -> None:
    if not os.path.exists(path):
        raise MissingSourceError(f"There is no file or folder {path!r}.{nearest_path(path)}")
    if os.path.isdir(path) and not recursive:
        raise InvalidNameError(f"{path!r} is a folder: add -r.")


def _written(open_client: OpenClient, options: argparse.Namespace, references: list[str]) -> list[Move]:
    """Write artifacts to files and directories, as ``holdall get`` does."""
    target: str = options.target
    if len(options.sources) > 1 and not (target.endswith("/") or os.path.isdir(target)):
        raise InvalidNameError(f"Several SRC are copied into a folder, and {target!r} is none: end it with a slash.")
    if options.dry_run:
        return [Move("write", reference, target, None) for reference in references]
    wishes = argparse.Namespace(force=not options.if_absent, trust=options.trust)
    moves = []
    with open_client() as client:
        for reference in references:
            artifact, path = _artifact_to(client, reference, target, wishes)
            moves.append(Move("write", artifact.reference, str(path), artifact.size))
    return moves


def _exported(open_client: OpenClient, options: argparse.Namespace, references: list[str], scratch: Path) -> list[Move]:
    """Write artifacts into a folder of their own each, and return how they go to S3 from there."""
    url = Url.parse(options.target, raw=True)
    into = url.is_folder or len(options.sources) > 1
    wishes = argparse.Namespace(force=False, trust=options.trust)
    moves = []
    with open_client() as client:
        for number, reference in enumerate(references):
            folder = scratch / str(number)
            folder.mkdir()
            artifact, path = _artifact_to(client, reference, f"{folder}/" if into else str(folder / url.name), wishes)
            if path.is_dir() and not options.recursive:
                raise InvalidNameError(f"{artifact.reference} is a directory: add -r.")
            end = url if not into or (path.is_dir() and len(options.sources) == 1) else url.join(path.name)
            moves.append(Move("upload", str(path), str(end), None, shown=artifact.reference))
    return moves


def _artifact_to(client: Client, reference: str, target: str, wishes: argparse.Namespace) -> tuple[Any, Path]:
    try:
        parse(reference)
    except InvalidNameError:
        raise MissingSourceError(f"There is no file or folder {reference!r}.{nearest_path(reference)}") from None
    try:
        return write_artifact(client, reference, target, wishes)
    except NotFoundError as error:
        hint = nearest_path(reference)
        here = f"There is no file {reference!r} here{f'.{hint} As' if hint else ', and as'} a reference"
        raise MissingSourceError(f"{here}: {error}") from error


def _upload_stdin(link: Link, url: Url, options: argparse.Namespace) -> Move:
    if url.is_folder:
        raise InvalidNameError(f"What comes from standard input has no name: write {url.folder}NAME.")
    move = Move("upload", "-", str(url), None)
    if options.dry_run:
        return move
    counted = _Counted(sys.stdin.buffer)
    given = S3PutObject(str(url), counted, content_type=options.content_type)
    sent = link.put_many([given], overwrite=not options.if_absent)
    return move._replace(size=counted.count) if sent else move._replace(action="skip")


class _Counted:
    """A stream that counts what was read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


def _run(link: Link, moves: list[Move], options: argparse.Namespace) -> list[Move]:
    """Do what is planned, and return it; what was left alone is marked."""
    if options.dry_run:
        return moves
    link.bytes_expected = sum(move.size or 0 for move in moves)
    by_action = {action: [move for move in moves if move.action == action] for action in ("upload", "download", "copy")}
    kept: set[str] = set()
    if uploads := by_action["upload"]:
        sent = link.put_files([_put_object(move, options) for move in uploads], overwrite=not options.if_absent)
        kept |= {move.target for move in uploads} - {url for _, url in sent}
    if downloads := by_action["download"]:
        if options.if_absent:
            kept |= {move.target for move in downloads if os.path.lexists(move.target)}
        wanted = [move for move in downloads if move.target not in kept]
        _download(link, wanted)
        for move in wanted:
            _keep_time(move)
    if copies := by_action["copy"]:
        pairs = [(move.found or move.source, move.target) for move in copies]
        kept |= {move.target for move in copies} - {*link.copy_many(pairs, overwrite=not options.if_absent)}
    return [move._replace(action="skip") if move.target in kept else move for move in moves]


def _download(link: Link, moves: list[Move]) -> None:
    below = [(move.found, move.target) for move in moves if move.found is not None and move.below]
    alone = [(move.found, move.target) for move in moves if move.found is not None and not move.below]
    try:
        if below:
            link.get_files_below(below)
        if alone:
            link.get_files(alone)
    except KeyboardInterrupt:
        if any(map(_holds_partial, {os.path.dirname(move.target) or "." for move in moves})):
            sys.stderr.write(GOES_ON)
        raise


def _holds_partial(folder: str) -> bool:
    try:
        return any(map(is_partial_name, os.listdir(folder)))
    except OSError:
        return False


def _put_object(move: Move, options: argparse.Namespace) -> S3PutObject:
    import mimetypes

    kind = options.content_type or mimetypes.guess_type(move.target)[0]
    return S3PutObject(move.target, None, move.source, kind)


def _keep_time(move: Move) -> None:
    """Give a file the time of its object, so that a later ``sync`` sees that it is the same."""
    modified = None if move.found is None else move.found.last_modified
    if modified is not None:
        os.utime(move.target, (modified, modified))


def sync(open_client: OpenClient, options: argparse.Namespace, output: Output) -> int:
    """Make one folder hold what another holds."""
    del open_client
    source, target = options.source, options.target
    if "-" in (source, target):
        raise InvalidNameError("Folders are synchronised, and standard input and output are none: 'holdall cp'.")
    up, down = is_s3(target), is_s3(source)
    if not up and not down:
        raise InvalidNameError(
            f"One of SRC and DST is a s3:// URL, and neither {source!r:.100} nor {target!r:.100} is. 'holdall cp' writes "
            "an artifact to a folder; for two folders of this machine there is rsync."
        )
    for url in (each for each in (source, target) if is_s3(each)):
        if Url.parse(url).is_pattern:
            raise InvalidNameError(
                f"{url!r:.200} is a pattern, and whole folders are synchronised: 'holdall cp' takes it."
            )
    began = time.monotonic()
    put = "copy" if up and down else "upload" if up else "download"

    def move(action: str, path: str, size: int | None, reason: str = "") -> Move:
        if action == "delete":
            return Move("delete", "", _below(target, path), size, reason=reason)
        return Move(put, _below(source, path), _below(target, path), size, reason=reason)

    with open_link(options) as link:
        try:
            steps = link.sync(source, target, delete=options.delete, dry_run=options.dry_run, checksum=options.checksum)
        except BaseException as error:
            _tell_failed([move(*each) for each in link.done], options, output)
            if isinstance(error, KeyboardInterrupt) and not options.dry_run:
                sys.stdout.flush()
                sys.stderr.write(GOES_ON)
            raise
    moves = [move(step.action, step.path, step.size, step.reason) for step in steps]
    _tell(moves, options, output, time.monotonic() - began)
    return 0


def _below(root: str, path: str) -> str:
    return f"{root.rstrip('/')}/{path}" if root.rstrip("/") else f"/{path}"


def _tell_failed(moves: list[Move], options: argparse.Namespace, output: Output) -> None:
    """Write a line for each thing that was done before a failure; the error says what was not."""
    if moves:
        _tell(moves, options, output, None)


def _tell(moves: list[Move], options: argparse.Namespace, output: Output, seconds: float | None) -> None:
    """Write a line for each thing that was done, and on a terminal how much that was; ``None`` of a failure."""
    if output.as_json:
        write_array(move.json(dry_run=options.dry_run) for move in moves)
        return
    for move in moves:
        if output.quiet:
            if move.action not in ("skip", "delete"):
                output.line(move.target)
            continue
        output.line(("(dry run) " if options.dry_run else "") + move.text())
    if output.quiet or not output.terminal or seconds is None:
        return
    sys.stdout.flush()
    done = [move for move in moves if move.action not in ("skip", "delete")]
    size = sum(move.size or 0 for move in done)
    if not moves:
        output.note("Nothing to do.")
    elif options.dry_run:
        output.note(f"{count_text(len(done), 'file')}, {size_text(size)}: nothing was done.")
    else:
        rate = f" in {seconds:.1f} s, {size_text(int(size / seconds))}/s" if seconds >= 0.05 else ""
        output.note(f"{count_text(len(done), 'file')}, {size_text(size)}{rate}.")
