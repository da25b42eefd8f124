"""Names that people choose: each is safe, or is refused with a sentence."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import holdall
from holdall import InvalidNameError

pytestmark = pytest.mark.usefixtures("workdir")

SAFE = [
    "model",
    "Model",
    "my model",
    "a.b-c_d",
    ".hidden",
    "-rf",
    "~",
    "$HOME",
    "%41",
    "^a",
    "CON",
    "nul.txt",
    "a;b|c&d",
    "\"quoted'",
    "*?<>",
    "größe",
    "模型",
    "модель",
    "\U0001f680",
    "e\u0301",
    "x" * 100,
]
UNSAFE = [
    "",
    " ",
    " x",
    "x ",
    ".",
    "..",
    "a/b",
    "../../etc/passwd",
    "a:b",
    "a@b",
    "a\\b",
    "a\x00b",
    "a\nb",
    "\x1b[31m",
    "x" * 1000,
]
UNSAFE += ["\ud800", "a\u2028b", "a\u200bb", "\ufeffa", "a\u202eb", "\U0001f680" * 100]


def _save_flow(name: str) -> None:
    with holdall.run(name) as run:
        run.save(x=1)


def _save_artifact(name: str) -> None:
    with holdall.run("flow") as run:
        run.save({name: 1})


def _save_param(name: str) -> None:
    with holdall.run("flow", params={name: 1}) as run:
        run.flush()


def _log_metric(name: str) -> None:
    with holdall.run("flow") as run:
        run.log({name: 1})


def _set_alias(name: str) -> None:
    _save_flow("flow")
    holdall.alias("flow", name)


@pytest.mark.parametrize(
    ("act", "name"),
    [
        pytest.param(act, name, id=f"{act.__name__}-{ascii(name)[:30]}")
        for act in (_save_flow, _save_artifact, _save_param, _log_metric, _set_alias)
        for name in UNSAFE
        if (act, name) != (_log_metric, "a/b")  # no part of a key: `train/loss` is how metrics are called
    ],
)
def test_unsafe(act: Callable[[str], None], name: str, workdir: Path) -> None:
    """A name that no key, reference or terminal bears is refused, in a short message, and leaves nothing outside."""
    with pytest.raises(InvalidNameError) as caught:
        act(name)

    message = str(caught.value)
    assert len(message) < 500
    assert message.isprintable()
    assert {path.name for path in workdir.iterdir()} <= {".holdall"}


@pytest.mark.parametrize("name", SAFE, ids=[ascii(name)[:30] for name in SAFE])
def test_safe(name: str, workdir: Path) -> None:
    """A name that looks odd is kept as it is, in each place that has names, and found by it."""
    with holdall.run(name, params={name: 1}, tags=[name]) as run:
        run.save({name: "saved"})
        run.log({name: 2})
    holdall.alias(name, name)

    found = holdall.Client().flow(name).latest_successful_run
    normal = unicodedata.normalize("NFC", name)
    assert [flow.name for flow in holdall.Client().flows] == [normal]
    assert holdall.load(f"{name}/{name}") == holdall.load(f"{name}/{name}:{name}") == found[name].load() == "saved"
    assert (found.keys(), dict(found.params), found.tags) == ([normal], {normal: 1}, frozenset([normal]))
    assert [point.value for point in found.metric(name)] == [2]
    assert list(found._client.flow(name).runs(name)) == [found]
    assert {path.name for path in workdir.iterdir()} == {".holdall"}


def test_case_clash() -> None:
    """Names that differ in their case alone never mix, whatever the file system thinks of them."""
    for name in ("churn", "Churn", "CHURN"):
        with holdall.run(name, params={name: 1, name.swapcase(): 2}) as run:
            run.save({"model": name, "Model": name.swapcase()})

    assert [flow.name for flow in holdall.Client().flows] == ["CHURN", "Churn", "churn"]
    for name in ("churn", "Churn", "CHURN"):
        assert holdall.load_many([f"{name}/model", f"{name}/Model"]) == [name, name.swapcase()]
        assert len(list(holdall.Flow(name).runs())) == 1
    folders = [path.name for path in Path(".holdall/runs").glob("*/*")]
    assert len({folder.lower() for folder in folders}) == 3


def test_normal_forms_meet() -> None:
    """What was saved under one form of the same letters is found under the other."""
    composed, decomposed = "caf\xe9", "cafe\u0301"
    with holdall.run(decomposed, params={decomposed: 1}, tags=[decomposed]) as run:
        run.save({decomposed: "x"})
        assert composed in run
        assert decomposed in run
        assert run[decomposed].load() == "x"
        run.log({decomposed: 1})
    holdall.alias(composed, decomposed)
    found = holdall.Run(composed)

    assert found == holdall.Run(decomposed) == holdall.Run(f"{composed}:{composed}")
    assert found[composed] == found[decomposed]
    assert decomposed in found
    assert found.metric(decomposed) == found.metric(composed)
    assert found.tags == {composed}
    assert list(holdall.Flow(composed).runs(decomposed)) == list(holdall.Flow(composed).runs(composed)) == [found]
    assert holdall.Flow(composed).latest_run_with(decomposed) == found


@pytest.mark.parametrize("save", [lambda run, value: run.save(value), lambda run, value: run.log(value)])
def test_two_forms_of_one_name(save: Callable[[holdall.ActiveRun, dict[str, int]], object]) -> None:
    """Two names of one call that are the same in the normal form are not silently one."""
    with holdall.run("churn") as run:
        with pytest.raises(InvalidNameError, match="normal form"):
            save(run, {"caf\xe9": 1, "cafe\u0301": 2})
        run.save(ok=1)
    assert holdall.Run("churn").keys() == ["ok"]


def test_two_forms_of_one_param() -> None:
    """Two parameters that are the same in the normal form are refused."""
    with (
        pytest.raises(InvalidNameError, match="normal form"),
        holdall.run("churn", params={"caf\xe9": 1, "cafe\u0301": 2}),
    ):
        pytest.fail("the run began")


@pytest.mark.parametrize(
    "namespace", ["", "ana", "user:", ":ana", "user:a/b", "user:..", "user:a:b", "a\x00:b", "user:" + "x" * 500, 5]
)
def test_refused_namespaces(namespace: str) -> None:
    """A namespace is written kind:name; all else is refused wherever one is given."""
    for give in (holdall.namespace, lambda name: holdall.Client(namespace=name), holdall.Client().in_namespace):
        with pytest.raises(InvalidNameError):
            give(namespace)
    assert str(holdall.get_namespace()).startswith("user:")


@pytest.mark.parametrize(
    "name", ["user:ana", "production:churn model", "team:größe", "Team:A", "user:ana@example.com".replace("@", "-")]
)
def test_namespaces(name: str) -> None:
    """Runs of a namespace are kept and found under it, and only there."""
    client = holdall.Client(namespace=name)
    holdall.save(1, "churn/x", client=client)

    assert client.load("churn/x") == holdall.load(f"{name}/churn/x") == 1
    assert holdall.Client().namespaces == [name]
    with pytest.raises(holdall.FlowNotFoundError, match="namespace"):
        holdall.load("churn/x")


@pytest.mark.parametrize("tags", ["nightly", [""], [" "], [5], [None], [["a"]], ["a\nb"], ["x" * 257], ["\ud800"]])
def test_refused_tags(tags: object) -> None:
    """A string instead of a list, and what is no short printable string, are no tags."""
    with pytest.raises(InvalidNameError, match="tag"):
        holdall.run("churn", tags=tags)  # type: ignore[arg-type]


def test_tags() -> None:
    """Tags are kept once each, whatever they hold in printable characters."""
    with holdall.run("churn", tags=["nightly", "a/b:c@d", "nightly", "größe"]) as run:
        assert run.tags == {"nightly", "a/b:c@d", "größe"}

    assert holdall.Run("churn").tags == {"nightly", "a/b:c@d", "größe"}


def test_long_names_are_cut_visibly() -> None:
    """A message is not as long as what it complains of, and says where it was cut."""
    with pytest.raises(InvalidNameError, match=r"^'x{57}…' is no namespace"):
        holdall.Client(namespace="x" * 1000)
    with pytest.raises(InvalidNameError, match=r"^'x{57}…' cannot name a namespace"):
        holdall.Client(namespace=f"user:{'x' * 1000}")
