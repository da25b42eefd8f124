"""Records: sealed, opened, and refused where a bit changed or somebody means ill."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings

from holdall_store.errors import FormatError, HoldallError, IntegrityError
from holdall_store.format import (
    AliasRecord,
    ArtifactRecord,
    BufferRef,
    GcRecord,
    PackRef,
    RunRecord,
    StoreRecord,
    decode_json,
    seal,
    unseal,
)

KINDS: tuple[type[msgspec.Struct], ...] = (RunRecord, AliasRecord, GcRecord, StoreRecord)
HEAD: dict[str, Any] = {"holdall": 1, "slot": 3, "write_id": "w" * 16, "time": "2026-11-23T08:14:02+00:00"}


def run_record(**members: Any) -> RunRecord:
    """Return a record of a run with an artifact in a pack and one in itself."""
    artifacts = {
        "model": ArtifactRecord("numpy.ndarray", 1000, 900, "d" * 64, "2026", msgspec.Raw(b'{"$":"x"}'),
                                buffers=(BufferRef(1000, spans=((0, 0, 1), (1, 5, 2))),)),
        "note": ArtifactRecord("str", 7, 0, "e" * 64, "2026", msgspec.Raw(b'"first"'), buffers=(BufferRef(3, inline="YWJj"),)),
    }  # fmt: skip
    packs = (PackRef("a" * 16 + "-1", 1064, 1, "0" * 64), PackRef("b" * 16 + "-12", 99, 7, "1" * 64))
    given_ = {"namespace": "user:ana", "flow": "churn", "run": "r", "artifacts": artifacts, "packs": packs, **HEAD}
    return RunRecord(**{"log": "run", "event": "commit", **given_, **members})


RECORDS: dict[str, msgspec.Struct] = {
    "run": run_record(),
    "alias": AliasRecord(log="alias", event="set", namespace="user:ana", flow="churn", alias="best", run="r", **HEAD),
    "gc": GcRecord(log="gc", event="condemn", packs=("a" * 16 + "-1",), **HEAD),
    "store": StoreRecord(holdall=1, store="s" * 26, created="2026-11-23T08:14:02+00:00"),
}


def forge(body: bytes) -> bytes:
    """Return `body`, an object of JSON, sealed as an attacker would seal it."""
    body = body.rstrip()[:-1]
    return body + b',"blake3":"' + blake3(body).hexdigest().encode() + b'"}\n'


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_comes_back(name: str) -> None:
    """What was sealed is one line of JSON that opens to an equal record, and that any JSON reader reads."""
    record = RECORDS[name]
    raw = seal(record)

    assert unseal(raw, type(record), "key") == record
    assert unseal(memoryview(raw), type(record), "key") == record
    assert raw.count(b"\n") == 1
    assert msgspec.json.decode(raw)["blake3"] == blake3(raw[: raw.rindex(b',"blake3"')]).hexdigest()


@pytest.mark.parametrize("name", RECORDS)
def test_every_flipped_bit_is_found(name: str) -> None:
    """Each single bit of a sealed record, the seal included, is missed when it changes."""
    record = RECORDS[name]
    raw = seal(record)
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError, match=r"^runs/x is damaged"):
            unseal(memoryview(damaged), type(record), "runs/x")


@pytest.mark.parametrize("name", RECORDS)
def test_every_torn_or_zeroed_tail_is_found(name: str) -> None:
    """A record that was cut off anywhere, or ends in zeros, is an error that names it."""
    record = RECORDS[name]
    raw = seal(record)
    for size in range(len(raw)):
        for damaged in (raw[:size], raw[:size] + bytes(len(raw) - size)):
            with pytest.raises(IntegrityError, match=r"^runs/x is damaged"):
                unseal(memoryview(damaged), type(record), "runs/x")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b'{"holdall":99}', b'{"holdall":2,"log":[],"event":7,"slot":"x","new":{}}'])
def test_a_newer_version_is_named_first(kind: type[msgspec.Struct], body: bytes) -> None:
    """However little of a newer record makes sense to us, the error says to update."""
    with pytest.raises(FormatError, match=r"key is of format (99|2); .* Update holdall"):
        unseal(forge(body), kind, "key")


@pytest.mark.parametrize("name", RECORDS)
def test_a_newer_version_is_refused_even_if_it_could_be_read(name: str) -> None:
    """A record that differs in nothing but its version is refused all the same: its members may mean other things."""
    newer = msgspec.structs.replace(RECORDS[name], holdall=1)
    body = seal(newer)[: -len(b',"blake3":""}\n') - 64].replace(b'"holdall":1', b'"holdall":99', 1) + b"}"

    with pytest.raises(FormatError, match="99.*Update holdall"):
        unseal(forge(body), type(newer), "key")


@pytest.mark.parametrize("name", RECORDS)
def test_members_that_are_not_known_are_ignored(name: str) -> None:
    """A later writer of the same version may add members."""
    body = seal(RECORDS[name])
    body = body[: body.rindex(b',"blake3"')] + b',"later":{"deep":[1,{"x":null}]}}'

    assert unseal(forge(body), type(RECORDS[name]), "key") == RECORDS[name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b'{"holdall":1}', b'{"holdall":"1"}', b'{"holdall":-1}', b'{"holdall":1e99}', b'{"holdall":null}'),
        *(b'{"holdall":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"holdall":1,"x":' + b'{"a":' * 100_000),
        *(b'{"holdall":1,"x":"\xff\xfe"}', b'{"holdall":1,"store":"\\ud800"}', b"[1]", b'"text"', b"{", b"\0" * 50),
        b'{"holdall":1,"log":"run","event":"commit","slot":1' + b"0" * 5000 + b"}",
    ],
)
def test_hostile_records_are_refused(kind: type[msgspec.Struct], body: bytes) -> None:
    """Whatever is sealed with a right hash: what is no record of the kind is an error that names the key."""
    with pytest.raises((FormatError, IntegrityError), match=r"^key"):
        unseal(forge(body), kind, "key")


def test_deep_nodes_are_refused() -> None:
    """JSON that nests too deeply for anybody is an error, also where a record keeps it unread at first."""
    deep = b"[" * 100_000 + b"]" * 100_000

    with pytest.raises(FormatError, match="What it was is no JSON"):
        decode_json(deep, "What it was")


def test_a_record_that_nobody_would_write_is_not_parsed() -> None:
    """Beyond 64 MiB a record is refused before it is looked at."""
    with pytest.raises(FormatError, match="at most"):
        unseal(memoryview(bytearray((64 << 20) + 1)), RunRecord, "key")


def test_a_record_that_nobody_could_read_is_not_written() -> None:
    """What a reader would refuse is refused when it is sealed, before anything is visible."""
    record = run_record(info={"long": "x" * (64 << 20)})

    with pytest.raises(HoldallError, match="at most"):
        seal(record)


@given(st.binary(max_size=400), st.sampled_from(KINDS))
@settings(max_examples=100)
def test_any_bytes_open_or_are_refused(raw: bytes, kind: type[msgspec.Struct]) -> None:
    """Nothing but an error of ours comes of garbage, sealed or not."""
    for candidate in (raw, forge(raw), forge(b'{"holdall":1,' + raw)):
        with pytest.raises((FormatError, IntegrityError)):
            unseal(candidate, kind, "key")
