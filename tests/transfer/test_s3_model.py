"""`S3` does what a dict would do, whatever is done in whatever order."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.transfer._bucket_server import BucketServer
from tests.transfer.conftest import OPTIONS

from holdall_store.transfer import _plan, _s3_copy, _s3_files, _s3_get, _s3_put, _s3_sources, _s3_writing
from holdall_store.transfer.s3 import S3, S3GetObject

KEYS = st.sampled_from(["a", "a/b", "a b+c", "ü/ñ%41", "a/../b", "a//b", ".x", "z\x01"])
VALUES = st.integers(0, 300).map(lambda size: bytes(index % 251 for index in range(size)))

SMALL = (
    (_plan, "PART_BYTES_MIN", 40),
    (_plan, "MIB", 1),
    (_s3_put, "MULTIPART_BYTES", 100),
    (_s3_sources, "MULTIPART_BYTES", 100),
    (_s3_get, "FIRST_BYTES", 50),
    (_s3_get, "range_bytes", lambda size: 30),
    (_s3_files, "FIRST_BYTES", 50),
    (_s3_files, "range_bytes", lambda size: 30),
    (_s3_copy, "COPY_BYTES_MAX", 120),
    (_s3_copy, "copy_part_bytes", lambda size: 50),
)


class Model(RuleBasedStateMachine):
    """A bucket and a dict, side by side, with all sizes a million times smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[tuple[Any, str, Any]] = [(module, name, getattr(module, name)) for module, name, _ in SMALL]
        for module, name, value in SMALL:
            setattr(module, name, value)
        _s3_writing._conditions.clear()
        self.server = BucketServer()
        self.s3 = S3("s3://bucket/root", memory=200, storage_options={"endpoint_url": self.server.url, **OPTIONS})
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self.s3.close()
        self.server.close()
        for module, name, value in self.before:
            setattr(module, name, value)

    @rule(objects=st.dictionaries(KEYS, VALUES, max_size=4), overwrite=st.booleans())
    def put(self, objects: dict[str, bytes], overwrite: bool) -> None:
        done = self.s3.put_many(objects.items(), overwrite=overwrite)
        expected = [key for key in objects if overwrite or key not in self.model]
        assert [key for key, _ in done] == expected
        self.model |= {key: objects[key] for key in expected}

    @rule(keys=st.lists(KEYS, max_size=5))
    def get(self, keys: list[str]) -> None:
        found = self.s3.get_many(keys, return_missing=True)
        assert [each.blob for each in found] == [self.model.get(key) for key in keys]

    @rule(keys=st.lists(KEYS, max_size=5))
    def iterate(self, keys: list[str]) -> None:
        found = sorted((each.key, each.blob) for each in self.s3.iter_many(keys, return_missing=True) if each.exists)
        assert found == sorted((key, self.model[key]) for key in keys if key in self.model)

    @rule(key=KEYS, offset=st.integers(0, 320), length=st.one_of(st.none(), st.integers(-320, 320)))
    def get_part(self, key: str, offset: int, length: int | None) -> None:
        data = self.model.get(key, b"")
        if length is not None and length < 0:
            expected = data[length:]
        else:
            expected = data[offset:] if length is None else data[offset : offset + length]
        if expected:
            assert self.s3.get(S3GetObject(key, offset, length)).blob == expected

    @rule(keys=st.lists(KEYS, max_size=5))
    def delete(self, keys: list[str]) -> None:
        self.s3.delete_many(keys)
        for key in keys:
            self.model.pop(key, None)

    @rule(source=KEYS, copy=KEYS)
    def duplicate(self, source: str, copy: str) -> None:
        if source in self.model and source != copy:
            self.s3.copy(source, copy)
            self.model[copy] = self.model[source]

    @invariant()
    def lists(self) -> None:
        found = {each.key: each.size for each in self.s3.list_recursive()}
        assert found == {key: len(data) for key, data in self.model.items()}


Model.TestCase.settings = settings(max_examples=12, stateful_step_count=15)
TestModel = Model.TestCase
TestModel.__doc__ = "After any sequence of verbs the bucket holds what the dict holds."
