"""The graph of a run's steps, as text and as SVG."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, NamedTuple

from holdall._text import clean, count_text

if TYPE_CHECKING:
    from holdall._run import Run
    from holdall._step import Step

__all__ = ["MARKS", "TASKS_READ_MAX", "Graph", "Node"]

MARKS: Final = {"succeeded": "✓", "failed": "✗", "died": "✗", "running": "●"}

TASKS_READ_MAX: Final = 500
"""Of more attempts at tasks than these, a look tells how many there are, and not how they went."""

NAME_CHARACTERS_MAX: Final = 24
"""A longer name is cut in a drawing."""

BOX_WIDTH, BOX_HEIGHT = 190, 44
GAP_ACROSS, GAP_DOWN = 56, 16
MARGIN: Final = 8

_COLORS: Final = {"succeeded": "#1f9d55", "failed": "#e5484d", "died": "#e5484d", "running": "#d08700"}


class Node(NamedTuple):
    """A step as a graph shows it; `status` is empty where there are too many tasks to read."""

    name: str
    parents: tuple[str, ...]
    tasks: int
    status: str


class Graph:
    """The steps of a run and what comes after what, as it was when it was asked for.

    ``print(graph)`` writes it as text; a notebook shows it; ``graph.svg`` is the drawing.
    """

    def __init__(self, run: Run) -> None:
        self._called = run.pathspec
        self.nodes = tuple(node_of(step) for step in run.steps)

    @property
    def edges(self) -> list[tuple[str, str]]:
        """The pairs of a step and one that comes after it."""
        names = {node.name for node in self.nodes}
        return [(parent, node.name) for node in self.nodes for parent in node.parents if parent in names]

    @property
    def text(self) -> str:
        """One line for each step: how it went, its name, its tasks, and what it comes after."""
        width = max((len(clean(node.name)) for node in self.nodes), default=0)
        lines = []
        for node in self.nodes:
            after = f"  after {', '.join(map(clean, node.parents))}" if node.parents else ""
            line = f"{MARKS.get(node.status, ' ')} {clean(node.name):{width}}  {count_text(node.tasks, 'task')}{after}"
            lines.append(line.rstrip())
        return "\n".join(lines) or "no steps"

    @property
    def svg(self) -> str:
        """The drawing: each step in a column to the right of its parents. Its colours are those of the page."""
        columns = _columns(self.nodes)
        places = {
            node.name: (
                MARGIN + column * (BOX_WIDTH + GAP_ACROSS),
                MARGIN + row * (BOX_HEIGHT + GAP_DOWN),
            )
            for column, nodes in enumerate(columns)
            for row, node in enumerate(nodes)
        }
        width = 2 * MARGIN + len(columns) * (BOX_WIDTH + GAP_ACROSS) - (GAP_ACROSS if columns else 0)
        height = 2 * MARGIN + max(map(len, columns), default=0) * (BOX_HEIGHT + GAP_DOWN) - (GAP_DOWN if columns else 0)
        title = f"<title>Steps of {_escape(self._called)}</title>"
        lines = "".join(_line(places[parent], places[child]) for parent, child in self.edges)
        boxes = "".join(_box(node, *places[node.name]) for node in self.nodes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'role="img" font-family="sans-serif" font-size="13" style="max-width:100%;height:auto;">'
            f"{title}{lines}{boxes}</svg>"
        )

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Graph({self._called!r}, {count_text(len(self.nodes), 'step')})"

    def _repr_html_(self) -> str:
        return self.svg


def node_of(step: Step) -> Node:
    """Return what is to be shown of a step, without reading very many records."""
    names = {found.task for found in step._found}
    if len(step._found) > TASKS_READ_MAX:
        return Node(step.name, step._head.parents, len(names), "")
    return Node(step.name, step._views()[0].parents, len(step.tasks), step.status)


def _columns(nodes: tuple[Node, ...]) -> list[list[Node]]:
    """Part the steps by how many come before them at most; `nodes` holds parents before their children."""
    depths: dict[str, int] = {}
    columns: list[list[Node]] = []
    for node in nodes:
        depth = depths[node.name] = max((depths[name] + 1 for name in node.parents if name in depths), default=0)
        while len(columns) <= depth:
            columns.append([])
        columns[depth].append(node)
    return columns


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT // 2
    bend = max((x2 - x1) // 2, GAP_ACROSS // 2)
    return (
        f'<path d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" fill="none" stroke="currentColor" '
        'stroke-opacity=".45" stroke-width="1.5"/>'
    )


def _box(node: Node, x: int, y: int) -> str:
    name = clean(node.name)
    shown = name if len(name) <= NAME_CHARACTERS_MAX else name[: NAME_CHARACTERS_MAX - 1] + "…"
    color = _COLORS.get(node.status, "currentColor")
    told = " · ".join(part for part in (count_text(node.tasks, "task"), node.status) if part)
    return (
        f"<g><title>{_escape(name)}</title>"
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="none" stroke="{color}" '
        'stroke-width="1.5"/>'
        f'<text x="{x + 10}" y="{y + 18}" fill="currentColor" font-weight="600">{_escape(shown)}</text>'
        f'<text x="{x + 10}" y="{y + 35}" fill="{color}" font-size="11">'
        f"{MARKS.get(node.status, '')} {_escape(told)}</text></g>"
    )


def _escape(text: str) -> str:
    return html.escape(clean(text))
