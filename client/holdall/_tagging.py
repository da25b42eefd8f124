"""Tags that come and go after a run has begun, and runs that are kept: what runs and recorded runs have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from holdall._aliases import check_note
from holdall._defaults import default_user
from holdall._values import check_tags
from holdall.store import InvalidNameError
from holdall_store.format import TagRecord
from holdall_store.repository import TagState
from holdall_store.transfer import run_all

if TYPE_CHECKING:
    from holdall._client import Client
    from holdall._run import Run

__all__ = ["AsBegun", "TagPlace", "TagSource", "Tagged", "tag_runs"]

TAGS_MAX: Final = 256
"""Each record has all tags of its run, and listings read it: more would make all of them slow."""


class TagSource(Protocol):
    """Where the tags of a run are looked up when they are asked for."""

    def of(self, run_id: str) -> TagRecord | None:
        """Return the last record of a run, or ``None`` where nothing was said after it began."""


class AsBegun:
    """What a run says of its own tags while it is recorded: nobody is asked what others said of it meanwhile."""

    def of(self, run_id: str) -> TagRecord | None:  # noqa: ARG002
        """Return ``None``."""
        return None


class TagPlace:
    """Where the tags of one run lie, and what is known of them."""

    def __init__(
        self, client: Client, place: tuple[str, str, str], begun_with: tuple[str, ...], source: TagSource | None = None
    ) -> None:
        self.client = client
        self.place = place
        self.begun_with = begun_with
        self._source = source
        self._record: TagRecord | None = None
        self._looked = False
        self._lock = threading.Lock()

    @property
    def record(self) -> TagRecord | None:
        """The last record, looked up once; ``None`` where nothing was said after the run began."""
        with self._lock:
            if not self._looked:
                found = (
                    self._source.of(self.place[2]) if self._source else self.client.repository.tags.newest(*self.place)
                )
                self._record, self._looked = found, True
            return self._record

    def change(self, edit: Callable[[TagState], TagState], note: str = "") -> None:
        """Write what `edit` makes of what is said of the run."""
        repository = self.client.repository
        repository.refuse_offline()
        record = repository.tags.change(
            *self.place, self.begun_with, edit, who=default_user(self.client.settings), note=check_note(note)
        )
        with self._lock:
            self._record, self._looked = record, True


class Tagged:
    """A run whose tags can be changed at any time, also by others; each change is a record, so none is lost."""

    _tag_place: TagPlace

    @property
    def tags(self) -> frozenset[str]:
        """The tags that it carries, as of the first look at them."""
        record = self._tag_place.record
        return frozenset(self._tag_place.begun_with if record is None else record.tags)

    @property
    def kept(self) -> bool:
        """Whether it must not be deleted; see `keep`."""
        record = self._tag_place.record
        return record is not None and record.kept

    def add_tag(self, tag: str) -> None:
        """Add a tag; one that it has is no error."""
        self.replace_tags((), [tag])

    def add_tags(self, tags: Iterable[str]) -> None:
        """Add several tags in one change.

        >>> import holdall
        >>> with holdall.run("churn", tags=["nightly"]) as run:
        ...     saved = run.save(model="v1")
        >>> found = holdall.Flow("churn").latest_run
        >>> found.add_tags(["reviewed", "eu"])
        >>> sorted(holdall.Flow("churn").latest_run.tags)
        ['eu', 'nightly', 'reviewed']
        """
        self.replace_tags((), tags)

    def remove_tag(self, tag: str) -> None:
        """Take a tag away, also one that the run began with; one that it does not have is no error."""
        self.replace_tags([tag], ())

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Take several tags away in one change."""
        self.replace_tags(tags, ())

    def replace_tag(self, tag_to_remove: str, tag_to_add: str) -> None:
        """Take one tag away and add another in one change."""
        self.replace_tags([tag_to_remove], [tag_to_add])

    def replace_tags(self, tags_to_remove: Iterable[str], tags_to_add: Iterable[str]) -> None:
        """Take some tags away and add others in one change: nobody sees the one without the other."""
        self._tag_place.change(_edit(check_tags(tags_to_add), check_tags(tags_to_remove)))

    def keep(self, *, note: str = "") -> None:
        """Let nobody delete it, until `unkeep`."""
        self._tag_place.change(lambda state: state._replace(kept=True), note)

    def unkeep(self, *, note: str = "") -> None:
        """Let it be deleted again."""
        self._tag_place.change(lambda state: state._replace(kept=False), note)


def tag_runs(runs: Iterable[Run], add: Iterable[str], remove: Iterable[str]) -> int:
    """Change the tags of many runs, several at once where that pays; return how many there were."""
    edit = _edit(check_tags(add), check_tags(remove))
    chosen = list(runs)
    threads = max((run.client.repository.storage.traits.concurrency for run in chosen), default=0) or 1
    run_all(chosen, lambda run: run._tag_place.change(edit), threads=threads)
    return len(chosen)


def _edit(add: list[str], remove: list[str]) -> Callable[[TagState], TagState]:
    both = sorted(set(add) & set(remove))
    if both:
        raise InvalidNameError(f"The tag {both[0]!r} is to be added and removed by one change.")

    def edit(state: TagState) -> TagState:
        tags = dict.fromkeys(tag for tag in (*state.tags, *add) if tag not in remove)
        if len(tags) > max(TAGS_MAX, len(state.tags)):
            raise InvalidNameError(f"A run carries at most {TAGS_MAX} tags; it would have {len(tags)}.")
        return state._replace(tags=tuple(tags))

    return edit
