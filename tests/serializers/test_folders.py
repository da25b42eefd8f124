"""What is taken in of a folder, and how it may be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdall_store.errors import InvalidNameError, UnsupportedTypeError
from holdall_store.serializers.files import encode_directory, encode_file, parse_directory


@pytest.mark.parametrize("ignore", [None, 5, [5], [None], [b"*.txt"]])
def test_patterns_are_text(tmp_path: Path, ignore: Any) -> None:
    """What is no pattern is refused, and named."""
    with pytest.raises(InvalidNameError, match=r"ignore is a list of patterns, such as \['\*\.tmp'\]"):
        encode_directory(tmp_path, ignore)


def test_paths_are_text_and_not_empty(workdir: Path) -> None:
    """An empty path is not taken for the working directory."""
    (workdir / "file").touch()
    for encode in (encode_file, encode_directory):
        with pytest.raises(InvalidNameError, match=r"empty path"):
            encode("")
        with pytest.raises(InvalidNameError, match=r"b'file'.*text"):
            encode(b"file")  # type: ignore[arg-type]


def test_a_folder_is_left_out(tmp_path: Path) -> None:
    """A folder that is to stay apart is not saved, however it is written; another of the same name is."""
    tree = tmp_path / "plots"
    (tree / "a" / "run").mkdir(parents=True)
    (tree / "run").mkdir()
    (tree.parent / "latest").symlink_to("plots")
    for apart in (tree / "run", tree.parent / "latest" / "a" / ".." / "run", tree.parent / "nowhere"):
        paths = {entry.path for entry in parse_directory(encode_directory(tree, apart=apart).node)}
        assert "a/run" in paths
        assert ("run" in paths) == (apart.name == "nowhere")


def test_absolute_links_that_stay_inside_become_relative(tmp_path: Path) -> None:
    """They lead to the same place wherever the folder is restored; whatever might lead out is refused."""
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "file").write_text("x")
    (tmp_path / "other").symlink_to("top")
    (top / "a" / "b" / "up").symlink_to(top / "file")
    (top / "a" / "across").symlink_to(tmp_path / "other" / "a" / "b")
    (top / "self").symlink_to(top)
    links = {e.path: e.target for e in parse_directory(encode_directory(tmp_path / "other").node) if e.target}
    assert links == {"a/b/up": "../../file", "a/across": "b", "self": "."}

    for target in (f"{top}/a/../../top/file", f"{tmp_path}/topmost", f"{tmp_path}"):
        (top / "bad").unlink(missing_ok=True)
        (top / "bad").symlink_to(target)
        with pytest.raises(UnsupportedTypeError, match="is absolute"):
            encode_directory(top)
