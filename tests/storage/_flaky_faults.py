"""What can go wrong between a client and an S3 server, and when: for the proxy of `_flaky`."""

from __future__ import annotations

import http.client
import random
from dataclasses import dataclass

from tests.storage._flaky import Answer, ConnectionEnds, Exchange, Fault, Schedule, Turn

__all__ = [
    "Close",
    "Duplicate",
    "FlipByte",
    "Garbage",
    "Refuse",
    "Reset",
    "Say",
    "SlowStart",
    "Stall",
    "Truncate",
    "WrongLength",
    "always",
    "mixed",
    "once_each",
    "only",
    "storm",
]


@dataclass(frozen=True)
class Reset:
    """A reset, before the server hears of the request or after it did what was asked; or while the body still comes."""

    forwarded: bool = False
    early: bool = False

    def strike(self, turn: Turn) -> None:
        if not self.early:
            turn.read_body()
        if self.forwarded:
            turn.forward()
        turn.reset()


@dataclass(frozen=True)
class Close:
    """An orderly end of the connection without an answer."""

    forwarded: bool = False

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        if self.forwarded:
            turn.forward()
        raise ConnectionEnds


@dataclass(frozen=True)
class Stall:
    """Silence: instead of the answer, in the middle of its head, or in that of its body (if it has one)."""

    head: float = 0
    body: float = 0

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        answer = turn.forward()
        head, body = answer.head(), turn.shown(answer)
        if self.body and len(body) > 1:
            turn.client.sendall(head + body[: max(int(len(body) * self.body), 1)])
        else:
            turn.client.sendall(head[: int(len(head) * (self.head or self.body))])
        turn.hold()


@dataclass(frozen=True)
class Truncate:
    """An answer whose connection ends, or is reset, in its body; without a body, in its head."""

    keep: float = 0.5
    reset: bool = False

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        answer = turn.forward()
        head, body = answer.head(), turn.shown(answer)
        turn.client.sendall(head + body[: int(len(body) * self.keep)] if body else head[: int(len(head) * self.keep)])
        if self.reset:
            turn.reset()
        raise ConnectionEnds


@dataclass(frozen=True)
class WrongLength:
    """An answer that promises `by` bytes more than come, or fewer; the connection stays open."""

    by: int

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        answer = turn.forward()
        if turn.exchange.method == "HEAD":  # it would be a lie about the object
            turn.send(answer)
            return
        right = int(answer.length or len(answer.body))
        turn.client.sendall(answer.head(max(right + self.by, 0)) + turn.shown(answer))


@dataclass(frozen=True)
class Say:
    """An answer of the proxy's own, in S3's form, instead of the server's or after it did what was asked."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...] = ()
    forwarded: bool = False

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        if self.forwarded:
            turn.forward()
        body = f'<?xml version="1.0"?><Error><Code>{self.code}</Code><Message>said the proxy</Message></Error>'.encode()
        headers = [("Content-Type", "application/xml"), *self.headers]
        turn.send(Answer(self.status, http.client.responses.get(self.status, "Odd"), headers, body))


@dataclass(frozen=True)
class Duplicate:
    """The server gets the request twice; the client hears what it said the first time, or the second."""

    heard: int = 0

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        turn.send((turn.forward(), turn.forward())[self.heard])


@dataclass(frozen=True)
class SlowStart:
    """The first `count` bytes of the answer come one by one."""

    count: int = 300

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        answer = turn.forward()
        data = answer.head() + turn.shown(answer)
        for place in range(min(self.count, len(data))):
            turn.client.sendall(data[place : place + 1])
        turn.client.sendall(data[self.count :])


@dataclass(frozen=True)
class Refuse:
    """A reset, after which nobody listens for some time."""

    seconds: float = 0.05

    def strike(self, turn: Turn) -> None:
        turn.proxy.refuse(self.seconds)
        turn.reset()


@dataclass(frozen=True)
class Garbage:
    """Bytes that are no HTTP."""

    seed: int = 0
    count: int = 200

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        turn.client.sendall(random.Random(self.seed).randbytes(self.count))
        raise ConnectionEnds


@dataclass(frozen=True)
class FlipByte:
    """One byte of the answer's body, or of the request's, is another one; where there is no body, nothing is."""

    request: bool = False
    place: float = 0.5

    def strike(self, turn: Turn) -> None:
        turn.read_body()
        if self.request:
            turn.send(turn.forward(_flipped(turn.body, self.place)))
            return
        answer = turn.forward()
        turn.client.sendall(answer.head() + _flipped(turn.shown(answer), self.place))


def _flipped(data: bytes, place: float) -> bytes:
    at = int(len(data) * place)
    return data[:at] + bytes(byte ^ 0x20 for byte in data[at : at + 1]) + data[at + 1 :]


def always(fault: Fault) -> Schedule:
    """Strike every request."""
    return lambda exchange: fault


def once_each(fault: Fault, *, share: float = 1.0, seed: int = 0) -> Schedule:
    """Strike the first attempt at each request, or a share of these."""

    def choose(exchange: Exchange) -> Fault | None:
        chosen = share >= 1 or random.Random(f"{seed} {exchange.number}").random() < share
        return fault if exchange.attempt == 0 and chosen else None

    return choose


def storm(fault: Fault, *, count: int, share: float = 0.9, seed: int = 0) -> Schedule:
    """Strike a share of the first `count` requests."""

    def choose(exchange: Exchange) -> Fault | None:
        chosen = exchange.number < count and random.Random(f"{seed} {exchange.number}").random() < share
        return fault if chosen else None

    return choose


def mixed(*faults: Fault, attempts: int = 2, share: float = 0.5, seed: int = 0) -> Schedule:
    """Strike a share of the first few attempts at each request, with one or another fault."""

    def choose(exchange: Exchange) -> Fault | None:
        chosen = random.Random(f"{seed} {exchange.number}")
        return chosen.choice(faults) if exchange.attempt < attempts and chosen.random() < share else None

    return choose


def only(schedule: Schedule, *methods: str, containing: str = "") -> Schedule:
    """Strike only requests with one of these methods and with `containing` in their target."""

    def choose(exchange: Exchange) -> Fault | None:
        return schedule(exchange) if exchange.method in methods and containing in exchange.target else None

    return choose
