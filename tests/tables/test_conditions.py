"""Conditions: how they are written, what they refuse, and that statistics never rule out what is there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tables._lake import write

from holdall_store.errors import InvalidNameError, UnsupportedTypeError
from holdall_store.tables import Expression, Table, col
from holdall_store.tables._bound import bind, evaluate
from holdall_store.tables._prune import Bounds, outcomes
from holdall_store.tables._query import simplify

x: Any = col("x")
y = col("y")


def wrong_conditions() -> list[Any]:
    """Return what is no condition."""
    return ["x > 3", 3]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (x > 3, "(col('x') > 3)"),
        ((x >= 3) & (y != "a") | x.is_null(), "((col('x') >= 3) & (col('y') != 'a')) | col('x').is_null()"),
        (~((x < 3) & (y == 2)), "~((col('x') < 3) & (col('y') == 2))"),
        (x.isin([1, None]) & x.between(1, 2), "col('x').isin([1, None]) & (col('x') >= 1) & (col('x') <= 2)"),
        (col("s.t").starts_with("ab"), "col('s.t').starts_with('ab')"),
        (x == None, "col('x').is_null()"),  # noqa: E711 - what people write
        (x != None, "~col('x').is_null()"),  # noqa: E711 - what people write
        (x <= y, "(col('x') <= col('y'))"),
        (x == np.int64(3), "(col('x') == 3)"),
    ],
)
def test_conditions_say_what_they_are(condition: Expression, text: str) -> None:
    """A condition reads as it would be written, and survives a pickle."""
    assert repr(condition) == text
    assert repr(pickle.loads(pickle.dumps(condition))) == text
    assert condition.columns() <= {"x", "y", "s.t"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: bool(x > 3),
        lambda: 1 < x < 3,
        lambda: (x > 3) and (y > 3),
        lambda: (x > 3) & y,
        lambda: (x > 3) | True,
        lambda: x > None,
        lambda: x == [1, 2],
        lambda: x.isin("abc"),
        lambda: x.isin(3),
        lambda: x.starts_with(3),
        lambda: {x: 1},
        lambda: Table("t").where(*wrong_conditions()[:1]),
        lambda: Table("t").where(*wrong_conditions()[1:]),
    ],
)
def test_what_is_no_condition(wrong: Any) -> None:
    """What Python would take for something else is refused when it is written."""
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize("name", ["", 3, None])
def test_what_is_no_name(name: Any) -> None:
    """A column is named by a text."""
    with pytest.raises(InvalidNameError):
        col(name)


@pytest.mark.parametrize(
    "condition",
    [
        x > "a",
        x == b"1",
        x.isin(["a"]),
        x.starts_with("1"),
        y > 3,
        y == 3.5,
        col("s") == 3,
        x.between(True, 5),
        col("d") == "yesterday",
    ],
)
def test_values_of_another_kind_are_refused(tmp_path: Path, condition: Expression) -> None:
    """A text is no number: the error has the condition and the column's type, and no row is silently left out."""
    write(tmp_path / "a.parquet", pa.table({"x": [1], "y": ["t"], "s": [{"a": 1}], "d": pa.array([0], pa.date32())}))

    with pytest.raises(UnsupportedTypeError, match="the column is of type"):
        Table(tmp_path).where(condition).to_arrow()


def test_values_by_name(tmp_path: Path) -> None:
    """Keywords are equalities, lists of values, and nulls; several calls add up."""
    write(tmp_path / "a.parquet", pa.table({"x": [1, 2, 3, None], "y": ["a", "b", "a", None]}))
    table = Table(tmp_path)

    assert table.where(x=[1, 3, None], y="a").to_arrow().column("x").to_pylist() == [1, 3]
    assert table.where(x={3, 1}).where(x > 1).to_arrow().column("x").to_pylist() == [3]
    assert table.where(x=None).num_rows == table.where(y.isin([None])).num_rows == 1
    assert table.where(~(y.isin(["a", "b"]))).num_rows == 0
    assert table.where(x=range(2)).num_rows == 1
    assert table.where().num_rows == 4
    assert table.where(x > col("x")).num_rows == 0


def test_nan_is_not_ruled_out(tmp_path: Path) -> None:
    """Statistics leave NaN out, and yet it is different from everything and not greater than anything."""
    write(tmp_path / "a.parquet", pa.table({"f": [1.0, float("nan"), 2.0]}))
    table, f = Table(tmp_path), col("f")

    assert table.where(f != 5).num_rows == 3
    assert table.where(~(f < 3)).num_rows == 1
    assert table.where(f < 3).num_rows == 2
    assert table.where(f.isin([float("nan")])).num_rows == 1
    signed = Table(write(tmp_path / "zeros" / "a.parquet", pa.table({"f": [-0.0, 0.0]})))
    assert signed.where(f=0.0).num_rows == signed.where(f=[0.0]).num_rows == signed.where(f=[-0.0, 1.0]).num_rows == 2


VALUES = st.sampled_from([-1.0, 0.0, 1.0, 2.0, float("nan")])


def leaves() -> st.SearchStrategy[Expression]:
    """Make conditions on ``x``."""
    compared = st.tuples(st.sampled_from(["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"]), VALUES)
    return st.one_of(
        compared.map(lambda pair: getattr(col("x"), pair[0])(pair[1])),
        st.lists(st.none() | VALUES, max_size=3).map(col("x").isin),
        st.just(col("x").is_null()),
    )


CONDITIONS = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda each: ~each),
    ),
    max_leaves=4,
)


@given(CONDITIONS, st.lists(st.none() | VALUES, min_size=1, max_size=5))
def test_statistics_never_rule_out_what_is_there(condition: Expression, values: list[float | None]) -> None:
    """What a condition is for any row is among what the bounds of the rows say that it can be; what is left is the same."""
    bound = bind(condition, pa.schema([("x", pa.float64())]), "the table")
    known = [value for value in values if value is not None and value == value]
    missing = sum(value is None for value in values)
    nulls = "none" if not missing else "all" if missing == len(values) else "some"
    bounds = Bounds(min(known, default=None), max(known, default=None), nulls, nan=True)  # type: ignore[arg-type]
    array = pa.array(values, pa.float64())

    found = evaluate(bound, lambda path: array).to_pylist()
    assert set(found) <= outcomes(bound, lambda path: bounds)
    left = simplify(bound, lambda path: bounds)
    rows = [value is True for value in found]
    if isinstance(left, bool):
        assert rows == [left] * len(rows)
    else:
        assert [value is True for value in evaluate(left, lambda path: array).to_pylist()] == rows


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=4), st.text("ab", max_size=3))
def test_prefixes_are_ruled_out_only_where_there_are_none(values: list[str], prefix: str) -> None:
    """The bounds of texts tell whether one can begin with a prefix."""
    bound = bind(col("x").starts_with(prefix), pa.schema([("x", pa.string())]), "the table")
    found = outcomes(bound, lambda path: Bounds(min(values), max(values), "none"))

    assert {value.startswith(prefix) for value in values} <= found
    assert outcomes(
        bind(col("x").starts_with("c"), pa.schema([("x", pa.string())]), "t"), lambda path: Bounds("a", "b", "none")
    ) == {False}
