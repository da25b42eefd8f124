"""Laws of the planner: what is asked for is covered once, parts fit the bounds of S3, steps make sides equal."""

from __future__ import annotations

import posixpath

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from holdall_store.transfer._plan import (
    COPY_BYTES_MAX,
    FIRST_BYTES,
    PARTS_MAX,
    Entry,
    Span,
    clashes,
    compare,
    copy_part_bytes,
    differs,
    parse_content_range,
    part_bytes,
    path_problem,
    range_bytes,
    split,
    stream_part_bytes,
)

SIZES = st.integers(0, 48 << 40)
MIB = 1 << 20


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 30), st.integers(MIB, 1 << 30))
def test_spans_cover_what_is_asked_for_once(begin: int, length: int, step: int) -> None:
    """They are consecutive, none is empty or longer than a step, and together they are what was asked for."""
    spans = split(begin, begin + length, step)

    edges = [begin, *(span.end for span in spans)]
    assert [span.begin for span in spans] == edges[:-1]
    assert edges[-1] == begin + length
    assert all(0 < span.length <= step for span in spans)


@given(SIZES)
def test_parts_fit_the_bounds_of_s3(size: int) -> None:
    """Never more than 10 000 parts, each between 5 MiB and 5 GiB, for every size that S3 stores."""
    for step in (part_bytes(size), copy_part_bytes(size)):
        assert -(-size // step) <= PARTS_MAX
        assert 5 * MIB <= step <= 5 << 30
    assert FIRST_BYTES <= range_bytes(size) <= 16 * MIB


def test_parts_of_a_stream_reach_the_largest_object() -> None:
    """However long a stream is, its parts are enough for the largest object of S3, and none is too large."""
    sizes = [stream_part_bytes(number) for number in range(1, PARTS_MAX + 1)]

    assert sum(sizes) > 48 << 40 >> 3
    assert max(sizes) <= 8 << 30
    assert sizes == sorted(sizes)


@given(st.integers(0, 1 << 50), st.integers(1, 1 << 40), st.integers(0, 1 << 50))
def test_content_ranges_say_what_they_say(begin: int, length: int, rest: int) -> None:
    """What a server writes is read back."""
    span, total = Span(begin, begin + length), begin + length + rest

    assert parse_content_range(f"bytes {span.begin}-{span.end - 1}/{total}") == (span, total)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes */10",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "items 0-1/2",
        "bytes 0-1/*",
        "bytes -1-2/3",
        "bytes ²-3/4",
    ],
)
def test_content_ranges_that_say_nothing(text: str) -> None:
    """What is no range, or is impossible, is none."""
    assert parse_content_range(text) is None


PATHS = st.lists(st.sampled_from(["a", "b", "A", "..", ".", "", "c d"]), min_size=1, max_size=4).map("/".join)


@given(st.one_of(PATHS, st.text(max_size=20)))
def test_paths_stay_below_their_folder(path: str) -> None:
    """What is not refused is below the folder however a system reads it."""
    if not path_problem(path):
        assert posixpath.normpath(posixpath.join("/folder", path)) == f"/folder/{path}"
        assert "\0" not in path
        assert "\\" not in path


@given(st.lists(PATHS, unique=True, max_size=12), st.booleans())
def test_clashes_are_all_that_cannot_be(paths: list[str], folds_case: bool) -> None:
    """A clash is told exactly if some path is a folder of another, or the same where case means nothing."""
    names = [path.casefold() if folds_case else path for path in paths]
    expected = any(
        one == other or other.startswith(f"{one}/") or one.startswith(f"{other}/")
        for index, one in enumerate(names)
        for other in names[:index]
        if one and other and not {one[0], other[0]} & {"/"}
    )
    plain = [path for path in paths if path and path[0] != "/"]

    assert bool(list(clashes(plain, folds_case=folds_case))) == expected


ENTRIES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from(["", "x", "y"])),
    max_size=6,
)


@settings(max_examples=200)
@given(ENTRIES, ENTRIES, st.booleans())
def test_steps_make_the_target_what_the_source_is(
    source: dict[str, tuple[int, int, str]], target: dict[str, tuple[int, int, str]], delete: bool
) -> None:
    """After the steps nothing differs, and what is only in the target is gone if that was said."""
    ours = {path: Entry(path, *told) for path, told in source.items()}
    theirs = {path: Entry(path, *told) for path, told in target.items()}
    steps = list(compare(ours.values(), theirs, delete=delete))

    result = dict(theirs)
    for step in steps:
        if step.action == "put":
            result[step.path] = ours[step.path]
        else:
            del result[step.path]

    assert list(compare(ours.values(), result, delete=delete)) == []
    assert set(result) == set(ours) | (set() if delete else set(theirs))
    assert [step.action for step in steps] == sorted((step.action for step in steps), reverse=True)


def test_what_differs() -> None:
    """Sizes first; then digests where both have one; then the time, with a second to spare."""
    one = Entry("p", 1, 100.0, "x")

    assert differs(one, None) == "new"
    assert differs(one, Entry("p", 2, 100.0, "x")) == "size"
    assert differs(one, Entry("p", 1, 0.0, "x")) is None
    assert differs(one, Entry("p", 1, 200.0, "y")) == "content"
    assert differs(one, Entry("p", 1, 99.5)) is None
    assert differs(one, Entry("p", 1, 90.0)) == "time"
    assert COPY_BYTES_MAX == 5 << 30
