"""Show every run of the flow: what it was told, how good it was, and how little of it was new."""

from __future__ import annotations

import holdall

COLUMNS = "{:<32}{:<9}{:>5}{:>7}   {:<9}{:>10}{:>12}"


def megabytes(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 1_000_000:.2f} MB"


runs = list(holdall.Flow("flights"))
print(COLUMNS.format("run", "weather", "trees", "AUC", "artifact", "size", "new bytes"))
for run in reversed(runs):
    told = "yes" if run.params["weather"] else "no", run.params["trees"], f"{run.metrics['auc']:.3f}"
    for name in ("train", "model"):
        print(COLUMNS.format(run.id, *told, name, megabytes(run[name].size), megabytes(run[name].stored)))

artifacts = [artifact for run in runs for artifact in run]
size, stored = (sum(sizes) for sizes in zip(*((each.size, each.stored) for each in artifacts), strict=True))
print(f"{len(artifacts)} artifacts of {megabytes(size)} together took {megabytes(stored)}.")
