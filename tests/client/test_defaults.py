"""What is used where the caller says nothing: namespace, user, store, and which setting wins."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdall
from holdall import _defaults
from holdall_store.config import read_settings


@pytest.fixture(autouse=True)
def ana(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work as Ana, in an empty folder, with no namespace chosen."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    _defaults._called.clear()
    yield
    _defaults._called.clear()


def test_own_namespace() -> None:
    """Where nothing is said it is the user's own namespace."""
    assert holdall.get_namespace() == holdall.Client().namespace == "user:ana"
    assert holdall.save(1, "churn/x").namespace == "user:ana"
    assert holdall.Run("churn").user == "ana"


def test_call_and_block() -> None:
    """A call holds for the process, a block until it ends; blocks nest, and end also by errors."""
    holdall.namespace("team:a")
    assert holdall.get_namespace() == "team:a"
    with holdall.namespace("team:b") as name:
        assert name == holdall.get_namespace() == "team:b"
        with pytest.raises(ZeroDivisionError), holdall.namespace(None):
            assert holdall.get_namespace() is None
            _ = 1 / 0
        holdall.namespace("team:c")
        assert holdall.get_namespace() == "team:b"
    assert holdall.get_namespace() == "team:c"
    holdall.namespace(None)
    assert holdall.get_namespace() is None
    assert holdall.Client().namespace is None


def test_one_object_entered_again() -> None:
    """A namespace that was made once can be entered again and within itself, and leaves nothing behind."""
    block = holdall.namespace("team:a")
    for _ in range(2):
        with block, holdall.namespace("team:b"), block:
            assert holdall.get_namespace() == "team:a"
        assert holdall.get_namespace() == "user:ana"
    assert repr(block) == "namespace('team:a')"


def test_blocks_of_threads() -> None:
    """A block holds for its own thread, a call for all; however they interleave, nothing is left behind."""
    seen: dict[str, str | None] = {}
    made, entered = threading.Barrier(4), threading.Barrier(4)

    def work(name: str) -> None:
        block = holdall.namespace(name)
        made.wait(60)
        with block:
            entered.wait(60)
            seen[name] = holdall.get_namespace()

    threads = [threading.Thread(target=work, args=(f"team:{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert seen == {f"team:{number}": f"team:{number}" for number in range(4)}
    assert holdall.get_namespace() == "user:ana"

    def look() -> None:
        seen["other"] = holdall.get_namespace()

    holdall.namespace("team:all")
    with holdall.namespace("team:mine"):
        other = threading.Thread(target=look)
        other.start()
        other.join(60)
    assert seen["other"] == "team:all"


def test_blocks_of_tasks() -> None:
    """Tasks at once each have their own block."""

    async def look(name: str) -> str | None:
        with holdall.namespace(name):
            await asyncio.sleep(0)
            return holdall.get_namespace()

    async def main() -> list[str | None]:
        return list(await asyncio.gather(*(look(f"team:{number}") for number in range(3))))

    assert asyncio.run(main()) == ["team:0", "team:1", "team:2"]


def test_precedence_of_namespaces(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block, call, environment, project file, user: the first that says something wins."""
    assert holdall.get_namespace() == "user:ana"
    (workdir / "pyproject.toml").write_text('[tool.holdall]\nnamespace = "team:project"\n')
    assert holdall.get_namespace() == "team:project"
    monkeypatch.setenv("HOLDALL_NAMESPACE", "team:environment")
    assert holdall.get_namespace() == "team:environment"
    holdall.namespace("team:call")
    assert holdall.get_namespace() == "team:call"
    with holdall.namespace("team:block"):
        assert holdall.get_namespace() == "team:block"
        assert holdall.Client(namespace="team:argument").namespace == "team:argument"
        assert holdall.save(1, "churn/x").namespace == "team:block"


def test_client_keeps_its_namespace() -> None:
    """A client looks where it looked when it was made."""
    client = holdall.Client()
    with holdall.namespace("team:a"):
        assert client.namespace == "user:ana"


@pytest.mark.parametrize("where", ["environment", "project"])
def test_namespace_that_is_none(where: str, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace that means nothing is refused, wherever it was set."""
    if where == "environment":
        monkeypatch.setenv("HOLDALL_NAMESPACE", "ana")
    else:
        (workdir / "pyproject.toml").write_text('[tool.holdall]\nnamespace = "ana"\n')
    with pytest.raises(holdall.InvalidNameError, match="'ana' is no namespace: write kind:name"):
        holdall.get_namespace()


USERS = [
    ("ana", "user:ana"),
    ("Ana Gómez", "user:Ana Gómez"),
    ("DOMAIN\\ana", "user:DOMAIN-ana"),
    ("ana@example", "user:ana-example"),
    ("a/b:c", "user:a-b-c"),
    ("  ana\n", "user:ana-"),
    ("cafe\u0301", "user:caf\xe9"),
    ("..", "user:unknown"),
    ("a\u2028\x85\udcff", "user:a---"),
    ("x" * 1000, "user:" + "x" * 120),
    ("\U0001f680" * 1000, "user:" + "\U0001f680" * 18),
]


@pytest.mark.parametrize(("user", "namespace"), USERS, ids=[ascii(user)[:20] for user, _ in USERS])
def test_odd_users(user: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may be called anything: what no reference bears is replaced, and saving works."""
    try:
        monkeypatch.setenv("HOLDALL_USER", user)
    except UnicodeEncodeError:
        pytest.skip("no such name can be in the environment")
    assert holdall.get_namespace() == namespace
    assert holdall.load(f"{holdall.save(1, 'churn/x').namespace}/churn/x") == 1


def test_user_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting it is the system's name of the user; where there is none either, ``unknown``."""
    monkeypatch.delenv("HOLDALL_USER")
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    assert holdall.get_namespace() == "user:bob"

    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert holdall.get_namespace() == "user:unknown"


def test_store_found_upward(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is the nearest ``.holdall`` upward; where there is none, one is made in the working directory."""
    holdall.save("above", "churn/x")
    (workdir / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(workdir / "a" / "b")
    assert holdall.load("churn/x") == "above"
    (workdir / "a" / ".holdall").mkdir()  # no store, only a folder of that name
    assert holdall.load("churn/x") == "above"
    holdall.save("still above", "churn/x")
    assert os.listdir() == []


def test_precedence_of_stores(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argument, environment, project file, ``.holdall``: the first that says something wins."""

    def place() -> str:
        return holdall.save(1, "churn/x")._client.repository.storage.url.rpartition("/")[2]

    assert place() == ".holdall"
    (workdir / "pyproject.toml").write_text('[tool.holdall]\nstore = "from-project"\n')
    assert place() == "from-project"
    monkeypatch.setenv("HOLDALL_STORE", "")
    assert place() == "from-project"
    monkeypatch.setenv("HOLDALL_STORE", "from-environment")
    assert place() == "from-environment"
    holdall.save(1, "churn/x", client=holdall.Client("from-argument"))
    assert {path.name for path in workdir.iterdir()} == {
        ".holdall",
        "from-argument",
        "from-environment",
        "from-project",
        "pyproject.toml",
    }


def test_project_file(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative store of a project file is relative to that file; URLs and absolute paths are as they are."""
    (workdir / "src").mkdir()
    monkeypatch.chdir(workdir / "src")
    for store, expected in [
        ("data/store", str(workdir / "data" / "store")),
        ("memory://project", "memory://project"),
        (str(workdir / "absolute"), str(workdir / "absolute")),
    ]:
        (workdir / "pyproject.toml").write_text(f'[tool.holdall]\nstore = "{store}"\n')
        assert _defaults.default_store(read_settings()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[tool.holdall]\nstore = 'here'\n",
        "[tool . 'holdall']\nstore = 'here'\n",
        '["tool"."holdall"]\nstore = "here"\n',
        "[tool]\nholdall = {store = 'here'}\n",
        "[tool]\nholdall.store = 'here'\n",
        "tool.holdall.store = 'here'\n",
        "tool = {other = 1, holdall = {store = 'here'}}\n",
        "tool = { 'holdall'.store = 'here' }\n",
    ],
)
def test_the_table_of_a_project_however_it_is_written(workdir: Path, text: str) -> None:
    """TOML has many ways to write a table, and each of them is seen."""
    (workdir / "pyproject.toml").write_text(
        "[project]\nname = 'mine'\ndependencies = ['holdall>=1']\n" + text if text[0] == "[" else text
    )

    assert holdall.Client().url == (workdir / "here").as_uri()


@pytest.mark.parametrize("text", ["", "not toml [", "[tool.other]\n", "tool = 5\n", "\xff\xfe"])
def test_somebody_elses_project_file(text: str, workdir: Path) -> None:
    """A project file that says nothing to us, or cannot be read, is not ours to complain about."""
    (workdir / "pyproject.toml").write_bytes(text.encode("latin-1"))
    assert holdall.get_namespace() == "user:ana"
    assert holdall.save(1, "churn/x").load() == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[tool]\nholdall = 5\n", "must be a table"),
        ("[tool.holdall]\nstroe = 'x'\n", r"'stroe' under .* means nothing\. Did you mean 'store'"),
        ("[tool.holdall]\nstore = \n", "cannot be read: .*line 2"),
        ("[tool.holdall]\nstore = ' '\n", "store under .* not blank"),
        ("[tool.holdall]\nnamespace = 'bob'\n", "namespace under .*'bob' is no namespace"),
        ("[tool.holdall]\nstore = 's4://x'\n", "store under .*No storage is known for s4://"),
    ],
)
def test_mistakes_in_our_part_of_the_project_file(text: str, error: str, workdir: Path) -> None:
    """What means nothing in the table that is ours is refused with the name of the file."""
    (workdir / "pyproject.toml").write_text(text)
    with pytest.raises(holdall.InvalidNameError, match=error) as caught:
        _ = holdall.Client().flows
    assert "pyproject.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("HOLDALL_NAMESPACE", "bob"), ("HOLDALL_STORE", "s4://x"), ("HOLDALL_STORE", "  ")]
)
def test_variables_that_cannot_be_used_are_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is refused with the variable that holds it; what a caller gives is no variable's fault."""
    monkeypatch.setenv(name, value)
    with pytest.raises(holdall.InvalidNameError, match=f"^{name}: "):
        _ = holdall.Client().flows
    with pytest.raises(holdall.InvalidNameError, match="^No storage"):
        _ = holdall.Client("s5://x", namespace="team:a").flows


@pytest.mark.parametrize("name", ["store", "namespace"])
def test_project_file_with_a_wrong_type(name: str, workdir: Path) -> None:
    """A setting of ours that is no string is refused with the file that holds it."""
    (workdir / "pyproject.toml").write_text(f"[tool.holdall]\n{name} = 5\n")
    with pytest.raises(holdall.InvalidNameError, match=rf"{name} under \[tool\.holdall\] in .*pyproject\.toml"):
        holdall.Client()


def test_no_working_directory(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the working directory was removed, a store that is named works, and the default one says why it cannot."""
    (workdir / "gone").mkdir()
    monkeypatch.chdir(workdir / "gone")
    (workdir / "gone").rmdir()

    with pytest.raises(holdall.StoreNotFoundError, match=r"working directory was removed.*HOLDALL_STORE"):
        holdall.save(1, "churn/x")
    monkeypatch.setenv("HOLDALL_STORE", str(workdir / "store"))
    with holdall.run("churn") as run:
        run.save(x=1)
    assert holdall.load("churn/x") == 1
    assert holdall.Run("churn").info["folder"] == ""
    monkeypatch.chdir(workdir)
