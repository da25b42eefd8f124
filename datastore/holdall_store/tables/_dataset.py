"""The files of a table as a dataset of pyarrow's."""

from __future__ import annotations

from typing import Any

from holdall_store.errors import InvalidNameError, UnsupportedTypeError
from holdall_store.tables._footer import MatchedFooter
from holdall_store.tables._scan import Scan
from holdall_store.tables._snapshot import Snapshot

__all__ = ["make_dataset", "refuse_log"]


def make_dataset(snapshot: Snapshot, scan: Scan) -> Any:
    """Return a dataset of the files of a scan, with the values of partition columns."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as pads

    names = snapshot.listing.names
    given = snapshot.source.arrow_filesystem()
    if given is None:
        raise InvalidNameError(
            f"pyarrow has no filesystem of its own for {snapshot.name}: read with batches(), or hand on to_arrow()."
        )
    refuse_log(snapshot, scan, "A dataset of pyarrow's")
    filesystem, name_of = given
    format_ = pads.ParquetFileFormat()
    fragments = []
    for file, groups in scan.pieces:
        if scan.query.condition_for(file) is False:
            continue
        expression = None
        for name, value in zip(names, file.values, strict=True):
            kind = snapshot.schema.field(name).type
            each = pc.field(name).is_null() if value is None else pc.field(name) == pa.scalar(value).cast(kind)
            expression = each if expression is None else expression & each
        extra = {} if expression is None else {"partition_expression": expression}
        path = name_of(file.found.key)
        fragments.append(
            format_.make_fragment(
                path, filesystem=filesystem, row_groups=None if groups is None else list(groups), **extra
            )
        )
    return pads.FileSystemDataset(fragments, snapshot.schema, format_, filesystem)


def refuse_log(snapshot: Snapshot, scan: Scan, engine: str) -> None:
    """Raise for tables whose files are not what their log says, for what knows no deleted rows and no other names."""
    log = snapshot.listing.log
    if log is None:
        return
    files = [file for file, _ in scan.pieces if scan.query.condition_for(file) is not False]
    footers = (log.footer(footer, file) for file, footer in zip(files, snapshot.footers(files), strict=True))
    same = (isinstance(footer, MatchedFooter) and footer.is_same for footer in footers)
    if any(file.facts is not None and file.facts.deleted is not None for file in files) or not all(same):
        raise UnsupportedTypeError(
            f"{engine} would read the files of {snapshot.name} as they are, which have deleted rows, or columns that are "
            "called otherwise there: read with batches(), to_dask() or to_ray(), or hand on to_arrow()."
        )
