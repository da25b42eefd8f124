"""docs/reference/types.md tells the truth about what is stored exactly, what is pickled, and what is refused."""

from __future__ import annotations

import argparse
import array
import collections
import datetime
import decimal
import fractions
import http
import io
import pathlib
import threading
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import sklearn.linear_model

import holdall
from holdall_store.serializers import encode


class Frame(pd.DataFrame):  # type: ignore[misc]
    """A subclass of a frame."""


class Plain:
    """A class that no serializer knows."""


def nested(levels: int) -> list[Any]:
    """Return lists in lists."""
    top: list[Any] = []
    for _ in range(levels):
        top = [top]
    return top


EXACT = {
    "python": [None, True, 2**70, float("nan"), 1j, "a\ud800", b"x", bytearray(b"x"), (1, {2: {3}}), frozenset([1])],
    "dicts": [collections.OrderedDict(a=1), collections.Counter("aa"), collections.defaultdict(list, {"a": [1]})],
    "times": [datetime.datetime.now(zoneinfo.ZoneInfo("Europe/Berlin")), datetime.date.min, datetime.timedelta(1)],
    "values": [
        decimal.Decimal("1.10"),
        fractions.Fraction(1, 3),
        uuid.uuid4(),
        range(3),
        slice(1),
        ...,
        pathlib.Path("x"),
    ],
    "classes": [http.HTTPStatus.OK, types.SimpleNamespace(a=1), argparse.Namespace(a=1), array.array("d", [1.0])],
    "arrays": [np.zeros((2, 3), order="F"), np.arange(9)[::2], np.array([1, "a"], dtype=object), np.float32(1)],
    "subclasses": [
        np.ma.array([1, 2], mask=[False, True]),
        np.zeros(1, dtype="f4,i4").view(np.recarray),
        np.dtype("f4"),
    ],
    "pandas": [pd.DataFrame({"a": [1, None]}), pd.Series(["x"]), pd.MultiIndex.from_product([[1], ["a"]]), pd.NA],
    "objects": pd.DataFrame({"a": [{"x": 1}, [2]]}),
    "arrow": [pa.table({"a": [[1], None]}), pa.schema([("a", pa.int8())]), pa.array([1]), pa.chunked_array([[1], [2]])],
    "polars": [pl.DataFrame({"a": [1]}), pl.Series("c", ["x"], dtype=pl.Categorical)],
    "scipy": [scipy.sparse.eye_array(3, format=name) for name in ("csr", "csc", "bsr", "coo", "dia", "dok", "lil")],
    "nested": nested(50),
}
PICKLED = {
    "instance": Plain(),
    "lambda": lambda: 1,
    "class": Plain,
    "factory": collections.defaultdict(lambda: 1),
    "subclass of an array": np.zeros(3).view(type("Sub", (np.ndarray,), {})),
    "subclass of a frame": Frame({"a": [1]}),
    "estimator": sklearn.linear_model.LinearRegression().fit([[1.0], [2.0]], [1, 2]),
    "nested": nested(80),
}
REFUSED = {
    "file": io.TextIOWrapper(io.BytesIO()),
    "lock": threading.Lock(),
    "thread": threading.Thread(),
    "generator": (item for item in range(0)),
    "module": types,
    "memoryview": memoryview(b"x"),
    "lazy frame": pl.LazyFrame({"a": [1]}),
    "polars objects": pl.Series([object()], dtype=pl.Object),
}


@pytest.mark.parametrize("value", EXACT.values(), ids=EXACT)
def test_exact(value: Any) -> None:
    """No code runs when these are loaded."""
    assert not encode(value).runs_code


@pytest.mark.parametrize("value", PICKLED.values(), ids=PICKLED)
def test_pickled(value: Any) -> None:
    """These are saved, and loading them takes trust."""
    assert encode(value).runs_code


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_refused(value: Any) -> None:
    """These are refused, by the path to them."""
    with pytest.raises(holdall.UnsupportedTypeError, match=r"^value\['a'\]"):
        encode({"a": value})
