"""From URLs to storages."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from holdall_store.errors import InvalidNameError
from holdall_store.storage import LocalStorage, MemoryStorage, check_key, check_prefix, open_storage


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/data/store", "/data/store"),
        (Path("/data/store"), "/data/store"),
        ("file:///data/my%20store", "/data/my store"),
        ("file://localhost/data", "/data"),
        ("FILE:///data", "/data"),
        ("/data/a:b//c", "/data/a:b/c"),
    ],
)
def test_paths(url: str | Path, path: str) -> None:
    """A path, and a file URL, is a folder."""
    storage = open_storage(url)
    assert isinstance(storage, LocalStorage)
    assert storage.path == Path(path)


def test_relative_paths_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path begins at the working directory, a tilde at the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ana")
    relative, home = open_storage(".holdall"), open_storage("~/store")
    assert isinstance(relative, LocalStorage)
    assert isinstance(home, LocalStorage)
    assert relative.path == tmp_path / ".holdall"
    assert home.path == Path("/home/ana/store")
    assert list(tmp_path.iterdir()) == []


def test_a_name_in_memory_is_one_storage() -> None:
    """The same name is the same storage in every thread of the process, another name another."""
    first = open_storage("memory://test-open")
    found = []
    thread = threading.Thread(target=lambda: found.append(open_storage("memory://test-open")))
    thread.start()
    thread.join()
    assert isinstance(first, MemoryStorage)
    assert found == [first]
    assert open_storage("memory://test-open-2") is not first
    assert first.url == "memory://test-open"


@pytest.mark.parametrize("url", ["", "a\0b", "file://host/share", "file://", "file:///a?b", "file:///a#b"])
def test_what_is_no_place(url: str) -> None:
    """What names no folder here is refused."""
    with pytest.raises(InvalidNameError):
        open_storage(url)


def test_unknown_schemes() -> None:
    """The error names what is understood, and the nearest."""
    with pytest.raises(InvalidNameError, match=r"ftpx://.*file://.*memory://"):
        open_storage("ftpx://host/path")
    with pytest.raises(InvalidNameError, match="Did you mean 'memory'"):
        open_storage("memoy://x")
    with pytest.raises(InvalidNameError, match="what fsspec knows.*Did you mean 'sftp'"):
        open_storage("sft://host/path")


def test_keys_and_prefixes() -> None:
    """The checks give back the segments."""
    assert check_key("a/b c/é") == ["a", "b c", "é"]
    assert check_prefix("") == []
    assert check_prefix("a/b/") == ["a", "b"]
    with pytest.raises(InvalidNameError, match="end with '/'"):
        check_prefix("a/b")
    with pytest.raises(InvalidNameError, match="900 bytes"):
        check_key("é" * 451)
