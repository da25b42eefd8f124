"""What searches find: numbers of every kind, runs that died, runs that were looked at before and offline; and what is refused."""

from __future__ import annotations

import fractions
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import holdall

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

pytestmark = pytest.mark.usefixtures("workdir")


NUMBERS: list[tuple[Any, str]] = [
    (np.float64(0.25), "== 0.25"),
    (np.float32(0.25), "< 0.3"),
    (np.int64(3), "== 3"),
    (np.int64(2**60 + 1), f"== {2**60 + 1}"),
    (np.bool_(True), "== True"),
    (np.str_("adam"), "== 'adam'"),
    (2**53 + 1, f"== {2**53 + 1}"),
    (-(2**63), f"== {-(2**63)}"),
    (2**64 - 1, f"> {2**64 - 2}"),
    (2**70 + 1, f"== {2**70 + 1}"),
    (fractions.Fraction(1, 4), "== 0.25"),
]


@pytest.mark.parametrize(("value", "test"), NUMBERS)
def test_numbers_of_every_kind_are_found(value: Any, test: str) -> None:
    """NumPy's scalars and large integers are compared as plain numbers are, alone and nested, and are in tables."""
    with holdall.run("sweep", params={"x": value, "deep": {"x": value}}):
        pass
    flow = holdall.Flow("sweep")
    for _ in range(2):  # as it is read, and as it is remembered
        assert flow.runs(where=f"params.x {test} and params.deep.x {test}").count() == 1
    assert flow.runs().to_pandas()["params.x"].tolist() == [
        float(value) if type(value) is fractions.Fraction or test.endswith(str(2**70 + 1)) else value
    ]


DIES = """
import os, holdall
run = holdall.run("churn", params={"lr": 1}).__enter__()
run.flush()
os._exit(3)
"""


def test_runs_that_died_are_found() -> None:
    """A run whose process is gone is found as died, by status and filter, and does not count as running."""
    done = subprocess.run([sys.executable, "-c", DIES], check=False)
    assert done.returncode == 3
    with holdall.run("churn") as running:
        running.flush()
        flow = holdall.Flow("churn")
        assert [run.status for run in flow.runs(status="died")] == ["died"]
        assert [run.id for run in flow.runs(status="running")] == [running.id]
        assert flow.runs(where="status == 'died' and params.lr == 1").count() == 1
        assert flow.runs().to_pandas()["status"].tolist() == ["running", "died"]


def test_small_numbers_are_no_time() -> None:
    """Three is hardly a moment of 1970: it is refused, with what was probably meant."""
    with holdall.run("churn"):
        pass
    flow = holdall.Flow("churn")
    with pytest.raises(holdall.InvalidFilterError, match=r"3 would be a time of 1970: write '3d'"):
        flow.runs(since=3)
    assert flow.runs(since=1_500_000_000).count() == 1


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("status == 'suceeded'", "'suceeded' is no status. Did you mean 'succeeded'"),
        ("status in ['failed', 'runing']", "'runing' is no status. Did you mean 'running'"),
        ("run == 'a' AND run == 'b'", "'AND' is written 'and' here"),
        ("NOT run == 'a'", "'NOT' is written 'not' here"),
    ],
)
def test_filters_that_would_find_nothing(where: str, told: str) -> None:
    """A status that there is none of, and a word in capitals, are told."""
    with holdall.run("churn"):
        pass
    with pytest.raises(holdall.InvalidFilterError) as caught:
        holdall.Flow("churn").runs(where=where)
    assert told in str(caught.value)


def test_offline_what_was_searched_is_found(bucket: Bucket) -> None:
    """Searches, counts and tables work offline with the runs that were looked at before."""
    url, options = bucket.empty().url, bucket.options
    online = holdall.Client(url, namespace="team:a", storage_options=options)
    for lr in (0.1, 0.2):
        with holdall.run("churn", client=online, params={"lr": lr}) as run:
            run.log(auc=lr)
    assert online.flow("churn").runs().count() == 2
    offline = holdall.Client(url, namespace="team:a", storage_options=options, offline=True)
    before = len(bucket.server.verbs)
    flow = offline.flow("churn")

    assert flow.runs().count() == 2
    assert flow.runs(where="params.lr > 0.15").count() == 1
    assert [run.metrics["auc"] for run in flow.runs(where="metrics.auc > 0.15")] == [0.2]
    assert flow.runs().to_pandas()["metrics.auc"].tolist() == [0.2, 0.1]
    assert len(bucket.server.verbs) == before
