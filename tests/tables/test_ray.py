"""Tables as datasets of Ray's: its tasks read the parts, as we read the whole."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.tables._engines import CASES, make_lake, rows_of
from tests.tables._lake import Lake, write

from holdall_store.tables import Table

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start Ray, once for all of this: it takes seconds. Its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of its own names
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=80 << 20,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        data = ray.data.DataContext.get_current()
        data.enable_progress_bars = False
        yield ray
        ray.shutdown()


def same(table: Table, blocks: int | None = None) -> None:
    """Compare what Ray finds with what we find."""
    found = pa.concat_tables(
        [table.schema.empty_table(), *ray.get(table.to_ray(override_num_blocks=blocks).to_arrow_refs())]
    )

    assert rows_of(found, table.schema) == rows_of(table.to_arrow(), table.schema)


@pytest.mark.slow
def test_ray(cluster: Any, tmp_path: Path, lake: Lake, subtests: pytest.Subtests) -> None:
    """All that a cluster is needed for. In one test, so that one worker starts it, and not each of them."""
    table = Table(make_lake(tmp_path / "lake"))
    for case in ("all", "fields", "no rows", "none of some, and NaN"):
        with subtests.test(case):
            same(CASES[case](table), 4)
    with subtests.test("a head is exactly the first rows"):
        head = table.select("id").head(8)
        assert head.to_ray().take_all() == head.to_arrow().to_pylist()
    with subtests.test("parts go with the credentials"):
        lake.put("a.parquet", pa.table({"x": [1, 2]}))
        lake.put("b.parquet", pa.table({"x": [3]}))
        dataset = Table("s3://bucket/", storage_options=lake.options).to_ray(override_num_blocks=2)
        assert sorted(row["x"] for row in dataset.take_all()) == [1, 2, 3]
    with subtests.test("parts are pinned"):
        write(tmp_path / "c.parquet", pa.table({"x": [1]}))
        dataset = Table(tmp_path / "c.parquet").to_ray()
        write(tmp_path / "c.parquet", pa.table({"x": [1, 2]}))
        with pytest.raises(Exception, match=r"c\.parquet was replaced"):
            dataset.take_all()


def test_there_is_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    write(tmp_path / "a.parquet", pa.table({"x": [1]}))
    monkeypatch.setitem(sys.modules, "ray.data", None)

    with pytest.raises(ImportError, match=r"pip install 'holdall\[ray\]'"):
        Table(tmp_path).to_ray()
