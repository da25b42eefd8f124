"""Every benchmark runs on small data and reports in one shape; what it measured there decides nothing."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks._harness import Target  # noqa: E402
from benchmarks.report import CLAIMS, claim_lines, report  # noqa: E402

RESULT: dict[str, Any] = {
    "claim": "save_model",
    "title": "Save a model",
    "quick": False,
    "rounds": 3,
    "sizes": {"MiB": 256},
    "machine": {
        "cpu": "a processor",
        "cores": 2,
        "memory_gib": 8.0,
        "kernel": "Linux 6",
        "file_system": "ext4",
        "python": "3.11",
        "packages": {"numpy": "2.4"},
    },
    "load_average": {"before": [0.1, 0.2, 0.3], "after": [0.4, 0.5, 0.6]},
    "measured": [
        {
            "name": "ours",
            "role": "ours",
            "unit": "s",
            "value": 0.25,
            "low": 0.2,
            "high": 0.3,
            "samples": [0.2, 0.25, 0.3],
        }
    ],
    "targets": [
        {
            "key": "a",
            "what": "fast",
            "bound": "<=",
            "target": 1.0,
            "unit": "×",
            "value": 2.0,
            "reached": False,
            "margin": 0.5,
        },
        {
            "key": "b",
            "what": "small",
            "bound": "<=",
            "target": 4,
            "unit": "files",
            "value": 3,
            "reached": True,
            "margin": 1.3,
        },
    ],
    "left_out": [],
    "notes": ["A note."],
    "skipped": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_benchmark_runs_on_small_data(claim: str, tmp_path: Path) -> None:
    """`--quick` leaves a JSON file of the common shape, with every target of the claim, and an empty work folder."""
    work, results = tmp_path / "work", tmp_path / "results"
    command = [sys.executable, "-m", "benchmarks", claim, "--quick", "--dir", str(work), "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    result = json.loads((results / f"{claim}.json").read_text(encoding="utf-8"))
    assert result.keys() == RESULT.keys()
    assert (result["claim"], result["quick"]) == (claim, True)
    assert result["machine"].keys() == RESULT["machine"].keys()
    if result["skipped"] is None:
        assert result["measured"]
        assert all(each.keys() == RESULT["measured"][0].keys() for each in result["measured"])
        assert all(min(each["samples"]) <= each["value"] <= max(each["samples"]) for each in result["measured"])
        assert all(each.keys() == RESULT["targets"][0].keys() for each in result["targets"])
        judged = json.loads(subprocess.check_output([sys.executable, "-c", _TARGETS, claim], cwd=ROOT, text=True))
        assert sorted(each["key"] for each in [*result["targets"], *result["left_out"]]) == sorted(judged)
    assert list(work.iterdir()) == []
    assert claim in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


_TARGETS = """
import importlib, json, sys
print(json.dumps(list(importlib.import_module(f"benchmarks.{sys.argv[1]}").CLAIM.targets)))
"""


@pytest.mark.parametrize(
    ("bound", "measured", "reached", "margin"),
    [("<=", 0.5, True, 4.0), ("<=", 4.0, False, 0.5), (">=", 4.0, True, 2.0), (">=", 1.0, False, 0.5)],
)
def test_a_target_is_held_against_a_value(bound: Any, measured: float, reached: bool, margin: float) -> None:
    """A target says whether a value reaches it, and by what factor."""
    target = Target("a thing", bound, 2.0, "s")

    assert target.reached(measured) is reached
    assert target.margin(measured) == margin


def test_the_report_says_what_was_missed_and_by_how_much() -> None:
    """A missed target is named with its factor, a reached one as reached, and both are counted."""
    text = report([RESULT])

    assert "1 of 2 targets reached." in text
    assert "| fast | ≤ 1 × | 2 × | **missed** by 2.00 × |" in text
    assert "| small | ≤ 4 files | 3 files | reached |" in text
    assert "| ours | ours | 250 ms | 200 ms – 300 ms |" in text


def test_the_report_says_what_was_skipped() -> None:
    """A benchmark that could not run shows why instead of figures."""
    skipped = copy.deepcopy(RESULT) | {"skipped": "it is not installed.", "targets": [], "measured": []}

    assert "Skipped: it is not installed." in claim_lines(skipped)


def test_the_report_says_which_targets_were_not_judged() -> None:
    """A target without the peer that it is measured against is named with the reason."""
    left_out = [{"key": "c", "what": "faster than a peer", "why": "the peer is not here"}]

    assert "Not judged: faster than a peer: the peer is not here." in claim_lines(RESULT | {"left_out": left_out})


def test_a_quick_run_is_never_taken_for_a_measurement() -> None:
    """The section of a quick run says so."""
    assert "Quick run on small data" in "\n".join(claim_lines(RESULT | {"quick": True}))
    assert "Quick run on small data" not in "\n".join(claim_lines(RESULT))
