"""Several threads at once; and what errors tell: what happened, where, the nearest name, the way out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


def test_many_threads_save_into_one_run() -> None:
    """What many threads save and log into one run at the same time is all there."""
    with holdall.run("churn") as run, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> None:
            run.save({f"small{number}": number, f"large{number}": np.full(3_000, number)})
            for _ in range(10):
                run.log(loss=number)
            assert run[f"small{number}"].load() == number
            if number % 5 == 0:
                run.flush()

        list(pool.map(work, range(24)))

    found = holdall.Run("churn")
    assert len(found) == 48
    assert all(found[f"small{n}"].load() == n and found[f"large{n}"].load()[-1] == n for n in range(24))
    points = found.metric("loss")
    assert sorted(point.step for point in points) == list(range(240))
    assert sorted(point.value for point in points) == sorted(list(range(24)) * 10)


def test_many_threads_save_the_shortest_way() -> None:
    """Threads that save by name share one run a flow."""
    with ThreadPoolExecutor(6) as pool:
        saved = list(pool.map(lambda number: holdall.save([number], f"flow{number % 2}/x{number}"), range(24)))

    assert [artifact.load() for artifact in saved] == [[number] for number in range(24)]
    assert len({artifact.run_id for artifact in saved}) == 2
    assert sorted(holdall.Run("flow0").keys()) == sorted(f"x{number}" for number in range(0, 24, 2))


def test_reading_while_another_writes() -> None:
    """A reader sees whole saves only: both halves of each, never one."""
    done = threading.Event()
    client = holdall.Client()
    with holdall.run("churn") as run:
        run.save(a=-1, b=-1)
        run.flush()
        seen = []

        def read() -> None:
            while not done.is_set():
                view = client.flow("churn").latest_run
                seen.append(view["a"].load() == view["b"].load())

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(30):
            run.save(a=number, b=number)
            run.flush()
        done.set()
        reader.join(60)

    assert seen
    assert all(seen)


def test_client_of_several_threads() -> None:
    """One client may be used from many threads at once."""
    values = {f"x{number}": np.full(5_000, number) for number in range(20)}
    with holdall.run("churn") as run:
        run.save(values)
    client = holdall.Client()
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda number: client.load(f"churn/x{number % 20}"), range(60)))

    assert [int(array[0]) for array in loaded] == [number % 20 for number in range(60)]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return where the store is that holds Ana's model and Bob's other flow."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    holdall.save(1, "churn/model")
    holdall.save(2, "churn/metrics")
    holdall.save(3, "user:bob/forecast/model")
    return holdall.Client().url


def message(reference: str) -> str:
    """Return what the error says that loading `reference` ends with."""
    with pytest.raises(holdall.NotFoundError) as caught:
        holdall.load(reference)
    text = str(caught.value)
    assert text.isprintable()
    return text


def test_unknown_artifact(place: str) -> None:
    """An artifact that is not there: which, where, the nearest, and what there is."""
    text = message("churn/modle")
    for part in (
        "flow 'churn'",
        "artifact 'modle'",
        "namespace 'user:ana'",
        place,
        "Did you mean 'model'?",
        "model, metrics",
    ):
        assert part in text


def test_unknown_artifact_of_a_run(place: str) -> None:
    """An artifact that a run does not hold: which run, the nearest, and what it holds."""
    run = holdall.Run("churn")
    for text in (message(f"churn/modle@{run.id}"), message(f"churn/modle@{run.id[:15]}")):
        for part in (
            "artifact 'modle'",
            f"run {run.id} of flow 'churn'",
            "Did you mean 'model'?",
            "holds: model, metrics",
        ):
            assert part in text


def test_unknown_flow(place: str) -> None:
    """A flow that is not there: which, where, the nearest, and what there is."""
    text = message("chrun/model")
    for part in ("flow 'chrun'", "namespace 'user:ana'", place, "Did you mean 'churn'?", "It has: churn"):
        assert part in text


def test_flow_of_another_namespace(place: str) -> None:
    """A flow of somebody else: whose, and three ways to it."""
    text = message("forecast/model")
    for part in (
        "namespace 'user:ana'",
        "there is one in 'user:bob'",
        "Client(namespace='user:bob')",
        "holdall.namespace('user:bob')",
        "'user:bob/forecast'",
    ):
        assert part in text
    assert holdall.load("user:bob/forecast/model") == 3


def test_unknown_namespace(place: str) -> None:
    """A namespace that holds nothing: the nearest one that does."""
    text = message("user:bbo/other/model")
    for part in ("flow 'other'", "'user:bbo'", place, "Did you mean 'user:bob'?"):
        assert part in text


def test_plain_name_of_another_flow(place: str) -> None:
    """A plain name that another flow holds: which one, and how to write it."""
    with pytest.raises(holdall.FlowNotFoundError) as caught:
        holdall.load("metrics")
    for part in (
        "Flow 'churn' has one: holdall.load('churn/metrics')",
        "A name without a flow means the flow of this script",
    ):
        assert part in str(caught.value)


def test_flow_instead_of_an_artifact(place: str) -> None:
    """Where an artifact is needed and a flow was named, the error shows how one is written."""
    with pytest.raises(
        holdall.InvalidNameError,
        match="'user:ana/churn' names no artifact: write flow/artifact, for example 'churn/model'",
    ):
        holdall.load("user:ana/churn")


def test_unsaveable_object(place: str) -> None:
    """What cannot be saved is named by the path to the culprit, in each form of saving."""
    value = {"a": [0, (n for n in range(3))]}
    with pytest.raises(holdall.UnsupportedTypeError, match=r"config\['a'\]\[1\].*generator"):
        holdall.save(value, "churn/config")
    with (
        holdall.run("churn") as run,
        pytest.raises(holdall.UnsupportedTypeError, match=r"config\['a'\]\[1\].*generator"),
    ):
        run.save(config=value)
    assert "config" not in holdall.Run("churn")
