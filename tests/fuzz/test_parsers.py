"""Parsers take any bytes: what comes of them is a value or an error of ours."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tests.fuzz._forge import FLOW, RUN, artifact, large, pack_of, record, store, zeros

from holdall import Client, HoldallError, InvalidNameError
from holdall._reference import Reference
from holdall_store.config import Settings, read_settings
from holdall_store.errors import FormatError
from holdall_store.format import FOOTER_BYTES, HEADER, PackTable, decode_json, parse_footer
from holdall_store.repository import parse_time
from holdall_store.serializers import encode

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from((1 << 31, 1 << 63, -(1 << 63), 1 << 200)),
    st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.sampled_from(("$", "../x", "\0", "bytes", "ref", "tuple", "a" * 16 + "-1", "0" * 64, "AAAA")),
)  # fmt: skip
anything = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)), max_leaves=6)  # fmt: skip

CHUNK, STORED = zeros(30_000)
DATA, REF = pack_of([CHUNK], STORED)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every part of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in parts for found in paths(part, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    """Return a copy of `value` with another part at `path`."""
    if not path:
        return part
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = changed(value[path[0]], path[1:], part)
    return copied


def use(client: Client) -> None:
    """Do what a reader does with a store: list it, look at a run, load what it holds."""
    for flow in client.flows:
        for run in flow.runs():
            assert isinstance(repr(run), str)
            for look in (lambda run=run: dict(run.params), lambda run=run: run.metrics, lambda run=run: run.created_at):
                try:
                    look()
                except HoldallError:
                    continue
            for found in run:
                try:
                    found.load()
                except HoldallError as error:
                    assert str(error)


WHOLE = record(
    artifacts={"a": artifact(node=encode((1, "x", {2: 1j})).node), "b": large([[0, 0, 1]], 30_000)},
    packs=[REF],
    params={"lr": 0.1, "when": encode(dt.date(2026, 11, 23)).node},
    metrics={"loss": {"values": [0.5, "nan"], "steps": [0, 1], "times": [1.0, 2.0]}},
    summary={"loss": "nan"},
    tags=["nightly"],
    info={"user": "eve"},
)
PATHS = paths(WHOLE)


@pytest.mark.filterwarnings("ignore:Left out")
@given(st.data())
@settings(max_examples=250)
def test_a_record_with_anything_anywhere(data: st.DataObject) -> None:
    """Any part of a record replaced by any JSON, and sealed again: reading it gives values or errors of ours."""
    body = WHOLE
    for _ in range(data.draw(st.integers(1, 2))):
        body = changed(body, data.draw(st.sampled_from(paths(body))), data.draw(anything))
    if not isinstance(body, dict):
        body = {"holdall": 1, "x": body}
    try:
        use(store(json.dumps(body, ensure_ascii=True).encode(), DATA))
    except HoldallError as error:
        assert str(error)


@given(st.binary(max_size=120), st.integers(0, 3000))
@settings(max_examples=100)
def test_a_pack_with_anything_in_its_tail(noise: bytes, place: int) -> None:
    """Bytes of a pack replaced by any others: the right value, or an error of ours."""
    damaged = bytearray(DATA)
    place %= len(DATA)
    damaged[place : place + len(noise)] = noise[: len(DATA) - place]
    client = store(record(artifacts={"b": large([[0, 0, 1]], 30_000)}, packs=[REF]), bytes(damaged))
    try:
        assert client.load(f"{FLOW}/b") == bytes(30_000)
    except HoldallError as error:
        assert FLOW in str(error)


@given(st.binary(max_size=300))
@settings(max_examples=150)
def test_a_pack_of_anything(noise: bytes) -> None:
    """Any bytes as a table, and any as a footer."""
    for tail in (noise, noise[:FOOTER_BYTES].ljust(FOOTER_BYTES, b"\0")):
        try:
            footer = parse_footer(tail, len(HEADER) + len(noise))
            list(PackTable.parse(noise, footer))
        except HoldallError:
            continue
        raise AssertionError("noise was read as a pack")


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_references_are_parsed_or_refused(text: str) -> None:
    """Any text is a reference that says the same again, or an `InvalidNameError`."""
    for lone in ("flow", "artifact"):
        try:
            parsed = Reference.parse(text, lone=lone)
        except InvalidNameError:
            continue
        assert Reference.parse(str(parsed), lone=lone) == parsed


@given(st.text(st.sampled_from("ab/:@.%\\ T20261-é\0"), max_size=14))
@settings(max_examples=300)
def test_texts_that_are_nearly_references(text: str) -> None:
    """The same with the letters that references are made of."""
    try:
        parsed = Reference.parse(text)
    except InvalidNameError as error:
        assert len(str(error)) < 600
        return
    assert Reference.parse(str(parsed)) == parsed
    assert parsed.flow not in (None, "", ".", "..")


VARIABLES = ("STORE", "NAMESPACE", "USER", "HOME", "CACHE_SIZE", "COMPRESSION", "TRUST", "OFFLINE")


@given(
    st.dictionaries(
        st.sampled_from(VARIABLES), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    )
)
@settings(max_examples=150)
def test_settings_are_read_or_refused(texts: dict[str, str]) -> None:
    """Any environment gives settings, or an error that names the variable."""
    try:
        found = read_settings({f"HOLDALL_{name}": text for name, text in texts.items()})
    except InvalidNameError as error:
        assert "HOLDALL_" in str(error)
        return
    assert isinstance(found, Settings)
    assert found.cache_bound() >= 0


@given(st.one_of(st.binary(max_size=100), st.text(max_size=100).map(str.encode)))
def test_json_and_times_are_read_or_refused(raw: bytes) -> None:
    """Any bytes as a node, any text as a time."""
    try:
        decode_json(raw, "It")
    except FormatError as error:
        assert str(error).startswith("It is no JSON")
    try:
        assert parse_time(raw.decode("utf-8", "replace")).tzinfo is not None
    except FormatError as error:
        assert "is no time" in str(error)


def test_the_whole_record_loads() -> None:
    """What the mutations begin with is right, so that each of them is about its change."""
    client = store(WHOLE, DATA)
    run = client.flow(FLOW).latest_run

    assert (run.id, run["a"].load(), run["b"].load()) == (RUN, (1, "x", {2: 1j}), bytes(30_000))
    assert dict(run.params) == {"lr": 0.1, "when": dt.date(2026, 11, 23)}
    assert len(PATHS) > 40
