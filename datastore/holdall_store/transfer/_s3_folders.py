"""The verbs of `S3` for whole folders: download, upload, sync."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from holdall_store.config import check_flags
from holdall_store.errors import InvalidNameError, NotFoundError
from holdall_store.transfer._plan import Entry, Step, compare
from holdall_store.transfer._s3_aborts import OpenUploads
from holdall_store.transfer._s3_copy import CopyItem, copy_job
from holdall_store.transfer._s3_delete import DELETE_KEYS_MAX, Doomed, delete_job
from holdall_store.transfer._s3_files import FetchItem, fetch_files
from holdall_store.transfer._s3_get import Wanted
from holdall_store.transfer._s3_list import Listed, Listing
from holdall_store.transfer._s3_local import Folder, local_etag, scan_folder
from holdall_store.transfer._s3_missing import nothing_below_job
from holdall_store.transfer._s3_names import Place, is_url, local_path, split_url
from holdall_store.transfer._s3_objects import S3PutObject
from holdall_store.transfer._s3_put import PutItem
from holdall_store.transfer._s3_sources import FileSource
from holdall_store.transfer._s3_writing import S3Writing

__all__ = ["S3Folders"]


class S3Folders(S3Writing):
    """Move whole folders."""

    def download(self, prefix: str | None, folder: str | os.PathLike[str]) -> list[str]:
        """Read all objects below `prefix` into files below `folder`, and return their paths.

        Files appear whole, with the time of the object; those that are there are replaced. Large ones that were
        interrupted go on where they were. Raises `InvalidNameError`, before anything is written, for keys that cannot
        be files: with ``..`` in them, or two that want the same name; and `StorageError` for a folder, a device or a
        FIFO in the place of a file. Permissions of what is replaced stay. Raises `ObjectNotFoundError`, with the nearest
        name, if there is nothing below `prefix`.
        """
        session = self._session
        (listing,) = session.listings([prefix] if prefix else None)
        target = Folder(local_path(folder))
        ((_, found),) = session.list_all([listing])
        if not found:
            name = (prefix or "").rstrip("/")
            raise session.run_one(nothing_below_job(Place(listing.bucket, listing.key.rstrip("/"), name)))
        entries = _by_path(listing, found)
        target.check(list(entries), listing.url)
        target.check_room(entries)
        return self._fetch("download", listing, [(path, entries[path]) for path in entries], target)

    def upload(self, folder: str | os.PathLike[str], prefix: str | None = None) -> list[str]:
        """Upload all files below `folder`, hidden ones too, and return their URLs.

        Links are followed. The type of the content is guessed from the name. Raises `StorageError`, before anything is
        sent, if something is no file: a device, a FIFO, a socket, a link to nothing or back to where it came from.
        """
        root = local_path(folder)
        (listing,) = self._session.listings([prefix] if prefix else None)
        return self._send("upload", root, list(scan_folder(root)), listing)

    def sync(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        delete: bool = False,
        dry_run: bool = False,
        checksum: bool = False,
    ) -> list[Step]:
        """Make `target` hold what `source` holds, and return what was done about which path.

        Each is a folder of this machine or a ``s3://`` URL, and at least one is such a URL. Moved is what differs in
        size or was modified later in the source; with `checksum`, what differs in content. With `delete`, what is in
        the target alone is deleted; without it a folder in the place of a file is a `StorageError`, and so is a file in
        the place of a folder. With `dry_run` nothing is done. What is no file is refused as by `upload`.
        """
        check_flags(delete=delete, dry_run=dry_run, checksum=checksum)
        if is_url(source) and is_url(target):
            return self._sync_buckets(str(source), str(target), delete=delete, dry_run=dry_run)
        if is_url(source):
            return self._sync_down(str(source), local_path(target), delete=delete, dry_run=dry_run, checksum=checksum)
        if is_url(target):
            return self._sync_up(local_path(source), str(target), delete=delete, dry_run=dry_run, checksum=checksum)
        raise InvalidNameError("One side of sync() is a s3:// URL; for two folders of this machine there is rsync.")

    def _sync_down(self, url: str, root: str, *, delete: bool, dry_run: bool, checksum: bool) -> list[Step]:
        listing = _url_listing(url)
        entries = self._listed(listing)
        if delete and not entries:
            raise _nothing(url)
        folder = Folder(root)
        folder.check(list(entries), listing.url)
        there = {entry.path: entry for entry in scan_folder(root, follow=False)} if os.path.isdir(root) else {}
        source = {path: _entry(path, entry) for path, entry in entries.items()}
        if checksum:
            _add_digests(there, source, entries, root)
        steps = list(compare(source.values(), there, delete=delete))
        doomed = {step.path for step in steps if step.action == "delete"}
        put = [(step.path, entries[step.path]) for step in steps if step.action == "put"]
        room = folder.check_room((path for path, _ in put), doomed)
        if dry_run:
            return steps
        gone = folder.make_room(room, doomed)
        for path in sorted(gone & doomed):
            self._did("delete", path)
        self._fetch("sync", listing, put, folder)
        for path in sorted(doomed - gone):
            self._did("delete", folder.delete(path))
        return steps

    def _sync_up(self, root: str, url: str, *, delete: bool, dry_run: bool, checksum: bool) -> list[Step]:
        files = {entry.path: entry for entry in scan_folder(root)}
        if delete and not files:
            raise _nothing(root)
        listing = _url_listing(url)
        entries = self._listed(listing)
        there = {path: _entry(path, entry) for path, entry in entries.items()}
        if checksum:
            _add_digests(files, there, entries, root)
        steps = list(compare(files.values(), there, delete=delete))
        if dry_run:
            return steps
        self._send("sync", root, [files[step.path] for step in steps if step.action == "put"], listing)
        self._delete_all(listing, entries, steps)
        return steps

    def _sync_buckets(self, source_url: str, target_url: str, *, delete: bool, dry_run: bool) -> list[Step]:
        source, target = _url_listing(source_url), _url_listing(target_url)
        session = self._session
        if source.bucket == target.bucket and (source.key.startswith(target.key) or target.key.startswith(source.key)):
            raise InvalidNameError(
                f"{source_url} and {target_url} lie in each other: nothing can be synchronised there."
            )
        (_, ours), (_, theirs) = session.list_all([source, target])
        entries, there = _by_path(source, ours, folders=True), _by_path(target, theirs, folders=True)
        if delete and not entries:
            raise _nothing(source_url)
        # The same bytes may have another ETag if they were uploaded in other parts: then the time decides.
        steps = [
            step
            for step in compare(
                (_entry(path, entry) for path, entry in entries.items()),
                {path: _entry(path, entry) for path, entry in there.items()},
                delete=delete,
            )
            if step.reason != "time" or entries[step.path].etag != there[step.path].etag
        ]
        if dry_run:
            return steps
        uploads = OpenUploads()
        jobs = (
            copy_job(
                CopyItem(
                    Place(source.bucket, source.key + step.path, step.path),
                    Place(target.bucket, target.key + step.path, step.path),
                    session.encryption,
                    size=step.size,
                ),
                uploads,
            )
            for step in steps
            if step.action == "put"
        )
        with self._watched("sync", len(steps)) as tick, uploads.aborted_by(session.executor):
            puts = (step for step in steps if step.action == "put")
            for step, _ in zip(puts, session.run(jobs), strict=True):
                tick(1, 0)
                self._did("put", step.path, step.size)
        self._delete_all(target, there, steps)
        return steps

    def _listed(self, listing: Listing) -> dict[str, Listed]:
        """Return what is below a prefix by its path; objects that stand for folders are none."""
        ((_, entries),) = self._session.list_all([listing])
        return _by_path(listing, entries)

    def _fetch(self, verb: str, listing: Listing, entries: list[tuple[str, Listed]], folder: Folder) -> list[str]:
        session = self._session

        def items() -> Iterator[FetchItem]:
            for number, (path, entry) in enumerate(entries):
                wanted = Wanted(Place(listing.bucket, entry.key, path), None, size=entry.size, etag=entry.etag)
                yield FetchItem(number, wanted, folder.place(path), entry.modified)

        total = sum(entry.size or 0 for _, entry in entries)
        with self._watched(verb, len(entries), total) as tick:
            done = []
            for each in fetch_files(session.reader(), session.run, items(), tick):
                self._did("put", entries[each.item.number][0], each.size)
                done.append(each)
        return [each.item.path for each in sorted(done, key=lambda each: each.item.number)]

    def _send(self, verb: str, root: str, files: list[Entry], listing: Listing) -> list[str]:
        import mimetypes  # it reads the system's own lists

        session = self._session

        def items() -> Iterator[PutItem]:
            for number, entry in enumerate(files):
                source = FileSource(os.path.join(root, *entry.path.split("/")))
                kind = mimetypes.guess_type(entry.path)[0]
                given = S3PutObject(entry.path, content_type=kind)
                place = session.names.checked(Place(listing.bucket, listing.key + entry.path, entry.path))
                yield self._item_at(number, place, given, source)

        total = sum(entry.size for entry in files)
        with self._watched(verb, len(files), total) as tick:
            results = []
            for result in self._upload(items(), overwrite=True):
                tick(1, result.size)
                self._did("put", files[result.number].path, result.size)
                results.append(result)
        results.sort(key=lambda result: result.number)
        return [f"s3://{each.place.bucket}/{each.place.key}" for each in results]

    def _delete_all(self, listing: Listing, entries: dict[str, Listed], steps: list[Step]) -> None:
        doomed = [step for step in steps if step.action == "delete"]
        batches = [doomed[at : at + DELETE_KEYS_MAX] for at in range(0, len(doomed), DELETE_KEYS_MAX)]
        jobs = (delete_job(listing.bucket, [Doomed(entries[step.path].key) for step in batch]) for batch in batches)
        for batch, _ in zip(batches, self._session.run(jobs), strict=True):
            for step in batch:
                self._did("delete", step.path, step.size)


def _url_listing(url: str) -> Listing:
    bucket, key = split_url(url)
    key = key if not key or key.endswith("/") else f"{key}/"
    return Listing(bucket, key, f"s3://{bucket}/{key}".rstrip("/"))


def _by_path(listing: Listing, entries: Iterable[Listed], *, folders: bool = False) -> dict[str, Listed]:
    found = {entry.key[len(listing.key) :]: entry for entry in entries}
    return {
        path: entry for path, entry in found.items() if folders or entry.size or not (path == "" or path[-1] == "/")
    }


def _entry(path: str, listed: Listed) -> Entry:
    return Entry(path, listed.size or 0, listed.modified or 0.0)


def _nothing(where: str) -> NotFoundError:
    return NotFoundError(f"There is nothing in {where}: sync(delete=True) would delete all that is in the target.")


def _add_digests(files: dict[str, Entry], objects: dict[str, Entry], etags: dict[str, Listed], root: str) -> None:
    """Let the contents of files and objects of the same size be compared, where an ETag is made of the bytes."""
    for path, entry in list(files.items()):
        other = objects.get(path)
        etag = etags[path].etag.strip('"') if path in etags else ""
        if other is None or other.size != entry.size or not etag:
            continue
        found = local_etag(os.path.join(root, *path.split("/")), etag, entry.size)
        files[path] = replace(entry, digest=found)
        objects[path] = replace(other, digest=etag)
