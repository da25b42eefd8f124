"""Everyone who reads tables: one function for each, called in a new process.

They take the same arguments: where the files are (`endpoint` is empty for a local disk, and `key` is a path then), which
columns, an interval of one column, how many rows, in what form the rows are wanted (``"arrow"``: each library's own, which
is a piece of memory in columns; ``"pandas"``: a frame), and how often. Imports are done before a call begins. Each call
begins anew from the name of the table; what a library keeps between calls, it keeps.

Settings are the best that the documentation of each library names; where there is a choice, the faster one here.
"""

from __future__ import annotations

from typing import Any, Final

from benchmarks._s3_common import holdall_options, repeat
from benchmarks._s3_sockets import Piece, into_memory, receive
from benchmarks._servers import ACCESS_KEY, DELAY_S, RATE_BYTES, SECRET_KEY

__all__ = [
    "read_daft",
    "read_duckdb",
    "read_fsspec",
    "read_holdall",
    "read_link",
    "read_memory",
    "read_pandas",
    "read_polars",
    "read_pyarrow",
    "try_httpfs",
]

CONNECTIONS: Final = 64
"""For who has to be told: as many as we open at most."""

DUCKDB_THREADS: Final = 5
"""For each core: its manual recommends two to five where files are far away, because reading blocks a thread."""

PIECE_BYTES: Final = 8 << 20
MIB: Final = 1 << 20


class Wanted:
    """What is read, as a child is told it."""

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        key: str,
        columns: list[str] | None = None,
        where: list[Any] | None = None,
        head: int | None = None,
        output: str = "arrow",
        shaped: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.path = key if not endpoint else f"{bucket}/{key}"
        self.url = key if not endpoint else f"s3://{bucket}/{key}"
        self.glob = f"{self.url}*.parquet" if key.endswith("/") else self.url
        self.columns = columns
        self.where = where
        self.head = head
        self.pandas = output == "pandas"
        self.shaped = shaped


def _measured(call: Any, passes: int, touch_bytes: int) -> dict[str, Any]:
    sample = repeat(call, passes, touch_bytes=touch_bytes)
    sample["rows"] = sample.pop("bytes")
    return sample


def read_holdall(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with ours."""
    import pandas as pd
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    import holdall
    from holdall_store.tables import _source_s3

    what = Wanted(**wanted)
    options = holdall_options(what.endpoint) if what.endpoint else None
    assert pd  # what it imports when it is first used
    assert pc
    assert pq
    assert _source_s3.__name__
    make_table, col = holdall.Table, holdall.col

    def call() -> int:
        table = make_table(what.url, storage_options=options)
        if what.where:
            name, low, high = what.where
            table = table.where(col(name) >= low, col(name) < high)
        if what.columns:
            table = table.select(*what.columns)
        if what.head:
            table = table.head(what.head)
        return len(table.to_pandas()) if what.pandas else table.to_arrow().num_rows

    return _measured(call, passes, touch_bytes)


def read_pyarrow(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with a dataset: far away as many threads for input as connections, and ranges for this latency and bandwidth."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as pads
    import pyarrow.fs as pafs
    import pyarrow.parquet as pq

    what = Wanted(**wanted)
    host = what.endpoint.partition("://")[2]

    schema = None

    def dataset() -> Any:
        if not what.endpoint:
            return pads.dataset(what.path.rstrip("/"), format="parquet", schema=schema)
        # Made anew like everything else: it is a matter of microseconds.
        filesystem = pafs.S3FileSystem(
            access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1", endpoint_override=host, scheme="http"
        )
        latency, rate = (int(DELAY_S * 1000), RATE_BYTES // MIB) if what.shaped else (1, 1000)
        cache = pa.CacheOptions.from_network_metrics(latency, rate)
        scan = pads.ParquetFragmentScanOptions(pre_buffer=True, cache_options=cache)
        form = pads.ParquetFileFormat(default_fragment_scan_options=scan)
        return pads.dataset(what.path.rstrip("/"), filesystem=filesystem, format=form, schema=schema)

    def call() -> int:
        if not what.endpoint and what.pandas and not what.where:  # its own shortest way
            table = pq.read_table(what.path, columns=what.columns)
            return len(table.to_pandas())
        condition = None
        if what.where:
            name, low, high = what.where
            condition = (pc.field(name) >= low) & (pc.field(name) < high)
        if what.head:
            return int(dataset().head(what.head, columns=what.columns).num_rows)
        table = dataset().to_table(columns=what.columns, filter=condition)
        return len(table.to_pandas()) if what.pandas else int(table.num_rows)

    def without_views(field: Any) -> Any:
        return field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field

    if what.endpoint:
        pa.set_io_thread_count(CONNECTIONS)
    if what.where:  # it cannot filter views of texts, as which parquet-rs and polars store them
        schema = pa.schema([without_views(field) for field in dataset().schema])
    return _measured(call, passes, touch_bytes)


def read_pandas(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with pandas, over s3fs where it is far away; columns stay Arrow's, or most of the time would be Python objects'."""
    import pandas as pd
    import s3fs

    what = Wanted(**wanted)
    assert s3fs  # what pandas imports when it is first used
    options = {"key": ACCESS_KEY, "secret": SECRET_KEY, "endpoint_url": what.endpoint} if what.endpoint else None
    backend: Any = {} if what.pandas else {"dtype_backend": "pyarrow"}

    def call() -> int:
        frame = pd.read_parquet(what.url, engine="pyarrow", columns=what.columns, storage_options=options, **backend)
        return len(frame)

    return _measured(call, passes, touch_bytes)


def read_fsspec(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with pandas through `fsspec.parquet`, which asks for the parts that the footer names, at once."""
    import pandas as pd
    import s3fs
    from fsspec import parquet

    what = Wanted(**wanted)
    filesystem = s3fs.S3FileSystem(key=ACCESS_KEY, secret=SECRET_KEY, endpoint_url=what.endpoint)

    def call() -> int:
        filesystem.invalidate_cache()
        opened = parquet.open_parquet_file(what.path, fs=filesystem, columns=what.columns, engine="pyarrow")
        with opened as file:
            return len(pd.read_parquet(file, engine="pyarrow", columns=what.columns, dtype_backend="pyarrow"))

    return _measured(call, passes, touch_bytes)


def read_memory(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Let pyarrow decode a file that is in memory already: a limit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    what = Wanted(**wanted)
    with open(what.path, "rb") as file:
        data = pa.py_buffer(file.read())

    def call() -> int:
        return int(pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(columns=what.columns).num_rows)

    return _measured(call, passes, touch_bytes)


def read_link(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Fetch all bytes with the bare socket loop, in pieces, into fresh memory: a limit."""
    from urllib.request import Request, urlopen

    what = Wanted(**wanted)
    with urlopen(Request(f"{what.endpoint}/{what.path}", method="HEAD")) as answer:
        size = int(answer.headers["Content-Length"])
    pieces = [Piece(f"/{what.path}", min(PIECE_BYTES, size - at), at) for at in range(0, size, PIECE_BYTES)]

    def call() -> int:
        kept: list[memoryview] = []
        receive(what.endpoint, pieces, CONNECTIONS, into_memory(kept))
        return size

    sample = _measured(call, passes, touch_bytes)
    sample.pop("rows")  # nobody looked
    return sample


def read_polars(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with polars' lazy scan, the form that its manual recommends for files that are far away."""
    import polars as pl

    what = Wanted(**wanted)
    options = {
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
        "aws_region": "us-east-1",
        "aws_endpoint_url": what.endpoint,
        "aws_allow_http": "true",
    }

    def call() -> int:
        frame = pl.scan_parquet(what.glob, storage_options=options if what.endpoint else None)
        if what.where:
            name, low, high = what.where
            frame = frame.filter((pl.col(name) >= low) & (pl.col(name) < high))
        if what.columns:
            frame = frame.select(what.columns)
        if what.head:
            frame = frame.head(what.head)
        found = frame.collect()
        return len(found.to_pandas()) if what.pandas else found.height

    if what.pandas:
        import pandas as pd
        import pyarrow as pa

        assert pd
        assert pa
    return _measured(call, passes, touch_bytes)


def read_duckdb(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with DuckDB into Arrow, with httpfs from a wheel where it is far away, and what it knows of files kept."""
    import os

    import duckdb
    import pyarrow as pa

    what = Wanted(**wanted)
    assert pa
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    if what.endpoint:
        load_httpfs(connection)
        connection.execute(f"SET threads = {DUCKDB_THREADS * (os.cpu_count() or 1)}")
        # It would keep all that it read, and read nothing the second time.
        connection.execute("SET enable_external_file_cache = false")
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{ACCESS_KEY}', SECRET '{SECRET_KEY}', REGION 'us-east-1', "
            f"ENDPOINT '{what.endpoint.partition('://')[2]}', USE_SSL false, URL_STYLE 'path')"
        )
    chosen = ", ".join(what.columns) if what.columns else "*"
    query = f"SELECT {chosen} FROM read_parquet('{what.glob}')"
    if what.where:
        name, low, high = what.where
        query += f" WHERE {name} >= {low} AND {name} < {high}"
    if what.head:
        query += f" LIMIT {what.head}"

    def call() -> int:
        result: Any = connection.execute(query)
        if what.pandas:
            return len(result.df())
        rows: int = result.to_arrow_table().num_rows
        return rows

    return _measured(call, passes, touch_bytes)


def load_httpfs(connection: Any) -> None:
    """Load the extension that speaks S3, from the wheel that has it for this version of DuckDB."""
    import importlib

    importlib.import_module("duckdb_extensions").import_extension("httpfs")
    connection.execute("LOAD httpfs")


def try_httpfs() -> dict[str, Any]:
    """Say whether this interpreter's DuckDB can load httpfs, and which version it is."""
    import duckdb

    try:
        load_httpfs(duckdb.connect())
    except (ImportError, duckdb.Error) as error:
        return {"version": duckdb.__version__, "why": f"{type(error).__name__}: {error}"[:300]}
    return {"version": duckdb.__version__, "why": ""}


def read_daft(passes: int, touch_bytes: int, **wanted: Any) -> dict[str, Any]:
    """Read with daft into Arrow, with as many connections for each of its threads as we open at most."""
    import daft
    from daft.io import IOConfig, S3Config

    what = Wanted(**wanted)
    config = IOConfig(
        s3=S3Config(
            endpoint_url=what.endpoint,
            key_id=ACCESS_KEY,
            access_key=SECRET_KEY,
            region_name="us-east-1",
            max_connections=CONNECTIONS,
            use_ssl=False,
        )
    )

    def call() -> int:
        frame = daft.read_parquet(what.glob, io_config=config if what.endpoint else None)
        if what.where:
            name, low, high = what.where
            frame = frame.where((daft.col(name) >= low) & (daft.col(name) < high))
        if what.columns:
            frame = frame.select(*what.columns)
        if what.head:
            frame = frame.limit(what.head)
        return len(frame.to_pandas()) if what.pandas else int(frame.to_arrow().num_rows)

    return _measured(call, passes, touch_bytes)
