"""The results as a table for people: ``python -m benchmarks.report`` writes RESULTS.md from the JSON files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks._machine import machine_line

__all__ = ["CLAIMS", "claim_lines", "report", "write_report"]

CLAIMS: Final = (
    "save_model",
    "load_model",
    "metaflow_compare",
    "dedup_speed",
    "small_values",
    "hello_world",
    "latest_run",
    "search_runs",
    "frame",
    "small_files",
    "versions_stored",
    "s3_many_small",
    "s3_many_tiny",
    "s3_many_large",
    "s3_one_large",
    "s3_million_keys",
    "s3_put",
    "s3_first_artifact",
    "tables_columns",
    "tables_all_columns",
    "tables_predicate",
    "tables_head",
    "tables_small_files",
    "tables_local",
    "tables_memory",
)
"""Every benchmark, in the order of the table of promises."""

INTRODUCTION: Final = (
    "Written by `python -m benchmarks`; each claim was measured side by side with its peers in one run, in rounds that "
    "alternate, each measurement in a new process. *Ours* is holdall, a *peer* does the same work otherwise, a *limit* is "
    "what the machine can do at best."
)


def show(value: float, unit: str) -> str:
    """Return a value with three digits, and its unit: seconds as milliseconds where that reads better."""
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    if unit in ("files", "calls", "keys", "modules") or value == int(value):
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def verdict(target: dict[str, Any]) -> str:
    """Return whether a target was reached, and by how much it was missed."""
    if target["reached"]:
        return "reached"
    times = 1 / target["margin"] if target["margin"] else float("inf")
    return f"**missed** by {times:.2f} ×"


def claim_lines(result: dict[str, Any]) -> list[str]:
    """Return the section of one claim as Markdown."""
    before, after = result["load_average"]["before"][0], result["load_average"]["after"][0]
    sizes = ", ".join(f"{name} {value}" for name, value in result["sizes"].items())
    lines = [f"## {result['claim']}", "", f"{result['title']}.", ""]
    if result["skipped"]:
        return [*lines, f"Skipped: {result['skipped']}", ""]
    if result["targets"]:
        lines += ["| target | to reach | measured | |", "|---|---|---|---|"]
        lines += [
            f"| {t['what']} | {t['bound'].replace('<=', '≤').replace('>=', '≥')} {show(t['target'], t['unit'])} "
            f"| {show(t['value'], t['unit'])} | {verdict(t)} |"
            for t in result["targets"]
        ]
        lines.append("")
    for each in result.get("left_out", []):  # older results do not have it
        lines += [f"Not judged: {each['what']}: {each['why']}.", ""]
    lines += ["| what | who | median | lowest – highest |", "|---|---|---|---|"]
    lines += [
        f"| {m['name']} | {m['role']} | {show(m['value'], m['unit'])} | {_spread(m)} |" for m in result["measured"]
    ]
    lines += ["", *(f"- {note}" for note in result["notes"]), *([""] if result["notes"] else [])]
    quick = "**Quick run on small data: says that it works, not how fast.** " if result["quick"] else ""
    lines += [f"{quick}{result['rounds']} rounds; {sizes}; load average {before} before, {after} after.", ""]
    return lines


def report(results: Sequence[dict[str, Any]]) -> str:
    """Return the whole page."""
    if not results:
        return "# What holdall reaches\n\nNothing was measured yet.\n"
    judged = [(result, target) for result in results for target in result["targets"]]
    reached = sum(target["reached"] for _, target in judged)
    lines = [
        "# What holdall reaches",
        "",
        INTRODUCTION,
        "",
        f"Machine: {machine_line(results[0]['machine'])}.",
        "",
        f"{reached} of {len(judged)} targets reached.",
        "",
        "| claim | target | to reach | measured | |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| [{result['claim']}](#{result['claim']}) | {t['what']} "
        f"| {t['bound'].replace('<=', '≤').replace('>=', '≥')} {show(t['target'], t['unit'])} "
        f"| {show(t['value'], t['unit'])} | {verdict(t)} |"
        for result, t in judged
    ]
    lines += ["", *(line for result in results for line in claim_lines(result))]
    return "\n".join(lines).rstrip() + "\n"


def write_report(folder: Path) -> Path:
    """Write RESULTS.md beside the folder of the JSON files, and return its path."""
    found = [folder / f"{name}.json" for name in CLAIMS]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
    path = folder.parent / "RESULTS.md"
    path.write_text(report(results), encoding="utf-8")
    return path


def _spread(measured: dict[str, Any]) -> str:
    if len(measured["samples"]) < 2:
        return ""
    return f"{show(measured['low'], measured['unit'])} – {show(measured['high'], measured['unit'])}"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Write RESULTS.md from the results that are there.")
    options.add_argument("--results", type=Path, default=Path(__file__).with_name("results"))
    print(write_report(options.parse_args().results))
