"""``holdall gc``."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import Any

from holdall._cli_output import Output
from holdall._client import Client
from holdall._collection import CollectionPlan
from holdall._text import count_text, size_text

__all__ = ["gc"]


def gc(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Tell what a collection would give back; with ``--yes``, do it."""
    after = None if options.abandon_after is None else dt.timedelta(days=options.abandon_after)
    plan = client.collect(abandon_after=after)
    done = plan.apply() if options.yes and plan else None
    if output.as_json:
        output.json({"done": options.yes, **_told(plan), "damaged": done.damaged if done else {}})
        return 0
    output.facts(
        {
            "packs": f"{plan.packs}, {size_text(plan.bytes_before)}",
            "delete": _packs(len(plan.delete), plan.delete),
            "take apart": _packs(len(plan.repack), plan.repack),
            "give up": count_text(len(plan.abandon), "run") if plan.abandon else "",
            "gives back" if done is None else "given back": size_text(plan.bytes),
            "dead, but stays": size_text(plan.bytes_left) if plan.bytes_left else "",
        }
    )
    if done is not None:
        for name, why in done.damaged.items():
            output.note(f"Pack {name} stays as it is: {why}")
        if done.spared:
            output.note(f"{count_text(len(done.spared), 'pack')} stayed: referred to meanwhile, or damaged.")
    elif plan:
        output.note("Nothing was done. With --yes it is.")
    return 0


def _packs(count: int, packs: Any) -> str:
    return f"{count_text(count, 'pack')}, {size_text(sum(pack.dead_bytes for pack in packs))}" if count else ""


def _told(plan: CollectionPlan) -> dict[str, Any]:
    return {
        "packs": plan.packs,
        "bytes": plan.bytes_before,
        "dead_bytes": plan.bytes,
        "left_bytes": plan.bytes_left,
        "delete": [{"pack": pack.name, "bytes": pack.bytes, "dead_bytes": pack.dead_bytes} for pack in plan.delete],
        "repack": [{"pack": pack.name, "bytes": pack.bytes, "dead_bytes": pack.dead_bytes} for pack in plan.repack],
        "abandon": [{"log": log.prefix, "heard": log.heard} for log in plan.abandon],
    }
