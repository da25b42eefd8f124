"""What notebooks and terminals show of tables: what is known, the first rows on request, and a bar on long readings."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.client.test_views import NASTY, Page
from tests.tables._lake import OPTIONS, numbers, parquet, write
from tests.transfer._bucket_server import BucketServer

import holdall
from holdall import _tables
from holdall_store.tables import _footer
from holdall_store.transfer.s3 import Progress


@pytest.fixture
def server() -> Iterator[BucketServer]:
    """Give a server with a table of two files."""
    _footer._cache.clear()
    made = BucketServer()
    for day in (1, 2):
        made.store(
            f"events/day={day}/a.parquet",
            parquet(pa.table({"x": range(day * 100, day * 100 + 50), "y": pa.array([None] * 50, pa.int8())})),
        )
    yield made
    made.close()


def events(server: BucketServer) -> holdall.Table:
    """Return the table."""
    return holdall.Table("s3://bucket/events", storage_options={**OPTIONS, "endpoint_url": server.url})


def test_a_view_asks_for_nothing(server: BucketServer) -> None:
    """It shows what is known by then: at first the name, then files and columns, and statistics with the footers."""
    table = events(server)
    first = Page(table.where(day=1).select("x")._repr_html_()).text
    assert server.log == []
    assert "s3://bucket/events" in first
    assert "(col('day') == 1)" in first
    assert "Not looked at yet" in first

    assert table.schema.names == ["x", "y", "day"]
    asked = len(server.log)
    page = Page(table._repr_html_())
    assert len(server.log) == asked
    assert "2 files" in page.text
    for text in ("int64", "249", "100"):
        assert text in page.text
    assert "249" not in Page(table.where(day=1)._repr_html_()).text
    assert len(server.log) == asked

    _footer._cache.clear()
    forgotten = Page(table._repr_html_()).text
    assert len(server.log) == asked
    assert "int64" in forgotten
    assert "249" not in forgotten


def test_a_preview(server: BucketServer) -> None:
    """It reads some rows once, and shows them with types and statistics, as HTML and as text."""
    preview = events(server).preview(3)
    asked = len(server.log)
    page = Page(preview._repr_html_())
    lines = repr(preview).splitlines()

    assert len(server.log) == asked
    assert preview.rows.num_rows == 3
    assert [cell in page.text for cell in ("102", "103", "greatest 249", "nulls 100", "The first 3 rows.")] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert lines[1:] == [
        "    x     y    day",
        "int64  int8  int64",
        "  100  null      1",
        "  101  null      1",
        "  102  null      1",
    ]


def test_views_are_escaped_and_bounded(tmp_path: Path) -> None:
    """Whatever stands in names and values is text; many columns and long texts are cut."""
    wide = {NASTY: [NASTY * 20, None], **{f"c{at}": [{"a": [at]}, None] for at in range(30)}}
    write(tmp_path / "<i>.parquet", pa.table(wide))
    table = holdall.Table(tmp_path / "<i>.parquet")
    preview = table.preview()
    assert table.stats

    for page in (Page(table._repr_html_()), Page(preview._repr_html_())):
        assert "<script>alert" in page.text
        assert "… and more columns." in page.text
        assert "script" not in page.tags
        assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href")}
        assert len(page.text) < 4000
    assert "\x1b" not in repr(preview)


def test_a_view_never_raises(tmp_path: Path) -> None:
    """What is wrong with a table is shown, and nothing is where no rows are."""
    write(tmp_path / "a.parquet", pa.table({"x": [1]}))
    table = holdall.Table(tmp_path)
    assert table.schema.names == ["x"]

    assert "no column 'z'" in Page(table.where(z=1)._repr_html_()).text
    assert "There are no such rows." in Page(table.where(x=5).preview()._repr_html_()).text


class Watch:
    """Takes the place of the bar, and keeps what it is told."""

    def __init__(self, statistics: Callable[[], Mapping[str, Any]]) -> None:
        self.statistics = statistics
        self.seen: list[tuple[Any, ...]] = []
        made.append(self)

    def __enter__(self) -> Callable[[Progress], None]:
        return lambda told: self.seen.append(
            (told.verb, told.objects, told.objects_total, told.bytes, told.bytes_total)
        )

    def __exit__(self, *error: object) -> None:
        self.end = dict(self.statistics())


made: list[Watch] = []


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """Put the double in the place of the bar, and somebody before a terminal."""
    made.clear()
    monkeypatch.setattr(_tables, "Bar", Watch)
    monkeypatch.setattr(_tables, "is_watched", lambda: True)
    return made


@pytest.mark.parametrize("read", [holdall.Table.to_arrow, holdall.Table.to_pandas, holdall.Table.to_polars])
def test_long_readings_are_told(server: BucketServer, watched: list[Watch], read: Callable[[Any], Any]) -> None:
    """Files and bytes are counted, of as many as there will be where the footers are known."""
    server.store("events/day=3/a.parquet", parquet(numbers(200_000, 2), row_group_size=50_000))
    table = events(server)
    assert len(read(table.select("day"))) == 200_100
    assert len(read(table.select("k"))) == 200_100

    (*_, (verb, files, files_total, done, total)) = watched[-1].seen
    assert (verb, files, files_total) == ("read", 3, 3)
    assert done == total == watched[-1].end["bytes_in"]
    assert done > 200_000


def test_conditions_and_local_files_are_told(tmp_path: Path, watched: list[Watch]) -> None:
    """A condition may spare bytes, of which it never needs more than was said; local files are counted, too."""
    write(tmp_path / "a.parquet", numbers(100_000, 3), row_group_size=10_000)
    table = holdall.Table(tmp_path)

    assert table.where(k=5).to_arrow().num_rows == 1
    assert table.head(5).to_arrow().num_rows == 5
    (*_, (_, files, _, done, total)) = watched[0].seen
    assert files == 1
    assert 0 < done <= total


def test_nobody_is_told_where_nobody_looks(
    server: BucketServer, watched: list[Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody watches, and in the parts that an engine reads; a bar that is wished for is there."""
    table = events(server)
    assert table.to_dask(2).compute(scheduler="synchronous").shape == (100, 3)
    monkeypatch.setattr(_tables, "is_watched", lambda: False)
    assert table.to_arrow().num_rows == 100
    assert watched == []

    monkeypatch.setattr(holdall.Table, "shows_progress", True)
    assert table.to_arrow().num_rows == 100
    assert len(watched) == 1


def test_the_face_s_table_is_the_engine_s(server: BucketServer) -> None:
    """It is the same in all but bar and views, and arrives as what it was in other processes."""
    from holdall_store.tables import Table as EngineTable

    table = pickle.loads(pickle.dumps(events(server).head(3)))

    assert type(table) is holdall.Table
    assert issubclass(holdall.Table, EngineTable)
    with table._default_reporter(dict) as reporter:
        assert reporter is None
    with EngineTable("x.parquet")._default_reporter(dict) as reporter:
        assert reporter is None
    assert isinstance(EngineTable("x.parquet")._default_reporter(dict), contextlib.nullcontext)


def test_a_frame_of_a_store(workdir: Path, watched: list[Watch]) -> None:
    """Its view loads nothing, and shows the types that are known; its preview is like that of files."""
    with holdall.run("churn") as run:
        run.save(train=pd.DataFrame({"x": [1, 2, 3], "s": ["a", None, "c"]}))
    table = holdall.Flow("churn").latest_run["train"].table()
    first = Page(table._repr_html_())
    assert "churn/train" in first.text
    assert "int64" not in first.text
    preview = table.where(holdall.col("x") > 1).preview(1)

    assert type(table) is holdall.Table
    assert preview.rows.to_pylist() == [{"x": 2, "s": None}]
    assert "int64" in Page(preview._repr_html_()).text
    assert len(table.to_arrow()) == 3
