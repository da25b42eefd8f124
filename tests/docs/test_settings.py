"""The pages of settings and explanations say what the code does."""

from __future__ import annotations

from pathlib import Path

from holdall_store.config import VARIABLE_PREFIX, VARIABLES
from holdall_store.format.chunker import DENSE, OPAQUE
from holdall_store.repository._reader import CHUNK_BYTES_MEAN_MIN
from holdall_store.repository._repository import RATIO_MAX_LOCAL, RATIO_MAX_REMOTE, RATIO_MAX_SMALL

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_variable_is_listed() -> None:
    """Each variable of the environment that means something is in the table."""
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")

    assert [name for name in VARIABLES if f"`{VARIABLE_PREFIX}{name}`" not in text] == []


def test_ratios_are_those_of_the_code() -> None:
    """The page says how much compression has to gain."""
    text = (DOCS / "explanation" / "how-it-works.md").read_text(encoding="utf-8")

    assert (RATIO_MAX_LOCAL, RATIO_MAX_REMOTE, RATIO_MAX_SMALL) == (1 / 32, 0.8, 0.95)
    assert "a thirty-second or less" in text
    assert "four fifths or less" in text
    assert "95 % or less" in text


def test_cuts_are_those_of_the_code() -> None:
    """The format gives the sizes of chunks, and the bound on their number, that the code has."""
    text = (DOCS / "format.md").read_text(encoding="utf-8")
    sizes = [
        f"{size >> 10} KiB" for rule in (OPAQUE, DENSE) for size in (rule.min_bytes, rule.avg_bytes, rule.max_bytes)
    ]

    assert " | ".join(sizes[:3]) in text
    assert " | ".join(sizes[3:]) in text
    assert f"`bytes / {CHUNK_BYTES_MEAN_MIN} + 16`" in text
