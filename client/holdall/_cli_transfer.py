"""``holdall get``, ``holdall put`` and ``holdall cat``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from holdall._artifact import Artifact
from holdall._cli_export import (
    as_bytes,
    check_free,
    default_suffix,
    exported_bytes,
    is_exported_whole,
    json_bytes,
    write_atomically,
    write_object,
)
from holdall._cli_find import artifact_json, parse
from holdall._cli_output import Output
from holdall._client import Client
from holdall._files import encode_folder, replace_file, writing_to
from holdall._recorder import ActiveRun, RunContext
from holdall._reference import Reference
from holdall._text import new_text, size_text
from holdall.store import (
    AccessDeniedError,
    HoldallError,
    InvalidNameError,
    StorageError,
    UnsafeLoadError,
    UnsupportedTypeError,
)
from holdall_store.format import check_name
from holdall_store.transfer._paths import nearest_path, plain_target

__all__ = ["LOOK_BYTES", "cat", "get", "put", "refuse_binary", "save_path", "write_artifact"]

COPY_BYTES: Final = 1 << 20

LOOK_BYTES: Final = 1024
"""A zero byte this early means that it is no text."""

NAME_BYTES_MAX: Final = 200
"""A longer artifact's name may be too long for a file."""


def get(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Write an artifact to a file or a directory, and its path to standard output."""
    if options.output == "-":
        return _to_stdout(_artifact(client, options.reference), options, output)
    artifact, path = write_artifact(client, options.reference, options.output, options)
    if output.as_json:
        output.json({**artifact_json(artifact), "path": str(path)})
    else:
        output.line(str(path))
    return 0


def write_artifact(
    client: Client, reference: str, target: str | None, options: argparse.Namespace
) -> tuple[Artifact, Path]:
    """Write an artifact to a file or a directory, and return both; `options` are ``force`` and ``trust``."""
    artifact = _artifact(client, reference)
    if artifact.type in ("file", "directory"):
        path = _place(target, artifact.name)
        check_free(path, replace=options.force and artifact.type == "file")
        _extract(artifact, Path(plain_target(str(path))))
    else:
        value = _load(artifact, options)
        path = _place(target, _with_suffix(artifact.name, value))
        _write(value, artifact, path, replace=options.force)
    return artifact, path


def put(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Save a file, a directory or standard input, and write the reference of the artifact."""
    artifact = save_path(client, options.path, options.reference, options.tags)
    if output.as_json:
        output.json(artifact_json(artifact))
    else:
        output.line(artifact.reference)
        if output.terminal and not output.quiet:
            output.note(f"Saved {size_text(artifact.size)} ({new_text(artifact._stored.record, sentence=True)}).")
    return 0


def save_path(client: Client, given: str, target: str, tags: list[str]) -> Artifact:
    """Save a file, a directory or, for ``-``, standard input, as the artifact that the reference `target` names."""
    reference = parse(target)
    if reference.alias or reference.run:
        raise InvalidNameError(f"{target!r} cannot be saved to: every save is a new run. Write flow/artifact.")
    if not given:
        raise InvalidNameError("An empty path names no file or directory. The working directory is '.'.")
    if reference.artifact is None and given == "-":
        raise InvalidNameError(f"What comes from standard input has no name: write {reference.flow}/NAME.")
    home = client if reference.namespace is None else client.in_namespace(reference.namespace)
    with _source(given, reference.artifact or "") as path:
        if not path.exists():
            raise FileNotFoundError(f"There is no file or directory {given!r}.{nearest_path(given)}")
        _check_source(home, path, reference, given)
        with RunContext(reference.flow, params=None, tags=tags, client=home) as run:
            return _save(run, path, reference.artifact)


def cat(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Write the bytes of a file, text or bytes, or a plain value as JSON, to standard output."""
    artifact = _artifact(client, options.reference)
    instead = f"'holdall get {options.reference}' writes it to a file."
    if artifact.type == "file":
        _stream_file(artifact, output, instead)
        return 0
    if artifact.type == "directory" or is_exported_whole(artifact.type):
        raise UnsupportedTypeError(f"{artifact.reference} is a {artifact.type}, and has no text: {instead}")
    value = _load(artifact, options)
    data = as_bytes(value)
    if data is None:
        try:
            data = json_bytes(value)
        except UnsupportedTypeError as error:
            raise UnsupportedTypeError(
                f"{artifact.reference} has no text: {error}. In Python: holdall.load({artifact.reference!r})."
            ) from None
    if output.terminal:
        refuse_binary(data[:LOOK_BYTES], instead)
    sys.stdout.buffer.write(data)
    return 0


def _artifact(client: Client, text: str) -> Artifact:
    client.repository.record()
    reference = parse(text)
    if reference.artifact is None:
        run = client.run_of(reference)
        listed = f"; it holds {', '.join(run.keys()[:10])}" if len(run) else ""
        raise InvalidNameError(f"{text!r} names no artifact: write flow/artifact{listed}.")
    return client.artifact(reference)


def _load(artifact: Artifact, options: argparse.Namespace) -> Any:
    try:
        return artifact.load(trust=True if options.trust else None)
    except UnsafeLoadError as error:
        raise UnsafeLoadError(f"{error} On the command line: --trust.") from None


def _to_stdout(artifact: Artifact, options: argparse.Namespace, output: Output) -> int:
    """Write what ``get`` would write to a file."""
    if output.as_json:
        raise InvalidNameError("-o - writes the artifact to standard output, where --json writes too: choose one.")
    instead = "-o NAME writes them to a file."
    if artifact.type == "file":
        _stream_file(artifact, output, instead)
        return 0
    if artifact.type == "directory":
        raise UnsupportedTypeError(f"{artifact.reference} is a directory, which no stream can hold: -o FOLDER.")
    data = exported_bytes(_load(artifact, options), artifact.reference)
    if output.terminal:
        refuse_binary(data[:LOOK_BYTES], instead)
    sys.stdout.buffer.write(data)
    return 0


def _stream_file(artifact: Artifact, output: Output, instead: str) -> None:
    with artifact.open() as stream:
        if output.terminal:
            refuse_binary(stream.read(LOOK_BYTES), instead)
            stream.seek(0)
        shutil.copyfileobj(stream, sys.stdout.buffer, COPY_BYTES)


def _place(target: str | None, name: str) -> Path:
    """Return where to write; a directory that is there, or a slash at the end, means inside of it, as with ``cp``."""
    if target is None:
        return Path(name)
    path = Path(target)
    return path / name if path.is_dir() or target.endswith("/") else path


def _with_suffix(name: str, value: Any) -> str:
    suffix = default_suffix(value)
    return name if name.lower().endswith(suffix) else name + suffix


def _extract(artifact: Artifact, path: Path) -> None:
    """Copy a file or a directory to `path`; a file that is there is replaced in one step."""
    if not os.path.lexists(path):
        artifact.path(path)
        return
    try:
        replace_file(artifact._client.repository, artifact._stored, path)
    except HoldallError as error:
        raise artifact._named(error) from error.__cause__


def _write(value: Any, artifact: Artifact, path: Path, *, replace: bool) -> None:
    """Write a value to a file; an error of the system names the artifact and the place."""
    try:
        with writing_to(path):
            write_object(value, path, artifact.reference, replace=replace)
    except (AccessDeniedError, StorageError) as error:
        raise artifact._named(error) from error.__cause__


@contextlib.contextmanager
def _source(path: str, name: str) -> Generator[Path]:
    """Give the path of what is to be saved; standard input is written to a file first, since its size is not known."""
    if path != "-":
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="holdall-") as folder:
        file = Path(folder) / (name if len(name.encode()) <= NAME_BYTES_MAX else "stdin")
        write_atomically(file, lambda target: shutil.copyfileobj(sys.stdin.buffer, target, COPY_BYTES), replace=False)
        yield file


def _check_source(client: Client, path: Path, reference: Reference, given: str) -> None:
    """Refuse what cannot be saved before a run begins: it would be left behind empty, and failed."""
    from holdall_store.serializers.files import encode_file

    check_name(path.resolve().name if reference.artifact is None else reference.artifact, "artifact")
    if path.is_dir():
        encode_folder(client.repository, path)  # which looks at what is there, and reads no file
        return
    if not path.is_file():
        name = f"{reference.flow}/{reference.artifact or 'NAME'}"
        raise UnsupportedTypeError(
            f"{given!r} is neither a file nor a directory. What it gives can be saved: holdall put - {name} < {given}"
        )
    encode_file(path)
    path.open("rb").close()  # may it be read?


def _save(run: ActiveRun, path: Path, name: str | None) -> Artifact:
    return run.save_dir(path, name) if path.is_dir() else run.save_file(path, name)


def refuse_binary(beginning: bytes | bytearray, instead: str) -> None:
    if b"\0" in beginning:
        raise UnsupportedTypeError(
            f"These bytes are no text, and could upset the terminal: {instead} A pipe would take them."
        )
