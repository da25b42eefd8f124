"""The verbs of `S3` that read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from holdall_store.config import check_flags
from holdall_store.errors import InvalidNameError
from holdall_store.transfer._paths import plain_target
from holdall_store.transfer._s3_base import S3Base
from holdall_store.transfer._s3_files import FetchItem, fetch_files
from holdall_store.transfer._s3_get import Reader, Wanted, get_job, head_job
from holdall_store.transfer._s3_list import Listing, as_object, page_job, versions_job
from holdall_store.transfer._s3_missing import with_nearest
from holdall_store.transfer._s3_names import Place, as_many, as_pair, local_path
from holdall_store.transfer._s3_objects import S3GetObject, S3Object
from holdall_store.transfer._s3_once import once

__all__ = ["S3Reading"]

Key = str | S3GetObject | S3Object


def weigh(found: S3Object) -> int:
    """Return the bytes that an object holds in memory."""
    return found.size or 0 if found.in_memory else 0


class S3Reading(S3Base):
    """Get, look at and list objects."""

    def get(
        self,
        key: Key | None = None,
        return_missing: bool = False,
        return_info: bool = True,
        version_id: str | None = None,
    ) -> S3Object:
        """Read an object, or a part of one (`S3GetObject`).

        Without a key it is the root itself. `return_info` is there for Metaflow's users: what the server says of the object
        costs nothing. Raises `ObjectNotFoundError` unless `return_missing`, which gives an object that does not
        exist.
        """
        del return_info
        session = self._session
        wanted = session.wanted(key, version_id)
        job = with_nearest(get_job(session.reader(missing_ok=return_missing), wanted), wanted.place)
        with self._watched("get", 1) as tick:
            found = session.run_one(job)
            tick(1, found.size or 0)
        return found

    def get_many(self, keys: Iterable[Key], return_missing: bool = False, return_info: bool = True) -> list[S3Object]:
        """Read many objects, in the order of `keys`.

        They are kept in memory up to the budget of this `S3`, and beyond it in temporary files; `iter_many` keeps
        none.
        """
        del return_info
        session = self._session
        reader = session.reader(missing_ok=return_missing)
        return self._collect("get_many", reader, map(session.wanted, as_many(keys)), _count(keys))

    def _collect(self, verb: str, reader: Reader, wanted: Iterable[Wanted], total: int | None) -> list[S3Object]:
        results: list[S3Object] = []
        session, memory = self._session, reader.memory
        with self._watched(verb, total) as tick:
            jobs = (get_job(reader, each) for each in wanted)
            for found in session.run(jobs, weigh=weigh):
                size = found.size or 0
                if found.in_memory:
                    if reader.held + size > memory:
                        found.spill()
                    else:
                        reader.held += size
                results.append(found)
                tick(1, size)
        return results

    def iter_many(self, keys: Iterable[Key], ordered: bool = False, return_missing: bool = False) -> Iterator[S3Object]:
        """Yield many objects as they arrive, or in the order of `keys`, however many there are.

        `keys` may be a generator without an end: it is asked for as many as are read at once. Objects that are under
        way or wait to be taken hold at most the memory budget together; one that is larger alone goes through a
        temporary file, which is removed with the object.
        """
        check_flags(ordered=ordered)
        return self._iter_many(as_many(keys), self._session.reader(missing_ok=return_missing), ordered=ordered)

    def _iter_many(self, keys: Iterable[Key], reader: Reader, *, ordered: bool) -> Iterator[S3Object]:
        session = self._session
        with self._watched("iter_many", _count(keys)) as tick:
            jobs = (get_job(reader, session.wanted(key)) for key in keys)
            for found in session.run(jobs, ordered=ordered, bytes_max=session.memory, weigh=weigh):
                tick(1, found.size or 0)
                yield found
                del found  # or it would be held while the next one is waited for

    def get_recursive(self, prefixes: Iterable[str | S3Object] | None, return_info: bool = False) -> list[S3Object]:
        """Read all objects below `prefixes`, each of which is a folder; keys of results are relative to it."""
        del return_info
        session = self._session
        reader = session.reader()
        wanted = [
            Wanted(
                Place(listing.bucket, entry.key, entry.key[len(listing.key) :]),
                listing.url,
                size=entry.size,
                etag=entry.etag,
            )
            for listing, entries in session.list_all(session.listings(prefixes))
            for entry in entries
        ]
        return self._collect("get_recursive", reader, wanted, len(wanted))

    def get_all(self, return_info: bool = False) -> list[S3Object]:
        """Read all objects below the root."""
        if self._session.names.root is None:
            raise InvalidNameError("get_all() needs a root: S3('s3://bucket/prefix').")
        return self.get_recursive(None, return_info)

    def get_files(self, keys_and_paths: Iterable[tuple[str | S3Object, Any]]) -> list[str]:
        """Read objects into files, and return their paths.

        A file appears whole or not at all, and replaces one that was there. A large one that was interrupted goes on
        where it was, if the object is still the same. A link stays, and what it leads to is replaced; so do the
        permissions. A device, a FIFO or a socket is never replaced: `StorageError`. A path that is given twice, also by a
        link, is `InvalidNameError`: in a list before anything is written, of an iterator when it comes again.
        """
        return self._get_files(as_many(keys_and_paths, "Pairs of a key and a path"), follow=True)

    def _get_files(self, keys_and_paths: Iterable[tuple[str | S3Object, Any]], *, follow: bool) -> list[str]:
        """Read objects into files; only if `follow`, through links."""
        session = self._session
        paths: list[str] = []

        def target_of(pair: object) -> str:
            path = local_path(as_pair(pair, "a key and a path")[1])
            return os.path.abspath(plain_target(path) if follow else path)

        pairs = once(keys_and_paths, target_of)

        def items() -> Iterator[FetchItem]:
            for number, (key, given) in enumerate(as_pair(each, "a key and a path") for each in pairs):
                path = local_path(given)
                paths.append(path)
                yield FetchItem(number, _whole(session.wanted(key)), plain_target(path) if follow else path)

        with self._watched("get_files", _count(keys_and_paths)) as tick:
            for done in fetch_files(session.reader(), session.run, items(), tick):
                self._did("put", paths[done.item.number], done.size)
        return paths

    def info(self, key: Key | None = None, return_missing: bool = False, version_id: str | None = None) -> S3Object:
        """Look at an object without reading it."""
        session = self._session
        wanted = session.wanted(key, version_id)
        return session.run_one(with_nearest(head_job(session.reader(missing_ok=return_missing), wanted), wanted.place))

    def info_many(self, keys: Iterable[Key], return_missing: bool = False) -> list[S3Object]:
        """Look at many objects, in the order of `keys`: one request for each."""
        session = self._session
        reader, keys = session.reader(missing_ok=return_missing), as_many(keys)
        with self._watched("info_many", _count(keys)) as tick:
            results = []
            for found in session.run(head_job(reader, session.wanted(key)) for key in keys):
                results.append(found)
                tick(1, 0)
        return results

    def list_paths(self, prefixes: Iterable[str | S3Object] | None = None) -> list[S3Object]:
        """List one level: the objects in each folder, and the folders in it, which do not `exists`.

        The keys of results are relative to the prefix that they were found under; each result may be given to
        `get_many` as it is. Without `prefixes` it is the root that is listed.
        """
        return self._list(prefixes, "/")

    def list_recursive(self, prefixes: Iterable[str | S3Object] | None = None) -> list[S3Object]:
        """List all objects below each folder."""
        return self._list(prefixes, "")

    def _list(self, prefixes: Iterable[str | S3Object] | None, delimiter: str) -> list[S3Object]:
        session = self._session
        with session.timed():
            found = session.list_all(session.listings(prefixes, delimiter))
            return [as_object(entry, listing) for listing, entries in found for entry in entries]

    def iter_recursive(self, prefixes: Iterable[str | S3Object] | None = None) -> Iterator[S3Object]:
        """Yield all objects below each folder, a page at a time, however many there are."""
        for listing in self._session.listings(prefixes):
            yield from self._pages(listing)

    def _pages(self, listing: Listing) -> Iterator[S3Object]:
        token = ""
        while True:
            page = self._session.run_one(page_job(listing, token))
            for entry in page.entries:
                yield as_object(entry, listing)
            token = page.token
            if not token:
                return

    def list_versions(self, prefixes: Iterable[str | S3Object] | None = None) -> list[S3Object]:
        """List all versions of all objects below each folder, the newest of each first.

        A deletion is a version that does not `exists`. Each result may be given to `get_many` and `delete_many`.
        """
        session = self._session
        jobs = [versions_job(listing) for listing in session.listings(prefixes)]
        with session.timed():
            return [version for versions in session.run(jobs) for version in versions]


def _whole(wanted: Wanted) -> Wanted:
    if wanted.offset is not None or wanted.length is not None:
        raise InvalidNameError(f"Into files whole objects are read: use get() for a part of {wanted.url}.")
    return wanted


def _count(keys: Any) -> int | None:
    return len(keys) if hasattr(keys, "__len__") else None
