"""What is made of failures: whether to try again, when, and with what changed. No socket is here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from holdall_store.errors import HoldallError, IntegrityError
from holdall_store.storage.buckets import Answer, explain
from holdall_store.transfer._exchange import Request

__all__ = ["Policy", "Step", "Tries", "action_of", "clock_offset", "decide", "final_error", "region_of"]

DELAY_FIRST: Final = 0.1
DELAY_MAX: Final = 5.0
RETRY_AFTER_MAX: Final = 20.0
"""Seconds. A server may ask for a pause, not for the rest of the day."""

MISMATCHES_MAX: Final = 3
"""A body of another length than asked for is most often torn, and then right the next time; or else it never is."""

CORRECTIONS_MAX: Final = 2
"""Another region, another clock: told once it is right, told thrice it never will be."""

SKEW_MIN: Final = 300.0
"""Seconds by which a clock is wrong enough to explain a refusal that gives no reason; S3 allows 900."""

_REGION: Final = re.compile(r"<Region>\s*([a-z0-9-]{2,40})\s*</Region>")
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"})
_SLOWER: Final = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
_NOT_DONE: Final = frozenset({429, 503})
"""Refused before anything was done, so that even what must not be done twice may be asked again."""

Step = Literal["again", "renew", "fail"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to try, in seconds."""

    deadline: float
    unreachable_deadline: float
    stall_timeout: float
    hedge: bool = True


class Tries:
    """What has been tried for one request."""

    __slots__ = ("delay", "mismatches", "moved", "renewed", "skewed", "stalls")

    def __init__(self) -> None:
        self.delay = DELAY_FIRST
        self.mismatches = self.moved = self.renewed = self.skewed = self.stalls = 0

    def pause(self, random: Callable[[], float], retry_after: str | None = None) -> float:
        """Return how long to wait before the next try: a random part of a delay that doubles (full jitter)."""
        pause = self.delay * random()
        self.delay = min(self.delay * 2, DELAY_MAX)
        if retry_after is not None and retry_after.isdecimal():
            pause += min(float(retry_after[:6]), RETRY_AFTER_MAX)
        return pause


def decide(answer: Answer, tries: Tries, *, replayable: bool) -> Step:
    """Return what to do about an answer that is no success."""
    if answer.code in _EXPIRED and not tries.renewed:
        tries.renewed += 1
        return "renew"
    if answer.meaning != "again":
        return "fail"
    if not replayable and not (answer.unreachable or answer.status in _NOT_DONE):
        return "fail"
    return "again"


def is_throttled(answer: Answer) -> bool:
    """Tell whether the server has more to do than it can."""
    return answer.status in (429, 503) or answer.code in _SLOWER


def region_of(status: int, headers: dict[str, str], body: str) -> str | None:
    """Return the region that an answer says the bucket lies in."""
    if status not in (301, 307, 400, 403):
        return None
    if status in (400, 403) and "AuthorizationHeaderMalformed" not in body and body:
        return None
    found = _REGION.search(body)
    return headers.get("x-amz-bucket-region") or (found[1] if found else None)


def clock_offset(status: int, code: str, headers: dict[str, str], now: float) -> float | None:
    """Return by how much the server's clock is ahead of `now`, if that is why it refuses."""
    if code != "RequestTimeTooSkewed" and not (status == 403 and not code):
        return None
    from email.utils import parsedate_to_datetime  # only for refusals

    try:
        offset = parsedate_to_datetime(headers.get("date", "")).timestamp() - now
    except ValueError:
        return None
    return offset if abs(offset) > SKEW_MIN or code == "RequestTimeTooSkewed" else None


def action_of(request: Request) -> str:
    """Return what a request does, in the words of our errors."""
    if request.method == "GET":
        return "read" if request.key else "list"
    if request.method == "HEAD":
        return "look at"
    deletes = request.method == "DELETE" or any(name == "delete" for name, _ in request.query)
    return "delete" if deletes else "create"


def final_error(request: Request, answer: Answer, where: str) -> HoldallError:
    """Return what is raised in the job."""
    return explain(answer, action_of(request), request.key, where)


def length_error(request: Request, where: str, said: str) -> IntegrityError:
    """Return what is raised when every try gave another length."""
    return IntegrityError(f"{where} answers with a body of another length for {request.key!r}: {said}.")
