"""The storage contract as tests: what every implementation and every wrapper has to pass."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from holdall_store.errors import (
    AlreadyExistsError,
    IntegrityError,
    InvalidNameError,
    ObjectNotFoundError,
)
from holdall_store.storage import Buffer, ObjectInfo, Storage, StorageTraits
from holdall_store.testing._contract_listing import ListingContract

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["StorageContract"]

BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "../a",
    "a/./b",
    ".hidden",
    "a/.tmp-1",
    "a\0b",
    "a\nb",
    "a\udce9b",
    "a/b\u2028c",
    "k" * 901,
    "é" * 451,
]
LARGE = bytes(range(256)) * (3 << 12)  # 3 MiB: more than any buffer that parts may be gathered in
CREATORS = 8


class StorageContract(ListingContract):
    """Every rule of `Storage` as a test; a subclass supplies the fixture ``storage``, empty for each test.

    ::

        class TestMyStorage(StorageContract):
            @pytest.fixture
            def storage(self, tmp_path):
                return MyStorage(tmp_path)
    """

    def test_it_says_where_it_is_and_what_it_can(self, storage: Storage) -> None:
        """A storage has a URL for people and traits for planners."""
        assert storage.url
        traits = storage.traits
        assert isinstance(traits, StorageTraits)
        assert traits.pack_bytes > 0

    @pytest.mark.parametrize(
        "parts",
        [
            [],
            [b""],
            [b"hello"],
            [b"he", bytearray(b"ll"), memoryview(b"o")],
            [b"", b"x", b""],
            [LARGE],
            [b"x", LARGE, b"y", LARGE[:70_000], b"z"],
            [memoryview(LARGE)[5:-5]],
        ],
        ids=["none", "empty", "one", "types", "empties", "large", "mixed", "view"],
    )
    def test_create_stores_the_concatenation(self, storage: Storage, parts: list[Buffer]) -> None:
        """An object is the concatenation of its parts, and `create` returns its size."""
        whole = b"".join(parts)
        assert storage.create("a/b", parts) == len(whole)
        assert bytes(storage.get("a/b")) == whole
        assert storage.head("a/b") == ObjectInfo("a/b", len(whole))

    def test_parts_are_consumed_lazily_in_the_calling_thread(self, storage: Storage) -> None:
        """Each part may be reused once the next is asked for; none is asked for elsewhere than in the caller's thread."""
        threads = set()
        buffer = bytearray(1)

        def parts() -> Iterator[Buffer]:
            for value in range(100):
                threads.add(threading.get_ident())
                buffer[0] = value
                yield buffer

        storage.create("a", parts())
        assert bytes(storage.get("a")) == bytes(range(100))
        assert threads == {threading.get_ident()}

    def test_large_parts_may_be_reused_too(self, storage: Storage) -> None:
        """A part too large to be gathered is not looked at again either once the next is asked for."""
        buffer = bytearray(len(LARGE))

        def parts() -> Iterator[Buffer]:
            for value in (1, 2, 3):
                buffer[:] = bytes([value]) * len(buffer)
                yield memoryview(buffer)

        storage.create("a", parts())
        assert bytes(storage.get("a")) == b"".join(bytes([value]) * len(LARGE) for value in (1, 2, 3))

    def test_very_many_parts(self, storage: Storage) -> None:
        """The number of parts has no bound."""
        assert storage.create("a", (b"%06d" % n for n in range(50_000))) == 300_000
        assert bytes(storage.get("a", 6 * 49_999)) == b"049999"

    def test_no_reference_to_a_part_is_kept(self, storage: Storage) -> None:
        """A buffer can be resized as soon as the call has returned."""
        buffers = [bytearray(b"small"), bytearray(LARGE)]
        storage.create("a", buffers)
        for buffer in buffers:
            buffer.clear()  # raises BufferError while somebody holds a view
        assert storage.head("a").size == 5 + len(LARGE)

    @pytest.mark.parametrize("before", [b"", b"some", LARGE], ids=["first", "small", "large"])
    @pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
    def test_parts_that_raise_create_nothing(self, storage: Storage, before: bytes, error: type[BaseException]) -> None:
        """What `parts` raises passes through as it is, nothing is created, and the key is still free."""
        raised = error("from the caller")

        def parts() -> Iterator[Buffer]:
            yield before
            raise raised

        with pytest.raises(error) as caught:
            storage.create("a/b", parts())
        assert caught.value is raised
        with pytest.raises(ObjectNotFoundError):
            storage.head("a/b")
        assert list(storage.list()) == []
        assert storage.create("a/b", [b"now"]) == 3

    def test_an_object_is_invisible_until_it_is_whole(self, storage: Storage) -> None:
        """While parts are still coming no reader sees anything of the object."""
        seen: list[Any] = []

        def parts() -> Iterator[Buffer]:
            for _ in range(2):
                yield LARGE
                seen.extend(storage.list())
                seen.extend(storage.list("a/"))
                with pytest.raises(ObjectNotFoundError):
                    storage.get("a/b")
                with pytest.raises(ObjectNotFoundError):
                    storage.head("a/b")

        storage.create("a/b", parts())
        assert seen == []
        assert [info.key for info in storage.list()] == ["a/b"]

    def test_nothing_is_overwritten(self, storage: Storage) -> None:
        """A second creation fails, names the key and changes nothing."""
        storage.create("a/b", [b"first"])
        with pytest.raises(AlreadyExistsError, match="a/b"):
            storage.create("a/b", [b"second, and longer"])
        assert bytes(storage.get("a/b")) == b"first"
        assert storage.head("a/b").size == 5

    def test_a_key_taken_while_parts_come(self, storage: Storage) -> None:
        """The one that finishes first has the key, whoever began first."""

        def parts() -> Iterator[Buffer]:
            yield b"slow"
            storage.create("a", [b"fast"])

        with pytest.raises(AlreadyExistsError):
            storage.create("a", parts())
        assert bytes(storage.get("a")) == b"fast"

    @pytest.mark.parametrize("size", [3, 200_000])
    def test_of_several_creators_exactly_one_succeeds(self, storage: Storage, size: int) -> None:
        """Threads that create one key at once: one gets it whole, the others learn that they did not."""
        for attempt in range(5):
            barrier = threading.Barrier(CREATORS)

            def attempt_to_create(
                number: int, key: str = f"race/{attempt}", barrier: threading.Barrier = barrier
            ) -> bool:
                def parts() -> Iterator[Buffer]:
                    barrier.wait(timeout=60)
                    yield bytes([number]) * size

                try:
                    storage.create(key, parts())
                except AlreadyExistsError:
                    return False
                return True

            with ThreadPoolExecutor(CREATORS) as pool:
                won = list(pool.map(attempt_to_create, range(CREATORS)))
            assert won.count(True) == 1
            assert bytes(storage.get(f"race/{attempt}")) == bytes([won.index(True)]) * size

    def test_threads_share_a_storage(self, storage: Storage) -> None:
        """Different keys are created and read from many threads at once."""

        def work(number: int) -> bool:
            data = bytes([number]) * (number * 1000)
            storage.create(f"t/{number}", [data])
            return bytes(storage.get(f"t/{number}")) == data

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(40)))
        assert sum(1 for _ in storage.list("t/")) == 40

    @pytest.mark.parametrize(
        ("start", "length"), [(0, None), (0, 10), (3, 4), (3, None), (10, None), (10, 0), (0, 0), (9, 1), (5, 0)]
    )
    def test_ranges(self, storage: Storage, start: int, length: int | None) -> None:
        """A range gives exactly the bytes asked for."""
        whole = b"0123456789"
        storage.create("a", [whole])
        wanted = whole[start:] if length is None else whole[start : start + length]
        assert bytes(storage.get("a", start, length)) == wanted

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 11), (11, None), (10, 1), (11, 0), (5, 6), (0, 1 << 62), (1 << 62, 1), (-1, 1), (0, -1)],
    )
    def test_ranges_beyond_the_end(self, storage: Storage, start: int, length: int | None) -> None:
        """A range that is not within the object raises `IntegrityError`, however large, and names the key."""
        storage.create("some/key", [b"0123456789"])
        with pytest.raises(IntegrityError, match="some/key"):
            storage.get("some/key", start, length)

    def test_what_get_returns_is_private(self, storage: Storage) -> None:
        """The result is a flat view of unsigned bytes; what is done to it reaches nobody else."""
        storage.create("a", [b"0123456789"])
        got = storage.get("a")
        assert isinstance(got, memoryview)
        assert (got.format, got.ndim, got.nbytes, got.c_contiguous) == ("B", 1, 10, True)
        if not got.readonly:
            got[:] = b"x" * 10
        assert bytes(storage.get("a")) == b"0123456789"

    @pytest.mark.parametrize("size", [0, 1, 5000, len(LARGE)])
    def test_maps_are_private_and_writable(self, storage: Storage, size: int) -> None:
        """A map shows the object, takes writes, and keeps them to itself; it outlives the object."""
        data = LARGE[:size]
        storage.create("a", [data])
        mapped = storage.map("a")
        if not storage.traits.mappable:
            assert mapped is None or mapped == data
        if mapped is None:
            return
        assert mapped == data
        assert not mapped.readonly
        assert (mapped.format, mapped.ndim) == ("B", 1)
        mapped[:] = bytes(255 - byte for byte in data[:256]) * (size // 256) + b"!" * (size % 256) if size else b""
        changed = bytes(mapped)
        assert bytes(storage.get("a")) == data
        again = storage.map("a")
        assert again is not None
        assert again == data
        storage.delete(["a"])
        assert again == data
        assert mapped == changed

    @pytest.mark.parametrize("key", ["missing", "no/such/key", "there/too"])
    def test_missing_objects(self, storage: Storage, key: str) -> None:
        """Reading what is not there raises `ObjectNotFoundError`, which names the key."""
        storage.create("there/is/one", [b"x"])
        for read in (storage.get, storage.head):
            with pytest.raises(ObjectNotFoundError, match=key):
                read(key)
        if storage.traits.mappable:
            with pytest.raises(ObjectNotFoundError, match=key):
                storage.map(key)

    def test_an_empty_storage_reads_as_empty(self, storage: Storage) -> None:
        """Before the first creation nothing is there, and to look is no error."""
        assert list(storage.list()) == []
        assert list(storage.list_folders()) == []
        storage.delete(["a", "b/c"])
        with pytest.raises(ObjectNotFoundError):
            storage.get("a")

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys(self, storage: Storage, key: str) -> None:
        """No verb accepts a key that breaks the rules."""
        for use in (
            lambda: storage.create(key, [b"x"]),
            lambda: storage.get(key),
            lambda: storage.map(key),
            lambda: storage.head(key),
            lambda: storage.delete([key]),
        ):
            with pytest.raises(InvalidNameError):
                use()
        assert list(storage.list()) == []

    @pytest.mark.parametrize(
        "key", ["k" * 200 + "/" + "v" * 200, "a/ b /c", "user%3aana/^model/é日本/x", "-/~/_", "a.b/c..", "%2e%2e"]
    )
    def test_good_keys(self, storage: Storage, key: str) -> None:
        """What the rules allow comes back as it was given."""
        storage.create(key, [b"x"])
        assert bytes(storage.get(key)) == b"x"
        assert [info.key for info in storage.list()] == [key]
        storage.delete([key])
        assert list(storage.list()) == []

    def test_delete(self, storage: Storage) -> None:
        """What is deleted is gone, what is not there is no error, and keys may come lazily."""
        for key in ("a", "b/c", "b/d", "e/f/g"):
            storage.create(key, [b"x"])
        storage.delete(key for key in ("b/c", "missing", "no/such", "a", "e/f/g", "b/c"))
        assert [info.key for info in storage.list()] == ["b/d"]
        with pytest.raises(ObjectNotFoundError):
            storage.get("a")
        storage.delete([])
        assert bytes(storage.get("b/d")) == b"x"

    def test_a_deleted_key_can_be_created(self, storage: Storage) -> None:
        """Deletion frees the key."""
        storage.create("a/b", [b"old"])
        storage.delete(["a/b"])
        storage.create("a/b", [b"new"])
        assert bytes(storage.get("a/b")) == b"new"

    def test_a_forked_child_can_go_on(self, storage: Storage) -> None:
        """After a fork the child reads, lists, creates and deletes."""
        storage.create("parent", [b"x"])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                storage.create("child", [b"y", LARGE])
                keys = [info.key for info in storage.list()]
                if bytes(storage.get("parent")) == b"x" and keys == ["child", "parent"]:
                    storage.delete(["child"])
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bytes(storage.get("parent")) == b"x"

    def test_closing_twice_is_allowed(self, storage: Storage) -> None:
        """The second `close` does no harm to what is stored."""
        storage.create("a", [b"x"])
        assert bytes(storage.get("a")) == b"x"
        storage.close()
        storage.close()
