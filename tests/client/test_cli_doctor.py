"""``holdall doctor``: it finds what is wrong, says what chose what, and tells the way out."""

from __future__ import annotations

import json
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import holdall
from holdall import _cli_doctor
from holdall._cli import main


class Usage(NamedTuple):
    """What `shutil.disk_usage` tells."""

    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work as ana, in a folder without a store."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    return workdir


def diagnose(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the checks by name."""
    code = main(["doctor", "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is (code == 0)
    return code, {check["name"]: check for check in told["checks"]}


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """With a good store, no check fails, and each says what it found."""
    holdall.save(1, "churn/model")

    code, checks = diagnose(capsys)

    assert code == 0
    assert {"python", "libraries", "optional", "chunker", "git", "user", "namespace", "store", "content"} <= set(checks)
    assert {"folder", "disk", "trust", "cache"} <= set(checks)
    assert "pyfastcdc is compiled" in checks["chunker"]["message"]
    assert "found upward" in checks["store"]["message"]
    assert "format 1" in checks["content"]["message"]
    assert checks["user"]["message"] == "ana (from HOLDALL_USER)"
    assert f"pandas {metadata.version('pandas')}" in checks["libraries"]["message"]
    assert "nobody else" in checks["trust"]["message"]


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line begins with ok, warn or fail; a hint stands below."""
    assert main(["doctor"]) == 0

    lines = capsys.readouterr().out.splitlines()
    content = next(index for index, line in enumerate(lines) if line.split()[1] == "content")
    assert lines[content].startswith("warn  content ")
    assert lines[content].endswith("there is no store there yet")
    assert lines[content + 1].strip() == "The first save makes one: holdall.save(value, 'flow/name')."
    assert {line[:5] for line in lines} <= {"ok   ", "warn ", "fail ", "     "}


def test_quietly_only_what_is_not_ok(capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet, doctor names what needs a look, and nothing else."""
    main(["doctor", "-q"])

    lines = capsys.readouterr().out.splitlines()
    assert "content: warn" in lines
    assert all(line.endswith((": warn", ": fail")) for line in lines)


@pytest.mark.parametrize(
    ("chosen", "origin"),
    [("option", "--store"), ("variable", "HOLDALL_STORE"), ("project", "pyproject.toml"), ("default", "by default")],
)
def test_what_chose_the_store(
    chosen: str, origin: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store's line names the setting that chose it; the nearest to the call wins."""
    order = ["option", "variable", "project", "default"]
    given = order[order.index(chosen) :]
    if "project" in given:
        (folder / "pyproject.toml").write_text('[tool.holdall]\nstore = "project"\n')
    if "variable" in given:
        monkeypatch.setenv("HOLDALL_STORE", str(folder / "variable"))

    _, checks = diagnose(capsys, *(["--store", str(folder / "option")] if "option" in given else []))

    assert origin in checks["store"]["message"]
    assert (".holdall" if chosen == "default" else chosen) in checks["store"]["message"]


@pytest.mark.parametrize(
    ("arguments", "variable", "message"),
    [
        (["-n", "user:bo"], "", "user:bo (from --namespace)"),
        (["--all-namespaces"], "", "all of them (from --all-namespaces)"),
        ([], "production:churn", "production:churn (from HOLDALL_NAMESPACE)"),
        ([], "", "user:ana (from the user's name)"),
    ],
)
def test_what_chose_the_namespace(
    arguments: list[str],
    variable: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The namespace's line names the setting that chose it."""
    monkeypatch.setenv("HOLDALL_NAMESPACE", variable)

    assert diagnose(capsys, *arguments)[1]["namespace"]["message"] == message


def test_a_wrong_variable_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that means nothing is a failure, and does not keep the other checks from running."""
    monkeypatch.setenv("HOLDALL_TRUST", "perhaps")

    code, checks = diagnose(capsys)

    assert code == 1
    assert checks["settings"]["status"] == "fail"
    assert "HOLDALL_TRUST='perhaps'" in checks["settings"]["message"]
    assert checks["python"]["status"] == "ok"


def test_an_unknown_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt variable is named, with the nearest one that means something."""
    monkeypatch.setenv("HOLDALL_STROE", "s3://x/y")

    main(["doctor"])

    assert "HOLDALL_STROE means nothing to holdall" in (out := capsys.readouterr().out)
    assert "Did you mean 'HOLDALL_STORE'?" in out


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A password in a URL stays out of the report, which people paste into issues."""
    monkeypatch.setenv("HOLDALL_STORE", "nope://ana:hunter2@host/bucket")

    code = main(["doctor"])

    out, err = capsys.readouterr()
    assert code == 1
    assert "HOLDALL_STORE=nope://ana:***@host/bucket" in out
    assert "hunter2" not in out + err


def test_a_damaged_store_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store whose first record is damaged is a failure that names it."""
    holdall.save(1, "churn/model")
    record = folder / ".holdall" / "holdall.json"
    record.chmod(0o644)
    record.write_bytes(record.read_bytes()[:-20])

    code, checks = diagnose(capsys)

    assert code == 1
    assert checks["store"]["status"] == "fail"
    assert "holdall.json" in checks["store"]["message"]


def test_a_file_in_the_way_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the store should be and a file is, nothing can be saved."""
    (folder / "file").write_text("")

    code, checks = diagnose(capsys, "--store", str(folder / "file" / "store"))

    assert code == 1
    assert "is a file" in checks["folder"]["message"]
    assert "HOLDALL_STORE" in checks["folder"]["hint"]


@pytest.mark.parametrize(("allowed", "status"), [(os.R_OK | os.X_OK, "warn"), (0, "fail")])
def test_rights(
    allowed: int, status: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that can only be read is a warning; one that cannot be read is a failure."""
    holdall.save(1, "churn/model")
    store, access = str(folder / ".holdall"), os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: (mode & ~allowed) == 0 if str(path) == store else access(path, mode)
    )

    _, checks = diagnose(capsys)

    assert checks["folder"]["status"] == status
    assert checks["folder"]["hint"]


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Little free space is told before it is too late."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 5_000_000))

    _, checks = diagnose(capsys)

    assert (checks["disk"]["status"], checks["disk"]["message"]) == ("warn", "5.0 MB free")


def test_a_store_of_many_is_not_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where others may write, pickles are not loaded, and the report says what would change that."""
    holdall.save(1, "churn/model")
    (folder / ".holdall").chmod(0o777)

    _, checks = diagnose(capsys)
    assert checks["trust"]["status"] == "warn"
    assert "chmod" in checks["trust"]["hint"]
    monkeypatch.setenv("HOLDALL_TRUST", "1")
    assert "HOLDALL_TRUST" in diagnose(capsys)[1]["trust"]["message"]


@pytest.mark.parametrize(("version", "told"), [(None, "is not installed"), ("0.0.1", "is too old")])
def test_missing_and_old_libraries_fail(
    version: str | None, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that is missing or too old is a failure with the command that installs it."""

    def versions(name: str) -> str:
        if name == "zstandard" and version is None:
            raise metadata.PackageNotFoundError(name)
        return str(version) if name == "zstandard" else "999"

    monkeypatch.setattr(metadata, "version", versions)
    monkeypatch.setattr(metadata, "requires", lambda name: ["zstandard>=0.23", "polars>=1; extra == 'polars'"])

    code, checks = diagnose(capsys)

    assert code == 1
    assert checks["library"]["message"].startswith("zstandard")
    assert told in checks["library"]["message"]
    assert checks["library"]["hint"] == "pip install 'zstandard>=0.23'"


def test_a_slow_chunker_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A chunker without its compiled part is a failure."""

    def refuse(name: str) -> None:
        raise ImportError(f"{name} was installed without its compiled part")

    monkeypatch.setattr(_cli_doctor, "import_module", refuse)

    code, checks = diagnose(capsys)

    assert code == 1
    assert "compiled part" in checks["chunker"]["message"]
    assert "pip install" in checks["chunker"]["hint"]


def test_git_is_no_must(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without git all works, but runs record no commit."""
    monkeypatch.setattr(shutil, "which", lambda name: None)

    code, checks = diagnose(capsys)

    assert code == 0
    assert checks["git"]["status"] == "warn"
    assert "commit" in checks["git"]["hint"]


def test_the_cache_is_measured(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cache's line names its folder, its size and its bound."""
    monkeypatch.setenv("HOLDALL_CACHE_SIZE", "2GB")
    (isolated / "cache" / "files").mkdir(parents=True)
    (isolated / "cache" / "files" / "copy").write_bytes(b"x" * 1500)

    _, checks = diagnose(capsys)

    assert (
        checks["cache"]["message"]
        == f"{isolated / 'cache'}: 1.5 kB in 1 file; up to 2.1 GB, what was used longest ago goes first"
    )


def test_a_damaged_run_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest run of each flow, of whatever namespace, is read; a damaged one is a failure that names it."""
    client = holdall.Client(namespace="production:churn")
    reference = holdall.save(1, "churn/model", client=client).reference
    assert "newest run of 1 flow was read" in diagnose(capsys)[1]["runs"]["message"]
    for record in (folder / ".holdall" / "runs").glob("*/*/*/*"):
        record.chmod(0o644)
        record.write_bytes(b"")

    code, checks = diagnose(capsys)

    assert code == 1
    assert checks["run"]["status"] == "fail"
    assert checks["run"]["message"].startswith(reference.replace("/model", "") + " is damaged: ")
    assert "backup" in checks["run"]["hint"]


@pytest.mark.parametrize(("size", "told"), [(None, "is gone"), (100, "has 100 bytes instead of ")])
def test_a_lost_pack_fails(size: int | None, told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packs of the newest runs that are not there, or were cut off, are failures that name the run."""
    reference = holdall.save("x" * 50_000, "churn/model").reference
    assert "its packs are there" in diagnose(capsys)[1]["runs"]["message"]
    for pack in (folder / ".holdall" / "packs").iterdir():
        pack.chmod(0o644)
        pack.unlink() if size is None else os.truncate(pack, size)

    code, checks = diagnose(capsys)

    assert code == 1
    assert "runs" not in checks
    assert checks["pack"]["status"] == "fail"
    assert told in checks["pack"]["message"]
    assert reference.replace("/model", "") in checks["pack"]["message"]
    assert "backup" in checks["pack"]["hint"]


def test_whose_the_store_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the store is somebody else's, the report says whose, and speaks of no chmod."""
    holdall.save(1, "churn/model")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)

    trust = diagnose(capsys)[1]["trust"]

    assert trust["status"] == "warn"
    assert ".holdall' belongs to user " in trust["message"]
    assert "chmod" not in trust["hint"]


@pytest.mark.parametrize("inner", ["runs", "runs/user%3aana/churn", "packs"])
def test_an_inner_folder_of_many_is_told(inner: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder in the store that others may write to is named, since what lies there is not trusted."""
    holdall.save("x" * 50_000, "churn/model")
    (folder / ".holdall" / inner).chmod(0o777)

    trust = diagnose(capsys)[1]["trust"]

    assert trust["status"] == "warn"
    assert f"others may write to '{folder / '.holdall' / inner}'" in trust["message"]
    assert "chmod -R go-w" in trust["hint"]
