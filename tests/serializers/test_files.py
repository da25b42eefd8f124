"""Files and folders as artifacts: what is found, what is refused, what changes meanwhile, what comes back."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests._descriptors import open_descriptors

from holdall_store.errors import AlreadyExistsError, ConflictError, IntegrityError, UnsupportedTypeError
from holdall_store.serializers import FileSource, _files
from holdall_store.serializers._file_extract import READ_BYTES, extract_directory, extract_file
from holdall_store.serializers._file_nodes import Entry, parse_directory, parse_file
from holdall_store.serializers._files import (
    BUNDLE_BYTES,
    SMALL_BYTES,
    encode_directory,
    encode_file,
    open_source,
    read_whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdall_store.serializers import Encoded


class Saved:
    """An encoded file or folder whose bytes were read as a repository reads them, and whose node went through JSON."""

    def __init__(self, encoded: Encoded) -> None:
        self.node = json.loads(json.dumps(encoded.node))
        self.buffers = [b"".join(self._read(source) for source in buffer.data) for buffer in encoded.buffers]  # type: ignore[arg-type]
        self.sizes = [buffer.size for buffer in encoded.buffers]
        self.reads: list[tuple[int, int, int]] = []
        assert [len(data) for data in self.buffers] == self.sizes

    @staticmethod
    def _read(source: FileSource) -> bytes:
        with open_source(source) as opened:
            half = source.size // 2
            return bytes(opened.read(0, half)) + bytes(opened.read(half, source.size - half))

    def read(self, buffer: int, offset: int, length: int) -> memoryview:
        """Give bytes of a buffer, as a repository does."""
        self.reads.append((buffer, offset, length))
        return memoryview(self.buffers[buffer])[offset : offset + length]

    def extract(self, destination: Path) -> None:
        """Write the folder to `destination`."""
        extract_directory(parse_directory(self.node, self.sizes), self.read, destination)


def only_source(encoded: Encoded) -> FileSource:
    """Return the file of which the only buffer of an artifact is made."""
    (buffer,) = encoded.buffers
    assert isinstance(buffer.data, tuple)
    (source,) = buffer.data
    return source


def read_source(source: FileSource, meanwhile: Callable[[Path], None] | None = None) -> bytes:
    """Read a file as a repository does; `meanwhile` happens to it after the first bytes."""
    with open_source(source) as opened:
        first = bytes(opened.read(0, 2))
        if meanwhile is not None:
            meanwhile(Path(source.path))
        return first + bytes(opened.read(2, source.size - 2))


def snapshot(folder: Path) -> dict[str, Any]:
    """Return everything in a folder: kind, mode, and content or target by path."""
    found: dict[str, Any] = {}
    for path in [folder, *folder.rglob("*")]:
        info = path.lstat()
        content: bytes | str | None = None
        if stat.S_ISREG(info.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(info.st_mode):
            content = os.readlink(path)
        mode = None if stat.S_ISLNK(info.st_mode) else stat.S_IMODE(info.st_mode)
        found[str(path.relative_to(folder))] = (stat.S_IFMT(info.st_mode), mode, content)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one of everything that can be saved."""
    top = tmp_path / "plots"
    for folder in ("a/b/c", "a-b", "empty/inner", "ro", "日本"):
        (top / folder).mkdir(parents=True)
    (top / "a" / "small.txt").write_text("small")
    (top / "a" / "b" / "zero").write_bytes(b"")
    (top / "a" / "b" / "c" / "large.bin").write_bytes(os.urandom(SMALL_BYTES * 3))
    (top / "a-b" / "just.bin").write_bytes(b"x" * SMALL_BYTES)
    (top / "a-b" / "under.bin").write_bytes(b"y" * (SMALL_BYTES - 1))
    (top / "日本" / "é \n\\ file").write_text("ü")
    (top / ".hidden").write_text("hidden")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "secret").write_text("s")
    (top / "secret").chmod(0o600)
    (top / "ro" / "file").write_text("r")
    (top / "ro" / "file").chmod(0o444)
    os.link(top / "secret", top / "hard-link")
    (top / "link").symlink_to("a/small.txt")
    (top / "a" / "b" / "up").symlink_to("../../日本")
    (top / "dangling").symlink_to("./no/such/file")
    (top / "ro").chmod(0o555)
    return top


def test_a_folder_comes_back(tree: Path, tmp_path: Path) -> None:
    """Files, empty folders, modes and links are the same; hard links are files; nothing else is left behind."""
    encoded = encode_directory(tree)
    assert encoded.type_name == "directory"
    assert not encoded.runs_code
    saved = Saved(encoded)
    assert saved.node["name"] == "plots"
    saved.extract(tmp_path / "back" / "here")
    assert snapshot(tmp_path / "back" / "here") == snapshot(tree)
    assert os.listdir(tmp_path / "back") == ["here"]
    assert (tmp_path / "back" / "here" / "hard-link").stat().st_nlink == 1


def test_entries_are_sorted_and_complete(tree: Path) -> None:
    """Entries are in the order of the bytes of their paths, the folder itself first."""
    encoded = encode_directory(tree)
    entries = parse_directory(encoded.node)
    paths = [entry.path for entry in entries]
    assert paths == sorted(paths, key=str.encode)
    assert entries[0] == Entry("", "directory", stat.S_IMODE(tree.stat().st_mode))
    by_path = {entry.path: entry for entry in entries}
    assert set(by_path) == {"" if path == "." else path for path in snapshot(tree)}
    assert by_path["link"] == Entry("link", "symlink", target="a/small.txt")
    assert by_path["a/b/zero"] == Entry("a/b/zero", "file", 0o644, 0, None, 0)
    assert by_path["secret"].mode == 0o600
    large = by_path["a/b/c/large.bin"]
    assert large.buffer is not None
    assert (encoded.buffers[large.buffer].size, large.offset) == (SMALL_BYTES * 3, 0)


def test_small_files_are_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files share buffers of bounded size, large ones have their own, and reads are as large as buffers."""
    monkeypatch.setattr(_files, "BUNDLE_BYTES", 1000)
    monkeypatch.setattr(_files, "SMALL_BYTES", 300)
    top = tmp_path / "top"
    top.mkdir()
    for number in range(30):
        (top / f"{number:02d}").write_bytes(bytes([number]) * (number * 10 + 1))
    (top / "zz").write_bytes(b"l" * 5000)
    encoded = encode_directory(top)
    *bundles, large = encoded.buffers
    assert large.size == 5000
    assert all(bundle.size <= 1000 for bundle in bundles)
    assert sum(len(bundle.data) for bundle in bundles) == 30
    assert len(bundles) < 8
    saved = Saved(encoded)
    saved.extract(tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(top)
    assert saved.reads == [(number, 0, buffer.size) for number, buffer in enumerate(encoded.buffers)]
    assert BUNDLE_BYTES <= READ_BYTES


def test_large_files_are_read_in_pieces(tmp_path: Path) -> None:
    """No read asks for more than the bound, however large a file."""
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "large").write_bytes(bytes(range(256)) * (READ_BYTES // 256 * 2 + 3))
    saved = Saved(encode_directory(tmp_path / "top"))
    saved.extract(tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "top")
    assert [length for _, _, length in saved.reads] == [READ_BYTES, READ_BYTES, 768]


def test_a_part_of_a_folder_can_be_extracted(tree: Path, tmp_path: Path) -> None:
    """A choice of entries reads only the bytes of these."""
    saved = Saved(encode_directory(tree))
    wanted = [entry for entry in parse_directory(saved.node) if entry.path in ("", "run.sh", "a", "a/small.txt")]
    extract_directory(wanted, saved.read, tmp_path / "out")
    assert sorted(snapshot(tmp_path / "out")) == [".", "a", "a/small.txt", "run.sh"]
    assert sum(length for _, _, length in saved.reads) == len("small") + len("#!/bin/sh\n")


def test_the_same_folder_gives_the_same_node(tree: Path, tmp_path: Path) -> None:
    """Nothing of when and where a folder was saved is in its node: equal folders are equal artifacts."""
    first = Saved(encode_directory(tree))
    first.extract(tmp_path / "copy" / "plots")
    second = Saved(encode_directory(tmp_path / "copy" / "plots"))
    assert first.node == second.node
    assert first.buffers == second.buffers


@pytest.mark.parametrize(
    ("ignore", "gone"),
    [
        (["*.txt"], {"a/small.txt"}),
        (["b"], {"a/b", "a/b/zero", "a/b/c", "a/b/c/large.bin", "a/b/up"}),
        (["a/b/"], {"a/b", "a/b/zero", "a/b/c", "a/b/c/large.bin", "a/b/up"}),
        (["c/"], {"a/b/c", "a/b/c/large.bin"}),
        (["/c", "b/zero"], set()),
        (["./run.sh", "?ecret"], {"run.sh", "secret"}),
        ("ro", {"ro", "ro/file"}),
    ],
)
def test_ignore(tree: Path, ignore: list[str] | str, gone: set[str]) -> None:
    """Patterns mean names, or paths from the top; what lies in an ignored folder is ignored with it."""
    every = {entry.path for entry in parse_directory(encode_directory(tree).node)}
    kept = {entry.path for entry in parse_directory(encode_directory(tree, ignore).node)}
    assert every - kept == gone


def test_the_folder_may_be_given_as_a_link_or_relatively(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link at the top is followed and gives its own name; a dot means the working folder."""
    (tree.parent / "latest").symlink_to("plots")
    expected = encode_directory(tree).node
    assert encode_directory(tree.parent / "latest").node == {**expected, "name": "latest"}
    monkeypatch.chdir(tree)
    assert encode_directory(".").node == expected
    assert encode_directory("../plots/").node == expected


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside", "a/../a", "..", "sub/link/.."])
def test_links_that_may_lead_out_are_refused(tmp_path: Path, target: str) -> None:
    """An absolute target, and one that leaves the folder or might, is refused; the error names both."""
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "bad-link").symlink_to(target)
    with pytest.raises(UnsupportedTypeError, match="bad-link") as caught:
        encode_directory(top)
    assert repr(target) in str(caught.value)
    assert [entry.path for entry in parse_directory(encode_directory(top, ["bad-*"]).node)] == ["", "a"]


def test_what_is_no_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FIFOs and sockets cannot be saved, nor can a folder or a FIFO be saved as a file."""
    top = tmp_path / "top"
    top.mkdir()
    os.mkfifo(top / "pipe")
    with pytest.raises(UnsupportedTypeError, match=r"pipe.*FIFO"):
        encode_directory(top)
    with pytest.raises(UnsupportedTypeError, match=r"pipe.*FIFO"):
        encode_file(top / "pipe")
    with pytest.raises(UnsupportedTypeError, match=r"top.*folder"):
        encode_file(top)
    os.unlink(top / "pipe")
    monkeypatch.chdir(top)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        with pytest.raises(UnsupportedTypeError, match=r"sock.*socket"):
            encode_directory(top)


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_names_that_are_no_text_are_refused_by_name(tmp_path: Path, what: str) -> None:
    """A name or a target that is not UTF-8 cannot be in a node, and is refused with its name."""
    top = os.fsencode(tmp_path / "top")
    os.mkdir(top)
    odd = os.path.join(top, b"caf\xe9")
    if what == "file":
        os.close(os.open(odd, os.O_CREAT))
    elif what == "folder":
        os.mkdir(odd)
    else:
        os.symlink(b"caf\xe9", os.path.join(top, b"link"))
    with pytest.raises(UnsupportedTypeError, match="UTF-8") as caught:
        encode_directory(tmp_path / "top")
    assert ("link" if what == "link" else "caf\\udce9") in str(caught.value)


def test_what_is_not_there_and_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of the system pass through, and name the file."""
    with pytest.raises(FileNotFoundError, match="no-such"):
        encode_file(tmp_path / "no-such")
    with pytest.raises(FileNotFoundError, match="no-such"):
        encode_directory(tmp_path / "no-such")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="file"):
        encode_directory(tmp_path / "file")
    source = only_source(encode_file(tmp_path / "file"))

    def refuse(path: Any, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match="file"):
        read_source(source)


@pytest.mark.parametrize(("content", "mode"), [(b"hello", 0o644), (b"", 0o600), (b"#!", 0o755), (b"ro", 0o400)])
def test_a_file_comes_back(tmp_path: Path, content: bytes, mode: int) -> None:
    """A file keeps its name, its bytes and its permission bits."""
    path = tmp_path / "report.html"
    path.write_bytes(content)
    path.chmod(mode)
    encoded = encode_file(path)
    assert encoded.type_name == "file"
    saved = Saved(encoded)
    entry = parse_file(saved.node, saved.sizes)
    assert entry == Entry("report.html", "file", mode, len(content), 0 if content else None)
    out = tmp_path / "new" / "out.html"
    extract_file(entry, saved.read, out)
    assert out.read_bytes() == content
    assert stat.S_IMODE(out.stat().st_mode) == mode
    assert os.listdir(tmp_path / "new") == ["out.html"]


def test_a_link_to_a_file_is_followed_and_special_bits_are_dropped(tmp_path: Path) -> None:
    """The artifact has the name that was given, and no set-user-id bit."""
    (tmp_path / "v2.bin").write_bytes(b"two")
    (tmp_path / "v2.bin").chmod(0o4755)
    (tmp_path / "current").symlink_to("v2.bin")
    saved = Saved(encode_file(tmp_path / "current"))
    assert saved.node["name"] == "current"
    assert saved.node["mode"] == 0o755
    assert saved.buffers == [b"two"]


def append(path: Path) -> None:
    """Make the file longer."""
    with open(path, "ab") as file:
        file.write(b"!")


def rewrite(path: Path) -> None:
    """Write other bytes of the same number, at another time."""
    path.write_bytes(b"HELLO")
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    """Put another file with the same bytes and times in its place."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


def make_fifo(path: Path) -> None:
    """Put something in its place that would make a reader wait."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [append, rewrite, replace, make_fifo, os.unlink, lambda path: os.truncate(path, 1)])
def test_a_change_before_a_file_is_read_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A file that is not what was found cannot be saved; the error names it."""
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    source = only_source(encode_file(path))
    change(path)
    with pytest.raises(ConflictError, match=r"file.*changed while it was saved"):
        read_source(source)


@pytest.mark.parametrize("change", [append, rewrite, lambda path: os.truncate(path, 1)])
def test_a_change_while_a_file_is_read_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """What changes between the first read and the last is noticed when the file is closed."""
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    source = only_source(encode_file(path))
    with pytest.raises(ConflictError, match="changed while it was saved"):
        read_source(source, meanwhile=change)


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    """Bytes that are gone are not made up, not even where nobody asked what the file was when it was found."""
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    with pytest.raises(ConflictError, match="shorter"):
        read_source(FileSource(path, 5), meanwhile=lambda path: os.truncate(path, 2))


def test_no_descriptor_stays_open(tree: Path, tmp_path: Path) -> None:
    """To save and to extract many files leaves nothing open, nor do errors."""
    before = open_descriptors()
    saved = Saved(encode_directory(tree))
    saved.extract(tmp_path / "out")
    with pytest.raises(IntegrityError):
        extract_directory(
            parse_directory(saved.node), lambda buffer, offset, length: memoryview(b"x"), tmp_path / "bad"
        )
    assert open_descriptors() <= before


def occupy_with_file(path: Path) -> None:
    """Put a file there."""
    path.write_text("mine")


def occupy_with_folder(path: Path) -> None:
    """Put a folder with something in it there."""
    path.mkdir()
    (path / "mine").write_text("mine")


def occupy_with_link(path: Path) -> None:
    """Put a link to an empty folder there."""
    (path.parent / "elsewhere").mkdir()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("occupy", [occupy_with_file, occupy_with_folder, occupy_with_link])
@pytest.mark.parametrize("late", [False, True])
def test_what_is_there_stays(tree: Path, tmp_path: Path, occupy: Callable[[Path], None], late: bool) -> None:
    """Nothing is replaced, whether it was there before or came while bytes were read; no trace is left."""
    saved, place = Saved(encode_directory(tree)), tmp_path / "out" / "place"
    place.parent.mkdir()

    def read(buffer: int, offset: int, length: int) -> memoryview:
        if late and not os.path.lexists(place):
            occupy(place)
        return saved.read(buffer, offset, length)

    if not late:
        occupy(place)
    with pytest.raises(AlreadyExistsError, match="place"):
        extract_directory(parse_directory(saved.node), read, place)
    after = snapshot(place.parent)
    with pytest.raises(AlreadyExistsError, match="place"):
        extract_file(Entry("f", "file", 0o644, 5, 0), read, place)
    assert snapshot(place.parent) == after
    assert not [path for path in after if ".holdall-" in path]
    assert not any("small.txt" in path for path in after)


def test_an_empty_folder_may_be_there(tree: Path, tmp_path: Path) -> None:
    """The destination may have been made beforehand."""
    (tmp_path / "out").mkdir()
    Saved(encode_directory(tree)).extract(tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(tree)


@pytest.mark.parametrize("nth", range(4))
def test_a_failed_extraction_leaves_nothing(tree: Path, tmp_path: Path, nth: int) -> None:
    """Whichever read fails, neither the destination nor anything beside it is there, and the error is that of the read."""
    saved = Saved(encode_directory(tree))
    (tmp_path / "out").mkdir()

    def read(buffer: int, offset: int, length: int) -> memoryview:
        assert not (tmp_path / "out" / "place").exists()
        if len(saved.reads) == nth:
            raise KeyboardInterrupt
        return saved.read(buffer, offset, length)

    try:
        extract_directory(parse_directory(saved.node), read, tmp_path / "out" / "place")
    except KeyboardInterrupt:
        assert os.listdir(tmp_path / "out") == []
    else:
        assert len(saved.reads) == len(saved.buffers) == nth


def test_modes_bow_to_the_umask(tmp_path: Path) -> None:
    """An artifact cannot make files that others may write to where the user's umask forbids it."""
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_text("x")
    for path in (top / "file", top / "sub", top):
        path.chmod(0o777)
    saved = Saved(encode_directory(top))
    before = os.umask(0o027)
    try:
        saved.extract(tmp_path / "out")
    finally:
        os.umask(before)
    assert {path: mode for path, (_, mode, _) in snapshot(tmp_path / "out").items()} == {
        ".": 0o750,
        "sub": 0o750,
        "file": 0o750,
    }


@pytest.mark.parametrize("change", [append, rewrite])
def test_a_small_file_that_changed_since_the_scan_is_noticed(change: Callable[[Path], None], tmp_path: Path) -> None:
    """A file that is read whole in one go is checked, too: it changed, or it is gone."""
    (tmp_path / "a.txt").write_bytes(b"hello")
    source = encode_file(tmp_path / "a.txt").buffers[0].data
    assert isinstance(source, tuple)
    target = memoryview(bytearray(5))
    read_whole(source[0], target)
    assert bytes(target) == b"hello"
    change(tmp_path / "a.txt")
    with pytest.raises(ConflictError, match="changed while it was saved"):
        read_whole(source[0], target)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(ConflictError, match="it is gone"):
        read_whole(source[0], target)
