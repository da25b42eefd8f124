"""Nodes of files and folders that no version of holdall writes."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall_store.errors import FormatError
from holdall_store.serializers._file_nodes import link_problem, parse_directory, parse_file

if TYPE_CHECKING:
    from pathlib import Path


def entries_of(**changes: Any) -> dict[str, Any]:
    """Return a good node of a folder with `changes` to its entries."""
    entries = {
        "folders": ["", "d"],
        "folder_modes": {"most": 0o755, "other": {"1": 0o700}},
        "counts": [1, 2],
        "files": ["f", "g", "h"],
        "sizes": [5, 0, 100_000],
        "file_modes": {"most": 0o644, "other": {}},
        "links": [["l", "d/g"]],
        "small_below": 65536,
        "bundles": [1],
    }
    return {"$": "holdall.Directory", "name": "n", "entries": entries | changes, "buffers": [0, 1]}


def test_the_good_node_is_good() -> None:
    """What the bad nodes below are made from is accepted."""
    entries = parse_directory(entries_of(), [5, 100_000])
    assert [(entry.path, entry.mode, entry.buffer) for entry in entries] == [
        ("", 0o755, None),
        ("d", 0o700, None),
        ("d/g", 0o644, None),
        ("d/h", 0o644, 1),
        ("f", 0o644, 0),
        ("l", 0, None),
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0b", "x" * 256, "é" * 128, "\ud800", 5, None])
@pytest.mark.parametrize("kind", ["files", "folders", "links", "name", "file"])
def test_hostile_names(kind: str, name: Any) -> None:
    """A name that is no single segment is refused wherever it stands."""
    below = "d/" + name if isinstance(name, str) else name
    node = {
        "files": entries_of(files=["f", name, "zzz"]),
        "folders": entries_of(folders=["", name]),
        "links": entries_of(links=[[below, "f"]]),
        "name": entries_of() | {"name": name},
        "file": {"$": "holdall.File", "name": name, "mode": 0o644, "size": 1, "buffer": 0},
    }[kind]
    with pytest.raises(FormatError):
        parse_file(node) if kind == "file" else parse_directory(node)


@pytest.mark.parametrize(
    "changes",
    [
        {"folders": []},
        {"folders": ["d", "e"]},
        {"folders": ["", "d/e"]},
        {"folders": ["", "f"], "links": []},
        {"folders": ["d", ""]},
        {"folders": ["", ""]},
        {"folders": ["", "/etc"]},
        {"folders": ["", "l"]},
        {"folders": ["", "d//"]},
        {"counts": [3]},
        {"counts": [1, 3]},
        {"counts": [-1, 4]},
        {"counts": [1, True]},
        {"files": ["f", "h", "g"]},
        {"files": ["f", "g", "g"]},
        {"files": ["f", "g"]},
        {"files": ["l", "g", "h"]},
        {"sizes": [5, 0]},
        {"sizes": [5, -1, 100_000]},
        {"sizes": [5, 0, 2**63]},
        {"sizes": [5, 0, 1.0]},
        {"sizes": [5, 1, 100_000]},
        {"sizes": [5, 0, 10]},
        {"bundles": []},
        {"bundles": [2]},
        {"bundles": [0, 1]},
        {"bundles": [1, 1]},
        {"small_below": -1},
        {"small_below": 4},
        {"file_modes": {"most": 0o4755, "other": {}}},
        {"file_modes": {"most": 0o644, "other": {"3": 0o600}}},
        {"file_modes": {"most": 0o644, "other": {"-1": 0o600}}},
        {"file_modes": {"most": 0o644, "other": {"0": 0o1000}}},
        {"file_modes": [0o644]},
        {"folder_modes": None},
        {"links": [["f", "d/g"]]},
        {"links": [["d", "f"]]},
        {"links": [["l", "f"], ["l", "d"]]},
        {"links": [["f/l", "x"]]},
        {"links": [["l/x", "f"], ["l", "d"]]},
        {"links": [["no/l", "x"]]},
        {"links": [["l", "/etc"]]},
        {"links": [["l", "../x"]]},
        {"links": [["d/l", "../../x"]]},
        {"links": [["l", "d/../../x"]]},
        {"links": [["l", "d/.."]]},
        {"links": [["l", ""]]},
        {"links": [["l", "a\0b"]]},
        {"links": [["l", "x" * 5000]]},
        {"links": [["l", "\ud800"]]},
        {"links": [["l"]]},
        {"links": ["l"]},
        {"links": {"l": "f"}},
    ],
    ids=str,
)
def test_hostile_folders(changes: dict[str, Any]) -> None:
    """Whatever no version of holdall writes is refused: columns that disagree, duplicates, conflicts, ways out."""
    with pytest.raises(FormatError):
        parse_directory(entries_of(**changes))


@pytest.mark.parametrize("buffers", [[], [0], [0, 0], [0, 1, 2], [0, -1], [0, 2**64], ["0", "1"], None])
def test_hostile_buffers(buffers: Any) -> None:
    """The buffers have to be as many as the files ask for, and different ones."""
    with pytest.raises(FormatError):
        parse_directory({**entries_of(), "buffers": buffers})


@pytest.mark.parametrize("sizes", [[], [5], [4, 100_000], [6, 100_000], [5, 99_999]])
def test_sizes_that_are_not_those_of_the_buffers(sizes: list[int]) -> None:
    """Where the sizes of the buffers are known, files that reach beyond them, or leave bytes over, are refused."""
    with pytest.raises(FormatError):
        parse_directory(entries_of(), sizes)


@pytest.mark.parametrize("key", [*entries_of()["entries"]])
@pytest.mark.parametrize("value", ["missing", None, 1, "x", [None], {"a": 1}])
def test_columns_of_the_wrong_type(key: str, value: Any) -> None:
    """Each column has to be there, and be what it is."""
    node = entries_of()
    node["entries"][key] = value
    if value == "missing":
        del node["entries"][key]
    elif key == "small_below" and value == 1:
        node["entries"][key] = 1.0
    with pytest.raises(FormatError):
        parse_directory(node)


@pytest.mark.parametrize(
    "changes",
    [
        {"$": "other"},
        {"size": -1},
        {"size": "1"},
        {"size": 0},
        {"buffer": None},
        {"buffer": -1},
        {"buffer": 1},
        {"mode": 0o1777},
        {"mode": None},
    ],
    ids=str,
)
def test_hostile_files(changes: dict[str, Any]) -> None:
    """A node of a file has to be what it is, and agree with its buffer."""
    node = {"$": "holdall.File", "name": "n", "mode": 0o644, "size": 5, "buffer": 0}
    assert parse_file(node, [5]).size == 5
    with pytest.raises(FormatError):
        parse_file(node | changes, [5])


@pytest.mark.parametrize("node", [None, [], "x", 5, {}, {"$": ["holdall.File"]}], ids=str)
def test_what_is_no_node(node: Any) -> None:
    """Any other JSON is refused."""
    with pytest.raises(FormatError):
        parse_file(node)
    with pytest.raises(FormatError):
        parse_directory(node)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(key=st.sampled_from([*entries_of()["entries"]]), value=_json)
def test_arbitrary_columns(key: str, value: Any) -> None:
    """A node with any JSON for a column is parsed, or refused with a `FormatError`, and nothing else."""
    node = copy.deepcopy(entries_of())
    node["entries"][key] = value
    try:
        entries = parse_directory(node)
    except FormatError:
        entries = []
    assert all(not entry.path.startswith("/") and ".." not in entry.path.split("/") for entry in entries)


_parts = st.sampled_from(["..", ".", "", "a", "b", "l"])


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(_parts, min_size=1, max_size=5), second=st.lists(_parts, min_size=1, max_size=5))
def test_accepted_links_stay_within_the_folder(tmp_path: Path, first: list[str], second: list[str]) -> None:
    """However two links lead through one another, what is accepted resolves to a place within the folder."""
    top = tmp_path / "x" / "top"
    (top / "a" / "b").mkdir(parents=True, exist_ok=True)
    made = []
    for place, parts in (("l", first), ("a/l", second)):
        target = "/".join(parts)
        if link_problem(place, target) is None:
            os.symlink(target, top / place)
            made.append(top / place)
    try:
        for path in made:
            try:
                place = os.path.realpath(path, strict=True)
            except FileNotFoundError:
                place = os.path.realpath(path)  # where it would be
            except OSError:
                continue  # the links go in a circle: they lead nowhere
            assert place.startswith(str(top.resolve()))
    finally:
        for path in made:
            os.unlink(path)
