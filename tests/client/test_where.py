"""Filters: what they mean, what they say of mistakes, and that nothing at all makes them fail otherwise."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdall._moments import parse_duration, parse_moment
from holdall._where import parse_where
from holdall.store import InvalidFilterError
from holdall_store.repository import RunRow

COMMIT = "1a2b3c4d5e6f" + "0" * 28


def row(**members: Any) -> RunRow:
    """Return a run that took two minutes."""
    whole: dict[str, Any] = {
        "run": "20261123T080000000000-aaaaaa",
        "namespace": "user:ana",
        "status": "succeeded",
        "slots": 1,
        "ended": True,
        "deleted": False,
        "started_s": dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC).timestamp(),
        "updated_s": dt.datetime(2026, 11, 23, 8, 2, tzinfo=dt.UTC).timestamp(),
        "user": "ana",
        "host": "box",
        "exception": "",
        "git_commit": COMMIT,
        "git_branch": "main",
        "git_dirty": False,
        "tags": ["nightly", "eu"],
        "artifacts": ["model"],
        "metrics": {"auc": 0.91, "train/loss": 0.5, "best epoch": 7, "nan": math.nan, "ok": True, "a.b": 1},
        "params": {"lr": 0.1, "name": "big", "opt": {"kind": "adam", "beta": [1, 2]}, "flag": False},
        "begun_with": ["nightly", "eu"],
    }
    return RunRow(**{**whole, **members})


RUN = row()


def matches(text: str, run: RunRow = RUN) -> bool:
    """Tell whether a run matches."""
    return parse_where(text).matches(run) is True


@pytest.mark.parametrize(
    "text",
    [
        "metrics.auc > 0.9",
        "0.9 < metrics.auc",
        "metrics.auc >= 0.91 and metrics.auc <= .91 and metrics.auc = 9.1e-1",
        "metrics.train/loss == 0.5",
        "metrics.'best epoch' == 7 and metrics.\"best epoch\" <> 8",
        "metrics.a.b == 1",
        "metrics.ok == True and metrics.ok == true",
        "metrics.auc > metrics.train/loss",
        "params.lr < 0.2",
        'params.name == "big"',
        "params.name in ('small', 'big',)",
        "params.name not in ['small']",
        "params.opt.kind == 'adam'",
        "params.flag == False",
        "params.flag != True",
        "'nightly' in tags and 'us' not in tags",
        "'model' in artifacts",
        "status == 'succeeded' and user = 'ana' and host != 'other'",
        "status in ['failed', 'succeeded']",
        "namespace == 'user:ana' and run == '20261123T080000000000-aaaaaa'",
        "started >= '2026-11-23' and started < '2026-11-24'",
        "started == '2026-11-23T09:00:00+01:00'",
        "finished > '2026-11-23T08:01:59'",
        "duration > '90s' and duration <= 120 and duration < '1h'",
        "git.commit == '1a2b3c4' and git.branch == 'main' and git.dirty == False",
        f"git.commit == '{COMMIT}'",
        "git.commit != 'ffffffff'",
        "exception == None and exception is None",
        "metrics.missing == None and metrics.missing is None",
        "metrics.auc is not None and metrics.auc != None",
        "metrics.missing in [None, 3]",
        "not (metrics.auc < 0.9 or status == 'failed')",
        "not not metrics.auc > 0.9",
        "status == 'failed' or status == 'running' or metrics.auc > 0.9 and params.lr > 0",
        "params.name != 3",
        'params.name == "b\\ig"',
    ],
)
def test_what_matches(text: str) -> None:
    """A run matches what is true of it."""
    assert matches(text)
    assert not matches(f"not ({text})")


@pytest.mark.parametrize(
    "test",
    ["metrics.missing > 0", "metrics.missing != 1", "params.name > 3", "params.opt.none.x == 1", "metrics.gone in [1]"],
)
def test_what_a_run_does_not_have(test: str) -> None:
    """What is missing, or of another kind, is neither so nor not so."""
    assert not matches(test)
    assert not matches(f"not {test}")
    assert matches(f"{test} or metrics.auc > 0")
    assert not matches(f"{test} and metrics.auc > 0")
    assert matches(f"not ({test} and metrics.auc < 0)")


def test_not_a_number() -> None:
    """A metric that is not a number is not greater, smaller or equal; as anywhere, it is not what it is compared with."""
    assert not any(matches(f"metrics.nan {mark} 0") for mark in ("<", ">", "==", ">=", "<="))
    assert matches("metrics.nan != 0")


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("metric.auc > 1", "There is no field 'metric.auc'. Did you mean 'metrics.auc'?", 1),
        ("stauts == 'failed'", "There is no field 'stauts'. Did you mean 'status'?", 1),
        ("lr > 0.1", "A metric is written metrics.lr, a parameter params.lr, a text in quotes", 1),
        ("metrics > 1", "metrics is followed by a dot and a name, such as metrics.auc", 1),
        ("metrics.auc >", "ends where a field or a value is missing", 14),
        ("metrics.auc", "A comparison is missing after metrics.auc", 12),
        ("metrics.auc > 0.9 params.lr", "Nothing can follow here but 'and' or 'or', not 'params.lr'", 19),
        ("(metrics.auc > 1", "A ')' is missing for the '(' in column 1", 17),
        ("metrics.auc > 1)", "Nothing can follow here", 16),
        ("params.lr in [1, 2", "The list is not closed: a ']' is missing", 19),
        ("params.lr in 1", "'in' is followed by a list", 14),
        ("params.lr in [lr]", "a text is written in quotes: 'lr'", 15),
        ("metrics.auc > 1 && status == 'failed'", "'&&' is written 'and' here", 17),
        ("a || b", "'||' is written 'or' here", 3),
        ("! status == 'failed'", "'!' is written 'not' here", 1),
        ("status == 'failed", "The text is not closed", 11),
        ("tags == 'nightly'", "tags are many: write 'name' in tags", 1),
        ("tags in ['nightly']", "tags are many", 1),
        ("3 in tags", "tags are texts: write them in quotes", 1),
        ("'x' in status", "A value can be in tags or in artifacts", 8),
        ("1 < 2", "A comparison needs a field on one side", 1),
        ("metrics.auc > None", "None can only be compared with == and !=", 13),
        ("started > 'yesterday'", "'yesterday' is no time", 11),
        ("duration > '2 moons'", "'2 moons' is no duration", 12),
        ("metrics.auc is 3", "'is' asks whether a field is None", 13),
        ("metrics.auc not 3", "'not' is followed by 'in' here", 17),
        ("metrics.auc > 1e", "This is no number, and no name begins with a digit", 15),
        ("metrics.auc > $", "'$' means nothing in a filter", 15),
        ("", "The filter is empty", 1),
        ("   ", "The filter is empty", 4),
        ("run    ==\n'a' oder", "Nothing can follow here", 15),
    ],
)
def test_mistakes(text: str, message: str, column: int) -> None:
    """An error says what is wrong, and has a caret below the place."""
    with pytest.raises(InvalidFilterError) as caught:
        parse_where(text)
    told, _, caret = str(caught.value).splitlines()
    assert message in told
    assert f"(column {column} of the filter)" in told
    line_start = text[: column - 1].rfind("\n") + 1
    assert caret == "  " + " " * (column - 1 - line_start) + "^"


def test_bounds() -> None:
    """What is no text, too long or nested too deeply is refused by name."""
    for text, message in [
        (3, "takes a filter as text, such as 'metrics.auc > 0.9', not int"),
        ("status == 'a' or " * 1000 + "status == 'b'", "at most 10000 characters"),
        ("(" * 101 + "status == 'a'" + ")" * 101, "more than 100 levels deep"),
        ("not " * 101 + "status == 'a'", "more than 100 levels deep"),
    ]:
        with pytest.raises(InvalidFilterError, match=message):
            parse_where(text)
    assert matches("(" * 99 + "run    != 'a'" + ")" * 99)


_words = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "None",
        "True",
        "metrics.auc",
        "params.lr",
        "params.opt.kind",
        "tags",
        "artifacts",
        "status",
        "started",
        "duration",
        "git.commit",
        "(",
        ")",
        "[",
        "]",
        ",",
        "==",
        "!=",
        "<",
        ">",
        "<=",
        ">=",
        "=",
        "<>",
        "'nightly'",
        '"x"',
        "'2026-11-23'",
        "'1h'",
        "0.5",
        "1",
        "-2e3",
        "nan",
        "metrics.",
        ".5.",
        "$",
        "\\",
        "'",
        "metrics.'a",
        "b'",
    ]
)


@given(st.lists(_words, max_size=14).map(" ".join) | st.text(max_size=40))
@example("\x00")
@example("metrics.\udcff > 1")
@example("params.opt.beta > 1")
@example("started == 1e300")
@example("duration == inf")
def test_nothing_else_is_ever_raised(text: str) -> None:
    """Whatever is written is a filter that answers for any run, or `InvalidFilterError`."""
    try:
        where = parse_where(text)
    except InvalidFilterError as error:
        assert "column" in str(error)
        return
    for run in (RUN, row(metrics={}, params={}, tags=[], user="", git_dirty=None), row(started_s=math.nan)):
        answers = {where.matches(run), parse_where(f"not ({text})").matches(run)}
        assert answers in ({True, False}, {None})


_tests = st.sampled_from(["metrics.auc > 0", "metrics.auc > 1", "metrics.gone > 0"])
_trees = st.recursive(
    _tests,
    lambda inner: st.one_of(st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)),
    max_leaves=8,
)


def _written(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    if tree[0] == "not":
        return f"not ({_written(tree[1])})"
    return f"({_written(tree[1])}) {tree[0]} ({_written(tree[2])})"


def _truth(tree: Any) -> bool | None:
    """Answer as SQL's three-valued logic does."""
    if isinstance(tree, str):
        return {"metrics.auc > 0": True, "metrics.auc > 1": False}.get(tree)
    if tree[0] == "not":
        found = _truth(tree[1])
        return None if found is None else not found
    both = (_truth(tree[1]), _truth(tree[2]))
    if tree[0] == "and":
        return False if False in both else None if None in both else True
    return True if True in both else None if None in both else False


@given(_trees)
def test_logic(tree: Any) -> None:
    """``and``, ``or`` and ``not`` are those of SQL."""
    assert parse_where(_written(tree)).matches(RUN) is _truth(tree)


def test_moments_and_durations() -> None:
    """Times and durations are written in several ways, and refused in all others."""
    moment = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    for value in ("2026-11-23", dt.date(2026, 11, 23), moment, "2026-11-23T01:00+01:00", moment.timestamp()):
        assert parse_moment(value) == moment
    assert [parse_duration(value) for value in (5, 1.5, "90s", "5min", "2m", "1.5h", "7d", "1w")] == [
        5,
        1.5,
        90,
        300,
        120,
        5400,
        604_800,
        604_800,
    ]
    assert parse_duration(dt.timedelta(minutes=1)) == 60
    for bad in ("soon", True, None, 1e300, [1]):
        with pytest.raises(InvalidFilterError, match="time"):
            parse_moment(bad)
    for bad in ("5", "h", "5 years", True, None):
        with pytest.raises(InvalidFilterError, match="is no duration"):
            parse_duration(bad)
