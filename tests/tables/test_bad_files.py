"""Files that are no good: each is named, and none gives rows that are not in it."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables._lake import Lake, numbers, parquet

from holdall_store.errors import FormatError, HoldallError
from holdall_store.storage import open_storage
from holdall_store.tables import Table, _footer, _scan, col

GOOD = parquet(numbers(500, 3), row_group_size=100)


def encrypted() -> bytes:
    """Return a file whose footer is encrypted."""
    import pyarrow.parquet.encryption as pe

    class Kms(pe.KmsClient):  # type: ignore[misc]
        def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
            return key_bytes

        def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
            return bytes(wrapped_key)

    factory = pe.CryptoFactory(lambda connection: Kms())
    configuration = pe.EncryptionConfiguration(footer_key="k", column_keys={"c": ["k"]})
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), configuration)
    table = pa.table({"k": range(10)})
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    return buffer.getvalue()


BAD = {
    "empty": (b"", "is empty"),
    "tiny": (b"PAR1", "no Parquet file"),
    "foreign": (b"a,b\n1,2\n" * 100, "no Parquet file"),
    "truncated": (GOOD[:-100], "cut off"),
    "beheaded": (GOOD[-20:], "damaged"),
    "long footer": (GOOD[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1", "damaged"),
    "no footer": (GOOD[:-8] + (0).to_bytes(4, "little") + b"PAR1", "footer that cannot be read"),
    "wrong footer": (GOOD[:-200] + bytes(192) + GOOD[-8:], "footer that cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("place", ["disk", "memory", "bucket"])
def test_what_is_no_parquet_file(name: str, place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Whatever is wrong with it, the error is one of ours, says what, and names the file; also among good ones."""
    data, message = BAD[name]
    if place == "disk":
        (tmp_path / "good.parquet").write_bytes(GOOD)
        (tmp_path / "wrong.parquet").write_bytes(data)
        table = Table(tmp_path)
    elif place == "memory":
        storage = open_storage(f"memory://bad-{name}")
        storage.create("good.parquet", [GOOD])
        storage.create("wrong.parquet", [data])
        table = Table(f"memory://bad-{name}")
    else:
        lake: Lake = request.getfixturevalue("lake")
        lake.put_bytes("t/good.parquet", GOOD)
        lake.put_bytes("t/wrong.parquet", data)
        table = lake.table("t")

    with pytest.raises(FormatError, match=rf"wrong\.parquet.*{message}"):
        table.to_arrow()


def test_encrypted_files_are_named_as_such(tmp_path: Path) -> None:
    """There is no key that could be given."""
    (tmp_path / "a.parquet").write_bytes(encrypted())

    with pytest.raises(FormatError, match=r"a\.parquet is encrypted"):
        Table(tmp_path).to_arrow()


@given(seed=st.integers(0, 2**32), remote=st.booleans())
@settings(max_examples=60)
def test_damage_is_an_error_or_changes_nothing_but_values(
    tmp_path_factory: pytest.TempPathFactory, seed: int, remote: bool
) -> None:
    """Some bytes are changed anywhere: what comes is an error of ours that names the file, or as many rows as the footer says."""
    chance = random.Random(seed)
    data = bytearray(GOOD)
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if remote:
        url = f"memory://damage-{seed}"
        storage = open_storage(url)
        storage.delete(["a.parquet"])
        storage.create("a.parquet", [bytes(data)])
        table = Table(f"{url}/a.parquet")
    else:
        path = tmp_path_factory.mktemp("damage") / "a.parquet"
        path.write_bytes(data)
        table = Table(path)

    try:
        found = table.to_arrow()
    except HoldallError as error:
        assert "a.parquet" in str(error)
    else:
        assert found.num_rows == table.num_rows


def test_files_without_rows_or_columns(tmp_path: Path) -> None:
    """Zero rows, zero row groups and zero columns are tables like others."""
    (tmp_path / "a.parquet").write_bytes(parquet(pa.table({"x": pa.array([], pa.int64())})))
    assert Table(tmp_path).to_arrow().equals(pa.table({"x": pa.array([], pa.int64())}))
    assert (Table(tmp_path).num_rows, Table(tmp_path).to_pandas().shape) == (0, (0, 1))
    assert Table(tmp_path).stats["x"].null_count == 0
    (tmp_path / "b.parquet").write_bytes(parquet(pa.table({"x": [1, 2]})))
    assert Table(tmp_path).where(col("x") > 1).to_arrow().to_pylist() == [{"x": 2}]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "none.parquet").write_bytes(parquet(pa.table({})))
    assert Table(tmp_path / "c").to_arrow().num_columns == 0
    assert Table(tmp_path / "c").num_rows == 0


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    """With two columns of one name nobody knows which is meant."""
    path = tmp_path / "twice.parquet"
    path.write_bytes(parquet(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])))

    with pytest.raises(FormatError, match=r"twice\.parquet has two columns called 'x'"):
        Table(path).num_rows  # noqa: B018 - looking is what fails


def test_a_chunk_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a footer says of places outside of the file's data is never asked for."""
    path = tmp_path / "a.parquet"
    path.write_bytes(GOOD)

    def refuse(*args: object, **options: object) -> None:
        raise ValueError("a column chunk lies elsewhere")

    monkeypatch.setattr(_footer, "chunk_span", refuse)
    with pytest.raises(FormatError, match=r"a\.parquet: in row group 0, .*elsewhere"):
        Table(path).to_arrow()


def test_damaged_data_in_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that cannot be decoded raises with the file and the row group, and whatever is under way ends."""
    for module in (_footer, _scan):
        monkeypatch.setattr(module, "SMALL_BYTES", 0)
    storage = open_storage("memory://damaged-ranges")
    begin = pq.read_metadata(io.BytesIO(GOOD)).row_group(2).column(0).dictionary_page_offset
    storage.create("a.parquet", [GOOD[:begin], b"\xff" * 40, GOOD[begin + 40 :]])

    with pytest.raises(FormatError, match=r"a\.parquet: row groups? .* cannot be decoded"):
        Table("memory://damaged-ranges/a.parquet").to_arrow()
