"""Names become segments of keys and back; no two meet, and none leads anywhere else."""

from __future__ import annotations

import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from holdall_store.errors import FormatError, HoldallError, InvalidNameError
from holdall_store.format import (
    alias_prefix,
    check_name,
    check_namespace,
    escape_name,
    pack_key,
    run_prefix,
    slot_key,
    slot_number,
    unescape_name,
)
from holdall_store.storage import check_key

RUN = "20261123T081402123456-k3f9qa".replace("9", "7")

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
awkward = st.text(
    st.sampled_from("aAbBzZ09._-^%~ éÉéßſıİKÅΩω가각日本١２ⅷªº\u200d\u202e\u0130🎒/:@\\\0\n\x7f"),
    min_size=1,
    max_size=12,
)


def accepted(name: str) -> bool:
    """Tell whether `name` may be used."""
    try:
        check_name(name, "artifact")
    except InvalidNameError:
        return False
    return True


@given(st.one_of(names, awkward))
@example("..")
@example(".")
@example("%2e%2e")
@example("^a")
@example("con")
@settings(max_examples=150)
def test_a_name_comes_back_from_its_segment(name: str) -> None:
    """Escaping loses nothing, and what it gives is a segment that every storage takes."""
    segment = escape_name(name)

    assert unescape_name(segment) == name
    assert check_key(segment) == [segment]
    assert not segment.startswith(".")


@given(st.lists(st.one_of(names, awkward), min_size=2, max_size=6, unique=True))
@settings(max_examples=150)
def test_no_two_names_meet_where_case_and_normal_form_are_not_told_apart(chosen: list[str]) -> None:
    """Different names stay different on a file system that folds case and normalizes Unicode."""
    normal = {unicodedata.normalize("NFC", name) for name in chosen}
    folded = {unicodedata.normalize("NFKD", escape_name(name).casefold()) for name in normal}

    assert len(folded) == len(normal)


@given(st.one_of(names, awkward))
@settings(max_examples=150)
def test_a_checked_name_is_safe_or_refused(name: str) -> None:
    """What passes the check is in normal form, parts no reference, and fits a key; all else is `InvalidNameError`."""
    try:
        checked = check_name(name, "artifact")
    except InvalidNameError as error:
        assert str(error)
        return
    assert checked == unicodedata.normalize("NFC", name)
    assert not set(checked) & set("/:@\\\0\n")
    assert len(escape_name(checked).encode()) <= 240
    assert check_name(checked, "artifact") == checked
    assert check_key(slot_key(run_prefix("user:ana", checked, RUN), 7))
    assert check_key(slot_key(alias_prefix("user:ana", checked, checked), 7))


@given(st.text(st.sampled_from("abz%^0123456789f.-é가Aß"), max_size=12))
@settings(max_examples=150)
def test_only_what_was_written_is_read(segment: str) -> None:
    """A segment is the escape of exactly one name, or of none."""
    try:
        name = unescape_name(segment)
    except FormatError:
        return
    assert escape_name(name) == segment


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "\t", ".", "..", "a/b", "../x", "/", "\\", "a:b", "a@b", " a", "a ", "a\n"),
        *("a\0b", "\x1b[31m", "a\x7f", "a\u2028b", "\ud800", "x" * 129, "x" * 1000, "日" * 100, "é" * 128),
    ],
)
def test_names_that_nothing_bears_are_refused(name: str) -> None:
    """Separators, folders, control characters, lone surrogates and endless names are refused, with a short message."""
    with pytest.raises(InvalidNameError) as caught:
        check_name(name, "flow")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [None, 7, b"name", ["a"], float("nan")])
def test_a_name_is_a_string(name: object) -> None:
    """Anything else is refused by its type."""
    with pytest.raises(InvalidNameError, match="strings, not"):
        check_name(name, "flow")


@pytest.mark.parametrize(
    "name",
    ["model", "Model", "my model", "v1.2", "…", "日本語", "Ärger", "a%b", "^", "-", "_", ".hidden", "🎒", "a" * 128],
)
def test_names_that_people_choose_are_accepted(name: str) -> None:
    """Spaces, capitals, dots and other scripts are fine."""
    assert check_name(name, "artifact") == name


def test_two_spellings_of_one_name_are_one() -> None:
    """Composed and decomposed letters name the same thing; small and capital letters do not."""
    assert check_name("Cafe\u0301", "flow") == check_name("Caf\u00e9", "flow")
    assert escape_name("Model") != escape_name("model")
    assert escape_name("Model").casefold() != escape_name("model").casefold()


@pytest.mark.parametrize(
    "namespace", ["ana", "", ":", "user:", ":ana", "user:a/b", "user:a:b", "user:..", "u" * 200 + ":x", 7]
)
def test_namespaces_that_are_refused(namespace: object) -> None:
    """A namespace has two parts, each a name."""
    with pytest.raises(InvalidNameError):
        check_namespace(namespace)


@given(st.text(max_size=30))
def test_names_of_packs_lead_nowhere_else(name: str) -> None:
    """A pack that a record names lies among the packs, whatever the record says."""
    try:
        key = pack_key(name)
    except HoldallError:
        return
    assert key == f"packs/{name}"
    assert check_key(key) == ["packs", name]


@pytest.mark.parametrize(
    "name", ["../holdall.json", "a" * 16, "a" * 16 + "-1/..", "A" * 16 + "-1", "a" * 16 + "-1\n", ""]
)
def test_hostile_names_of_packs_are_refused(name: str) -> None:
    """What is no name of a pack reaches no storage."""
    with pytest.raises(FormatError):
        pack_key(name)


@given(st.integers(0, 10**8 - 1), st.integers(0, 10**8 - 1))
def test_slots_sort_as_they_count(first: int, second: int) -> None:
    """The byte order of the keys is the order of the slots."""
    assert (slot_key("gc/", first) < slot_key("gc/", second)) == (first < second)
    assert slot_number(slot_key("gc/", first)) == first


def test_slots_have_bounds() -> None:
    """A number that does not fit and a key that is no slot are errors."""
    for number in (-1, 10**8):
        with pytest.raises(FormatError):
            slot_key("gc/", number)
    for key in ("gc/1", "gc/000000001", "gc/0000000x", "gc/", "gc/٠٠٠٠٠٠٠٠"):
        with pytest.raises(FormatError):
            slot_number(key)
