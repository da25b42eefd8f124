"""Every storage and every wrapper keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdall_store.storage import LocalStorage, MemoryStorage, Storage
from holdall_store.testing import CountingStorage, FaultyStorage, LatencyStorage, StorageContract, WrappedStorage

if TYPE_CHECKING:
    from pathlib import Path


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """In memory."""
        return MemoryStorage()


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """In a folder that is made on demand, with a space in its name."""
        return LocalStorage(tmp_path / "made" / "on demand")


class TestLocalInAFolderThatIsThere(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """In a folder that is there already."""
        return LocalStorage(tmp_path)


class TestWrapped(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """Behind a wrapper that changes nothing."""
        return WrappedStorage(MemoryStorage())


class TestCounting(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """Behind a counter."""
        return CountingStorage(MemoryStorage())


class TestLatency(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """Behind a slow network."""
        return LatencyStorage(MemoryStorage(), 0.001, 1e9, sleep=lambda seconds: None)


class TestFaultyWithoutFaults(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """Behind a wrapper that could fail and does not."""
        return FaultyStorage(LocalStorage(tmp_path))
