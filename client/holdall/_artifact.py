"""An artifact: one saved object, loaded when it is asked for."""

from __future__ import annotations

import datetime as dt
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from holdall._client import Client
from holdall._messages import shown, with_article
from holdall._reference import Reference
from holdall._text import size_text
from holdall.store import HoldallError, InvalidNameError, UnsupportedTypeError
from holdall_store.config import check_choices, check_flags
from holdall_store.format import run_prefix, task_prefix
from holdall_store.repository import StoredArtifact, parse_time

if TYPE_CHECKING:
    from holdall._tables import Table
    from holdall_store.serializers import TableShape

__all__ = ["Artifact"]
__all__ = ["Artifact", "TaskPlace"]

TaskPlace = tuple[str, str, int | None]
"""Step, task and attempt: of what no task saved there are none, and what is not recorded yet has no attempt."""

_TABLE_TYPES: Final = ("holdall.Table", "holdall_store.tables.Table")


class Artifact:
    """A saved object, file or directory of one run: a light handle; nothing of its content is read before `load`."""

    _client: Client
    _stored: StoredArtifact
    _name: str
    _place: tuple[str, str, str]
    _task: TaskPlace | None

    def __init__(self, reference: str) -> None:
        found = Client().artifact(reference)
        self._client, self._place, self._name, self._stored = found._client, found._place, found._name, found._stored
        self._task = found._task

    @classmethod
    def _of(
        cls,
        client: Client,
        namespace: str,
        flow: str,
        run: str,
        name: str,
        stored: StoredArtifact,
        task: TaskPlace | None = None,
    ) -> Artifact:
        artifact = cls.__new__(cls)
        artifact._client, artifact._place, artifact._name, artifact._stored = (
            client,
            (namespace, flow, run),
            name,
            stored,
        )
        artifact._task = task
        return artifact

    @property
    def name(self) -> str:
        """Name of the artifact in its run."""
        return self._name

    @property
    def run_id(self) -> str:
        """Id of the run that saved it."""
        return self._place[2]

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._place[1]

    @property
    def namespace(self) -> str:
        """The namespace that the run lies in."""
        return self._place[0]

    @property
    def client(self) -> Client:
        """The client that found it."""
        return self._client

    @property
    def reference(self) -> str:
        """The reference that always means exactly this artifact."""
        namespace, flow, run = self._place
        step, task, attempt = self._task or (None, None, None)
        return str(Reference(namespace, flow, self._name, run=run, step=step, task=task, attempt=attempt))

    @property
    def type(self) -> str:
        """Type of the object, for people: ``pandas.DataFrame``, ``file``."""
        return self._stored.record.type

    @property
    def size(self) -> int:
        """Size in bytes of the content and of its description (a few dozen bytes or more), before compression.

        What other artifacts share is counted.
        """
        return self._stored.record.bytes

    @property
    def stored(self) -> int:
        """Bytes that this save added to the store."""
        return self._stored.record.new

    @property
    def digest(self) -> str:
        """Identity of the content: artifacts with equal digests hold the same bytes."""
        return self._stored.record.digest

    @property
    def created_at(self) -> dt.datetime:
        """When it was saved."""
        return parse_time(self._stored.record.saved)

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that it was saved with and needs."""
        return dict(self._stored.record.libraries)

    @property
    def runs_code(self) -> bool:
        """Whether loading it runs code that is stored in it (pickle)."""
        return self._stored.record.runs_code

    def load(self, *, columns: Sequence[str] | None = None, trust: bool | None = None, verify: bool = True) -> Any:
        """Return the object; see `holdall.load`. Of a file or a directory, return the path of a local copy."""
        check_choices(trust=trust)
        check_flags(verify=verify)
        if columns is not None:
            columns = _labels(columns)
        if self.type in ("file", "directory"):
            if columns is not None:
                raise UnsupportedTypeError(f"{self.reference} is {with_article(self.type)}: it has no columns.")
            return self.path()
        allowed = self._client.trust if trust is None else trust
        try:
            loaded = self._client.repository.load(
                self._stored, columns=columns, trust=allowed, verify=verify, log=self._log()
            )
        except HoldallError as error:
            raise self._named(error) from error.__cause__
        if self.type not in _TABLE_TYPES:
            return loaded
        from holdall._tables import watched

        return watched(loaded)

    def table(self) -> Table:
        """Return a saved frame of pandas or polars, or a saved table of Arrow, as a `Table`: lazy, with its verbs.

        Only the columns that are needed are loaded, whole. Nothing of them is loaded before, not even here; of frames of
        pandas and polars, columns are loaded to learn their types. A saved `Table` is given as it is. Raises
        `UnsupportedTypeError` for anything else.
        """
        if self.type in _TABLE_TYPES:
            found: Table = self.load()
            return found
        from holdall._artifact_table import ArtifactFrame
        from holdall._tables import watched
        from holdall_store.tables import frame_table

        sizes = [buffer.bytes for buffer in self._stored.record.buffers]
        return watched(frame_table(ArtifactFrame(self, self._shape(), sizes)))

    def delete(self, *, note: str = "") -> None:
        """Hide it from whoever looks at its run, which has ended; see `Run.delete`."""
        from holdall._deleting import delete_artifact

        delete_artifact(self._client, self._place, self._name, note)

    def keys(self) -> list[str | int]:
        """Return the keys of a saved dict whose keys are all strings, or the positions of a list; of anything else, none."""
        from holdall_store.serializers import keys

        return list(keys(self._client.repository.node(self._stored)) or ())

    def __getitem__(self, key: str | int) -> Any:
        """Load one part of a saved dict or list, and nothing else of it: ``run["weights"]["layer1"]``."""
        try:
            return self._client.repository.load(self._stored, key=key, trust=self._client.trust, log=self._log())
        except HoldallError as error:
            raise self._named(error) from error.__cause__

    def __iter__(self) -> Iterator[str | int]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def _ipython_key_completions_(self) -> list[str]:
        return [str(key) for key in self.keys()]

    def open(self) -> IO[bytes]:
        """Return a file artifact as a seekable stream of bytes that reads only what it is asked for.

        Raises `UnsupportedTypeError` for what is no file, since it has no bytes of its own.
        """
        from holdall._files import open_file

        self._check_file("open() reads files; load() gives the object")
        try:
            return io.BufferedReader(open_file(self._client.repository, self._stored), 1 << 20)
        except HoldallError as error:
            raise self._named(error) from error.__cause__

    def path(self, to: str | os.PathLike[str] | None = None) -> Path:
        """Return the path of a local, read-only copy of a file or directory, made once and kept in the cache.

        With `to`, the copy is made there instead, with the permissions that were saved; nothing may be there yet.
        """
        from holdall._files import cached_copy, extract

        if self.type != "directory":
            self._check_file("path() gives files and directories; load() gives the object")
        try:
            if to is not None:
                return extract(self._client.repository, self._stored, Path(to))
            return cached_copy(self._client.repository, self._stored, self._name)
        except HoldallError as error:
            raise self._named(error) from error.__cause__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[Any, ...]:
        # With its record, so that it stays what it is when its name is saved again, and is found without looking.
        return Artifact._of, (self._client, *self._place, self._name, self._stored, self._task)

    def __repr__(self) -> str:
        return f"Artifact({self.reference!r}, {self.type}, {size_text(self.size)})"

    def _repr_html_(self) -> str:
        from holdall._html import artifact_html

        return artifact_html(self)

    def _identity(self) -> tuple[str, str, str]:
        # In one run, a name that is saved again means the new object; a handle goes on meaning the one that it was made for.
        return self._client.url, self.reference, self.digest

    def _shape(self) -> TableShape | None:
        """Return what is known of a table without its values."""
        from holdall_store.serializers import table_shape

        repository, stored = self._client.repository, self._stored
        try:
            return table_shape(
                repository.node(stored),
                lambda numbers: repository.read_buffers(stored, numbers),
                stored.record.libraries,
            )
        except HoldallError as error:
            raise self._named(error) from error.__cause__

    def _log(self) -> str:
        """Return the prefix of the log whose records tell of it."""
        if self._task is None:
            return run_prefix(*self._place)
        step, task, attempt = self._task
        return task_prefix(*self._place, step, task, attempt or 0)

    def _check_file(self, instead: str) -> None:
        if self.type != "file":
            raise UnsupportedTypeError(f"{self.reference} is {with_article(self.type)}, not a file: {instead}.")

    def _named(self, error: HoldallError) -> HoldallError:
        """Return `error` with the artifact's name before its message, of the same type."""
        named = type(error)(f"{self.reference}: {error}")
        errno = getattr(error, "errno", None)
        if errno is not None:
            named.errno = errno  # type: ignore[attr-defined]
        return named


def _labels(columns: Any) -> list[Any]:
    """Return the columns that are asked for as a list."""
    if isinstance(columns, str):
        raise UnsupportedTypeError(f"columns is a list of names; write columns=[{columns!r:.80}].")
    try:
        labels = list(columns)
        hash(tuple(labels))
    except TypeError:
        raise UnsupportedTypeError(
            f"columns is a list of names, such as columns=['a'], not {shown(columns)}."
        ) from None
    if len(set(labels)) < len(labels):
        twice = next(label for place, label in enumerate(labels) if label in labels[:place])
        raise InvalidNameError(f"columns names {twice!r:.80} twice; name each of them once.")
    return labels
