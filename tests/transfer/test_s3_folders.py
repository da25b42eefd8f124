"""Whole folders with `S3`: download, upload, sync; what cannot be a file, and what changes meanwhile."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.storage._s3 import Reply
from tests.transfer._bucket_server import BEGINNING, BucketServer

from holdall_store.errors import InvalidNameError, NotFoundError, StorageError
from holdall_store.transfer import _plan, _s3_files, _s3_get, _s3_put
from holdall_store.transfer.s3 import S3, Step

MakeS3 = Callable[..., S3]
TREE = {"a.txt": b"a", "sub/b.bin": b"bb", "sub/deep/.hidden": b"", "ü ö+%41/c": b"ccc"}


def write_tree(root: Path, tree: dict[str, bytes], modified: float = BEGINNING - 100) -> Path:
    """Write files, all of one time."""
    for path, data in tree.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (modified, modified))
    return root


def read_tree(root: Path) -> dict[str, bytes]:
    """Return all files below a folder by their path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def stored(bucket: BucketServer, prefix: str) -> dict[str, bytes | None]:
    """Return all objects with a prefix by the rest of their key."""
    return {key[len(prefix) :]: bucket.content(key) for key in bucket.keys() if key.startswith(prefix)}  # noqa: SIM118


def test_a_folder_goes_up_and_comes_down(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Every file, hidden and empty ones too, arrives with its bytes; downloads have the time of the object."""
    source = write_tree(tmp_path / "source", TREE)

    urls = s3.upload(source, "data")
    paths = s3.download("data", tmp_path / "target")

    assert sorted(urls) == sorted(f"s3://bucket/root/data/{path}" for path in TREE)
    assert stored(bucket, "root/data/") == TREE
    assert sorted(paths) == sorted(str(tmp_path / "target" / path) for path in TREE)
    assert read_tree(tmp_path / "target") == TREE
    assert (tmp_path / "target" / "a.txt").stat().st_mtime == BEGINNING
    assert s3.info("data/a.txt").content_type == "text/plain"


def test_each_small_file_is_one_request(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """A listing and one request for each file, down and up."""
    for number in range(25):
        bucket.store(f"root/d/{number}", b"x" * number)

    s3.download("d", tmp_path / "d")
    assert len(bucket.log) == 26
    s3.upload(tmp_path / "d", "e")
    assert len(bucket.log) == 51


def test_objects_that_stand_for_folders_are_none(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """The empty objects that consoles make for folders are left out."""
    for key in ("root/d/", "root/d/sub/", "root/d/sub/file"):
        bucket.store(key, b"")

    s3.download("d", tmp_path / "t")

    assert read_tree(tmp_path / "t") == {"sub/file": b""}


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/etc/x", "a//b", ".", "a/./b", "nul\0", "c:x", "a\\b", "x" * 300]
)
def test_keys_that_cannot_be_files_are_refused(s3: S3, bucket: BucketServer, tmp_path: Path, key: str) -> None:
    """Nothing is ever written outside of the folder; the whole download is refused before it begins."""
    bucket.store("root/d/good", b"1")
    bucket.store(f"root/d/{key}", b"evil")

    for act in (lambda: s3.download("d", tmp_path / "t"), lambda: s3.sync("s3://bucket/root/d", tmp_path / "t")):
        with pytest.raises(InvalidNameError, match="cannot become a file") as caught:
            act()
        assert str(caught.value).isprintable()

    assert list(tmp_path.iterdir()) == []


def test_clashes_are_refused(s3: S3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is a folder of another, and, where case means nothing, names that differ in it alone."""
    bucket.store("root/d/a", b"1")
    bucket.store("root/d/a/b", b"2")
    with pytest.raises(InvalidNameError, match="cannot both"):
        s3.download("d", tmp_path / "t")

    bucket.reset()
    bucket.store("root/d/File", b"1")
    bucket.store("root/d/file", b"2")
    monkeypatch.setattr(os.path, "samefile", lambda one, other: True)
    with pytest.raises(InvalidNameError, match="case alone"):
        s3.download("d", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_nothing_is_written_through_a_link(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """A link in the target folder that leads elsewhere is not followed, and a file that is one is replaced."""
    bucket.store("root/d/link/x", b"evil")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidNameError, match="is a link"):
        s3.download("d", tmp_path / "t")
    assert list((tmp_path / "elsewhere").iterdir()) == []

    bucket.store("root/e/file", b"new")
    (tmp_path / "precious").write_text("old")
    (tmp_path / "t" / "file").symlink_to(tmp_path / "precious")
    s3.download("e", tmp_path / "t")
    assert ((tmp_path / "t" / "file").read_text(), (tmp_path / "precious").read_text()) == ("new", "old")


def test_nothing_is_deleted_through_a_link(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """What lies behind a link in the target folder is none of it."""
    bucket.store("root/d/x", b"1")
    write_tree(tmp_path / "elsewhere", {"precious": b"1"})
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "elsewhere")

    done = s3.sync("s3://bucket/root/d", tmp_path / "t", delete=True)

    assert [(step.action, step.path) for step in done] == [("put", "x")]
    assert read_tree(tmp_path / "elsewhere") == {"precious": b"1"}


def test_a_file_where_a_folder_is_wanted(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """What is there already and in the way is an error that names it."""
    bucket.store("root/d/a/b", b"1")
    (tmp_path / "a").write_text("a file")
    with pytest.raises(StorageError, match="folder"):
        s3.download("d", tmp_path)

    bucket.store("root/e/f", b"1")
    (tmp_path / "f").mkdir()
    with pytest.raises(StorageError, match="is a folder"):
        s3.download("e", tmp_path)


def test_links_are_followed(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Links to files and folders are what they lead to; what a download left unfinished is left out."""
    source = write_tree(tmp_path / "s", {"real/file": b"1", ".x.holdall-1.part": b"half"})
    (source / "to-file").symlink_to(source / "real" / "file")
    (source / "to-folder").symlink_to(source / "real")

    s3.upload(source, "d")

    assert stored(bucket, "root/d/") == {"real/file": b"1", "to-file": b"1", "to-folder/file": b"1"}


@pytest.mark.parametrize("kind", ["circle", "broken", "socket", "fifo"])
def test_what_cannot_be_sent_is_named_before_anything_is(
    s3: S3, bucket: BucketServer, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in a folder is left out silently, nor taken for deleted: it is an error, and nothing is sent."""
    source = write_tree(tmp_path / "s", {"real/file": b"1", "z": b"1"})
    bucket.store("root/d/" + kind, b"precious")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(source)  # the name of a socket is short
        if kind == "circle":
            (source / kind).symlink_to(source)
        elif kind == "broken":
            (source / kind).symlink_to(source / "nowhere")
        elif kind == "socket":
            listener.bind(kind)
        else:
            os.mkfifo(kind)

        with pytest.raises(StorageError, match=f"Not all .*{kind}"):
            s3.upload(source, "d")
        with pytest.raises(StorageError, match=f"Not all .*{kind}"):
            s3.sync(source, "s3://bucket/root/d", delete=True)

    assert stored(bucket, "root/d/") == {kind: b"precious"}


@pytest.mark.parametrize("verb", ["get_files", "download", "sync"])
def test_only_plain_files_are_replaced(s3: S3, bucket: BucketServer, tmp_path: Path, verb: str) -> None:
    """A FIFO is where it was, whatever verb was to write a file there, and the error says so."""
    bucket.store("root/d/a", b"1")
    bucket.store("root/d/pipe", b"1")
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StorageError, match="a FIFO, no plain file"):
        if verb == "get_files":
            s3.get_files([("d/pipe", tmp_path / "pipe")])
        elif verb == "download":
            s3.download("d", tmp_path)
        else:
            s3.sync("s3://bucket/root/d", tmp_path, delete=True)

    assert (tmp_path / "pipe").is_fifo()
    assert not (tmp_path / "a").exists()


def test_a_device_that_appears_meanwhile_is_not_replaced(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """The last look is just before the file takes its name."""
    bucket.store("root/pipe", b"1")

    def appear(request: object) -> None:
        del request
        if not (tmp_path / "pipe").exists():
            os.mkfifo(tmp_path / "pipe")

    bucket.fault = appear
    with pytest.raises(StorageError, match="no plain file"):
        s3.get_files([("pipe", tmp_path / "pipe")])
    assert [(each.name, each.is_fifo()) for each in tmp_path.iterdir()] == [("pipe", True)]


@pytest.mark.parametrize("there", [True, False])
def test_a_single_file_goes_through_a_link(s3: S3, bucket: BucketServer, tmp_path: Path, there: bool) -> None:
    """The link stays, what it leads to is replaced or made; links in a circle are an error."""
    bucket.store("root/k", b"new")
    if there:
        (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "circle").symlink_to("circle")

    assert s3.get_files([("k", tmp_path / "link")]) == [str(tmp_path / "link")]
    with pytest.raises(StorageError, match="circle"):
        s3.get_files([("k", tmp_path / "circle")])

    assert ((tmp_path / "link").is_symlink(), (tmp_path / "real").read_bytes()) == (True, b"new")


@pytest.mark.parametrize("size", [10, 9 << 20])
def test_permissions_stay(s3: S3, bucket: BucketServer, tmp_path: Path, size: int) -> None:
    """A file that is replaced hands its permissions on, all but those to run as somebody else."""
    bucket.store("root/d/tool", b"x" * size)
    (tmp_path / "tool").write_text("old")
    (tmp_path / "tool").chmod(0o4751)

    s3.get_files([("d/tool", tmp_path / "tool")])
    assert (tmp_path / "tool").stat().st_mode & 0o7777 == 0o751
    (tmp_path / "tool").chmod(0o600)
    s3.download("d", tmp_path)
    assert (tmp_path / "tool").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "tool").stat().st_size == size


def test_sync_turns_folders_into_files_and_back(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """With delete, what is in the way goes first; without, it is an error that tells how, and nothing is done."""
    bucket.store("root/d/a", b"file")
    bucket.store("root/d/b/c/x", b"1")
    bucket.store("root/d/other", b"1")
    tree = {"a/x": b"1", "a/deep/y": b"1", "a/.x.holdall-1.part": b"half", "b": b"file"}
    target = write_tree(tmp_path / "t", tree)

    with pytest.raises(StorageError, match=r"delete=True"):
        s3.sync("s3://bucket/root/d", target)
    assert read_tree(target) == tree
    with pytest.raises(StorageError, match=r"Remove it"):
        s3.download("d", target)
    assert read_tree(target) == tree
    steps = s3.sync("s3://bucket/root/d", target, delete=True, dry_run=True)
    assert read_tree(target) == tree

    assert s3.sync("s3://bucket/root/d", target, delete=True) == steps
    assert [step.path for step in steps if step.action == "delete"] == ["a/deep/y", "a/x", "b"]
    assert read_tree(target) == {"a": b"file", "b/c/x": b"1", "other": b"1"}


def test_sync_deletes_no_folder_with_something_else_in_it(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """What sync does not know, such as a FIFO, keeps its folder, and nothing is done."""
    bucket.store("root/d/a", b"file")
    target = write_tree(tmp_path / "t", {"a/x": b"1"})
    os.mkfifo(target / "a" / "pipe")

    with pytest.raises(StorageError, match="pipe"):
        s3.sync("s3://bucket/root/d", target, delete=True)

    assert ((target / "a" / "pipe").is_fifo(), read_tree(target)) == (True, {"a/x": b"1"})


def test_sync_up_deletes_the_keys_of_a_folder_that_became_a_file(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """And those of a file that became a folder."""
    source = write_tree(tmp_path / "s", {"a": b"file", "b/x": b"1"})
    for key in ("a/x", "a/deep/y", "b"):
        bucket.store(f"root/d/{key}", b"old")

    s3.sync(source, "s3://bucket/root/d", delete=True)

    assert stored(bucket, "root/d/") == {"a": b"file", "b/x": b"1"}


def test_errors_of_missing_paths_are_messages(s3: S3, tmp_path: Path) -> None:
    """They have the number of the system, the message, and the nearest name beside."""
    (tmp_path / "models").mkdir()
    (tmp_path / "report.txt").write_text("")
    for call, name in (
        (lambda: s3.upload(tmp_path / "model"), "models"),
        (lambda: s3.put_files([("k", tmp_path / "reprot.txt")]), "report.txt"),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        error = pickle.loads(pickle.dumps(caught.value))
        assert isinstance(error, FileNotFoundError)
        assert error.errno == errno.ENOENT
        assert str(error).startswith("[Errno 2] There is no f")
        assert str(error.strerror).endswith(f"Did you mean {name!r}?")


def test_an_upload_of_no_folder(s3: S3, tmp_path: Path) -> None:
    """A folder that is not there, and a file in its place, are errors."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        s3.upload(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="no folder"):
        s3.upload(tmp_path / "file")


def test_a_large_download_that_was_interrupted(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is seen before it is whole, and ranges that came are not fetched again."""
    for module in (_plan, _s3_files, _s3_get):
        monkeypatch.setattr(module, "FIRST_BYTES", 1000)
    monkeypatch.setattr(_s3_files, "range_bytes", lambda size: 1000)
    data = os.urandom(10_500)
    bucket.store("root/d/large", data)
    bucket.store("root/d/small", b"1")
    s3 = make_s3(concurrency=1)
    bucket.fault = lambda request: Reply(403) if request.headers.get("range") == "bytes=7000-7999" else None
    with pytest.raises(PermissionError):
        s3.download("d", tmp_path / "t")
    assert [name for name in sorted(os.listdir(tmp_path / "t")) if not name.startswith(".")] == ["small"]
    before = len(bucket.log)
    bucket.fault = lambda request: None

    s3.download("d", tmp_path / "t")

    assert read_tree(tmp_path / "t") == {"large": data, "small": b"1"}
    assert len(bucket.log) - before == 1 + 1 + 4
    assert (tmp_path / "t" / "large").stat().st_mtime == BEGINNING


def test_an_object_that_is_replaced_after_the_listing(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large one is read anew, whole; a mixture is never seen."""
    for module in (_plan, _s3_files, _s3_get):
        monkeypatch.setattr(module, "FIRST_BYTES", 1000)
    monkeypatch.setattr(_s3_files, "range_bytes", lambda size: 1000)
    new = os.urandom(7_000)
    bucket.store("root/d/large", os.urandom(5_500))
    changes = iter([new])

    def replace(request: object) -> None:
        if getattr(request, "headers", {}).get("range") == "bytes=2000-2999" and (data := next(changes, None)):
            bucket.store("root/d/large", data)

    bucket.fault = replace
    make_s3().download("d", tmp_path / "t")

    assert read_tree(tmp_path / "t") == {"large": new}


def test_sync_moves_what_differs(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Up: new files, other sizes and later times; all else stays, and a second time nothing is left to do."""
    source = write_tree(tmp_path / "s", TREE | {"same": b"1", "longer": b"1", "later": b"1"})
    s3.upload(source, "d")
    bucket.store("root/d/extra", b"x")
    (source / "new").write_bytes(b"1")
    (source / "longer").write_bytes(b"12")
    write_tree(source, {"later": b"2"}, BEGINNING + 100)
    url = "s3://bucket/root/d"

    planned = s3.sync(source, url, dry_run=True)
    assert stored(bucket, "root/d/")["later"] == b"1"
    done = s3.sync(source, url)

    assert done == planned
    assert {(step.path, step.reason) for step in done} == {("new", "new"), ("longer", "size"), ("later", "time")}
    bucket.now = BEGINNING + 1000
    assert stored(bucket, "root/d/")["later"] == b"2"
    assert stored(bucket, "root/d/")["extra"] == b"x"
    os.utime(source / "new", (BEGINNING, BEGINNING))
    os.utime(source / "longer", (BEGINNING, BEGINNING))
    os.utime(source / "later", (BEGINNING, BEGINNING))
    assert s3.sync(source, url) == []
    assert s3.sync(source, url, delete=True) == [Step("delete", "extra", 1, "extra")]
    assert "extra" not in stored(bucket, "root/d/")


def test_sync_down(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Down: the same, with files deleted only where that was said."""
    for path, data in TREE.items():
        bucket.store(f"root/d/{path}", data)
    target = tmp_path / "t"

    assert {step.reason for step in s3.sync("s3://bucket/root/d", target)} == {"new"}
    assert s3.sync("s3://bucket/root/d", target) == []
    (target / "a.txt").write_bytes(b"changed")
    (target / "extra").write_bytes(b"")
    bucket.now = BEGINNING + 500
    bucket.store("root/d/sub/b.bin", b"BB")

    done = s3.sync("s3://bucket/root/d", target, delete=True)

    assert [(step.action, step.path, step.reason) for step in done] == [
        ("put", "a.txt", "size"),
        ("put", "sub/b.bin", "time"),
        ("delete", "extra", "extra"),
    ]
    assert read_tree(target) == TREE | {"sub/b.bin": b"BB"}


def test_sync_compares_contents_where_that_is_asked_for(
    s3: S3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times say nothing then, only bytes, those of uploads in parts too."""
    monkeypatch.setattr(_s3_put, "MULTIPART_BYTES", 64 << 10)
    monkeypatch.setattr(_plan, "PART_BYTES_MIN", 16 << 10)
    monkeypatch.setattr(_plan, "MIB", 1 << 10)
    source = write_tree(tmp_path / "s", {"same": b"1", "other": b"1", "parts": bytes(100 << 10)}, BEGINNING + 900)
    s3.upload(source, "d")
    write_tree(source, {"other": b"2"}, BEGINNING - 900)

    done = s3.sync(source, "s3://bucket/root/d", checksum=True)

    assert [(step.path, step.reason) for step in done] == [("other", "content")]


def test_sync_between_buckets(make_s3: MakeS3, bucket: BucketServer) -> None:
    """Only what differs is copied, inside of the service; with another time but the same bytes nothing is."""
    s3 = make_s3(None)
    for key, data in {"d/a": b"1", "d/b": b"22", "d/c": b"3"}.items():
        bucket.store(key, data)
    bucket.now = BEGINNING + 50
    bucket.store("t/a", b"1", bucket="other")
    bucket.store("t/b", b"2", bucket="other")
    bucket.store("t/x", b"9", bucket="other")
    bucket.now = BEGINNING + 500
    bucket.store("d/a", b"1")

    done = s3.sync("s3://bucket/d", "s3://other/t", delete=True)

    assert [(step.action, step.path, step.reason) for step in done] == [
        ("put", "b", "size"),
        ("put", "c", "new"),
        ("delete", "x", "extra"),
    ]
    assert {key: bucket.content(key, "other") for key in bucket.keys("other")} == {
        "t/a": b"1",
        "t/b": b"22",
        "t/c": b"3",
    }
    with pytest.raises(InvalidNameError, match="lie in each other"):
        s3.sync("s3://bucket/d", "s3://bucket/d/e")


def test_what_sync_refuses(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Two local folders, and a source with nothing in it where all of the target would be deleted."""
    with pytest.raises(InvalidNameError, match="s3://"):
        s3.sync(tmp_path / "a", tmp_path / "b")
    bucket.store("root/d/a", b"1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="would delete all"):
        s3.sync(tmp_path / "empty", "s3://bucket/root/d", delete=True)
    with pytest.raises(NotFoundError, match="would delete all"):
        s3.sync("s3://bucket/root/nothing", tmp_path / "empty", delete=True)
    with pytest.raises(FileNotFoundError):
        s3.sync(tmp_path / "nowhere", "s3://bucket/root/d", delete=True)
    assert bucket.content("root/d/a") == b"1"
