"""The first rows of a large row group: only the pages that have them are fetched, and never decoded in part."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables._lake import Lake, parquet

from holdall_store.storage import open_storage
from holdall_store.tables import Table, _footer, _head, _scan
from holdall_store.tables._pages import parse_page, reach_of_rows
from holdall_store.tables._source import TAIL_BYTES

ROWS = 60_000
RANDOM = np.random.default_rng(5)
WIDE = pa.table(
    {
        "key": RANDOM.integers(0, 1 << 60, ROWS),
        "text": [f"text {at % 100}" for at in range(ROWS)],
        "null": pa.array([None if at % 3 else at for at in range(ROWS)], pa.int64()),
        **{f"c{at}": RANDOM.random(ROWS) for at in range(6)},
        "struct": [{"a": at, "b": None} for at in range(ROWS)],
    }
)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("rows", [1, 5, 20_000, 25_000])
def test_only_the_first_pages_are_fetched(lake: Lake, rows: int, version: str) -> None:
    """With the footer at most four requests, and at most 1 MB beside the pages that have the rows."""
    data = parquet(WIDE, row_group_size=ROWS, data_page_version=version, data_page_size=100_000)
    lake.put_bytes("wide.parquet", data)
    footer = pq.read_metadata(io.BytesIO(data))
    chunks = [footer.row_group(0).column(at) for at in range(footer.num_columns)]
    begins = [min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset) for chunk in chunks]
    needed = 0
    for begin in begins:
        reach = reach_of_rows(memoryview(data)[begin:], rows)
        assert reach is not None
        needed += reach

    table = lake.table("wide.parquet").head(rows)
    found = table.to_arrow()

    asked = lake.asked()
    assert found.equals(WIDE.slice(0, rows))
    assert sum(length for _, _, length in asked[1:]) <= needed + (1 << 20)
    if rows <= 5:
        assert len(asked) <= 4
    assert asked[0][2] == TAIL_BYTES
    again = table.explain()
    assert (again.requests, again.bytes) <= (3, len(data))


@pytest.mark.parametrize("page", [500, 20_000, 1 << 20])
@given(rows=st.integers(1, 7_000), dictionary=st.booleans(), version=st.sampled_from(["1.0", "2.0"]))
@settings(max_examples=12)
def test_wherever_pages_end(page: int, rows: int, dictionary: bool, version: str) -> None:
    """Whatever the size of pages, rows are right although all that was not fetched makes no sense."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        for module in (_footer, _scan):
            patched.setattr(module, "SMALL_BYTES", 0)
        patched.setattr(_head, "SAVED_BYTES_MIN", 1)
        part = WIDE.slice(0, 20_000)
        data = parquet(part, data_page_size=page, use_dictionary=dictionary, data_page_version=version)
        storage = open_storage("memory://pages")
        storage.delete(["a.parquet"])
        storage.create("a.parquet", [data])

        assert Table("memory://pages/a.parquet").head(rows).to_arrow().equals(part.slice(0, rows))


def test_pages_that_are_other_than_thought(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that makes no sense, or Arrow's refusal, is no end: all of the row group is fetched."""
    lake.put("wide.parquet", WIDE, row_group_size=ROWS)

    def refuse(data: memoryview, rows: int) -> int:
        raise ValueError("no header")

    monkeypatch.setattr(_head, "reach_of_rows", refuse)
    assert lake.table("wide.parquet").head(5).to_arrow().equals(WIDE.slice(0, 5))


def test_lists_are_fetched_whole(lake: Lake) -> None:
    """The rows of lists may span pages: no page tells how many rows it has."""
    table = WIDE.append_column("list", pa.array([[at] * (at % 3) for at in range(ROWS)]))
    lake.put("lists.parquet", table, row_group_size=ROWS)

    assert lake.table("lists.parquet").head(7).to_arrow().equals(table.slice(0, 7))
    assert len(lake.asked()) == 2


@given(st.binary(max_size=80))
def test_any_bytes_for_headers(data: bytes) -> None:
    """Bytes that are no header are refused, or end too early, and nothing else happens."""
    try:
        found: Any = parse_page(memoryview(data), 0)
    except ValueError:
        return
    assert found is None or found.end > 0


def test_headers_that_are_cut() -> None:
    """Every part of a header says that it is not all there, and all of it where the page ends."""
    data = memoryview(
        parquet(pa.table({"x": range(100)}), use_dictionary=False, compression="none", write_statistics=True)
    )
    page = parse_page(data, 4)

    assert page is not None
    assert page.values == 100
    begin = page.end - 100 * 8
    assert all(parse_page(data[:end], 4) is None for end in range(4, begin - 10))
    assert reach_of_rows(data[4:20], 1) is None
    with pytest.raises(ValueError, match="page"):
        parse_page(memoryview(b"\xff" * 50), 0)
