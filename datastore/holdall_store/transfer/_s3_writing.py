"""The verbs of `S3` that write: put, copy, delete."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from holdall_store.config import check_flags
from holdall_store.errors import AccessDeniedError, InvalidNameError
from holdall_store.storage import Buffer
from holdall_store.transfer._exchange import Job, Request
from holdall_store.transfer._plan import Span
from holdall_store.transfer._s3_aborts import OpenUploads
from holdall_store.transfer._s3_base import S3Base
from holdall_store.transfer._s3_copy import CopyItem, copy_job
from holdall_store.transfer._s3_delete import DELETE_KEYS_MAX, Doomed, delete_job
from holdall_store.transfer._s3_get import Wanted, head_job
from holdall_store.transfer._s3_names import Place, as_many, as_pair, is_url, local_path, split_url
from holdall_store.transfer._s3_objects import S3Object, S3PutObject
from holdall_store.transfer._s3_once import once
from holdall_store.transfer._s3_options import Headers, make_encryption, metadata_headers, type_header
from holdall_store.transfer._s3_put import PutItem, PutResult, Uploader
from holdall_store.transfer._s3_sources import FileSource, Source, StreamSource, source_of

__all__ = ["S3Writing"]

LOOKED_AT_TOGETHER: Final = 256

PROBE_BYTES_MAX: Final = 1 << 20
"""A larger object is not sent twice to see what the server does."""

_conditions: dict[tuple[str, str], bool] = {}
"""Which buckets of servers other than Amazon's own are known to honour ``If-None-Match``, or to ignore it."""


class S3Writing(S3Base):
    """Put, copy and delete objects."""

    def put(
        self,
        key: str | S3PutObject,
        obj: Any = None,
        overwrite: bool = True,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Upload an object, and return its URL.

        `obj` is a str, which is stored as UTF-8, anything with a buffer, or a file opened in binary mode, which is
        read from its beginning and left open. Without `overwrite` an object that is there stays, and of several who
        create it at the same time one does; nobody is told who. A server that ignores the condition is refused.
        """
        given = key if isinstance(key, S3PutObject) else S3PutObject(key, obj, None, content_type, None, metadata)
        item = self._item(0, given, _source(given))
        with self._watched("put", 1) as tick:
            for result in self._upload(iter((item,)), overwrite=overwrite):
                tick(1, result.size)
        return f"s3://{item.place.bucket}/{item.place.key}"

    def put_many(
        self, key_objs: Iterable[tuple[str, Any] | S3PutObject], overwrite: bool = True
    ) -> list[tuple[str, str]]:
        """Upload many objects, and return the keys and URLs of those that were uploaded, in the order given.

        `key_objs` are pairs, or `S3PutObject` where there is more to say of them. A key that is given twice is
        `InvalidNameError`: in a list before anything is sent, of an iterator when it comes again.
        """
        pairs = once(as_many(key_objs, "Pairs of a key and an object"), lambda each: self._url_of(_as_put(each).key))
        items = (self._item(number, given, _source(given)) for number, given in enumerate(map(_as_put, pairs)))
        return self._put_all("put_many", items, overwrite=overwrite, total=_count(key_objs))

    def put_files(
        self, key_paths: Iterable[tuple[str, Any] | S3PutObject], overwrite: bool = True, resume: bool = False
    ) -> list[tuple[str, str]]:
        """Upload many files, and return the keys and URLs of those that were uploaded, in the order given.

        With `resume` a large file goes on where an earlier try ended, and one that fails leaves what was sent for the
        next. Raises `FileNotFoundError` for a file that is not there, and `StorageError` for one that changes
        meanwhile. A key that is given twice is refused as by `put_many`.
        """
        pairs = once(
            as_many(key_paths, "Pairs of a key and a path"), lambda each: self._url_of(_as_put(each, is_file=True).key)
        )
        items = (
            self._item(number, given, FileSource(local_path(given.path)))
            for number, given in enumerate(_as_put(each, is_file=True) for each in pairs)
        )
        return self._put_all("put_files", items, overwrite=overwrite, resume=resume, total=_count(key_paths))

    def _put_all(
        self, verb: str, items: Iterator[PutItem], *, overwrite: bool, total: int | None, resume: bool = False
    ) -> list[tuple[str, str]]:
        results = []
        with self._watched(verb, total) as tick:
            for result in self._upload(items, overwrite=overwrite, resume=resume, made_on_the_way=total is None):
                tick(1, result.size)
                self._did("put", f"s3://{result.place.bucket}/{result.place.key}", result.size)
                results.append(result)
        results.sort(key=lambda result: result.number)
        return [(each.place.name, f"s3://{each.place.bucket}/{each.place.key}") for each in results]

    def _url_of(self, key: Any) -> str:
        """Return where something would be written."""
        if key is None:  # it would be the root
            raise InvalidNameError("Without a key nothing is written.")
        bucket, name, _ = self._session.names.place(key)
        return f"s3://{bucket}/{name}"

    def _item(self, number: int, given: S3PutObject, source: Source | StreamSource) -> PutItem:
        if given.key is None:  # it would be the root
            raise InvalidNameError("Without a key nothing is uploaded.")
        return self._item_at(number, self._session.names.place(given.key), given, source)

    def _item_at(self, number: int, place: Place, given: S3PutObject, source: Source | StreamSource) -> PutItem:
        encryption = self._session.encryption
        if given.encryption is not None:
            encryption = make_encryption(given.encryption)
        create = (*encryption.write, *type_header(given.content_type), *metadata_headers(given.metadata))
        return PutItem(number, place, source, create, encryption.read)

    def _upload(
        self, items: Iterator[PutItem], *, overwrite: bool, resume: bool = False, made_on_the_way: bool = False
    ) -> Iterator[PutResult]:
        check_flags(overwrite=overwrite, resume=resume)
        if overwrite:
            yield from self._uploader(overwrite=True, resume=resume).run(items, made_on_the_way=made_on_the_way)
            return
        while batch := list(islice(items, LOOKED_AT_TOGETHER)):
            by_bucket: dict[str, list[PutItem]] = {}
            for item in batch:
                by_bucket.setdefault(item.place.bucket, []).append(item)
            for bucket, some in by_bucket.items():
                yield from self._create(bucket, some, resume=resume)

    def _uploader(self, *, overwrite: bool, resume: bool) -> Uploader:
        session = self._session
        return Uploader(session.executor, overwrite=overwrite, resume=resume, bytes_max=session.bytes_ahead)

    def _honours_conditions(self, bucket: str) -> bool | None:
        config = self._session.config
        return True if config.is_native else _conditions.get((config.endpoint or "", bucket))

    def _create(self, bucket: str, items: list[PutItem], *, resume: bool) -> Iterator[PutResult]:
        """Create what is absent in a bucket of which it may not be known yet whether it honours conditions."""
        honours = self._honours_conditions(bucket)
        if not honours:
            items = self._absent(items)
        if honours is None and items:
            honours = yield from self._try_conditions(items.pop(0), resume=resume)
        if honours is False and items and not self._session.config.single_writer:
            raise _ignored(items[0].place)
        yield from self._uploader(overwrite=honours is False, resume=resume).run(items)

    def _absent(self, items: list[PutItem]) -> list[PutItem]:
        session = self._session
        reader = session.reader(missing_ok=True)
        reader.buckets = None  # to create the objects will tell
        wanted = [Wanted(item.place, None) for item in items]
        looks = session.run([head_job(reader, each) for each in wanted])
        return [item for item, look in zip(items, looks, strict=True) if not look.exists]

    def _try_conditions(self, item: PutItem, *, resume: bool) -> Generator[PutResult, None, bool]:
        """Create an absent object, and see what the server says to creating it once more."""
        yield from self._uploader(overwrite=False, resume=resume).run([item])
        session = self._session
        honours = session.run_one(_second_creation(item))
        _conditions[session.config.endpoint or "", item.place.bucket] = honours
        if not honours and not session.config.single_writer:
            raise _ignored(item.place)
        return honours

    def copy(self, source: str | S3Object, target: str) -> str:
        """Copy an object inside of the service, and return the URL of the copy."""
        return self.copy_many([(source, target)])[0]

    def copy_many(self, sources_and_targets: Iterable[tuple[str | S3Object, str]], overwrite: bool = True) -> list[str]:
        """Copy objects with their metadata inside of the service, and return the URLs of what was copied.

        Nothing travels through this machine. Sources may be whole URLs even where there is a root. Objects above 5
        GiB are copied in parts. Without `overwrite`, what is there stays: Amazon sees to that itself, so that of several
        who copy to one key one does; at other servers one looks first. A target that is given twice is refused as by
        `put_many`.
        """
        check_flags(overwrite=overwrite)
        urls: list[str] = []
        copied: list[str] = []
        pairs = once(
            as_many(sources_and_targets, "Pairs of a source and a target"),
            lambda each: self._url_of(as_pair(each, "a source and a target")[1]),
        )

        def jobs() -> Iterator[Job[str | None]]:
            for source, target in (as_pair(each, "a source and a target") for each in pairs):
                item = self._copy_item(source, target, overwrite=overwrite)
                urls.append(item.url)
                yield copy_job(item, uploads)

        session = self._session
        uploads = OpenUploads()
        with self._watched("copy_many", _count(sources_and_targets)) as tick, uploads.aborted_by(session.executor):
            for number, etag in enumerate(session.run(jobs())):
                if etag is not None:
                    tick(1, 0)
                    copied.append(urls[number])
                    self._did("put", urls[number])
        return copied

    def _copy_item(self, source: str | S3Object, target: str, *, overwrite: bool) -> CopyItem:
        session = self._session
        if isinstance(source, str) and is_url(source):
            source = S3Object(source, *split_url(source), None, None)
        wanted = session.whole(source, None, "copied")
        place = session.names.place(target)
        return CopyItem(
            wanted.place,
            place,
            session.encryption,
            wanted.version,
            wanted.size,
            overwrite=overwrite,
            is_conditional=session.config.is_native,
        )

    def delete(self, key: str | S3Object, version_id: str | None = None) -> None:
        """Delete an object; one that is not there is no error. With `version_id` that version goes, for good."""
        wanted = self._session.whole(key, version_id, "deleted")
        self._session.run_one(delete_job(wanted.place.bucket, [Doomed(wanted.place.key, wanted.version or "")]))

    def delete_many(self, keys: Iterable[str | S3Object]) -> int:
        """Delete objects, a thousand in a request, and return how many were named; one that is not there is no error."""
        session = self._session
        count = 0
        with self._watched("delete_many", _count(keys)) as tick:
            for done in session.run(
                (delete_job(bucket, doomed) for bucket, doomed in self._batches(as_many(keys))), ordered=False
            ):
                count += done
                tick(done, 0)
        return count

    def _batches(self, keys: Iterable[str | S3Object]) -> Iterator[tuple[str, list[Doomed]]]:
        open_batches: dict[str, list[Doomed]] = {}
        for key in keys:
            wanted = self._session.whole(key, None, "deleted")
            bucket = wanted.place.bucket
            batch = open_batches.setdefault(bucket, [])
            batch.append(Doomed(wanted.place.key, wanted.version or ""))
            if len(batch) == DELETE_KEYS_MAX:
                yield bucket, open_batches.pop(bucket)
        yield from open_batches.items()


def _second_creation(item: PutItem) -> Job[bool]:
    """Create an object once more with the same bytes; tell whether the server refuses."""
    place, source = item.place, item.source
    if isinstance(source, StreamSource) or source.size > PROBE_BYTES_MAX:
        return (yield from _second_creation_of_empty(item))
    data = source.read(Span(0, source.size))
    return (yield from _create_again(place, item.create, data))


def _second_creation_of_empty(item: PutItem) -> Job[bool]:
    """Find out beside an object that is too large, or gone by, to be sent twice."""
    bucket, key, name = item.place
    place = Place(bucket, key.rpartition("/")[0] + "/.holdall-probe" if "/" in key else ".holdall-probe", name)
    yield from _create_again(place, item.create, b"")
    honours = yield from _create_again(place, item.create, b"")
    yield (Request("DELETE", place.bucket, place.key, accept=frozenset({200, 204, 404})),)
    return honours


def _create_again(place: Place, headers: Headers, data: Buffer) -> Job[bool]:
    body = (data,) if len(data) else ()
    (response,) = yield (
        Request(
            "PUT",
            place.bucket,
            place.key,
            (),
            (*headers, ("if-none-match", "*")),
            body,
            accept=frozenset({200, 409, 412}),
        ),
    )
    return response.status != 200


def _ignored(place: Place) -> AccessDeniedError:
    return AccessDeniedError(
        errno.EACCES,
        f"The server of s3://{place.bucket} ignores If-None-Match, so that overwrite=False would overwrite what others "
        "create at the same time. If nobody does, say so: storage_options={'single_writer': True}.",
    )


def _as_put(given: Any, *, is_file: bool = False) -> S3PutObject:
    if isinstance(given, S3PutObject):
        return given
    key, content = as_pair(given, f"a key and {'a path' if is_file else 'an object'}")
    return S3PutObject(key, None, content) if is_file else S3PutObject(key, content)


def _source(given: S3PutObject) -> Source | StreamSource:
    if given.value is None and given.path is not None:
        return FileSource(local_path(given.path))
    return source_of(given.value, given.key)


def _count(things: Any) -> int | None:
    return len(things) if hasattr(things, "__len__") else None
