"""The shortest forms: save and load without a run, a client or a ``with`` block."""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import itertools
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from holdall._artifact import Artifact
from holdall._client import Client, check_references
from holdall._defaults import default_flow, default_user
from holdall._messages import listed
from holdall._recorder import ActiveRun, RunContext, client_or_default
from holdall._reference import Reference
from holdall._saver import Saver, current
from holdall._values import normal_form
from holdall.store import (
    ArtifactNotFoundError,
    FlowNotFoundError,
    HoldallError,
    InvalidNameError,
    ObjectNotFoundError,
    RunNotFoundError,
    RunStateError,
    StoreNotFoundError,
    nearest,
)
from holdall_store.config import check_choices, check_flags, logger
from holdall_store.format import check_name, run_prefix, slot_key

if TYPE_CHECKING:
    from holdall._run import Run

__all__ = ["alias", "load", "load_many", "log", "resume", "run", "save", "save_dir", "save_file"]

CLOCKS_APART_MAX: Final = dt.timedelta(minutes=1)
"""So far may clocks of two machines be apart without a word: that is usual."""

NEWER_RUNS_MAX: Final = 20
"""Runs that are looked through for a name; who is further behind begins anew without looking."""

# One run for each place that was saved to: (process, store, namespace, flow).
_implicit: dict[tuple[int, object, str | None, str], ActiveRun] = {}
# The names that were saved to it; a set for each run, because it is gone with the run.
_names: dict[ActiveRun, set[str]] = {}
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)  # another thread of the parent may have held it


def run(
    flow: str | None = None,
    *,
    params: object = None,
    tags: Iterable[str] = (),
    resume: str | Run | None = None,
    capture: bool = False,
    client: Client | None = None,
) -> RunContext:
    """Record a run of `flow`: as a ``with`` block, or as a decorator of a function.

    `flow` is by default the name of the script. `params` is a mapping, or anything with attributes; the
    functions in argparse's result, which `set_defaults(func=…)` puts there, are left out. A block that raises leaves a failed run, with its exception and what it had saved. As a decorator, the function's arguments are
    the parameters, and a dict that it returns becomes artifacts. `resume` is a run to go on from; see `resume`. With `capture`,
    the last of what this process and its children write to standard output and standard error is kept with the run: see `Run.log_tail`.

    >>> import holdall
    >>> with holdall.run("churn", params={"lr": 0.1}, tags=["nightly"]) as run:
    ...     run.log(auc=0.91)
    ...     saved = run.save(model={"weights": [1.0, 2.0]})
    >>> holdall.load("churn/model")
    {'weights': [1.0, 2.0]}
    """
    return RunContext(flow, params=params, tags=tags, client=client, resume=resume, capture=capture)


def resume(
    run: str | Run,
    *,
    params: object = None,
    tags: Iterable[str] = (),
    capture: bool = False,
    client: Client | None = None,
) -> RunContext:
    """Record a new run that goes on from another one: what that did well is taken over by reference, without a copy.

    A step or a task that succeeded there is `done`, and holds what was saved; `Saver.cached` gives what was saved, or makes
    it. The parameters are those of the other run unless others are given; the code is that of now. The new run names
    the other as its `Run.origin`, and lies in the current namespace.

    >>> import holdall
    >>> def work(context):
    ...     with context as run:
    ...         with run.step("prepare") as step:
    ...             if not step.done:
    ...                 saved = step.save(rows=[4, 2, 0])
    ...         with run.step("train") as step:
    ...             saved = step.save(model=[100 / (row + run.params["shift"]) for row in step.load("rows")])
    >>> try:
    ...     work(holdall.run("prices", params={"shift": 0}))
    ... except ZeroDivisionError:
    ...     work(holdall.resume(holdall.Flow("prices").latest_run, params={"shift": 1}))
    >>> holdall.load("prices/model")
    [20.0, 33.333333333333336, 100.0]
    """
    return RunContext(None, params=params, tags=tags, client=client, resume=run, capture=capture)


def save(obj: Any, name: str, *, client: Client | None = None) -> Artifact:
    """Save one object as ``name`` or ``flow/name``, durable when this returns, and return its handle.

    Inside a ``with holdall.run(...)`` block, a plain name (or one with the block's own flow) goes to that run, and inside
    a block of a step or a task to that.
    Otherwise it goes to this process's implicit run of the flow, by default that of the script's name; such a run
    counts as successful from its first save on. A name that this run holds already begins another one, so that every
    save is a version with a reference of its own.

    >>> import holdall
    >>> artifact = holdall.save([1, 2, 3], "churn/scores")
    >>> holdall.load("churn/scores")
    [1, 2, 3]
    """
    return _save(name, client, lambda target, artifact: target.save({artifact: obj})[artifact])


def save_file(path: str | os.PathLike[str], name: str, *, client: Client | None = None) -> Artifact:
    """Save a file as ``name`` or ``flow/name``; see `save`."""
    return _save(name, client, lambda target, artifact: target.save_file(path, artifact))


def save_dir(
    path: str | os.PathLike[str], name: str, *, ignore: Iterable[str] = (), client: Client | None = None
) -> Artifact:
    """Save a directory as ``name`` or ``flow/name``; see `save` and `ActiveRun.save_dir`."""
    return _save(name, client, lambda target, artifact: target.save_dir(path, artifact, ignore=ignore))


def log(metrics: Mapping[str, Any] | None = None, /, *, step: float | None = None, **named: Any) -> None:
    """Add points to metrics of the current run, or of this process's implicit run; see `ActiveRun.log`."""
    target = current.get() or _implicit_run(Client(), default_flow())
    target.log(metrics, step=step, **named)


def load(
    reference: str | Artifact,
    *,
    columns: Sequence[str] | None = None,
    trust: bool | None = None,
    verify: bool = True,
    client: Client | None = None,
) -> Any:
    """Load what a reference means: ``[namespace/]flow/artifact[:alias|@run]``; or an artifact itself.

    Without a selector it is the artifact of the newest successful run that holds it. A plain name means the flow of
    this script. Inside a ``with holdall.run(...)`` block, a plain name (or one with the block's own flow) means that run
    where it holds one, then the earlier ones of its flow. `columns`
    reads only those columns of a table. `trust` allows pickles for this call: by default only
    those of one's own local store are loaded. Arrays come back writable; where the store is local they are mapped from
    it, and changes to them never reach it. ``verify=False`` skips the check of every byte.

    Raises `ArtifactNotFoundError` and its like with the nearest name and where it is; `UnsafeLoadError`;
    `IntegrityError` where a byte is not what was saved.

    >>> import holdall
    >>> saved = holdall.save({"depth": 3}, "churn/settings")
    >>> holdall.load("churn/settings")
    {'depth': 3}
    """
    check_choices(trust=trust)
    check_flags(verify=verify)
    active = current.get() if client is None else None
    if not isinstance(reference, Artifact):
        reference = _find(reference, client_or_default(client), active)
    return reference.load(columns=columns, trust=trust, verify=verify)


def load_many(
    references: Iterable[str | Artifact], *, trust: bool | None = None, client: Client | None = None
) -> list[Any]:
    """Load several references or artifacts at a time, and return the objects in their order.

    >>> import holdall
    >>> first, second = holdall.save(1, "churn/a"), holdall.save(2, "churn/b")
    >>> holdall.load_many(["churn/a", second])
    [1, 2]
    """
    check_choices(trust=trust)
    chosen, active = client_or_default(client), current.get() if client is None else None
    return chosen.load_many(
        [_find(item, chosen, active) if isinstance(item, str) else item for item in check_references(references)],
        trust=trust,
    )


def alias(reference: str, name: str, *, note: str = "", client: Client | None = None) -> None:
    """Let ``:name`` mean the run of `reference` from now on; what it meant before stays in its history.

    >>> import holdall
    >>> saved = holdall.save("v1", "churn/model")
    >>> holdall.alias("churn", "champion", note="passed the shadow test")
    >>> holdall.load("churn/model:champion")
    'v1'
    """
    chosen = client_or_default(client)
    parsed = Reference.parse(reference)
    target = chosen.run_of(parsed, having=parsed.artifact)
    chosen.aliases.set(target, name, note=note, who=default_user(chosen.settings))


def load_in(saver: Saver, reference: str | Artifact, **options: Any) -> Any:
    """Load what a reference means inside of the block of `saver`."""
    if not isinstance(reference, Artifact):
        reference = _find(reference, saver._client, saver)
    return reference.load(**options)


def _find(reference: str, chosen: Client, saver: Saver | None) -> Artifact:
    """Return the artifact that `reference` means; a plain name means one of the block of `saver`, where there is one."""
    parsed = Reference.parse(reference, lone="artifact")
    active = None if saver is None else saver._active_run
    if saver is not None and active is not None and _may_mean(parsed, active):
        found = _held_in(saver, active, str(parsed.artifact))
        if found is not None:
            return found
    if parsed.flow is not None:
        return chosen.artifact(parsed)
    if active is not None:
        chosen = active._client.in_namespace(active.namespace)
    flow = active.flow if active is not None else default_flow()
    full = Reference(None, flow, parsed.artifact, parsed.alias, parsed.run)
    try:
        return chosen.artifact(full)
    except (FlowNotFoundError, ArtifactNotFoundError, StoreNotFoundError) as error:
        there = not isinstance(error, StoreNotFoundError)
        if active is not None and saver is not None and parsed.alias is None and parsed.run is None:
            held = {**active._held(), **saver._held()}
            near = nearest(str(parsed.artifact), held)
            if near or not isinstance(error, ArtifactNotFoundError):
                has = f" It holds: {listed(held)}." if held else " It holds none yet."
                error = ArtifactNotFoundError(
                    f"{active._called[0].upper()}{active._called[1:]}, which is being recorded, holds no artifact "
                    f"{str(parsed.artifact)!r}, nor does an earlier one.{near}{has}"
                )
        homes = [found.name for found in (chosen.flows if there else ()) if _holds(found, str(parsed.artifact))][:3]
        hint = f" Flow {homes[0]!r} has one: holdall.load('{homes[0]}/{parsed.artifact}')." if homes else ""
        raise type(error)(
            f"{error}{hint} (A name without a flow means the flow of this {'run' if active else 'script'}, {flow!r}.)"
        ) from None


def _may_mean(parsed: Reference, active: ActiveRun) -> bool:
    """Tell whether a reference may mean what the run that is being recorded holds."""
    return (
        parsed.alias is None
        and parsed.task is None
        and (parsed.run is None or parsed.run == active.id)
        and parsed.flow in (None, active.flow)
        and parsed.namespace in (None, active.namespace)
    )


def _held_in(saver: Saver, active: ActiveRun, name: str) -> Artifact | None:
    """Return what a block holds under a name: its task, or the step of that, or the run, of which others may know more."""
    places = [saver, active]
    if isinstance(step := getattr(saver, "step", None), Saver):
        places.insert(1, step)
    for place in places:
        if place is not active or not active.joined:
            held = place._held()
            if normal_form(name) in held:
                return held[normal_form(name)]
    if active._shared:
        from holdall._run import Run

        with contextlib.suppress(RunNotFoundError, ArtifactNotFoundError):
            return Run._of(active._client, active._client.repository.catalog.run(*active._place))[name]
    return None


def _holds(flow: Any, artifact: str) -> bool:
    return any(artifact in found for found in flow.runs(limit=1))


def _save(name: str, client: Client | None, save_to: Callable[[Saver, str], Artifact]) -> Artifact:
    parsed = Reference.parse(name, lone="artifact")
    if parsed.artifact is None or parsed.alias or parsed.run:
        raise InvalidNameError(f"{name!r:.200} cannot be saved to: write 'name' or 'flow/name'.")
    saver = current.get()
    within = None if saver is None or client is not None or parsed.namespace is not None else saver._active_run
    if saver is not None and within is not None and parsed.flow in (None, within.flow):
        artifact = save_to(saver, parsed.artifact)
        saver.flush()
        return artifact
    chosen = client_or_default(client)
    if parsed.namespace is not None:
        chosen = chosen.in_namespace(parsed.namespace)
    while True:
        active = _implicit_run(chosen, parsed.flow or default_flow(), parsed.artifact)
        try:
            return save_to(active, parsed.artifact)
        except RunStateError:
            # Another thread saved a name again, and ended this run between these two lines.
            if not active._writer.ended or _names.get(active) is not None:
                raise


def _implicit_run(client: Client, flow: str, artifact: str | None = None) -> ActiveRun:
    """Return this process's run of single saves for a place, to save `artifact` to; the first save begins it.

    Every save is a version: where this run holds the name already, a new one begins. What is saved last is what is
    loaded: where somebody has saved the same name in a newer run since, a new one begins, too.
    """
    where = client.url if client._storage is None else client._storage
    place = (os.getpid(), where, client.namespace, check_name(flow, "flow"))
    with _lock:
        known = _implicit.get(place)
        newest = ""
        if (
            known is None
            or not _goes_on(known)
            or (artifact and (artifact in _names[known] or (newest := _hidden_by(known, artifact))))
        ):
            if known is not None:
                _end_quietly(known)
                del _names[known]
            if not _implicit:
                atexit.register(_end_implicit)
            _implicit[place] = known = ActiveRun(client, flow, single_saves=True)
            _names[known] = set()
            if newest:
                _warn_of_clock(known, newest)
        if artifact:
            _names[known].add(artifact)
        return known


def _goes_on(active: ActiveRun) -> bool:
    """Tell whether a run can be saved to: it has not been given up, nor was its store removed under it."""
    storage, writer = active._client.repository.storage, active._writer
    if writer.ended:
        return False
    # People remove folders; nobody empties a bucket under a running script, and looking would cost a round trip.
    return not writer.recorded or not storage.traits.mappable or _is_there(active)


def _hidden_by(active: ActiveRun, artifact: str) -> str:
    """Return the id of the newest run where a newer one than `active` holds `artifact`, or may, and an empty string else.

    Then nobody would find what is saved to `active` under that name.
    """
    catalog = active._client.repository.catalog
    newest = next(catalog.run_ids(active.namespace, active.flow), active.id)
    if newest <= active.id:
        return ""
    newer = catalog.newest(active.namespace, active.flow, _pass_over)
    for view in itertools.islice(newer, NEWER_RUNS_MAX):
        if view.run <= active.id:
            return ""
        if artifact in view.artifacts:
            return newest
    return newest


def _warn_of_clock(begun: ActiveRun, newest: str) -> None:
    """Warn where a run that has just begun is older than one that was there: what is saved to it is hidden by that one."""
    try:
        ahead = _began(newest) - _began(begun.id)
    except ValueError:  # an id of others that is no time
        return
    if ahead > CLOCKS_APART_MAX:
        warnings.warn(
            f"Run {begun.id} of flow {begun.flow!r} begins {ahead} before the newest run that is there, {newest}: the clock "
            "of this machine, or that of another one, is wrong. What is saved now is not what is loaded as the newest; its "
            "reference finds it.",
            RuntimeWarning,
            stacklevel=5,
        )


def _began(run_id: str) -> dt.datetime:
    return dt.datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)


def _pass_over(error: HoldallError) -> None:
    """Leave a damaged run out: to save something must not depend on what others have broken."""
    logger().info("Passed over: %s", error)


def _is_there(active: ActiveRun) -> bool:
    try:
        active._client.repository.storage.head(slot_key(run_prefix(active.namespace, active.flow, active.id), 0))
    except ObjectNotFoundError:
        return False
    return True


def _end_implicit() -> None:
    """End the implicit runs of this process; what was saved is durable already, so nothing here may fail the exit."""
    for place, active in list(_implicit.items()):
        if place[0] == os.getpid():
            _end_quietly(active)


def _end_quietly(active: ActiveRun) -> None:
    try:
        # A store that was removed meanwhile, as tests do, must not come into being again.
        if active._writer.recorded and not active._writer.ended and _is_there(active):
            active.end()
    except (HoldallError, OSError) as error:
        logger().info("The end of run %s was not recorded: %s", active.id, error)
