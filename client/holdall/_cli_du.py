"""``holdall du``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from holdall._artifact import Artifact
from holdall._cli_find import Unreadable, entries, find, run_reference, versions, versions_reference
from holdall._cli_output import Output, Styled
from holdall._cli_s3_names import Link, Url, is_s3, open_link
from holdall._cli_views import note_damage
from holdall._client import Client
from holdall._flow import Flow
from holdall._reference import Reference
from holdall._text import count_text, size_text
from holdall.store import NotFoundError

__all__ = ["du"]


class Usage(NamedTuple):
    """How much there is of something; ``new`` is what it added to a store."""

    kind: str
    what: str
    bytes: int
    new: int | None
    number: int
    noun: str

    def json(self) -> dict[str, Any]:
        """Return it as programs get it."""
        name = "url" if self.kind == "prefix" else "reference"
        told: dict[str, Any] = {
            "kind": self.kind,
            name: None if self.kind == "total" else self.what,
            "bytes": self.bytes,
        }
        if self.new is not None:
            told["new_bytes"] = self.new
        return {**told, self.noun + "s": self.number}


def du(open_client: Callable[[], Client], options: argparse.Namespace, output: Output) -> int:
    """Tell how many bytes there are in S3, or in a store."""
    rows: list[Usage] = []
    damaged: list[Unreadable] = []
    urls = [target for target in options.targets if is_s3(target)]
    others = [target for target in options.targets if target not in urls]
    if urls:
        with open_link(options, bar=False) as link:
            rows += [_of_url(link, Url.parse(url)) for url in urls]
    if others or not urls:
        with open_client() as client:
            client.repository.record()  # a store that is not there is no empty store
            for target in others or [None]:
                rows += _of_store(client, target, damaged)
    if output.as_json:
        output.json([row.json() for row in rows])
        return note_damage(damaged, output)
    size: Callable[[int], str] = size_text if output.terminal else str
    output.table(
        ["size", "new", "count", "what"],
        [
            [size(row.bytes), "" if row.new is None else size(row.new), _count(row, output), Styled(row.what, "bold")]
            for row in rows
        ],
        right={"size", "new", "count"},
        keep={"size", "new"},
        ids={"what"},
    )
    return note_damage(damaged, output)


def _count(row: Usage, output: Output) -> str:
    return count_text(row.number, row.noun) if output.terminal else str(row.number)


def _of_url(link: Link, url: Url) -> Usage:
    """Count what is below a URL, or matches it; the object itself, where it is one."""
    count = size = 0
    for found in link.below(url):
        count, size = count + 1, size + (found.size or 0)
    if not count and not url.is_folder and not url.is_pattern:
        alone = link.info(str(url), return_missing=True)
        count, size = int(alone.exists), alone.size or 0
    if not count and url.key:
        raise NotFoundError(f"There is nothing in {url}.")
    return Usage("prefix", str(url), size, None, count, "object")


def _of_store(client: Client, target: str | None, damaged: list[Unreadable]) -> list[Usage]:
    if target is None:
        return _flows(client, damaged)
    reference = versions_reference(target)
    if reference is not None:
        return [_sum("artifact", str(reference), _readable(versions(client, reference), damaged), "version")]
    found = find(client, target)
    if isinstance(found, Client):
        return _flows(found, damaged)
    if isinstance(found, Flow):
        every = list(_of_flow(found, damaged))
        return [*_by_name(every, found.name), _sum("flow", found.name, every, "artifact")]
    if isinstance(found, Artifact):
        return [_sum("artifact", found.reference, [found], "version")]
    every = list(found)
    return [
        *(_sum("artifact", each.reference, [each], "version") for each in every),
        _sum("run", run_reference(found), every, "artifact"),
    ]


def _flows(client: Client, damaged: list[Unreadable]) -> list[Usage]:
    rows = [_sum("flow", flow.name, _of_flow(flow, damaged), "artifact") for flow in client.flows]
    if len(rows) == 1:
        return rows
    total = Usage(
        "total",
        "all",
        sum(row.bytes for row in rows),
        sum(row.new or 0 for row in rows),
        sum(row.number for row in rows),
        "artifact",
    )
    return [*rows, total]


def _of_flow(flow: Flow, damaged: list[Unreadable]) -> Iterable[Artifact]:
    for run in entries(flow):
        if isinstance(run, Unreadable):
            damaged.append(run)
        else:
            yield from run


def _readable(found: Iterable[Artifact | Unreadable], damaged: list[Unreadable]) -> Iterable[Artifact]:
    for each in found:
        if isinstance(each, Unreadable):
            damaged.append(each)
        else:
            yield each


def _by_name(artifacts: list[Artifact], flow: str) -> list[Usage]:
    names: dict[str, list[Artifact]] = {}
    for each in artifacts:
        names.setdefault(each.name, []).append(each)
    return [_sum("artifact", str(Reference(None, flow, name)), names[name], "version") for name in sorted(names)]


def _sum(kind: str, what: str, artifacts: Iterable[Artifact], noun: str) -> Usage:
    size = new = count = 0
    for each in artifacts:
        size, new, count = size + each.size, new + each.stored, count + 1
    return Usage(kind, what, size, new, count, noun)
