"""Arguments that are something else than what is asked for: one error of holdall's, which says what is wanted."""

from __future__ import annotations

import numpy as np
import pytest

import holdall
from holdall.store import UnsupportedTypeError

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.mark.parametrize("name", ["url", "bucket", "prefix", "s3root"])
def test_the_root_of_s3(name: str) -> None:
    """What is no text is no root."""
    with pytest.raises(UnsupportedTypeError, match=f"^{name}= takes a text such as '.*', not 3"):
        holdall.S3(**{name: 3})  # type: ignore[arg-type]


def test_what_makes_nothing() -> None:
    """A value in the place of the function is refused, also where nothing would have to be made."""
    with holdall.run("churn") as run:
        with pytest.raises(
            UnsupportedTypeError, match=r"cached\(\) takes a function that makes 'v', .* this is an int"
        ):
            run.cached("v", 3)  # type: ignore[arg-type]
        run.save(v=1)
        with pytest.raises(UnsupportedTypeError, match="this is a list"):
            run.cached("v", [])  # type: ignore[arg-type]
        assert run.cached("v", list) == 1


def test_runs_by_something_else_than_a_number() -> None:
    """Runs are counted: an id is looked up in the flow; numbers of numpy count as well."""
    saved = holdall.save(1, "churn/model")
    runs = holdall.Flow("churn").runs()

    for wrong in (saved.run_id, None, 0.0):
        with pytest.raises(UnsupportedTypeError, match=r"runs\[0\] is the newest"):
            runs[wrong]  # type: ignore[call-overload]
    assert runs[np.int64(0)].id == runs[-1].id == saved.run_id  # type: ignore[call-overload]
