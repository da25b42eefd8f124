"""What a notebook shows of steps and tasks; see `holdall._html`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdall._graph import node_of
from holdall._html import (
    artifacts_table,
    box,
    code,
    facts_table,
    failure,
    listed,
    metrics_table,
    never_raise,
    none,
    status_mark,
    table,
    take,
    title,
    when,
    who,
)
from holdall._text import duration_text, place_text

if TYPE_CHECKING:
    from holdall._run import Run
    from holdall._step import Step, Task

__all__ = ["step_html", "steps_table", "task_html"]


def steps_table(run: Run) -> str:
    """Return the steps of a run as a table; nothing where it has none."""
    if not run._view.has_tasks:
        return ""
    steps, more = take(iter(run.steps))
    rows = []
    for step in steps:
        node = node_of(step)
        rows.append([status_mark(node.status), node.name, str(node.tasks), listed(node.parents)])
    return table(["", "step", "tasks", "after"], rows, more, "steps", numbers=("tasks",)) if rows else ""


@never_raise
def step_html(step: Step) -> str:
    """Return the view of a step: how its tasks went."""
    node = node_of(step)
    tasks, more = take(iter(step.tasks)) if node.status else ([], False)
    rows = [
        [
            status_mark(task.status),
            code(task.name),
            when(task.created_at),
            duration_text(task.duration),
            str(task.attempt + 1),
            listed(task.keys()),
        ]
        for task in tasks
    ]
    heads = ["", "task", "began", "took", "attempts", "artifacts"]
    return box(
        title("Step", step.pathspec, step.run.namespace, place_text(step.client.url)),
        facts_table(
            {
                "status": status_mark(node.status, word=True) if node.status else "",
                "after": listed(node.parents),
                "tasks": str(node.tasks),
            }
        ),
        table(heads, rows, more, "tasks", numbers=("took", "attempts"))
        if rows
        else none("step.tasks[name] is one of them."),
    )


@never_raise
def task_html(task: Task) -> str:
    """Return the view of a task: how it went, and what it saved."""
    exception = task.exception
    return box(
        title("Task", task.pathspec, task.namespace, place_text(task.client.url)),
        facts_table(
            {
                "status": status_mark(task.status, word=True),
                "attempt": str(task.attempt + 1) if task.attempt else "",
                "began": when(task.created_at, full=True),
                "took": duration_text(task.duration),
                "by": who(task.info),
            }
        ),
        failure(exception.type, exception.message, exception.traceback) if exception else "",
        metrics_table(task),
        artifacts_table(task),
    )
