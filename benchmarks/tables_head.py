"""Read the first five rows of lineitem, all columns, from S3 with nothing known before."""

from __future__ import annotations

from pathlib import Path

from benchmarks import _tables_lanes as lanes
from benchmarks._harness import Bench, Claim, Target, column, main
from benchmarks._servers import serve_nginx
from benchmarks._tables_data import write_lineitem

CLAIM = Claim(
    "tables_head",
    "Read the first 5 rows of lineitem, all 16 columns, from S3 (30 ms, 90 MB/s a connection), nothing known before",
    {
        "requests": Target("our requests", "<=", 4, "requests"),
        "bytes": Target("our bytes beyond the footer and the pages that have the rows", "<=", 1, "MB"),
        "time": Target("the fastest other's time over ours", ">=", 1, "×"),
    },
)

ROWS = 5
FOOTER_END_BYTES = 8


def run(bench: Bench) -> None:
    """Measure the claim."""
    percent = bench.size("scale in percent", 100, 2)
    with serve_nginx(bench.folder) as nginx:
        path = write_lineitem(bench, nginx.root / "bucket", percent / 100)
        needed = needed_bytes(path, ROWS)
        bench.record("the footer and the pages that have the rows", needed / 1e6, "MB")
        place = lanes.Place(nginx.shaped, "lineitem.parquet", shaped=True)
        found = lanes.Lanes(bench, place, nginx, passes=1, wanted={"head": ROWS})
        found.add_remote()
        samples = found.measure()
        lanes.record(bench, samples, "")
        ours = samples[lanes.OURS]
        bench.judge("requests", max(column(ours, "requests")))
        bench.judge("bytes", max(float(sample["counts"]["bytes"]) - needed for sample in ours) / 1e6)
        lanes.judge_fastest(bench, "time", samples)
        lanes.describe_readers(bench, nginx)


def needed_bytes(path: Path, rows: int) -> int:
    """Return what the footer of a file weighs, and the dictionaries and the pages that have its first rows."""
    import pyarrow.parquet as pq

    from holdall_store.tables._pages import reach_of_rows

    metadata = pq.read_metadata(path)
    total = int(metadata.serialized_size) + FOOTER_END_BYTES
    with path.open("rb") as file:
        for at in range(metadata.num_columns):
            chunk = metadata.row_group(0).column(at)
            begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            file.seek(begin)
            reach = reach_of_rows(memoryview(file.read(chunk.total_compressed_size)), rows)
            assert reach is not None
            total += reach
    return total


if __name__ == "__main__":
    main(CLAIM, run)
