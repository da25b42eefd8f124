"""References: what they mean, that they are written as they are read, and that nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdall import InvalidNameError
from holdall._reference import Reference

RUN = "20261123T081402123456-k3f9qa".replace("9", "7")

MEANINGS = [
    ("churn", Reference(flow="churn")),
    ("churn/model", Reference(flow="churn", artifact="model")),
    ("churn:champion", Reference(flow="churn", alias="champion")),
    ("churn/model:champion", Reference(flow="churn", artifact="model", alias="champion")),
    ("churn@2026", Reference(flow="churn", run="2026")),
    ("churn/model@20261123", Reference(flow="churn", artifact="model", run="20261123")),
    ("churn/model@20261123T0814", Reference(flow="churn", artifact="model", run="20261123T0814")),
    (f"churn/model@{RUN}", Reference(flow="churn", artifact="model", run=RUN)),
    ("user:ana/churn", Reference("user:ana", "churn")),
    ("user:ana/churn/model", Reference("user:ana", "churn", "model")),
    ("production:churn/churn/model:v1.2", Reference("production:churn", "churn", "model", "v1.2")),
    (f"user:ana/churn/model@{RUN}", Reference("user:ana", "churn", "model", run=RUN)),
    ("my flow/my model", Reference(flow="my flow", artifact="my model")),
    ("größe/modèle", Reference(flow="größe", artifact="modèle")),
    ("模型/权重", Reference(flow="模型", artifact="权重")),
    ("..x/x..", Reference(flow="..x", artifact="x..")),
]

REFUSED = [
    "",
    " ",
    "/",
    "//",
    "churn/",
    "/churn",
    "churn//model",
    "a/b/c",
    "user:ana/a/b/c",
    "user:ana/",
    ":champion",
    "churn:",
    "churn@",
    "@2026",
    "churn:a@2026",
    "churn@2026:a",
    "churn:a:b",
    "churn@1@2",
    "churn@yesterday",
    "churn@2026-11-23",
    "churn@20261123T0814020000000",
    "churn@20261123T081402123456-K3F",
    "churn@٢٠٢٦",
    "../churn",
    "churn/..",
    "./model",
    "churn/mo\\del",
    "churn/mo\x00del",
    "churn/mo\ndel",
    "churn/\ud800",
    " churn/model",
    "churn/model ",
    ":/churn",
    "user:/churn",
    ":ana/churn",
    "s3://bucket/churn",
    "c" * 1000,
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_grammar(text: str, meaning: Reference) -> None:
    """Each form of the grammar means what it says, and is written as it is read."""
    assert Reference.parse(text) == meaning
    assert str(meaning) == text


@pytest.mark.parametrize("text", REFUSED, ids=[ascii(text)[:40] for text in REFUSED])
def test_refused(text: str) -> None:
    """What is no reference is refused as a name, in a message of bounded length."""
    with pytest.raises(InvalidNameError) as caught:
        Reference.parse(text)
    assert 20 < len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [None, 5, b"churn", ["churn"]])
def test_no_string(value: object) -> None:
    """What is no string is refused with the grammar."""
    with pytest.raises(InvalidNameError, match=r"a string, not .*\[namespace/\]flow"):
        Reference.parse(value)  # type: ignore[arg-type]


def test_lone_name() -> None:
    """A name alone is a flow, or an artifact where the caller says so; a second name makes the first a flow."""
    assert Reference.parse("model", lone="artifact") == Reference(artifact="model")
    assert Reference.parse("model:champion", lone="artifact") == Reference(artifact="model", alias="champion")
    assert Reference.parse("churn/model", lone="artifact") == Reference(flow="churn", artifact="model")
    assert Reference.parse("user:ana/churn", lone="artifact") == Reference("user:ana", "churn")


def test_at() -> None:
    """Fixing a reference to a run takes the alias away."""
    assert Reference.parse("churn/model:champion").at("2026") == Reference.parse("churn/model@2026")


def test_normal_form() -> None:
    """Two ways to write the same letters are the same reference."""
    assert Reference.parse("cafe\u0301/mode\u0300le") == Reference.parse("caf\xe9/mod\xe8le")


def _is_name(text: str) -> bool:
    try:
        return Reference.parse(text).flow == text
    except InvalidNameError:
        return False


NAMES = st.text(
    st.characters(exclude_characters="/:@\\", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20
).filter(_is_name)
RUNS = st.from_regex(r"\A[0-9]{1,8}\Z|\A[0-9]{8}T[0-9]{0,12}\Z|\A[0-9]{8}T[0-9]{12}-[a-z2-7]{1,6}\Z").filter(
    str.isascii
)


@given(
    namespace=st.none() | st.builds("{}:{}".format, NAMES, NAMES),
    flow=NAMES,
    artifact=st.none() | NAMES,
    selector=st.none() | st.tuples(st.just("alias"), NAMES) | st.tuples(st.just("run"), RUNS),
)
@settings(max_examples=100)
def test_round_trip(namespace: str | None, flow: str, artifact: str | None, selector: tuple[str, str] | None) -> None:
    """Every reference reads back from how it is written."""
    kind, text = selector or (None, None)
    reference = Reference(namespace, flow, artifact, text if kind == "alias" else None, text if kind == "run" else None)

    assert Reference.parse(str(reference)) == reference


@given(st.text(st.sampled_from("ab1/:@.\\ \u0301\x00T-2\U0001f600")) | st.text(max_size=50))
@settings(max_examples=300)
def test_hostile(text: str) -> None:
    """Any string is a reference that keeps its meaning, or is refused as a name."""
    try:
        reference = Reference.parse(text)
    except InvalidNameError:
        return
    assert Reference.parse(str(reference)) == reference
