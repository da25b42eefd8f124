"""Run ids, and the order in which a listing gives them."""

from __future__ import annotations

import datetime as dt

import hypothesis.strategies as st
import pytest
from hypothesis import given

from holdall_store.errors import FormatError, InvalidNameError
from holdall_store.format import make_run_id, run_segment, segment_run_id
from holdall_store.storage import check_key

moments = st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31), timezones=st.just(dt.UTC))
tokens = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"), min_size=6, max_size=6)


@given(moments, tokens, moments, tokens)
def test_newest_runs_come_first(first: dt.datetime, a: str, second: dt.datetime, b: str) -> None:
    """Of two runs the later one sorts first in a listing, and its id sorts last."""
    one, two = make_run_id(first, a), make_run_id(second, b)

    if first != second:
        assert (run_segment(one) > run_segment(two)) == (first < second)
        assert (one < two) == (first < second)
    assert segment_run_id(run_segment(one)) == one
    assert check_key(run_segment(one))


def test_the_time_in_an_id_is_utc() -> None:
    """Wherever it was made, an id tells the time in UTC, to the microsecond."""
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))

    assert make_run_id(dt.datetime(2026, 11, 23, 3, 14, 2, 45, zone), "abcdef") == "20261122T214402000045-abcdef"


@pytest.mark.parametrize(
    "text",
    ["", "..", "20261123", "20261123T081402123456", "20261123T081402123456-ABCDEF", "20261123T081402123456-abcde1",
     "20261123T081402123456-abcdef/..", "20261123T081402123456-abcdef\n", "٢٠٢٦١١٢٣T081402123456-abcdef"],
)  # fmt: skip
def test_what_is_no_run_id_is_refused(text: str) -> None:
    """Nothing but an id becomes part of a key, and nothing but a run's segment is read as one."""
    with pytest.raises(InvalidNameError):
        run_segment(text)
    with pytest.raises(FormatError):
        segment_run_id(text)
