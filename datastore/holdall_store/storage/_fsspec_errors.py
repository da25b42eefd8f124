"""What the errors of fsspec filesystems mean, and what is said of them."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from holdall_store.errors import AccessDeniedError, HoldallError, ObjectNotFoundError, StorageError

__all__ = ["Failure", "explain", "is_missing", "read_failure"]

Meaning = Literal["exists", "missing", "denied", "again", "refused"]

_MISSING_NUMBERS: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_DENIED_NUMBERS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_AGAIN_NUMBERS: Final = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT}
    | {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETRESET, errno.EBUSY, errno.EAGAIN}
)

# The libraries below fsspec are not imported to find out that an error is theirs: the names of its classes tell.
_DENIED_NAMES: Final = frozenset(
    {"AuthenticationException", "BadHostKeyException", "PasswordRequiredException"}  # paramiko
    | {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "SSOError"}  # botocore
    | {"ClientAuthenticationError", "RefreshError", "DefaultCredentialsError"}  # Azure and Google
)
_UNREACHABLE_NAMES: Final = frozenset(
    {"ConnectionRefusedError", "NoValidConnectionsError", "gaierror", "EndpointConnectionError", "ConnectError"}
    | {"ClientConnectorError", "ConnectTimeoutError"}
)
_AGAIN_NAMES: Final = _UNREACHABLE_NAMES | frozenset(
    {"ConnectionError", "TimeoutError", "EOFError", "SSLError", "SSHException", "error_temp"}
    | {"HTTPClientError", "BotoConnectionError", "ClientConnectionError", "ClientPayloadError", "TransportError"}
    | {"ServiceRequestError", "ServiceResponseError", "IncompleteRead"}
)
_AGAIN_CODES: Final = frozenset(
    {"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "InternalError"}
    | {"ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
_AGAIN_STATUS: Final = frozenset({408, 409, 425, 429})
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
_CLOSED: Final = re.compile(r"socket is closed|connection dropped|garbage packet", re.IGNORECASE)
"""What paramiko says, with no number, when the connection is gone."""

_QUERY: Final = re.compile(r"\?[^\s\"']*")
_USER: Final = re.compile(r"(?<=://)[^\s/@\"']*@")
MESSAGE_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error says: its meaning, its number where it has one, and what a person needs to know of it.

    ``unreachable`` says that there was no connection at all, so that nothing was asked for.
    """

    meaning: Meaning
    number: int | None
    message: str
    unreachable: bool = False


def read_failure(error: BaseException, secrets: Iterable[str] = ()) -> Failure:
    """Return what `error` means; none of `secrets` is in it."""
    meaning = _meaning(error)
    number = error.errno if isinstance(error, OSError) else None
    if meaning == "refused" and _code(error) in _NO_BUCKET:
        number = errno.ENOENT
    text = error.strerror if isinstance(error, OSError) and isinstance(error.strerror, str) else str(error)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    text = _USER.sub("", _QUERY.sub("", text.strip().partition("\n")[0]))[:MESSAGE_CHARACTERS_MAX].rstrip(".")
    unreachable = meaning == "again" and bool(_names(error) & _UNREACHABLE_NAMES)
    return Failure(meaning, number, f"{type(error).__name__}: {text}" if text else type(error).__name__, unreachable)


def is_missing(error: BaseException) -> bool:
    """Tell whether `error` says that a file or folder is not there; a bucket that is not there is another matter."""
    return _meaning(error) == "missing"


def _meaning(error: BaseException) -> Meaning:
    names, code, status = _names(error), _code(error), _status(error)
    number = error.errno if isinstance(error, OSError) else None
    again_status = status is not None and (status in _AGAIN_STATUS or (status >= 500 and status != 501))
    table: tuple[tuple[Meaning, bool], ...] = (
        ("refused", code in _NO_BUCKET),
        ("exists", isinstance(error, FileExistsError) or status == 412 or number == errno.EEXIST),
        ("again", code in _AGAIN_CODES or again_status),
        ("denied", bool(names & _DENIED_NAMES) or status in (401, 403) or number in _DENIED_NUMBERS),
        ("denied", isinstance(error, PermissionError)),
        ("missing", isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)),
        ("missing", status == 404 or number in _MISSING_NUMBERS),
        ("again", bool(names & _AGAIN_NAMES) or number in _AGAIN_NUMBERS),
        ("again", isinstance(error, OSError) and _CLOSED.search(str(error)) is not None),
    )
    for meaning, holds in table:
        if holds:
            return meaning
    return "refused"


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, as far as filesystems translate answers of a server."""
    yield error
    if error.__cause__ is not None:
        yield error.__cause__


def _code(error: BaseException) -> str:
    """Return what the server called it, in the terms of botocore's errors."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of any HTTP library speaks of."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return found if isinstance(found, int) else None
        for holder in (each, response):
            for name in ("status", "status_code", "code"):
                value = getattr(holder, name, None)
                if isinstance(value, int) and 100 <= value < 600:
                    return value
    return None


def explain(failure: Failure, action: str, key: str, where: str) -> HoldallError:
    """Return the error to raise for a failure that is final."""
    if failure.meaning == "missing" and action != "create":
        return ObjectNotFoundError(f"There is no object {key!r} in {where}.")
    head = f"Cannot {action} {key!r} in {where}: {failure.message}."
    if failure.meaning == "denied":
        return AccessDeniedError(errno.EACCES, head)
    if failure.meaning == "again":
        number = errno.ECONNREFUSED if failure.unreachable else errno.ETIMEDOUT
        unknown = (
            "" if failure.unreachable or action not in ("create", "delete") else "; whether it took effect is unknown"
        )
        return StorageError(number, f"{head} It was tried again and again{unknown}.")
    return StorageError(failure.number or errno.EIO, head)
