"""What can go wrong between a client and S3, by what a client must make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.storage._flaky_faults import (
    Close,
    Duplicate,
    FlipByte,
    Garbage,
    Refuse,
    Reset,
    Say,
    SlowStart,
    Stall,
    Truncate,
    WrongLength,
)

if TYPE_CHECKING:
    from tests.storage._flaky import Fault

REGION: Final = ("x-amz-bucket-region", "eu-west-1")
ELSEWHERE: Final = ("Location", "http://127.0.0.1:9/elsewhere")

HARMLESS: Final[dict[str, Fault]] = {
    "slow start": SlowStart(),
    "delivered twice, first answer": Duplicate(0),
}
"""Nothing has to be done about them."""

PASSING: Final[dict[str, Fault]] = {
    "reset before": Reset(),
    "reset after": Reset(forwarded=True),
    "reset during upload": Reset(early=True),
    "closed before": Close(),
    "closed after": Close(forwarded=True),
    "torn": Truncate(),
    "torn by a reset": Truncate(reset=True),
    "refused": Refuse(0.01),
    "slow down": Say(503, "SlowDown"),
    "slow down after": Say(503, "SlowDown", forwarded=True),
    "429": Say(429, "TooManyRequests", (("Retry-After", "0"),)),
    "500": Say(500, "InternalError"),
    "500 after": Say(500, "InternalError", forwarded=True),
    "gateway": Say(502, "BadGateway"),
    "request timeout": Say(400, "RequestTimeout"),
    "garbage": Garbage(),
    "delivered twice, second answer": Duplicate(1),
}
"""The next try succeeds."""

SILENT: Final[dict[str, Fault]] = {
    "stall": Stall(),
    "stall in the head": Stall(head=0.5),
    "stall in the body": Stall(body=0.5),
    "fewer bytes than promised": WrongLength(9),
}
"""The next try succeeds, once the client has given up the first."""

LYING: Final[dict[str, Fault]] = {
    "more bytes than promised": WrongLength(-9),
    "flipped": FlipByte(),
    "flipped at the end": FlipByte(place=0.999),
}
"""Other bytes than the server's: seen, or harmless."""

FINAL: Final[dict[str, tuple[Fault, str]]] = {
    "expired": (Say(400, "ExpiredToken"), "expired"),
    "skewed": (Say(403, "RequestTimeTooSkewed"), "clock"),
    "redirect": (Say(301, "PermanentRedirect", (REGION,)), "another region"),
    "temporary redirect": (Say(307, "TemporaryRedirect", (REGION, ELSEWHERE)), "another region|nobody answers"),
    "not HTTP": (Garbage(), "does not speak HTTP"),
    "denied": (Say(403, "AccessDenied"), "403"),
}
"""No further try succeeds; with what the error says."""
