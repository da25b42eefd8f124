"""Artifacts: what is known of them without loading, and how much is read of them."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

import holdall
from holdall_store.storage import MemoryStorage
from holdall_store.testing import CountingStorage

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture
def storage() -> CountingStorage:
    """Return a storage that counts, and that cannot be mapped: every byte that is read is asked for."""
    return CountingStorage(MemoryStorage("artifacts"))


def save(storage: CountingStorage, **objects: object) -> dict[str, holdall.Artifact]:
    """Save objects, and return their handles as a client that knows nothing yet finds them."""
    with holdall.run("churn", client=holdall.Client(storage, namespace="user:ana")) as run:
        run.save(objects)
    found = holdall.Client(storage, namespace="user:ana").run("churn")
    storage.reset()
    return {artifact.name: artifact for artifact in found}


def test_what_is_known(storage: CountingStorage) -> None:
    """Name, place, type, size and time of an artifact are known without reading anything more."""
    artifact = save(storage, data=np.zeros((100, 100)), note="x")["data"]

    assert (artifact.name, artifact.flow, artifact.namespace) == ("data", "churn", "user:ana")
    assert artifact.reference == f"user:ana/churn/data@{artifact.run_id}"
    assert artifact.type == "numpy.ndarray"
    assert 80_000 <= artifact.size <= 81_000
    assert len(artifact.digest) == 64
    assert not artifact.runs_code
    assert artifact.libraries["numpy"] == np.__version__
    assert artifact.created_at.tzinfo is not None
    assert artifact.reference in repr(artifact)
    assert not storage.calls


def test_unchanged_data_is_not_stored_again(storage: CountingStorage) -> None:
    """What is saved again adds next to nothing, and has the same digest."""
    values = np.random.default_rng(0).normal(size=200_000)
    first = save(storage, data=values)["data"]
    second = save(storage, data=values.copy())["data"]
    values[0] = 0
    third = save(storage, data=values)["data"]

    assert first.stored > 1_500_000
    assert second.stored == 0
    assert third.stored < 700_000
    assert first.digest == second.digest != third.digest
    assert first != second


def test_parts_of_a_dict(storage: CountingStorage) -> None:
    """One part of a dict is loaded by itself: the other parts are not fetched."""
    rng = np.random.default_rng(0)
    weights = {f"layer{number}": rng.normal(size=50_000) for number in range(10)}
    artifact = save(storage, weights=weights)["weights"]

    assert artifact.keys() == list(artifact) == list(weights)
    assert "layer3" in artifact
    assert "layer99" not in artifact
    storage.reset()
    np.testing.assert_array_equal(artifact["layer3"], weights["layer3"])
    assert 400_000 <= storage.bytes["get"] < 1_500_000  # of 4 MB: the part, and the table of the pack
    assert storage.bytes["map"] == 0
    with pytest.raises(holdall.NotFoundError, match=r"churn/weights@.*'layer33'.*Did you mean 'layer3'"):
        artifact["layer33"]


@pytest.mark.parametrize("value", [["a", {"b": 1}], ("a", {"b": 1})])
def test_parts_of_a_list(storage: CountingStorage, value: object) -> None:
    """One item of a list or tuple is loaded by its position."""
    artifact = save(storage, x=value)["x"]

    assert artifact.keys() == [0, 1]
    assert (artifact[0], artifact[-1]) == ("a", {"b": 1})
    with pytest.raises(holdall.NotFoundError, match="2 items"):
        artifact[2]


def test_what_has_no_parts(storage: CountingStorage) -> None:
    """What is no dict and no list has no parts."""
    artifact = save(storage, x=5)["x"]

    assert artifact.keys() == []
    with pytest.raises(holdall.NotFoundError, match="no parts"):
        artifact["x"]


@pytest.fixture
def file(storage: CountingStorage, workdir: Path) -> tuple[holdall.Artifact, bytes]:
    """Return a file of two megabytes as an artifact, and its bytes."""
    content = b"first line\nsecond line\n" + np.random.default_rng(0).bytes(2_000_000)
    (workdir / "data.bin").write_bytes(content)
    client = holdall.Client(storage, namespace="user:ana")
    with holdall.run("churn", client=client) as run:
        run.save_file("data.bin")
    storage.reset()
    return holdall.Client(storage, namespace="user:ana").artifact("churn/data.bin"), content


def test_open(file: tuple[holdall.Artifact, bytes]) -> None:
    """A file artifact reads like a file."""
    artifact, content = file
    with artifact.open() as stream:
        assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
        assert (stream.readline(), stream.readline()) == (b"first line\n", b"second line\n")
        assert stream.tell() == 23
        assert stream.read(1000) == content[23:1023]
        assert stream.seek(-10, os.SEEK_END) == len(content) - 10
        assert stream.read() == content[-10:]
        assert stream.read() == b""
        assert stream.seek(10**9) == 10**9
        assert stream.read(5) == b""
        stream.seek(0)
        assert b"".join(stream) == content
        stream.seek(1_000_000)
        assert stream.read(100_000) == content[1_000_000:1_100_000]
        with pytest.raises(ValueError, match=r"negative|before"):
            stream.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            stream.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        stream.read()


def test_open_reads_what_it_needs(file: tuple[holdall.Artifact, bytes], storage: CountingStorage) -> None:
    """A small read in the middle of a file fetches the chunks around it, not the file."""
    artifact, content = file
    with artifact.open() as stream:
        storage.reset()
        stream.seek(500_000)
        assert stream.read(10) == content[500_000:500_010]
        assert 0 < storage.bytes["get"] < len(content)
        stream.seek(1_990_000)
        assert stream.read(10) == content[1_990_000:1_990_010]
        assert storage.bytes["get"] < len(content)


def test_file_copies(file: tuple[holdall.Artifact, bytes], storage: CountingStorage, workdir: Path) -> None:
    """A local copy is made once, cannot be written to, and is made anew where somebody changed it."""
    artifact, content = file
    path = artifact.path()
    assert (path.name, path.read_bytes()) == ("data.bin", content)
    assert not path.stat().st_mode & 0o222
    assert artifact.load() == path
    fetched = storage.bytes["get"]
    assert artifact.path() == path
    assert storage.bytes["get"] == fetched

    path.chmod(0o644)
    path.write_bytes(b"tampered")
    assert artifact.path().read_bytes() == content

    copy = artifact.path(to=workdir / "copy.bin")
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o200
    with pytest.raises(holdall.AlreadyExistsError, match=r"churn/data\.bin@"):
        artifact.path(to=workdir / "copy.bin")


def test_directories(storage: CountingStorage, workdir: Path) -> None:
    """A directory artifact is given as a local copy of it."""
    (workdir / "plots" / "deep").mkdir(parents=True)
    (workdir / "plots" / "a.txt").write_text("a")
    (workdir / "plots" / "deep" / "b.txt").write_text("b")
    client = holdall.Client(storage, namespace="user:ana")
    saved = holdall.save_dir("plots", "churn/plots", client=client)

    copy = saved.path()
    assert (copy / "deep" / "b.txt").read_text() == "b"
    assert saved.load() == copy
    (copy / "a.txt").chmod(0o644)
    (copy / "a.txt").write_text("tampered")
    assert (saved.path() / "a.txt").read_text() == "a"
    with pytest.raises(holdall.UnsupportedTypeError, match="is a directory, not a file"):
        saved.open()
    with pytest.raises(holdall.UnsupportedTypeError, match="no columns"):
        saved.load(columns=["a"])


def test_what_a_directory_leaves_out(workdir: Path) -> None:
    """The store is left out under any name, and so is what one pattern, or several, mean."""
    (workdir / "kept.txt").write_text("x")
    (workdir / "left.tmp").write_text("x")
    client = holdall.Client("mystore", namespace="user:ana")
    for number in range(2):
        with holdall.run("churn", client=client) as run:
            run.save(value=number)
            run.save_dir(".", "all", ignore="*.tmp")
        copy = holdall.load("churn/all", client=client)
        assert sorted(os.listdir(copy)) == ["kept.txt"]


@pytest.mark.parametrize("name", [None, "all"])
def test_an_empty_path_is_not_the_working_directory(workdir: Path, name: str | None) -> None:
    """What an unset variable gives is refused."""
    with holdall.run("churn") as run:
        with pytest.raises(holdall.InvalidNameError, match="empty path"):
            run.save_dir("", name)
        with pytest.raises(holdall.InvalidNameError, match="empty path"):
            run.save_file("", name)
    assert run.id
    assert list(holdall.Run(run.pathspec)) == []


def test_what_is_no_file(storage: CountingStorage) -> None:
    """An object has no bytes of its own: asking for them says what to do instead."""
    artifact = save(storage, x=5)["x"]
    for act in (artifact.open, artifact.path):
        with pytest.raises(holdall.UnsupportedTypeError, match=r"churn/x@.*not a file.*load\(\)"):
            act()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, holdall.store.StorageError), (errno.EROFS, holdall.store.AccessDeniedError)]
)
def test_a_copy_that_cannot_be_written(
    number: int,
    kind: type[OSError],
    file: tuple[holdall.Artifact, bytes],
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is one of holdall's, names the artifact and the place, and keeps the number of the system's."""

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("holdall_store.serializers._file_extract._write_run", fail)
    with pytest.raises(kind, match=r"churn/data.bin@.*'out/copy' cannot be written: .*another place") as caught:
        file[0].path("out/copy")
    assert caught.value.errno == number
    assert list((workdir / "out").iterdir()) == []


def test_files_that_are_not_there() -> None:
    """A file or directory that does not exist is an error of the system, and leaves the run as it was."""
    with holdall.run("churn") as run:
        for act in (run.save_file, run.save_dir):
            with pytest.raises(FileNotFoundError, match="nowhere"):
                act("nowhere")
        run.save(x=1)
    assert holdall.Run("churn").keys() == ["x"]


def test_the_nearest_file_and_folder(workdir: Path) -> None:
    """A path that is misspelt is answered with the nearest name of its folder, as an error of holdall's and of the system's."""
    (workdir / "report.html").write_text("<p>")
    (workdir / "plots").mkdir()

    with pytest.raises(
        FileNotFoundError, match=r"There is no file 'reprot.html'. Did you mean 'report.html'\?"
    ) as file:
        holdall.save_file("reprot.html", "churn/report")
    with pytest.raises(FileNotFoundError, match=r"There is no folder 'plotz'. Did you mean 'plots'\?") as folder:
        holdall.save_dir(Path("plotz"), "churn/plots")
    with pytest.raises(NotADirectoryError, match="'report.html' is a file, no folder: save_file") as neither:
        holdall.save_dir("report.html", "churn/plots")

    assert all(isinstance(each.value, holdall.HoldallError) for each in (file, folder, neither))
    assert (file.value.errno, neither.value.errno) == (errno.ENOENT, errno.ENOTDIR)


def test_types_have_their_article() -> None:
    """What an artifact is called in a message reads as a sentence."""
    with pytest.raises(holdall.UnsupportedTypeError, match="is an int, not a file"):
        holdall.save(5, "churn/number").open()
    with pytest.raises(holdall.UnsupportedTypeError, match="is a dict, not a file"):
        holdall.save({}, "churn/nothing").path()
