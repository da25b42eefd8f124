"""What nobody should be told by a library below: wrong arguments, types without a place, encrypted columns."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from holdall_store.errors import FormatError, IntegrityError, InvalidNameError, TableNotFoundError, UnsupportedTypeError
from holdall_store.tables import Table, col

WRONG_OPTIONS: Any = "x"


class _Keys(pe.KmsClient):  # type: ignore[misc]
    """Keeps no secrets."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        del config

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return base64.b64encode(master_key_identifier.encode().ljust(16) + key_bytes).decode()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        del master_key_identifier
        return base64.b64decode(wrapped_key)[16:]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Return a file of which everybody can read the footer and one of two columns."""
    table = pa.table({"id": range(10), "amount": ["a"] * 10})
    configuration = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["amount"]}, plaintext_footer=True)
    keys = pe.CryptoFactory(_Keys).file_encryption_properties(pe.KmsConnectionConfig(), configuration)
    path = tmp_path / "sealed.parquet"
    with pq.ParquetWriter(path, table.schema, encryption_properties=keys) as writer:
        writer.write_table(table)
    return path


def test_an_encrypted_column_is_refused_by_name(sealed: Path) -> None:
    """Other columns are read, and whatever needs the encrypted one raises instead of ending the process."""
    table = Table(sealed)
    assert table.select("id").where(col("id") > 7).to_arrow().num_rows == 2
    assert table.num_rows == 10
    assert table.select("id").stats["id"].max == 9
    for read in (
        lambda: table.to_arrow(),
        lambda: table.to_pandas(),
        lambda: table.head(2).to_arrow(),
        lambda: table.where(amount="a").select("id").to_arrow(),
        lambda: table.explain(),
        lambda: table.stats,
    ):
        with pytest.raises(FormatError, match="column 'amount' is encrypted"):
            read()


@pytest.mark.parametrize("kind", [pa.decimal32(5, 2), pa.decimal64(10, 2), pa.decimal256(50, 2)])
def test_decimals_of_every_width_become_frames(tmp_path: Path, kind: Any) -> None:
    """Decimals that repeat are those of Python in pandas, however wide they are stored."""
    values = [decimal.Decimal("1.50")] * 50
    pq.write_table(pa.table({"d": pa.array(values, kind)}), tmp_path / "d.parquet")
    frame = Table(tmp_path / "d.parquet").to_pandas()
    assert frame["d"].to_list() == values


def test_json_becomes_texts_in_pandas(tmp_path: Path) -> None:
    """A column of JSON is given to pandas as texts."""
    texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None]))
    pq.write_table(pa.table({"j": texts, "n": [1, 2]}), tmp_path / "j.parquet")
    assert Table(tmp_path / "j.parquet").to_pandas()["j"].to_list()[0] == '{"a": 1}'


@pytest.mark.parametrize(
    "column",
    [
        pa.array([decimal.Decimal(1)], pa.decimal256(50, 2)),
        pa.array([dt.datetime(2026, 1, 1)], pa.timestamp("us", tz="+05:30")),
        pa.array([{"a": decimal.Decimal(1)}], pa.struct([("a", pa.decimal256(50, 2))])),
    ],
    ids=["decimal", "zone", "nested"],
)
def test_what_polars_has_no_type_for(tmp_path: Path, column: Any) -> None:
    """A column that polars cannot hold is refused by its name."""
    pq.write_table(pa.table({"odd": column}), tmp_path / "p.parquet")
    with pytest.raises(UnsupportedTypeError, match="'odd'"):
        Table(tmp_path / "p.parquet").to_polars()


def test_times_of_day_with_nanoseconds(tmp_path: Path) -> None:
    """What pandas would have to cut is refused by name, and what fits is given."""
    pq.write_table(pa.table({"t": pa.array([1], pa.time64("ns"))}), tmp_path / "t.parquet")
    with pytest.raises(UnsupportedTypeError, match="'t' has nanoseconds"):
        Table(tmp_path / "t.parquet").to_pandas()
    pq.write_table(pa.table({"t": pa.array([1000], pa.time64("ns"))}), tmp_path / "u.parquet")
    assert Table(tmp_path / "u.parquet").to_pandas()["t"].to_list() == [dt.time(0, 0, 0, 1)]


@pytest.fixture
def small(tmp_path: Path) -> Table:
    """Return a table."""
    pq.write_table(
        pa.table({"user": ["a", "b"], "i": [1, None], "l": [[1], [2]], "b": [b"ab", b"c"]}), tmp_path / "small.parquet"
    )
    return Table(tmp_path / "small.parquet")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda table: Table("t", storage_options=WRONG_OPTIONS),
        lambda table: Table("s3://bucket/t", storage_options={"endpoint_url": 3}),
        lambda table: table.to_duckdb(3),
        lambda table: table.to_spark(None),
        lambda table: table.to_pandas(index=3),
        lambda table: table.to_pandas(categories=3),
        lambda table: table.to_dask(0),
        lambda table: table.where(col("l") == 1).to_arrow(),
        lambda table: table.where(col("l").isin([1])).to_arrow(),
        lambda table: table.where(col("i") >= pd.NA),
    ],
)
def test_wrong_arguments_are_refused_by_us(small: Table, wrong: Any) -> None:
    """What makes no sense as an argument raises one of our errors."""
    with pytest.raises((InvalidNameError, UnsupportedTypeError)):
        wrong(small)


def test_the_number_of_partitions_is_called_so(small: Table) -> None:
    """An error names what was given wrong, and not what is made of it."""
    with pytest.raises(InvalidNameError, match="npartitions="):
        small.to_dask(0)


def test_one_category_is_a_name(small: Table) -> None:
    """A single text is the name of a column, not its letters."""
    assert str(small.to_pandas(categories="user")["user"].dtype) == "category"


@pytest.mark.parametrize("missing", [None, pd.NA, pd.NaT, np.datetime64("NaT")])
def test_what_is_missing_is_null(small: Table, missing: Any) -> None:
    """What pandas and NumPy have for null is null."""
    assert small.where(col("i") == missing).num_rows == 1
    assert small.where(col("i") != missing).num_rows == 1
    assert small.where(col("i").isin([missing])).num_rows == 1
    assert small.where(i=missing).num_rows == 1


def test_bytes_begin_with_bytes(small: Table) -> None:
    """Bytes are looked for in a column of bytes as texts are."""
    assert small.where(col("b").starts_with(b"a")).num_rows == 1
    assert small.where(col("user").starts_with("a")).num_rows == 1


def test_a_file_that_is_almost_there(small: Table, tmp_path: Path) -> None:
    """An error tells the nearest name, and how to leave out what is no data."""
    assert small.num_rows == 2
    with pytest.raises(TableNotFoundError, match=r"'small\.parquet'"):
        Table(tmp_path / "small.parquett").to_arrow()
    (tmp_path / "README.md").write_text("# Not a table at all")
    with pytest.raises(FormatError, match="with a glob"):
        Table(tmp_path).to_arrow()
    assert Table(f"{tmp_path}/*.parquet").num_rows == 2


def test_a_file_of_another_size_than_its_log_says(tmp_path: Path) -> None:
    """A file that another program replaced is not taken for the one that was written."""
    Table.write(tmp_path / "t", pa.table({"x": [1, 2]}))
    (written,) = Table(tmp_path / "t").files()
    assert Table(tmp_path / "t").num_rows == 2
    pq.write_table(pa.table({"x": list(range(500))}), written.url)
    with pytest.raises(IntegrityError, match="another program replaced it"):
        Table(tmp_path / "t").to_arrow()
