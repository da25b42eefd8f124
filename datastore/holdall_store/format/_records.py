"""Records: JSON that a person can read with ``cat``, sealed by a hash of itself.

docs/format.md specifies every member. Unknown members are kept out of the way: a reader ignores what it does not know,
and a change that an old reader must not ignore raises the version.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

import msgspec
from blake3 import blake3

from holdall_store.errors import FormatError, IntegrityError, UnsupportedTypeError

__all__ = [
    "AliasRecord",
    "ArtifactRecord",
    "BufferRef",
    "ExceptionInfo",
    "GcRecord",
    "LogHead",
    "MovedPack",
    "OriginInfo",
    "PackRef",
    "RunRecord",
    "Series",
    "StoreRecord",
    "TagRecord",
    "decode_json",
    "seal",
    "unseal",
]

FORMAT_VERSION: Final = 1
"""On disk. A reader refuses what is newer and keeps reading all that is older."""

RECORD_BYTES_MAX: Final = 64 << 20
"""A writer spills long before this; a reader refuses to parse more."""

_SEAL: Final = b',"blake3":"'
_SEAL_BYTES: Final = len(_SEAL) + 64 + len(b'"}\n')

Status = Literal["running", "succeeded", "failed"]


class PackRef(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """A pack that a record refers to: enough to read its table with one request and to know it is the right one."""

    name: str
    table_offset: int
    entries: int
    table: str
    """BLAKE3 of the table, hexadecimal."""


class BufferRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the bytes of one buffer lie: in the record itself, or in spans of chunks of packs."""

    bytes: int
    inline: str = ""
    """The bytes in base64."""
    spans: tuple[tuple[int, int, int], ...] = ()
    """(number of the pack in the record's list, first chunk, count of chunks), in order."""


class ArtifactRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One saved object."""

    type: str
    bytes: int
    """Size of the node and the buffers before compression and deduplication."""
    new: int
    """Bytes that this save added to packs."""
    digest: str
    """Identity of the content: equal for equal nodes and equal chunks."""
    saved: str
    node: msgspec.Raw
    """The JSON node; ``null`` where `spilled`."""
    spilled: bool = False
    """The node is too long for a record: the last buffer holds it."""
    buffers: tuple[BufferRef, ...] = ()
    runs_code: bool = False
    libraries: dict[str, str] = {}


class Series(msgspec.Struct, frozen=True, omit_defaults=True):
    """Points of one metric: parallel lists. A float that JSON lacks is written as text (``nan``, ``inf``, ``-inf``)."""

    values: list[float | int | bool | str]
    steps: list[float | int]
    times: list[float]
    """Seconds since the epoch."""


class ExceptionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What made a run fail."""

    type: str
    message: str
    traceback: str = ""


class OriginInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run that another one, or a task of it, was made from: where it lies, who did it, why and how."""

    namespace: str
    flow: str
    run: str
    who: str = ""
    note: str = ""
    how: str = ""
    """``resumed``; empty: promoted."""
    attempt: int = 0
    """Of a task: which attempt at the task of the same step and name."""


class Versioned(msgspec.Struct, kw_only=True):
    """What every record of this version begins with."""

    holdall: int

    def __post_init__(self) -> None:
        if self.holdall > FORMAT_VERSION:
            raise FormatError(f"format {self.holdall}")  # `unseal` words it, for this and for all that fits no better


class LogHead(Versioned, kw_only=True, omit_defaults=True):
    """What every record of a log begins with."""

    log: str
    event: str
    slot: int
    write_id: str
    """Random: tells one's own record from another's where the answer to a create was lost."""
    time: str


class RunRecord(LogHead, kw_only=True, omit_defaults=True):
    """One record of the log of a run, or of an attempt at one of its tasks.

    Events: ``open``, ``commit``, ``end``; ``fence`` and ``abandoned`` by a collector.
    """

    namespace: str
    flow: str
    run: str
    status: Status = "running"
    writer: str = ""
    """Prefix of the names of the packs that this log owns while it is open."""
    started: str = ""
    params: dict[str, msgspec.Raw] = {}
    tags: tuple[str, ...] = ()
    info: dict[str, Any] = {}
    packs: tuple[PackRef, ...] = ()
    artifacts: dict[str, ArtifactRecord] = {}
    metrics: dict[str, Series] = {}
    """Points that no earlier record of this log holds."""
    summary: dict[str, float | int | bool | str] = {}
    """The last value of every metric so far."""
    exception: ExceptionInfo | None = None
    origin: OriginInfo | None = None
    complete: bool = False
    """This record alone tells all of the run but the points of its metrics in earlier records."""
    names: tuple[str, ...] = ()
    """The artifacts that ``deleted`` and ``restored`` are about; none means the run."""
    steps: tuple[str, ...] = ()
    """The steps of a run that has ended, in order."""
    lifted: bool = False
    """`artifacts` are those of its tasks, too."""
    step: str = ""
    """Of a task: the name of its step."""
    task: str = ""
    attempt: int = 0
    parents: tuple[str, ...] = ()
    """Of a task: the names of the steps that its step comes after."""


class AliasRecord(LogHead, kw_only=True, omit_defaults=True):
    """One record of the log of an alias."""

    namespace: str
    flow: str
    alias: str
    run: str
    """The run that the alias points at; empty after a removal."""
    who: str = ""
    note: str = ""
    back_to: int | None = None
    """The slot whose target a rollback restored: the next rollback goes on from there."""


class MovedPack(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the chunks of a pack lie, that were worth keeping when it was deleted."""

    table: BufferRef
    """The table of the pack, which records know by its hash."""
    spans: tuple[tuple[int, int, int, int], ...] = ()
    """(first chunk in the old pack, count, number of the new pack in the record's `targets`, first chunk there)."""


class TagRecord(LogHead, kw_only=True, omit_defaults=True):
    """One record of the log of what was said of a run beside it. It tells all of it: who reads the last needs no other."""

    namespace: str
    flow: str
    run: str
    tags: tuple[str, ...] = ()
    """All tags of the run from now on, those that it began with among them."""
    kept: bool = False
    """The run must not be deleted."""
    log_slots: int = 0
    """The run's own log has, or is about to have, at least so many records: who remembers fewer looks again."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    who: str = ""
    note: str = ""


class GcRecord(LogHead, kw_only=True, omit_defaults=True):
    """One record of the collector's log. Events: ``condemn`` (packs), ``done`` (spared, moved)."""

    packs: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    moved: dict[str, MovedPack] = {}
    """Packs that are deleted although records refer to them: what these mean lies elsewhere now."""
    targets: tuple[PackRef, ...] = ()
    """The packs that `moved` numbers."""


class StoreRecord(Versioned, kw_only=True, omit_defaults=True):
    """The object that makes a folder or a bucket a store."""

    store: str
    """Random id, given once."""
    created: str


_T = TypeVar("_T", bound=msgspec.Struct)


def seal(record: msgspec.Struct) -> bytes:
    """Return `record` as one line of JSON whose last member is the BLAKE3 of all before it.

    Raises `UnsupportedTypeError` for a record so long that no reader would take it.
    """
    body = msgspec.json.encode(record)[:-1]
    if len(body) + _SEAL_BYTES > RECORD_BYTES_MAX:
        raise UnsupportedTypeError(
            f"A record of {len(body)} bytes was to be written; records have at most {RECORD_BYTES_MAX}. Save fewer objects "
            "at a time, or objects of fewer parts: one array rather than a list of a million of them."
        )
    return body + _SEAL + blake3(body).hexdigest().encode() + b'"}\n'


def unseal(raw: bytes | memoryview, kind: type[_T], key: str) -> _T:
    """Return the record that `seal` wrote.

    Raises `IntegrityError` where a bit of it changed, `FormatError` where it is of a newer version or of another kind.
    """
    if len(raw) > RECORD_BYTES_MAX:
        raise FormatError(f"{key} has {len(raw)} bytes; records have at most {RECORD_BYTES_MAX}.")
    data = bytes(raw)
    body, mark, digest = data[:-_SEAL_BYTES], data[-_SEAL_BYTES : 11 - _SEAL_BYTES], data[11 - _SEAL_BYTES : -3]
    if mark != _SEAL or data[-3:] != b'"}\n':
        raise IntegrityError(f"{key} is damaged: it does not end with its seal.")
    if blake3(body).hexdigest().encode() != digest:
        raise IntegrityError(f"{key} is damaged: it does not match its hash.")
    try:
        return msgspec.json.decode(body + b"}", type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _misfit(body, key, error) from None


def decode_json(raw: bytes | memoryview | msgspec.Raw, what: str) -> Any:
    """Return the JSON value `raw`; `FormatError` where it is none, or nested too deeply."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"{what} is no JSON that can be read: {type(error).__name__}: {error}") from None


def _misfit(body: bytes, key: str, error: Exception) -> FormatError:
    """Say first that a record is of a newer version, where it is: that explains all other misfits."""
    try:
        head = msgspec.json.decode(body + b"}", type=StoreVersion)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        head = None
    if head is not None and head.holdall > FORMAT_VERSION:
        return FormatError(
            f"{key} is of format {head.holdall}; this version of holdall reads {FORMAT_VERSION}. Update holdall."
        )
    return FormatError(f"{key} is no record that this version of holdall can read: {type(error).__name__}: {error}")


class StoreVersion(msgspec.Struct):
    """The one member that every record of every version has."""

    holdall: int
