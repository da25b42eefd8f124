"""The part of the storage contract that is about listings."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall_store.errors import InvalidNameError
from holdall_store.storage import ObjectInfo, Storage

__all__ = ["ListingContract"]

_segments = st.text(alphabet="ab0-.~ é", min_size=1, max_size=3).filter(lambda segment: segment[0] != ".")
_keys = st.lists(_segments, min_size=1, max_size=4).map("/".join)
_fresh = itertools.count()

_settings = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow],
)


def _without_folders_of_others(keys: set[str]) -> list[str]:
    return [key for key in keys if not any(other.startswith(key + "/") for other in keys)]


class ListingContract:
    """Every rule of `Storage.list` and `Storage.list_folders` as a test."""

    @_settings
    @given(keys=st.sets(_keys, max_size=25).map(_without_folders_of_others), data=st.data())
    def test_listings_are_those_of_a_sorted_dict(self, storage: Storage, keys: list[str], data: st.DataObject) -> None:
        """Keys, sizes, folders, order, `prefix` and `after` agree with a model, for any set of keys."""
        base = f"model{next(_fresh):06d}/"  # the storage is the same for all examples
        model = {base + key: len(key.encode()) for key in keys}
        for key in keys:
            storage.create(base + key, [key.encode()])
        prefixes = {base} | {key[: i + 1] for key in model for i, char in enumerate(key) if char == "/"}
        prefix = data.draw(st.sampled_from(sorted(prefixes)))
        after = data.draw(st.just("") | st.sampled_from([*sorted(model), prefix]) | _keys.map(lambda key: base + key))
        expected = [ObjectInfo(key, model[key]) for key in sorted(model) if key.startswith(prefix) and key > after]
        assert list(storage.list(prefix, after)) == expected
        folders = {
            key[len(prefix) :].partition("/")[0] + "/"
            for key in model
            if "/" in key[len(prefix) :] and key.startswith(prefix)
        }
        last = data.draw(st.just("") | _segments)
        assert list(storage.list_folders(prefix, last)) == [
            folder[:-1] for folder in sorted(folders) if not last or folder > last + "/"
        ]
        storage.delete(model)
        assert list(storage.list(base)) == []

    def test_order_is_that_of_whole_keys(self, storage: Storage) -> None:
        """A character that sorts before the slash comes before what lies in a folder."""
        keys = ["a-b", "a/b", "a/b-c", "a0", "a-/x", "b", "a/c/d", "é/x", "日/y", "z"]
        for key in keys:
            storage.create(key, [b"x"])
        listed = [info.key for info in storage.list()]
        assert listed == sorted(keys, key=str.encode)
        assert listed[:3] == ["a-/x", "a-b", "a/b"]
        assert list(storage.list_folders()) == ["a-", "a", "é", "日"]

    def test_the_whole_can_be_listed_in_pages(self, storage: Storage) -> None:
        """To go on after the last key, again and again, misses nothing and repeats nothing."""
        keys = sorted(f"{a}/{b}{c}" for a in ("x", "x-", "y") for b in ("", "k/", "k-") for c in "012")
        for key in keys:
            storage.create(key, [b""])
        found, after = [], ""
        while page := [info.key for info in itertools.islice(storage.list("", after), 2)]:
            found += page
            after = page[-1]
        assert found == keys

    def test_a_prefix_is_a_folder_and_not_a_beginning_of_a_name(self, storage: Storage) -> None:
        """``a/`` does not find ``ab/…``; a prefix under which nothing lies yields nothing, an object's name neither."""
        for key in ("a/x", "ab/y", "o"):
            storage.create(key, [b"x"])
        assert [info.key for info in storage.list("a/")] == ["a/x"]
        for nothing in ("b/", "a/x/", "o/", "a/no/such/"):
            assert list(storage.list(nothing)) == []
            assert list(storage.list_folders(nothing)) == []

    @pytest.mark.parametrize("prefix", ["a", "a/b", "/", "/a/", "a//", "../", "a/../", "./", ".hidden/", "a\0/"])
    def test_bad_prefixes(self, storage: Storage, prefix: str) -> None:
        """A prefix that is no folder is refused."""
        with pytest.raises(InvalidNameError):
            list(storage.list(prefix))
        with pytest.raises(InvalidNameError):
            list(storage.list_folders(prefix))

    def test_a_listing_may_be_abandoned(self, storage: Storage) -> None:
        """To take the first few and go is fine, as often as one likes."""
        for number in range(20):
            storage.create(f"f{number:02d}/x", [b""])
        for _ in range(50):
            assert next(storage.list()).key == "f00/x"
            assert next(storage.list_folders()) == "f00"

    def test_what_is_listed_can_be_deleted_and_created_meanwhile(self, storage: Storage) -> None:
        """A listing survives that its keys go and others come, and shows every key that is there throughout."""
        keys = [f"{folder}/{number:03d}" for folder in "abc" for number in range(30)]
        for key in keys:
            storage.create(key, [b"x"])
        seen = []
        for info in storage.list():
            seen.append(info.key)
            storage.delete([info.key])
            storage.create(f"new-{info.key}", [b"x"])
        assert [key for key in seen if not key.startswith("new-")] == keys
        assert len(set(seen)) == len(seen)

    def test_nothing_is_cached(self, storage: Storage) -> None:
        """A listing that begins after a creation or a deletion has returned knows of it."""
        for number in range(3):
            storage.create(f"a/{number}", [b"x"])
            assert len(list(storage.list("a/"))) == number + 1
        storage.delete(["a/1"])
        assert [info.key for info in storage.list("a/")] == ["a/0", "a/2"]
        storage.create("b/c", [b"x"])
        assert list(storage.list_folders()) == ["a", "b"]
