"""Buffers of tables are told from their node alone, so that they are read while a library is being imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdall
from holdall_store.serializers import buffers_ahead, decode, encode

ROWS = 1000

FRAME = pd.DataFrame(
    {
        "id": np.arange(ROWS),
        "word": pd.Series([f"word {n}" for n in range(ROWS)], dtype="str"),
        "kind": pd.Categorical.from_codes(np.arange(ROWS) % 3, ["a", "b", "c"]),
        "amount": np.linspace(0, 1, ROWS),
    },
    index=pd.Index(np.arange(ROWS) * 2, name="place"),
)
TABLES: dict[str, Any] = {
    "pandas": FRAME,
    "labels twice": pd.concat([FRAME, FRAME[["id"]]], axis=1),
    "labels that are numbers": FRAME.set_axis(range(4), axis=1),
    "series": FRAME["word"],
    "arrow": pa.table({"id": np.arange(ROWS), "word": [f"word {n}" for n in range(ROWS)]}),
    "polars": pl.DataFrame({"id": np.arange(ROWS), "word": [f"word {n}" for n in range(ROWS)]}),
}


def asked_for(table: Any, columns: list[Any] | None) -> tuple[list[int], set[int]]:
    """Return which buffers are told ahead, and which ones decoding asks for."""
    encoded = encode(table, name="table")
    asked: set[int] = set()

    def fetch(numbers: Any) -> list[memoryview]:
        asked.update(numbers)
        return [memoryview(bytearray(encoded.buffers[number].data)) for number in numbers]

    decode(encoded.node, fetch, trust=False, columns=columns)
    return buffers_ahead(encoded.node, columns), asked


@pytest.mark.parametrize("kind", TABLES)
def test_all_of_a_table_is_told(kind: str) -> None:
    """Whatever the library, every buffer of a whole table is known before it is decoded, each once."""
    ahead, asked = asked_for(TABLES[kind], None)
    assert asked
    assert sorted(ahead) == sorted(asked)


@pytest.mark.parametrize("columns", [["id"], ["word", "amount"], ["kind"], ["amount", "id"]])
@pytest.mark.parametrize("kind", ["pandas", "labels twice"])
def test_no_more_of_some_columns_is_told_than_they_need(kind: str, columns: list[str]) -> None:
    """What is told of columns with text for labels are the buffers of their values, and of no other column."""
    ahead, asked = asked_for(TABLES[kind], columns)
    index = asked_for(TABLES[kind], [])[1]
    assert set(ahead) == asked - index
    assert len(ahead) == len(set(ahead))


@pytest.mark.parametrize(("kind", "columns"), [("labels that are numbers", [1]), ("polars", ["id"]), ("arrow", ["id"])])
def test_nothing_is_told_where_labels_need_a_library(kind: str, columns: list[Any]) -> None:
    """Other labels are decoded first: nothing is guessed."""
    ahead, asked = asked_for(TABLES[kind], columns)
    assert ahead == []
    assert asked


NODES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=3),
    lambda node: (
        st.lists(node, max_size=4)
        | st.dictionaries(st.sampled_from(["$", "buffers", "columns", "labels", "values", "x"]), node, max_size=5)
    ),
    max_leaves=25,
)


@given(NODES, st.none() | st.lists(st.text(max_size=3) | st.integers(), max_size=3))
def test_any_node_is_borne(node: Any, columns: list[Any] | None) -> None:
    """A node that no version writes gives numbers or none, and no error: the decoder says what is wrong."""
    told = buffers_ahead(node, columns)
    assert all(type(number) is int and number >= 0 for number in told)
    assert len(set(told)) == len(told)


def test_a_table_is_verified_while_its_library_is_imported(tmp_path: Path) -> None:
    """In a process that has no pandas yet, the bytes of a frame are read before it is imported."""
    large = pd.DataFrame({"a": np.random.default_rng(1).standard_normal(1 << 16), "b": np.arange(1 << 16)})
    holdall.save(large, "tables/frame", client=holdall.Client(tmp_path / "store"))
    script = """
import sys
import holdall
from holdall_store.repository import BufferReader

read = BufferReader.read
seen = []

def noted(self, refs, *args, **options):
    seen.append((len(refs), "pandas" in sys.modules))
    return read(self, refs, *args, **options)

BufferReader.read = noted
frame = holdall.load("tables/frame", client=holdall.Client(sys.argv[1]), columns=eval(sys.argv[2]))
print(frame.shape, *seen)
"""

    def run(columns: str) -> str:
        command = [sys.executable, "-c", script, str(tmp_path / "store"), columns]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout.strip()

    assert run("None") == "(65536, 2) (2, False)"
    assert run("['b']") == "(65536, 1) (1, False)"
