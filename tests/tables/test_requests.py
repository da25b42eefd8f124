"""What is asked of a bucket: how many requests, for how many bytes."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tests.tables._lake import Lake, numbers, parquet

from holdall_store.errors import HoldallError
from holdall_store.tables import Table, _footer, col
from holdall_store.tables._source import TAIL_BYTES, Found, Tail


def test_head_of_one_file_takes_two_requests(lake: Lake) -> None:
    """The footer comes without a look at the size, and then one row group in one piece."""
    table = numbers(20_000, 16)
    size = lake.put("big.parquet", table, row_group_size=2_000)

    found = lake.table("big.parquet").head(5).to_arrow()

    asked = lake.asked()
    assert found.equals(table.slice(0, 5))
    assert [verb for verb, _, _ in asked] == ["GET", "GET"]
    assert asked[0][2] == TAIL_BYTES
    assert asked[1][2] <= size / 10 * 1.01


def test_few_columns_weigh_what_they_weigh(lake: Lake) -> None:
    """Three of sixteen columns are fetched with hardly a byte of the others, as `explain` said before."""
    table = numbers(100_000, 15)
    lake.put("big.parquet", table, row_group_size=10_000)
    chosen = lake.table("big.parquet").select("c1", "c2", "c9")
    plan = chosen.explain()
    footers = lake.asked()
    ideal = sum(
        group.column(at).total_compressed_size
        for footer in chosen._snapshot.footers(chosen._snapshot.listing.files)
        for group in map(footer.metadata.row_group, range(footer.metadata.num_row_groups))
        for at in (2, 3, 10)
    )

    assert chosen.to_arrow().equals(table.select(["c1", "c2", "c9"]))
    asked = lake.asked()
    assert [length for _, _, length in footers] == [TAIL_BYTES]
    assert len(asked) == plan.requests == 20  # c1 and c2 lie side by side
    assert sum(length for _, _, length in asked) == plan.bytes
    assert plan.bytes <= 1.05 * ideal


def test_statistics_leave_row_groups_out(lake: Lake) -> None:
    """Only the row group that can have the rows is fetched, and of it first the column that tells whether it has."""
    table = numbers(80_000, 20)
    size = lake.put("big.parquet", table, row_group_size=10_000)
    lake.table("big.parquet").num_rows  # noqa: B018 - reads the footer
    lake.asked()

    found = lake.table("big.parquet").where(col("k").between(25_000, 25_009)).to_arrow()

    assert found.equals(table.slice(25_000, 10))
    assert sum(length for _, key, length in lake.asked() if length != TAIL_BYTES and key) <= size / 8 * 1.05


def test_nothing_else_is_fetched_where_no_row_is_found(lake: Lake) -> None:
    """A condition that statistics cannot decide costs the column that it looks at, and no more."""
    lake.put("big.parquet", numbers(80_000, 20).set_column(0, "k", pa.array([0, 9] * 40_000)), row_group_size=10_000)
    chosen = lake.table("big.parquet").where(k=5)
    plan = chosen.explain()
    lake.asked()

    assert chosen.to_arrow().num_rows == 0
    assert sum(length for _, _, length in lake.asked()) == plan.bytes - plan.late_bytes
    assert plan.late_bytes > 0.9 * plan.bytes


def test_small_files_come_in_one_request_each(lake: Lake) -> None:
    """A hundred small files are one listing and a hundred requests; those left out by their folder are none."""
    for at in range(100):
        lake.put(f"small/day={at % 10}/part-{at:03}.parquet", numbers(50, 2, seed=at))
    table = lake.table("small")

    assert table.to_arrow().num_rows == 5_000
    verbs = [verb for verb, _, _ in lake.asked()]
    assert sorted(verbs) == ["GET"] * 100 + ["LIST"]
    _footer._cache.clear()
    assert lake.table("small", schema=table.schema).where(day=3).to_arrow().num_rows == 500
    assert sorted(verb for verb, _, _ in lake.asked()) == ["GET"] * 10 + ["LIST"]


def test_head_of_many_files_reads_few(lake: Lake) -> None:
    """The schema is that of at most 64 files, and the rows are those of the first."""
    for at in range(100):
        lake.put(f"small/part-{at:03}.parquet", numbers(50, 2, seed=at))

    assert lake.table("small").head(60).to_arrow().num_rows == 60
    assert len(lake.asked()) <= 1 + 64 + 5


def test_counting_and_statistics_take_footers_alone(lake: Lake) -> None:
    """The number of rows, and the least and largest values, cost one request for each file, once."""
    lake.put("big.parquet", numbers(50_000, 8), row_group_size=10_000)
    table = lake.table("big.parquet")

    assert table.num_rows == len(table) == 50_000
    assert (table.stats["k"].min, table.stats["k"].max, table.stats["k"].null_count) == (0, 49_999, 0)
    assert table.where(col("k") >= 0).num_rows == 50_000
    assert table.where(col("k") < 0).num_rows == 0
    assert [length for _, _, length in lake.asked()] == [TAIL_BYTES]


def test_a_large_footer_takes_a_second_request(lake: Lake) -> None:
    """A footer that does not fit into the first request is read anew as a whole, and then kept."""
    table = numbers(200, 100)
    lake.put("wide.parquet", table, row_group_size=2)

    assert lake.table("wide.parquet").num_rows == 200
    first, second = lake.asked()
    assert first[2] == TAIL_BYTES < second[2]
    assert lake.table("wide.parquet").select("k").to_arrow().equals(table.select(["k"]))


def test_footers_are_kept_by_etag(lake: Lake) -> None:
    """A second table at the same place asks for the listing, and for the footer only where the file is another."""
    lake.put("t/a.parquet", numbers(10, 1))
    lake.table("t").to_arrow()
    lake.asked()

    assert lake.table("t").num_rows == 10
    assert [verb for verb, _, _ in lake.asked()] == ["LIST"]
    lake.put("t/a.parquet", numbers(20, 1))
    assert lake.table("t").num_rows == 20
    assert [verb for verb, _, _ in lake.asked()] == ["LIST", "GET"]


def test_the_footers_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds no more than it may, and forgets what was used longest ago."""
    cache = _footer._Cache(100_000)
    for at in range(20):
        data = memoryview(parquet(numbers(200, 2, seed=at)))
        found = Found(str(at), len(data), "v")
        footer = _footer.parse_footer("a file", Tail(found, 0, data))
        assert isinstance(footer, _footer.Footer)
        cache.put((at,), footer)

    assert cache._weight <= 100_000
    assert cache.get((19,)) is not None
    assert cache.get((0,)) is None


def test_no_secret_leaves_with_a_table(lake: Lake) -> None:
    """Neither the repr nor a pickle nor an error holds the key."""
    import pickle

    lake.put("t/a.parquet", numbers(10, 1))
    table = lake.table("t").where(k=3)
    table.to_arrow()
    secret = lake.options["secret"]

    assert secret not in repr(table) + str(table.explain())
    assert secret.encode() not in pickle.dumps(table)
    with pytest.raises(HoldallError) as caught:
        Table("s3://bucket/nothing", storage_options=lake.options).to_arrow()
    assert secret not in str(caught.value)


def test_a_list_of_files_takes_one_request_each(lake: Lake) -> None:
    """Small files that are named are fetched with the first look at them, and kept until they are read."""
    for at in range(20):
        lake.put(f"t/{at:02}.parquet", numbers(50, 2, seed=at))
    names = [f"s3://bucket/t/{at:02}.parquet" for at in range(20)]

    assert Table(names, storage_options=lake.options).to_arrow().num_rows == 1_000
    assert [verb for verb, _, _ in lake.asked()] == ["GET"] * 20
