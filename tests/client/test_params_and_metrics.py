"""Parameters and metrics: small values that live in the record of a run."""

from __future__ import annotations

import argparse
import datetime as dt
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


@dataclass
class Config:
    """Options as a dataclass."""

    lr: float = 0.1
    layers: list[int] = field(default_factory=lambda: [64, 32])


@dataclass(frozen=True, slots=True)
class Slotted:
    """Options as a dataclass without a dictionary."""

    lr: float = 0.1
    layers: tuple[int, ...] = (64, 32)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"lr": 0.1, "name": "x", "on": True, "none": None}, None),
        ({"when": dt.date(2026, 11, 23), "b": b"\0\xff", "c": 1j, "big": 10**40, "t": (1, [2, {"a": {3}}])}, None),
        ({"price": Decimal("1.10"), "part": Fraction(1, 3), "inf": -math.inf}, None),
        ({"np": np.float32(0.5), "n": np.int64(3)}, None),
        ({"\ud83d\ude80".encode("utf-16", "surrogatepass").decode("utf-16"): "\ud800"}, None),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (MappingProxyType({"lr": 1}), {"lr": 1}),
        (argparse.Namespace(lr=0.1, data="x.csv"), {"lr": 0.1, "data": "x.csv"}),
        (Config(), {"lr": 0.1, "layers": [64, 32]}),
        (Slotted(), {"lr": 0.1, "layers": (64, 32)}),
    ],
)
def test_params(params: Any, expected: dict[str, Any] | None) -> None:
    """Parameters come back as they were given, in their order, from a mapping or from anything with attributes."""
    with holdall.run("churn", params=params) as run:
        given_back = dict(run.params)

    expected = dict(params) if expected is None else expected
    found = dict(holdall.Run("churn").params)
    assert found == given_back == expected
    assert list(found) == list(expected)
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


def test_nan_param() -> None:
    """A parameter that is not a number comes back as one."""
    with holdall.run("churn", params={"x": math.nan}) as run:
        assert math.isnan(run.params["x"])
    assert math.isnan(holdall.Run("churn").params["x"])


@pytest.mark.parametrize("params", [5, "lr=0.1", ["lr"], [("lr", 0.1)], Config, math, len, {"lr"}, lambda: 1, object()])
def test_refused_forms(params: object) -> None:
    """What has no names and values cannot be parameters."""
    with pytest.raises(holdall.UnsupportedTypeError, match="mapping of names to values"):
        holdall.run("churn", params=params).__enter__()
    assert holdall.current_run() is None


@pytest.mark.parametrize(
    "value", ["x" * 5000, list(range(5000)), np.arange(1000), len, Exception("x"), lambda: 1, math]
)
def test_refused_params(value: object) -> None:
    """What is large, or would be pickled, is no parameter: the error names it and says what to do."""
    with pytest.raises(holdall.UnsupportedTypeError, match=r"params\['x'\]"), holdall.run("churn", params={"x": value}):
        pytest.fail("the run began")
    assert holdall.current_run() is None
    assert holdall.Client().namespaces == []


@pytest.mark.parametrize("name", [5, None, "", "a/b", ("a",)])
def test_refused_names_of_params(name: object) -> None:
    """Parameters have names like everything else."""
    with pytest.raises(holdall.InvalidNameError), holdall.run("churn", params={name: 1}):
        pytest.fail("the run began")


def test_params_cannot_be_changed() -> None:
    """The parameters of a run are read-only, and are not the caller's own mapping."""
    params = {"lr": 0.1}
    with holdall.run("churn", params=params) as run:
        params["lr"] = 5
        with pytest.raises(TypeError):
            run.params["lr"] = 6  # type: ignore[index]
        assert run.params == {"lr": 0.1}
    assert holdall.Run("churn").params == {"lr": 0.1}


METRICS = [
    (0.5, 0.5),
    (3, 3),
    (True, True),
    (-0.0, -0.0),
    (1e300, 1e300),
    (math.inf, math.inf),
    (-math.inf, -math.inf),
    (2**62, 2**62),
    (2**63, float(2**63)),
    (-(2**70), -float(2**70)),
    (np.float64(0.5), 0.5),
    (np.float32(0.25), 0.25),
    (np.float16(0.25), 0.25),
    (np.int8(-3), -3),
    (np.uint64(2**64 - 1), float(2**64)),
    (np.bool_(True), True),
    (np.array(2.5), 2.5),
    (np.array([7]), 7),
]


@pytest.mark.parametrize(("value", "expected"), METRICS, ids=[f"{type(v).__name__}-{v}" for v, _ in METRICS])
def test_metrics(value: Any, expected: float) -> None:
    """A number of any library is a metric, and comes back as Python's."""
    with holdall.run("churn") as run:
        run.log(x=value)

    (found,) = (point.value for point in holdall.Run("churn").metric("x"))
    assert (found, type(found)) == (expected, type(expected))
    assert math.copysign(1, found) == math.copysign(1, expected)
    assert holdall.Run("churn").metrics == {"x": expected}


def test_nan_metric() -> None:
    """A loss that is not a number is recorded as such."""
    with holdall.run("churn") as run:
        run.log(loss=math.nan, other=np.float32("nan"))

    assert all(math.isnan(value) for value in holdall.Run("churn").metrics.values())
    assert math.isnan(holdall.Run("churn").metric("loss")[0].value)


@pytest.mark.parametrize(
    "value", [None, "0.5", [0.5], 1j, np.arange(3), np.array([]), {}, b"1", object(), 10**400, np.str_("x")]
)
def test_refused_metrics(value: object) -> None:
    """What is no single number is no metric, the error names it, and nothing of the call is logged."""
    with holdall.run("churn") as run:
        with pytest.raises(holdall.UnsupportedTypeError, match="'bad'"):
            run.log(good=1, bad=value)
        run.log(good=2)
    assert [point[:2] for point in holdall.Run("churn").metric("good")] == [(2, 0)]


@pytest.mark.parametrize("value", [0.5, [0.5], "auc", {"auc"}])
def test_metric_without_a_name(value: object) -> None:
    """A metric that is given without a name is refused, with the way to give one."""
    with holdall.run("churn") as run, pytest.raises(holdall.UnsupportedTypeError, match=r"run\.log\(name="):
        run.log(value)  # type: ignore[arg-type]


def test_series() -> None:
    """Points of a metric count from 0, go on after a step that was given, and keep their order and time."""
    with holdall.run("churn") as run:
        run.log(loss=0.9)
        run.log({"loss": 0.5, "val/acc".replace("/", "."): 0.1})
        run.log(loss=0.4, step=10)
        run.log(loss=0.3)
        run.log(loss=0.2, step=2.5)
        run.log(loss=0.1)

    found = holdall.Run("churn")
    assert [(point.value, point.step) for point in found.metric("loss")] == [
        (0.9, 0),
        (0.5, 1),
        (0.4, 10),
        (0.3, 11),
        (0.2, 2.5),
        (0.1, 3),
    ]
    times = [point.time for point in found.metric("loss")]
    assert times == sorted(times)
    assert found.metrics == {"loss": 0.1, "val.acc": 0.1}


def test_series_over_several_records() -> None:
    """All points of a metric are found, in their order, whatever records they lie in."""
    with holdall.run("churn") as run:
        for step in range(6):
            run.log(loss=step, **({"once": 1} if step == 2 else {}))
            if step % 2:
                run.flush()

    found = holdall.Run("churn")
    assert [point[:2] for point in found.metric("loss")] == [(step, step) for step in range(6)]
    assert [point[:2] for point in found.metric("once")] == [(1, 0)]
    assert found.metrics == {"loss": 5, "once": 1}
    with pytest.raises(holdall.NotFoundError, match=r"no metric 'los'.*Did you mean 'loss'.*loss, once"):
        found.metric("los")


@pytest.mark.parametrize("step", [np.int64(3), np.float32(3), 3, 3.0, np.array(3)])
def test_steps(step: Any) -> None:
    """A step is a number of any library."""
    with holdall.run("churn") as run:
        run.log(loss=1, step=step)
        run.log(loss=2)

    assert [point.step for point in holdall.Run("churn").metric("loss")] == [3, 4]


@pytest.mark.parametrize("step", ["3", math.nan, math.inf, [1], np.arange(2), 1j])
def test_refused_steps(step: Any) -> None:
    """A step that is no finite number is refused, and leaves the run as it was."""
    with holdall.run("churn") as run:
        with pytest.raises(holdall.UnsupportedTypeError, match="'loss'"):
            run.log(loss=1, step=step)
        run.log(loss=2)
    assert [point[:2] for point in holdall.Run("churn").metric("loss")] == [(2, 0)]


def test_metric_called_step() -> None:
    """A metric that is called like an argument can be given in a mapping."""
    with holdall.run("churn") as run:
        run.log({"step": 5, "metrics": 6}, step=1)
    assert holdall.Run("churn").metrics == {"step": 5, "metrics": 6}


@given(st.lists(st.floats() | st.integers() | st.booleans(), min_size=1, max_size=20))
@settings(max_examples=20)
def test_any_numbers(values: list[float]) -> None:
    """Any numbers come back: the integers that fit into 64 bits exactly, the others as floats."""
    client = holdall.Client("memory://metrics", namespace="user:ana")
    with holdall.run("churn", client=client) as run:
        for value in values:
            run.log(x=value)

    found = [point.value for point in client.run("churn").metric("x")]
    expected = [v if type(v) is not int or -(2**63) <= v < 2**63 else float(v) for v in values]
    assert list(map(repr, found)) == list(map(repr, expected))


def test_functions_among_options_are_left_out() -> None:
    """What ``set_defaults(func=…)`` puts beside the options is no parameter; a function anywhere else is refused."""
    options = argparse.Namespace(lr=0.1, func=test_params)
    with holdall.run("churn", params=options) as run:
        assert run.params == {"lr": 0.1}
    with pytest.raises(holdall.UnsupportedTypeError, match="func"), holdall.run("churn", params=vars(options)):
        pytest.fail("the run began")


def test_missing_names_are_answered() -> None:
    """A parameter or metric that there is none of is a missing key, and the nearest name is told."""
    with holdall.run("churn", params={"lr": 0.1}) as run:
        run.log(auc=0.9)
        with pytest.raises(KeyError, match="has no parameter 'LR'"):
            run.params["LR"]
    found = holdall.Run(run.pathspec)
    with pytest.raises(holdall.NotFoundError, match=r"no metric 'aux'\. Did you mean 'auc'\? It has: auc\.$") as caught:
        found.metrics["aux"]
    assert isinstance(caught.value, KeyError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(KeyError, match="no parameter 'depth'"):
        found.params["depth"]
    assert (found.params.get("depth"), "aux" in found.metrics, found.metrics == {"auc": 0.9}) == (None, False, True)
