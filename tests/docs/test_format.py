"""docs/format.md keeps up with the code: every tag, member, event and bound of the format stands in it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdall_store import format as store_format
from holdall_store.repository._views import EVENTS
from holdall_store.serializers._builtin import BY_TAG
from holdall_store.serializers._decoder import _SPECIAL
from holdall_store.serializers._registry import LIBRARIES
from holdall_store.serializers._tree import MAX_DEPTH

if TYPE_CHECKING:
    import msgspec

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
QUOTED = {word for quote in re.findall(r"`([^`\n]+)`", TEXT) for word in re.findall(r"[\w.]+", quote)}

RECORDS = (
    store_format.AliasRecord,
    store_format.ArtifactRecord,
    store_format.BufferRef,
    store_format.ExceptionInfo,
    store_format.GcRecord,
    store_format.PackRef,
    store_format.RunRecord,
    store_format.Series,
    store_format.StoreRecord,
)
REFUSED = {"polars.LazyFrame"}
"""Tags that stand in no store: what they are of is refused."""


def library_tags() -> set[str]:
    """Return the tags of the serializers of all libraries that are installed."""
    tags = set()
    for library, module in LIBRARIES.items():
        if library != "holdall_store" and importlib.util.find_spec(library):
            tags |= {serializer.tag for serializer in importlib.import_module(module).SERIALIZERS}
    return tags - REFUSED


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_member_of_a_record_is_specified(record: type[msgspec.Struct]) -> None:
    """No record has a member that the page does not name."""
    assert set(record.__struct_encode_fields__) - QUOTED == set()


def test_every_tag_is_specified() -> None:
    """No serializer writes a tag that the page does not name."""
    builtin = {tag for tag in BY_TAG if tag.isidentifier()}

    assert (builtin | set(_SPECIAL) | {"root", "stream", "holdall.File", "holdall.Directory"}) - QUOTED == set()
    assert {tag for tag in library_tags() if tag not in QUOTED} == set()


def test_every_event_is_specified() -> None:
    """No log holds an event that the page does not name."""
    assert EVENTS | {"condemn", "done", "set"} <= QUOTED


def test_numbers_are_those_of_the_code() -> None:
    """Sizes that readers rely on are the ones that the code has."""
    assert f"table: {store_format.ENTRY_BYTES} bytes for each chunk" in TEXT
    assert f"footer, {store_format.FOOTER_BYTES} bytes" in TEXT
    assert f"chunk, raw or stored | {store_format.CHUNK_BYTES_MAX >> 20} MiB" in TEXT
    assert f"levels of a node | {2 * MAX_DEPTH}" in TEXT
    assert (store_format.CODEC_RAW, store_format.CODEC_ZSTD, store_format.CODEC_GROUPED_ZSTD) == (0, 1, 2)
    assert (store_format.FLAG_TAIL, store_format.FLAG_DENSE) == (1, 2)
    assert store_format.FORMAT_VERSION == 1


def test_the_examples_of_keys_are_right() -> None:
    """The run id, its key and the escaped namespace on the page are what the code makes of them."""
    run, segment = "20261123T154936208181-4fodkx", "79738876t845063791818-4fodkx"

    assert store_format.run_segment(run) == segment
    assert store_format.escape_name("user:Ana") == "user%3a^ana"
    assert all(f"`{word}`" in TEXT for word in (run, segment, "user%3a^ana"))
