"""The client: one store, seen from one namespace."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from holdall._aliases import Aliases
from holdall._defaults import default_store, resolve_namespace, store_source
from holdall._messages import listed
from holdall._provenance import mask_secrets
from holdall._reference import Reference
from holdall.store import (
    ArtifactNotFoundError,
    FlowNotFoundError,
    HoldallError,
    InvalidNameError,
    NotFoundError,
    StoreNotFoundError,
    nearest,
)
from holdall_store.config import Settings, check_choices, check_flags, read_settings
from holdall_store.format import check_name, check_namespace
from holdall_store.repository import Repository
from holdall_store.storage import Storage, open_storage, without_secrets

if TYPE_CHECKING:
    import datetime as dt

    from holdall._artifact import Artifact
    from holdall._collection import CollectionPlan
    from holdall._flow import Flow
    from holdall._run import Run

__all__ = ["Client", "check_references", "missing_artifact"]

_UNSET: Any = object()

LOADS_AT_ONCE: Final = 8
"""Artifacts loaded together from a bucket: each is several requests at once already."""

QUICK_BYTES_MAX: Final = 256 << 10
"""Less is decoded in Python for most of its time, which threads only take from each other."""


RUNS_COUNTED_MAX: Final = 1000
"""Runs of a flow are counted up to here: one listing on an object store."""


class NamespaceCount(NamedTuple):
    """How many flows and runs a namespace has; with `more_runs` there are more runs than were counted."""

    flows: int
    runs: int
    more_runs: bool


class Client:
    """Looks up flows, runs and artifacts of one store, from one namespace.

    `store` is a path or URL; by default ``HOLDALL_STORE``, ``[tool.holdall]`` of the nearest pyproject.toml, or the
    ``.holdall`` folder found upward from the working directory. `namespace` is a name such as ``user:ana`` or
    ``production:churn``; ``None`` looks in all of them, and by default it is the current one. `trust` allows the
    loading of pickles from a store that is not the caller's alone; by default only one's own local store is trusted.

    `storage_options` are for stores in buckets, spelled as pandas and polars do: ``key``, ``secret``, ``endpoint_url``,
    ``region``, ``profile``, ``anon``; for other URLs, such as ``sftp://…``, as fsspec's filesystem takes them. `fs` is a
    filesystem of fsspec's that is there already; `store` is then a path on it.

    With `offline` (by default ``HOLDALL_OFFLINE``) a store in a bucket is asked for nothing: what was read before comes from
    the local cache, and what is not there is `OfflineError`. Stores on this disk are as they are.

    A client is immutable, may be shared between threads, and pickles as its settings, without the secrets among
    `storage_options`: where the pickle is loaded, the credentials of that place hold. It opens nothing before it is
    asked for something.

    >>> import holdall
    >>> saved = holdall.save({"depth": 3}, "churn/settings")
    >>> holdall.Client().flow("churn").latest_successful_run["settings"].load()
    {'depth': 3}
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Storage | None = None,
        *,
        namespace: str | None = _UNSET,
        trust: bool | None = None,
        storage_options: Mapping[str, Any] | None = None,
        fs: Any = None,
        offline: bool | None = None,
    ) -> None:
        check_choices(trust=trust, offline=offline)
        if fs is not None:
            store, storage_options = _on_filesystem(store, fs, storage_options), None
        self._settings = read_settings()
        self._offline = offline
        if offline is not None:
            self._settings = replace(self._settings, offline=offline)
        self._namespace = resolve_namespace(self._settings) if namespace is _UNSET else namespace
        if self._namespace is not None:
            self._namespace = check_namespace(self._namespace)
        self._trust = trust
        self._given = store is not None
        self._storage = store if isinstance(store, Storage) else None
        self._url = self._storage.url if self._storage is not None else _settled(store, self._settings)
        self._options = dict(storage_options or {})
        if self._options and self._storage is not None:
            raise InvalidNameError("storage_options belong to a URL; a storage that is open already takes none.")
        self._repository: Repository | None = None

    @property
    def url(self) -> str:
        """Where the store is."""
        return self.repository.url

    @property
    def namespace(self) -> str | None:
        """The namespace in which names are looked up; ``None`` means all."""
        return self._namespace

    @property
    def settings(self) -> Settings:
        """The settings as they were when the client was made."""
        return self._settings

    @property
    def trust(self) -> bool | None:
        """Whether pickles may be loaded; ``None`` leaves it to whose store it is."""
        return self._trust

    @property
    def trusted(self) -> bool:
        """Whether pickles of this store are loaded without being asked for."""
        return self.repository.trusted if self._trust is None else self._trust

    @property
    def repository(self) -> Repository:
        """The engine's view of the store."""
        if self._repository is None:
            self._repository = Repository(self._opened() if self._storage is None else self._storage, self._settings)
        return self._repository

    @property
    def namespaces(self) -> list[str]:
        """Names of all namespaces of the store, sorted.

        Raises `StoreNotFoundError` where the client was given a place, and there is no store; a default store that is
        not there yet has none.
        """
        names = self.repository.catalog.namespaces()
        self._check_given(names)
        return names

    def namespace_counts(self) -> dict[str, NamespaceCount]:
        """Return how many flows and runs each namespace has, by name; of a flow, no more than 1000 runs are counted.

        It takes one listing for each namespace and each flow. Runs that were deleted are counted until a collection.

        >>> import holdall
        >>> saved = holdall.save(1, "team:a/churn/model")
        >>> holdall.Client().namespace_counts()["team:a"]
        NamespaceCount(flows=1, runs=1, more_runs=False)
        """
        catalog = self.repository.catalog
        places = [(space, flow) for space in self.namespaces for flow in catalog.flows(space)]

        def count(place: tuple[str, str]) -> Iterator[tuple[int, int]]:
            yield sum(1 for _ in itertools.islice(catalog.run_ids(*place), RUNS_COUNTED_MAX + 1)), 0

        from holdall_store.transfer import run_ordered

        threads = min(self.repository.storage.traits.concurrency, len(places))
        counts: dict[str, NamespaceCount] = {}
        for (space, _), runs in zip(places, run_ordered(places, count, bytes_max=1, threads=threads), strict=True):
            before = counts.get(space, NamespaceCount(0, 0, False))
            more = before.more_runs or runs > RUNS_COUNTED_MAX
            counts[space] = NamespaceCount(before.flows + 1, before.runs + min(runs, RUNS_COUNTED_MAX), more)
        return counts

    @property
    def flows(self) -> list[Flow]:
        """The flows of the namespace, by name; raises `StoreNotFoundError` as `namespaces` does.

        On a disk, a flow whose first save failed may be named, and has no runs: to look into each would read the names of all.
        """
        from holdall._flow import Flow

        homes: dict[str, list[str]] = {}
        for space in self._spaces():
            for name in self.repository.catalog.flows(space):
                homes.setdefault(name, []).append(space)
        self._check_given(homes)
        return [Flow._of(self, name, tuple(spaces)) for name, spaces in sorted(homes.items())]

    def in_namespace(self, namespace: str | None) -> Client:
        """Return a client of the same store that looks in another namespace."""
        store = self._storage if self._storage is not None else self._url
        client = Client(
            store, namespace=namespace, trust=self._trust, storage_options=self._options, offline=self._offline
        )
        client._given = self._given
        return client

    def flow(self, name: str) -> Flow:
        """Return a flow by its name; raise `FlowNotFoundError`, with the namespace that does have it."""
        from holdall._flow import Flow

        checked = check_name(name, "flow")
        homes = [space for space in self._spaces() if checked in self.repository.catalog.flows(space)]
        if not homes:
            try:
                self._explain_missing_flow(checked)
            except NotFoundError as error:
                raise self._unless_offline(error) from None
        return Flow._of(self, checked, tuple(homes))

    def run(self, pathspec: str) -> Run:
        """Return a run by ``flow/run`` or by a reference such as ``churn@20261123T081402`` or ``churn:champion``.

        Of ``flow/artifact`` it is the newest successful run that holds the artifact.
        """
        if not isinstance(pathspec, str):
            raise InvalidNameError(f"A run is named by a string such as 'churn/20261123T081402', not {pathspec!r:.80}.")
        if "@" not in pathspec and ":" not in pathspec.rpartition("/")[2]:
            head, slash, run_id = pathspec.rpartition("/")
            if slash and run_id[:1].isdigit():
                return self.run_of(Reference.parse(f"{head}@{run_id}"))
        reference = Reference.parse(pathspec).without_task()
        return self.run_of(reference, having=reference.artifact)

    def run_of(self, reference: Reference, *, having: str | None = None) -> Run:
        """Return the run that a reference means: the one it names, or else the newest successful one.

        With `having`, the newest successful run that holds an artifact of that name.
        """
        if reference.flow is None:
            raise InvalidNameError(f"{str(reference)!r} names no flow.")
        client = self if reference.namespace is None else self._beside(reference.namespace)
        space = client.namespace
        # Whether the flow is there is seen by its runs: to ask first would be one more request.
        flow = client.flow(reference.flow) if space is None else client._flow_in(space, reference.flow)
        try:
            if reference.run is not None:
                return flow[reference.run]
            if reference.alias is not None:
                return client.aliases.resolve(flow, reference.alias)
            return flow.latest_successful_run if having is None else flow.latest_run_with(having)
        except NotFoundError as error:
            try:
                client.flow(reference.flow)
            except NotFoundError as better:  # there is no such flow, or no store at all
                raise better from None
            raise error from None

    def artifact(self, reference: str | Reference) -> Artifact:
        """Return the artifact that a reference means, without loading it."""
        parsed = reference if isinstance(reference, Reference) else Reference.parse(reference)
        if parsed.artifact is None:
            kind, _, alias = (parsed.namespace or "").partition(":")
            last = f" A selector goes last: '{kind}/{parsed.flow}:{alias}'." if alias else ""
            raise InvalidNameError(
                f"{str(parsed)!r} names no artifact: write flow/artifact, for example '{parsed.flow}/model'.{last}"
            )
        run = self.run_of(parsed, having=parsed.artifact)
        if parsed.task is not None:
            from holdall._step import task_artifact

            return task_artifact(run, parsed)
        return run[parsed.artifact]

    def load(
        self,
        reference: str,
        *,
        columns: Sequence[str] | None = None,
        trust: bool | None = None,
        verify: bool = True,
    ) -> Any:
        """Return the object that a reference means; see `holdall.load`."""
        check_choices(trust=trust)
        check_flags(verify=verify)
        return self.artifact(reference).load(columns=columns, trust=trust, verify=verify)

    def load_many(self, references: Iterable[str | Artifact], *, trust: bool | None = None) -> list[Any]:
        """Return the objects that several references or artifacts mean, in their order, several at a time."""
        from holdall_store.transfer import THREADS, run_all

        check_choices(trust=trust)
        artifacts = [self.artifact(item) if isinstance(item, str) else item for item in check_references(references)]
        results: list[Any] = [None] * len(artifacts)

        def load(number: int) -> None:
            results[number] = artifacts[number].load(trust=trust)

        far = min(self.repository.storage.traits.concurrency, LOADS_AT_ONCE)
        apart = [number for number, artifact in enumerate(artifacts) if not _is_quick(artifact, far=far > 0)]
        for number in sorted(set(range(len(artifacts))).difference(apart)):
            load(number)
        run_all(apart, load, threads=max(THREADS, far))
        return results

    def undelete(self, reference: str, *, note: str = "") -> Run:
        """Bring back a run that was deleted, or an artifact of it, and return the run; see `Run.delete`.

        `reference` names the run, as ``churn@20261123T081402`` or ``churn/model@20261123T081402``. Raises `ConflictError`
        where a collection has taken what it saved.
        """
        from holdall._deleting import undelete
        from holdall._run import Run

        return Run._of(self, undelete(self, reference, note))

    @property
    def aliases(self) -> Aliases:
        """The aliases of the store."""
        return Aliases(self)

    def collect(self, *, abandon_after: dt.timedelta | None = None) -> CollectionPlan:
        """Return a plan for giving back the space of what nothing refers to any more; its ``apply()`` does it.

        A run that has not ended is given up when nothing was heard of it for `abandon_after`, by default 30 days: what
        it saved stays, and what it has only stored may go.

        >>> import holdall
        >>> saved = holdall.save([1, 2, 3], "churn/scores")
        >>> holdall.Client().collect()
        CollectionPlan(nothing to do; 0 B of 0 B given back)
        """
        from holdall._collection import plan_collection

        return plan_collection(self, abandon_after)

    def close(self) -> None:
        """Release what is held open; the client opens it again when it is needed."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Flow:
        return self.flow(name)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self.flows)

    def __contains__(self, name: object) -> bool:
        from holdall._flow import Flow

        try:
            self.flow(name.name if isinstance(name, Flow) else name)  # type: ignore[arg-type]
        except (NotFoundError, InvalidNameError):
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Client) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self._url, self._namespace, self._trust))

    def __reduce__(self) -> tuple[Any, ...]:
        store = self._storage if self._storage is not None else self._url
        return _rebuild, (store, self._namespace, self._trust, without_secrets(self._options), self._offline)

    def __repr__(self) -> str:
        return f"Client({mask_secrets([self._url])[0]!r}, namespace={self._namespace!r})"

    def _repr_html_(self) -> str:
        from holdall._html import client_html

        return client_html(self)

    def _ipython_key_completions_(self) -> list[str]:
        return [flow.name for flow in self.flows]

    def _opened(self) -> Storage:
        if self._given and os.path.isfile(self._url):
            raise StoreNotFoundError(f"{self._url} is a file; a store is a folder.")
        try:
            return open_storage(self._url, self._options)
        except InvalidNameError as error:
            if self._given:
                raise
            raise InvalidNameError(f"{store_source(self._settings)}: {error}") from None

    def _beside(self, namespace: str) -> Client:
        """Return a client of another namespace that shares what is open."""
        client = self.in_namespace(namespace)
        client._repository = self.repository
        return client

    def _flow_in(self, namespace: str, name: str) -> Flow:
        """Return a flow of a namespace, whether it is there or not."""
        from holdall._flow import Flow

        return Flow._of(self, check_name(name, "flow"), (namespace,))

    def _unless_offline(self, error: NotFoundError) -> HoldallError:
        """Return `error`, or offline another one: what is not in the cache may well be in the store."""
        offline = self.repository.offline
        return error if offline is None else offline.refuse(error)

    def _check_given(self, found: Collection[str]) -> None:
        """Tell a store that is not there from one that is empty, where somebody said where it is."""
        if not found and self._given:
            self.repository.record()

    def _spaces(self) -> list[str]:
        return self.namespaces if self._namespace is None else [self._namespace]

    def _explain_missing_flow(self, name: str) -> None:
        """Raise an error that says where the flow is, if it is anywhere."""
        catalog = self.repository.catalog
        if self.repository.offline is None:
            self.repository.record()  # where there is no store at all, that is the better answer
        spaces = catalog.namespaces()
        elsewhere = [space for space in spaces if name in catalog.flows(space)]
        if elsewhere:
            found = elsewhere[0]
            raise FlowNotFoundError(
                f"There is no flow {name!r} in namespace {self._namespace!r} ({self.url}), but there is one in "
                f"{', '.join(map(repr, elsewhere[:5]))}. Look there: Client(namespace={found!r}), "
                f"holdall.namespace({found!r}), or '{found}/{name}' as the reference; namespace=None looks everywhere."
            )
        known = [flow for space in self._spaces() for flow in catalog.flows(space)]
        where = "any namespace" if self._namespace is None else f"namespace {self._namespace!r}"
        has = f" It has: {listed(known)}." if known else ""
        if self._namespace is not None and not known and spaces:
            has = (
                f" Nothing was saved in that namespace.{nearest(self._namespace, spaces)}"
                f" The store has: {listed(spaces)}."
            )
        raise FlowNotFoundError(f"There is no flow {name!r} in {where} ({self.url}).{nearest(name, known)}{has}")


def missing_artifact(name: str, known: Mapping[str, Any], where: str) -> ArtifactNotFoundError:
    """Return the error for an artifact that a run does not hold."""
    holds = f" It holds: {listed(known)}." if known else " It holds none."
    return ArtifactNotFoundError(f"There is no artifact {name!r} in {where}.{nearest(str(name), known)}{holds}")


def _is_quick(artifact: Artifact, *, far: bool) -> bool:
    """Tell whether an artifact is loaded before another thread could begin to: it is small, and nothing is waited for."""
    stored = artifact._stored.record
    return stored.bytes <= QUICK_BYTES_MAX and not (far and any(buffer.spans for buffer in stored.buffers))


def check_references(references: Iterable[str | Artifact]) -> list[str | Artifact]:
    """Return what is to be loaded as a list; refuse a lone reference, and what is neither reference nor artifact."""
    from holdall._artifact import Artifact

    if isinstance(references, str | Artifact):
        raise InvalidNameError(f"Several references are given as a list; of one alone it is load({references!r:.200}).")
    items = list(references)
    for item in items:
        if not isinstance(item, str | Artifact):
            raise InvalidNameError(f"{item!r:.80} is neither a reference, such as 'churn/model', nor an artifact.")
    return items


def _on_filesystem(
    store: str | os.PathLike[str] | Storage | None, fs: Any, storage_options: Mapping[str, Any] | None
) -> Storage:
    """Return the storage at a path of a filesystem of fsspec's."""
    if isinstance(store, Storage):
        raise InvalidNameError("fs belongs to a path; a storage that is open already takes none.")
    return open_storage("" if store is None else store, storage_options, fs=fs)


def _settled(store: Any, settings: Settings) -> str:
    """Return a URL, or the absolute path of a folder: a client stays where it is when the working directory changes."""
    place = default_store(settings) if store is None else store
    text = os.fspath(place) if isinstance(place, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        source = f"{store_source(settings)}: " if store is None else ""
        raise InvalidNameError(
            f"{source}{place!r:.80} is no place for a store: give a path or a URL, such as s3://bucket/prefix."
        )
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def _rebuild(
    store: str | Storage,
    namespace: str | None,
    trust: bool | None,
    options: Mapping[str, Any] | None = None,
    offline: bool | None = None,
) -> Client:
    return Client(store, namespace=namespace, trust=trust, storage_options=options, offline=offline)
