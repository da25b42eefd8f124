"""Functions whose every call is a run."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import numpy as np
import pytest

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


def latest(flow: str) -> holdall.Run:
    """Return the newest run of `flow`."""
    return holdall.Flow(flow).latest_run


def test_arguments_are_parameters() -> None:
    """Arguments, also those left to their defaults, become parameters; a returned dict becomes artifacts."""

    @holdall.run("train", params={"seed": 1}, tags=["nightly"])
    def train(lr: float, depth: int = 3, *, name: str = "x") -> dict[str, Any]:
        """Train."""
        assert holdall.current_run() is not None
        return {"model": [lr, depth], "note": name}

    assert train(0.1, name="y") == {"model": [0.1, 3], "note": "y"}
    run = latest("train")
    assert run.params == {"seed": 1, "lr": 0.1, "depth": 3, "name": "y"}
    assert run.keys() == ["model", "note"]
    assert run.tags == {"nightly"}
    assert run["model"].load() == [0.1, 3]
    train(0.2)
    assert len(list(holdall.Flow("train"))) == 2


def test_metadata_is_kept() -> None:
    """The decorated function looks like the one that was written."""

    @holdall.run()
    def train(lr: float = 0.1) -> float:
        """Train a model."""
        return lr

    assert (train.__name__, train.__doc__) == ("train", "Train a model.")
    assert str(inspect.signature(train)) == "(lr: 'float' = 0.1) -> 'float'"
    assert train() == 0.1
    assert latest("train")["result"].load() == 0.1


def test_collected_arguments() -> None:
    """What ``*args`` takes is one parameter; what ``**kwargs`` takes are parameters under their own names."""

    @holdall.run("train")
    def train(*layers: int, **options: Any) -> None:
        assert not layers or options

    train(64, 32, lr=0.1, deep={"a": 1})
    assert latest("train").params == {"layers": (64, 32), "lr": 0.1, "deep": {"a": 1}}
    train()
    assert latest("train").params == {}


def test_large_arguments_are_no_parameters() -> None:
    """Frames, models and whatever is no small plain value are left out, and the call goes on."""

    @holdall.run("train")
    def train(data: Any, model: Any, lr: float) -> None:
        assert len(data) == 10_000
        assert model() == 1

    train(np.arange(10_000), lambda: 1, 0.1)
    assert latest("train").params == {"lr": 0.1}
    assert latest("train").keys() == []


def test_methods() -> None:
    """A method can be decorated; its object is no parameter."""

    class Trainer:
        depth = 5

        @holdall.run("train")
        def fit(self, lr: float) -> int:
            return self.depth

    assert Trainer().fit(0.1) == 5
    assert latest("train").params == {"lr": 0.1}
    assert holdall.load("train/result") == 5


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, []), ({}, []), (0, ["result"]), ([1], ["result"]), ({1: 2}, ["result"]), ({"a": 1, "b": 2}, ["a", "b"])],
)
def test_results(value: object, names: list[str]) -> None:
    """A dict of names becomes artifacts, any other value the artifact ``result``, and ``None`` nothing."""

    @holdall.run("train")
    def train() -> object:
        return value

    assert train() == value
    assert latest("train").keys() == names


def test_failures() -> None:
    """A function that raises leaves a failed run; a call with the wrong arguments leaves none."""

    @holdall.run("train")
    def train(lr: float) -> None:
        raise ValueError(lr)

    with pytest.raises(ValueError, match="1"):
        train(1)
    assert latest("train").status == "failed"
    with pytest.raises(TypeError, match="lr"):
        train()  # type: ignore[call-arg]
    assert len(list(holdall.Flow("train"))) == 1


def test_result_that_cannot_be_saved() -> None:
    """A result that cannot be saved fails the run, and the caller hears of it."""

    @holdall.run("train")
    def train() -> object:
        return {"model": (n for n in range(3))}

    with pytest.raises(holdall.UnsupportedTypeError, match="model"):
        train()
    assert latest("train").status == "failed"


def test_coroutines() -> None:
    """Coroutines are decorated like functions, and several at once each have their own current run."""

    @holdall.run("train")
    async def train(number: int) -> dict[str, Any]:
        before = holdall.current_run()
        await asyncio.sleep(0)
        assert holdall.current_run() is before
        return {"number": number}

    async def main() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(train(number) for number in range(5))))

    assert inspect.iscoroutinefunction(train)
    assert asyncio.run(main()) == [{"number": number} for number in range(5)]
    runs = list(holdall.Flow("train"))
    assert sorted(run["number"].load() for run in runs) == list(range(5))
    assert all(run.params["number"] == run["number"].load() for run in runs)


def test_recursion() -> None:
    """A decorated function that calls itself makes a run for each call."""

    @holdall.run("fact")
    def fact(n: int) -> int:
        return 1 if n == 0 else n * fact(n - 1)

    assert fact(3) == 6
    assert [run.params["n"] for run in holdall.Flow("fact")] == [0, 1, 2, 3]


def test_generators_are_refused() -> None:
    """A generator has done nothing when it returns: it is refused where it is decorated."""
    with pytest.raises(holdall.UnsupportedTypeError, match="steps is a generator"):

        @holdall.run("train")
        def steps() -> Any:
            yield 1


def test_without_parentheses() -> None:
    """A decorator without parentheses is refused with the right way to write it."""
    with pytest.raises(holdall.InvalidNameError, match=r"@holdall\.run\(\)"):

        @holdall.run  # type: ignore[arg-type]
        def train() -> None:
            raise AssertionError
