"""Show every run of the flow: what it was told, how good it was, and how little of it was new."""

from __future__ import annotations

import holdall

MEGABYTE = 1_000_000
COLUMNS = "{:<26}{:<9}{:>6}{:>7}   {:<9}{:>10}{:>12}"

print(COLUMNS.format("run", "weather", "trees", "AUC", "artifact", "size", "new bytes"))
for run in reversed(list(holdall.Flow("flights"))):
    for name in ("train", "model"):
        size, new = (f"{number / MEGABYTE:.2f} MB" for number in (run[name].size, run[name].stored))
        told = "yes" if run.params["weather"] else "no", run.params["trees"], f"{run.metrics['auc']:.3f}"
        print(COLUMNS.format(run.id, *told, name, size, new))
