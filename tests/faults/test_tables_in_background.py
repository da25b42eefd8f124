"""A large table is built while its bytes are still being verified; what is damaged is found all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import holdall
from holdall_store.repository import _reader
from holdall_store.storage import LocalStorage, Storage
from holdall_store.testing import FaultyStorage, FlipBits, ZeroTail

ROWS = 100_000


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Return a store with a frame of numbers and of text that is not ASCII, verified in the background."""
    disk = request.param == "disk"
    storage: Storage = LocalStorage(tmp_path / "store") if disk else request.getfixturevalue("bucket").empty()
    monkeypatch.setattr(_reader, "BACKGROUND_BYTES_MIN", 1)
    frame = pd.DataFrame(
        {
            "number": np.random.default_rng(0).standard_normal(ROWS),
            "text": [f"Zürich {row % 977} São Paulo" for row in range(ROWS)],
        }
    )
    holdall.save(frame, "tables/frame", client=holdall.Client(storage))
    return storage


def pack_of(store: Storage) -> tuple[str, int]:
    """Return the key of the one pack, and where its chunks end."""
    (pack,) = store.list("packs/")
    return pack.key, pack.size


def test_a_whole_table_comes_back(store: Storage) -> None:
    """Nothing is lost by verifying late."""
    loaded = holdall.load("tables/frame", client=holdall.Client(store))
    assert len(loaded) == ROWS
    assert loaded["text"].iloc[978] == "Zürich 1 São Paulo"


@pytest.mark.parametrize("share", [0.05, 0.2, 0.35, 0.6, 0.8, 0.9])
def test_a_flipped_bit_anywhere_is_found(store: Storage, share: float) -> None:
    """A bit that flipped in numbers, in text or in its lengths is an IntegrityError that names the artifact."""
    key, size = pack_of(store)
    damaged = FaultyStorage(store, [FlipBits(key, int(size * share), 0x80)])
    with pytest.raises(holdall.IntegrityError, match="tables/frame"):
        holdall.load("tables/frame", client=holdall.Client(damaged))


def test_zeroed_text_is_found(store: Storage) -> None:
    """Where building the table fails first, the damage is what is told."""
    key, size = pack_of(store)
    damaged = FaultyStorage(store, [ZeroTail(key, size // 2)])
    with pytest.raises(holdall.IntegrityError, match="tables/frame"):
        holdall.load("tables/frame", client=holdall.Client(damaged))
