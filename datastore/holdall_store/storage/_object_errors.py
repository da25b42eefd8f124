"""What the answers of an object store mean, and what is said of them."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Final, Literal

from holdall_store.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConflictError,
    HoldallError,
    ObjectNotFoundError,
    StorageError,
)

__all__ = ["CREDENTIALS_FAILED", "Answer", "explain", "read_answer", "read_reply"]

Meaning = Literal["exists", "missing", "denied", "beyond", "again", "refused"]

CREDENTIALS_FAILED: Final = "the credentials could not be renewed:"
"""By this an error of the provider of credentials is known, which comes through the library as text."""

_STATUS: Final = re.compile(r"\bstatus(?: code)?:\s*(\d{3})\b")
_CODE: Final = re.compile(r"<Code>\s*([A-Za-z0-9.]+)\s*</Code>")
_MESSAGE: Final = re.compile(r"<Message>\s*([^<]{1,300})")
_DELETION: Final = re.compile(r'DeleteFailed \{\s*path: "(.*?)",\s*code: "(\w+)",\s*message: "(.*?)"')
"""One key of many in an answer that is 200 as a whole."""

_UNREACHABLE: Final = re.compile(r"dns error|Connection refused|ConnectionRefused|failed to lookup", re.IGNORECASE)
_QUERY: Final = re.compile(r"\?[^\s\"']*")
_NETWORK: Final = re.compile(r"\bHttpError \{\s*kind: (Connect|Request|Timeout|Interrupted)\b")
_GARBLED: Final = re.compile(r"\bhyper::Error\(\s*Parse\(")
_AGAIN_STATUS: Final = frozenset({408, 409, 425, 429})
_AGAIN_CODES: Final = frozenset(
    {"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "InternalError", "Throttling"}
    | {"ThrottlingException", "ServiceUnavailable", "ServerBusy", "RequestLimitExceeded", "TooManyRequests"}
    | {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}  # changed on the way
)

_HINTS: Final = {
    "NoSuchBucket": "There is no such bucket. Make it first, or correct its name.",
    "ContainerNotFound": "There is no such container. Make it first, or correct its name.",
    "ExpiredToken": "The credentials have expired: sign in again (aws sso login), or give new ones.",
    "ExpiredTokenException": "The credentials have expired: sign in again (aws sso login), or give new ones.",
    "TokenRefreshRequired": "The credentials have expired: sign in again (aws sso login), or give new ones.",
    "RequestTimeTooSkewed": "The clock of this machine is wrong by more than 15 minutes: set it.",
    "SignatureDoesNotMatch": "The secret key is not the one of the access key, or a proxy changes requests.",
    "InvalidAccessKeyId": "The access key is unknown to the server: is it of another account, or of another endpoint?",
    "AuthorizationHeaderMalformed": "The region is probably wrong: set AWS_REGION or storage_options={'region': …}.",
    "PermanentRedirect": "The bucket lies in another region: set AWS_REGION or storage_options={'region': …}.",
    "IllegalLocationConstraintException": "The bucket lies in another region: set AWS_REGION.",
    "AccountProblem": "The account is suspended or unpaid.",
    "NotImplemented": "The server does not know this kind of request.",
}
_PERMISSIONS: Final = {"create": "s3:PutObject", "read": "s3:GetObject", "look at": "s3:GetObject"} | {
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an error of the transfer library says: its meaning, and what a person needs to know of it.

    ``unreachable`` says that there was no connection at all, ``garbled`` that what came back is not HTTP (often that of
    the other protocol, http or https); with both to wait long is no use.
    """

    meaning: Meaning
    status: int | None
    code: str
    message: str
    unreachable: bool = False
    garbled: bool = False


def read_answer(error: BaseException) -> Answer:
    """Return what `error` means; nothing of a request is in it, because requests hold secrets."""
    name, text = type(error).__name__, str(error)
    if CREDENTIALS_FAILED in text:
        said = text.partition(CREDENTIALS_FAILED)[2].partition(" (the end)")[0]
        return Answer("denied", None, "", f"{CREDENTIALS_FAILED}{said}")
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    code_found, message_found = _CODE.search(text), _MESSAGE.search(text)
    code = code_found[1] if code_found else ""
    if "BareRedirect" in text or status in (301, 307):
        code = code or "PermanentRedirect"
    message = message_found[1].strip() if message_found else ""
    unreachable = status is None and _UNREACHABLE.search(text) is not None
    if deletion := _DELETION.search(text):
        code, message = deletion[2], f"{deletion[3]} ({deletion[1]})"
    meaning = _meaning(name, status, code, text)
    if not message and not code:
        message = _network_text(text)
    return Answer(meaning, status, code, message, unreachable, garbled=_GARBLED.search(text) is not None)


def read_reply(status: int, body: str) -> Answer:
    """Return what an answer of S3 means that is no success; `body` is its beginning, which a HEAD has none of."""
    code_found, message_found = _CODE.search(body), _MESSAGE.search(body)
    code = code_found[1] if code_found else ""
    if status in (301, 307) and not code:
        code = "PermanentRedirect"
    message = message_found[1].strip() if message_found else ""
    by_status: dict[int, Meaning] = {404: "missing", 412: "exists"}
    if code in ("NoSuchBucket", "PermanentRedirect", "NoSuchUpload"):
        meaning: Meaning = "refused"
    elif code == "AccessDenied":
        meaning = "denied"
    elif code in _AGAIN_CODES:
        meaning = "again"
    else:
        meaning = by_status.get(status) or _meaning_of_status(status, code)
    return Answer(meaning, status, code, message or _reason(status) * (not code))


def _reason(status: int) -> str:
    from http import HTTPStatus  # only where a server gives no reason of its own

    return next((known.phrase for known in HTTPStatus if known == status), "")


def _meaning(name: str, status: int | None, code: str, text: str) -> Meaning:
    if code in ("NoSuchBucket", "ContainerNotFound", "PermanentRedirect"):
        return "refused"
    if code == "AccessDenied":
        return "denied"
    if code in _AGAIN_CODES and name not in ("AlreadyExistsError", "PreconditionError"):
        return "again"
    by_name: dict[str, Meaning] = {
        "AlreadyExistsError": "exists",
        "PreconditionError": "exists",
        "NotFoundError": "missing",
        "FileNotFoundError": "missing",
        "PermissionDeniedError": "denied",
        "UnauthenticatedError": "denied",
    }
    if name in by_name:
        return by_name[name]
    if status is None:
        return "again" if _NETWORK.search(text) or _GARBLED.search(text) else "refused"
    return _meaning_of_status(status, code)


def _meaning_of_status(status: int, code: str) -> Meaning:
    if status == 416:
        return "beyond"
    if status in _AGAIN_STATUS or (status >= 500 and status != 501):
        return "again"
    return "denied" if status in (401, 403) or code.startswith("ExpiredToken") else "refused"


def _network_text(text: str) -> str:
    """Return what happened on the way, without anything that may hold a secret."""
    if _UNREACHABLE.search(text):
        return "nobody answers there"
    if _GARBLED.search(text):
        return "what answers there does not speak HTTP: is the endpoint's protocol right, http or https?"
    if found := _NETWORK.search(text):
        return "the server did not answer in time" if found[1] == "Timeout" else "the connection broke"
    return _QUERY.sub("", text.partition("\n")[0])[:300]


def explain(answer: Answer, action: str, key: str, where: str) -> HoldallError:
    """Return the error to raise for a failure that is final."""
    said = ", ".join(filter(None, (str(answer.status or ""), answer.code, answer.message.rstrip(". "))))
    what = f"{key!r} in {where}" if key else where
    head = f"Cannot {action} {what}: {said or 'the server refused'}."
    hint = _HINTS.get(answer.code, "")
    if answer.meaning == "missing":
        return ObjectNotFoundError(f"There is no object {key!r} in {where}.")
    if answer.meaning == "exists":
        if action == "create":
            return AlreadyExistsError(errno.EEXIST, f"There already is an object {key!r} in {where}.")
        return ConflictError(f"{head} It was changed meanwhile.")
    if answer.meaning == "denied":
        permission = _PERMISSIONS.get(action, "")
        missing = (
            f"The credentials in use probably lack {permission} for it."
            if permission and (answer.status or answer.code)
            else ""
        )
        return AccessDeniedError(errno.EACCES, " ".join(filter(None, (head, hint or missing))))
    if answer.meaning == "again":
        number = errno.ECONNREFUSED if answer.unreachable else errno.ETIMEDOUT
        unknown = "; whether the last try took effect is not known" if action in ("create", "delete") else ""
        hint = hint or f"It was tried again and again{unknown}."
        return StorageError(number, f"{head} {hint}")
    number = errno.ENOENT if answer.code in ("NoSuchBucket", "ContainerNotFound") else errno.EIO
    return StorageError(number, " ".join(filter(None, (head, hint))))
