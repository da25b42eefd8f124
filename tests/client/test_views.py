"""What a notebook shows: whole, bounded, escaped, and never an exception."""

from __future__ import annotations

import contextlib
import datetime as dt
import html.parser
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdall
from holdall import _html, _text
from holdall.store import StorageError
from holdall_store.storage import MemoryStorage
from holdall_store.testing import CountingStorage

VOID = {"br", "hr", "img", "input"}
ALLOWED = {"div", "span", "b", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
NASTY = "<script>alert('x')</script> & \"quoted\" \u202e\x1b[31m"


class Page(html.parser.HTMLParser):
    """Reads HTML strictly: every tag is one that views use, and is closed in its order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element's beginning."""
        assert tag in ALLOWED - VOID
        self._open.append(tag)
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        """Take an element's end."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.text += data


@pytest.fixture(autouse=True)
def store(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a good and a failed run of ana's."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    with holdall.run("churn", params={"lr": 0.1, "note": NASTY}, tags=["nightly"]) as run:
        run.log(auc=0.91)
        run.save(model={"weights": [0.5]}, train=list(range(500)))
    with contextlib.suppress(ValueError), holdall.run("churn") as run:
        run.log(loss=0.5)
        raise ValueError(NASTY)
    return workdir


def shown(thing: Any) -> Page:
    """Return what the notebook shows of something."""
    return Page(thing._repr_html_())


def test_client() -> None:
    """A client shows the store, the namespaces and the flows, each with its newest run."""
    holdall.save(1, "other/x", client=holdall.Client(namespace="production:churn"))

    page = shown(holdall.Client())

    newest = holdall.Flow("churn").latest_run.id
    assert all(word in page.text for word in (".holdall", "user:ana", "production:churn", "churn", newest))
    assert "other" not in page.text.replace("others", "")
    assert "other" in shown(holdall.Client(namespace=None)).text


def test_flow() -> None:
    """A flow shows its newest runs: status, start, duration, tags and metrics."""
    page = shown(holdall.Flow("churn"))

    failed, good = holdall.Flow("churn").runs()
    assert page.text.index(failed.id) < page.text.index(good.id)
    assert all(word in page.text for word in ("✓", "✗", "nightly", "auc", "0.91", "loss", "0.5"))


def test_good_run() -> None:
    """A run shows how it went, who made it with what, and its artifacts with type and sizes."""
    run = holdall.Flow("churn").latest_successful_run

    text = shown(run).text

    for word in (
        "succeeded",
        "ana on ",
        "Python 3",
        "nightly",
        "lr",
        "0.1",
        "auc",
        "0.91",
        "model",
        "dict",
        "train",
        "list",
    ):
        assert word in text
    assert _text.size_text(run["train"].size) in text


def test_failed_run() -> None:
    """A failed run shows its exception, and the traceback behind a click."""
    page = shown(holdall.Flow("churn").latest_run)

    assert "ValueError: <script>" in page.text
    assert "Traceback (most recent call last)" in page.text
    assert page.tags.count("details") == 1


def test_artifact_shows_a_line_that_loads_it() -> None:
    """An artifact shows what it is, and a line that can be copied."""
    artifact = holdall.Flow("churn").latest_successful_run["model"]

    text = shown(artifact).text

    assert artifact.digest[:16] in text
    line = re.search(r"holdall\.load\(.*\)", text)
    assert line is not None
    assert eval(line[0]) == {"weights": [0.5]}


def test_the_line_names_the_store_where_that_is_another(tmp_path: Path) -> None:
    """Where the store is not the default one, the line that loads an artifact names it."""
    client = holdall.Client(tmp_path / "else where")
    holdall.save([1], "churn/scores", client=client)

    text = shown(client.artifact("churn/scores")).text

    line = re.search(r"holdall\.Client\(.*\)", text)
    assert line is not None
    assert eval(line[0]) == [1]


def test_the_line_says_when_it_takes_trust(store: Path) -> None:
    """A pickle in a store that is not one's own alone takes a word, which the line has."""
    artifact = holdall.save(Path.cwd, "churn/function")
    (store / ".holdall").chmod(0o777)

    page = shown(holdall.Client().artifact(artifact.reference))

    assert "trust=True)" in page.text
    assert "runs code" in page.text


def test_names_are_escaped() -> None:
    """Whatever somebody called something, it is text; marks that turn the reading direction are shown as escapes."""
    name = "<img src=x onerror=alert(1)>&amp;'\""
    with holdall.run(name, params={name: NASTY}, tags=[name]) as run:
        run.log({name: 1})
        run.save({name: [1]})
    flow = holdall.Flow(name)

    for thing in (holdall.Client(), flow, flow.latest_run, flow.latest_run[name]):
        page = shown(thing)
        assert name in page.text
        assert "\u202e" not in page.text
        assert page.attributes <= {"style", "align", "title"}


def test_nothing_is_fetched() -> None:
    """No view refers to anything outside of itself."""
    flow = holdall.Flow("churn")

    for thing in (holdall.Client(), flow, flow.latest_run, flow.latest_successful_run["model"]):
        source = thing._repr_html_()
        assert not re.search(r"<(script|style|link|img|iframe)|url\(|https?:", source)


def test_views_are_bounded() -> None:
    """However much there is, a view shows 20 rows of it, and says that there is more."""
    for number in range(25):
        with holdall.run("many", params={f"p{n}": n for n in range(25)}) as run:
            run.log({f"m{n}": n for n in range(25)})
            if number == 24:
                run.save({f"a{n}": n for n in range(25)})
    for number in range(25):
        holdall.save(1, f"flow{number}/x")

    flow = shown(holdall.Flow("many"))
    newest = shown(holdall.Flow("many").latest_run)
    client = shown(holdall.Client())

    assert flow.tags.count("tr") == client.tags.count("tr") - 1 == 21
    assert "… and more runs." in flow.text
    assert "19 more metrics" in flow.text
    assert "… and more flows." in client.text
    assert all(f"… and more {what}s." in newest.text for what in ("parameter", "metric", "artifact"))


def test_looking_reads_no_more_than_it_shows() -> None:
    """A view of a flow with many runs reads those that it shows; a client's reads no run at all."""
    storage = CountingStorage(MemoryStorage("views"))
    client = holdall.Client(storage, namespace="user:ana")
    for _ in range(30):
        with holdall.run("many", client=client) as run:
            run.save(x=1)
    flow = client.flow("many")

    storage.reset()
    shown(flow)
    assert storage.calls["get"] <= _html.ROWS_MAX + 1
    storage.reset()
    shown(client)
    assert storage.calls["get"] <= 1
    storage.reset()
    assert repr(client)
    assert repr(flow)
    assert storage.calls.total() == 0


@pytest.mark.parametrize("error", [StorageError("the disk is on fire <b>"), ZeroDivisionError("by zero <b>")])
@pytest.mark.parametrize("kind", ["client", "flow", "run", "artifact"])
def test_a_view_never_raises(kind: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a look fails, the view is the plain one with what was wrong."""
    flow = holdall.Flow("churn")
    run = flow.latest_successful_run
    things: dict[str, Any] = {"client": holdall.Client(), "flow": flow, "run": run, "artifact": run["model"]}

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(_html, "title", fail)

    page = shown(things[kind])
    assert repr(things[kind]) in page.text
    assert str(error) in page.text


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    """A client of nothing shows the sentence that says so."""
    page = shown(holdall.Client(tmp_path / "nothing"))

    assert "There is no store at" in page.text


def test_empty_things() -> None:
    """What has nothing in it says so."""
    with holdall.run("empty"):
        holdall.log(n=1)

    assert "No artifacts." in shown(holdall.Flow("empty").latest_run).text
    assert "No flows in user:bo yet." in shown(holdall.Client(namespace="user:bo")).text


def test_plain_reprs_are_one_line_that_tells() -> None:
    """A plain repr is one line with what one would ask first."""
    client = holdall.Client()
    flow = client.flow("churn")
    run = flow.latest_successful_run

    assert repr(client).startswith("Client(")
    assert repr(client).endswith(".holdall', namespace='user:ana')")
    assert repr(flow) == "Flow('churn', namespace='user:ana')"
    assert repr(run) == f"Run('churn/{run.id}', namespace='user:ana', succeeded, 2 artifacts)"
    assert (
        repr(run["model"]) == f"Artifact('user:ana/churn/model@{run.id}', dict, {_text.size_text(run['model'].size)})"
    )
    assert repr(run.data) == "RunData(model, train)"


def test_no_repr_has_a_password() -> None:
    """The password in a URL is nobody's business."""
    assert repr(holdall.Client("s3://ana:hunter2@host/bucket", namespace=None)) == (
        "Client('s3://ana:***@host/bucket', namespace=None)"
    )


def test_tab_completion() -> None:
    """The tab key completes flows, runs and artifacts, as keys and as attributes."""
    client = holdall.Client()
    flow = client.flow("churn")
    run = flow.latest_successful_run

    assert client._ipython_key_completions_() == ["churn"]
    assert flow._ipython_key_completions_() == [each.id for each in flow.runs()]
    assert run._ipython_key_completions_() == ["model", "train"]
    assert run.data._ipython_key_completions_() == ["model", "train"]
    assert {"model", "train"} <= set(dir(run.data))
    assert "latest_successful_run" in dir(flow)
    assert "artifacts" in dir(run)


def test_completion_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """To complete a name, or to be looked at, no artifact is loaded."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("loaded")

    run = holdall.Flow("churn").latest_successful_run
    monkeypatch.setattr(holdall.Artifact, "load", refuse)

    assert "model" in dir(run.data)
    assert repr(run.data) == "RunData(model, train)"
    assert not hasattr(run.data, "_repr_mimebundle_")


SIZES = [
    (0, "0 B"),
    (999, "999 B"),
    (1000, "1.0 kB"),
    (99_949, "99.9 kB"),
    (99_950, "100 kB"),
    (999_499, "999 kB"),
    (999_500, "1.0 MB"),
    (1_500_000_000, "1.5 GB"),
    (5 * 10**18, "5000 PB"),
]
DURATIONS = [
    (0.0, "0 ms"),
    (0.0126, "13 ms"),
    (0.9994, "999 ms"),
    (0.9996, "1.0 s"),
    (59.94, "59.9 s"),
    (59.96, "1 min 0 s"),
    (3599.6, "1 h 0 min"),
    (90_000.0, "1 d 1 h"),
    (-5.0, "0 ms"),
]


@pytest.mark.parametrize(("size", "text"), SIZES)
def test_sizes(size: int, text: str) -> None:
    """Sizes have two or three digits and the unit that makes it so."""
    assert _text.size_text(size) == text


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_durations(seconds: float, text: str) -> None:
    """Durations have two parts, and never sixty of anything."""
    assert _text.duration_text(dt.timedelta(seconds=seconds)) == text


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_clean_text_is_printable_and_stays_so(text: str) -> None:
    """Cleaned text has no character that a terminal would obey; what was printable is as it was."""
    cleaned = _text.clean(text)

    assert cleaned.isprintable()
    assert _text.clean(cleaned) == cleaned
    assert not text.isprintable() or cleaned == text


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])), st.integers(1, 20))
def test_fitted_text_fits(text: str, width: int) -> None:
    """Fitted text is never wider than asked for, and whole where it fits."""
    fitted = _text.fit(text, width)

    assert _text.width_of(fitted) <= width
    assert (fitted == text) is (_text.width_of(text) <= width)
