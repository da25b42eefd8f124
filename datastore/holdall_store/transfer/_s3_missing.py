"""What is said of an object that is not there: whether its bucket is, and which key is nearest to its own."""

from __future__ import annotations

import errno
from collections.abc import Generator, Sequence
from typing import Final, TypeVar

from holdall_store.errors import HoldallError, ObjectNotFoundError, StorageError, nearest
from holdall_store.transfer._exchange import Job, Request, Response
from holdall_store.transfer._s3_list import Listing, page_request, parse_page
from holdall_store.transfer._s3_names import Place

__all__ = ["bucket_job", "is_missing_bucket", "nothing_below_job", "with_nearest"]

NEAR_KEYS_MAX: Final = 1000
"""One page: the error must not wait for the listing of a large folder."""

_UNTRIED: Final = frozenset({200, 400, 401, 403, 405, 429, 500, 501, 503})
"""What may be answered to a question that is asked for the wording of an error alone: it is not asked again."""

_TOLD: Final = frozenset({200, 401, 403})

_Result = TypeVar("_Result")


def is_missing_bucket(response: Response) -> bool:
    """Tell whether a 404 says that not the object but its bucket is missing; that of a HEAD says nothing."""
    return b"NoSuchBucket" in bytes(response.body[:2048])


def bucket_job(place: Place, known: set[str]) -> Job[None]:
    """Raise `StorageError` if there is no such bucket; one that was found is in `known`, and not looked for again."""
    if place.bucket in known:
        return
    request = page_request(Listing(place.bucket, "", f"s3://{place.bucket}", page_keys=1), "")
    request.accept = _UNTRIED
    try:
        (response,) = yield (request,)
    except StorageError as error:
        if error.errno == errno.ENOENT:  # NoSuchBucket
            raise
        return
    except HoldallError:  # what else may be amiss does not matter here
        return
    if response.status in _TOLD:
        known.add(place.bucket)


def with_nearest(job: Job[_Result], place: Place) -> Generator[Sequence[Request], Sequence[Response], _Result]:
    """Do `job`, and if it finds no object at `place`, name the nearest key of the same folder."""
    try:
        return (yield from job)
    except ObjectNotFoundError as error:
        hint = yield from _nearest_job(place)
        if not hint:
            raise
        raise ObjectNotFoundError(f"{error}{hint}") from None


def nothing_below_job(place: Place) -> Job[ObjectNotFoundError]:
    """Return the error for a folder in which nothing is, with the nearest one beside it."""
    url = f"s3://{place.bucket}/{place.key}".rstrip("/")
    hint = (yield from _nearest_job(place, folders=True)) if place.name else ""
    return ObjectNotFoundError(f"There is nothing below {url}/.{hint}")


def _nearest_job(place: Place, *, folders: bool = False) -> Job[str]:
    """Return `` Did you mean 'x'?``, or an empty string if nothing is near, or the folder cannot be listed."""
    folder, slash, base = place.key.rpartition("/")
    listing = Listing(place.bucket, folder + slash, f"s3://{place.bucket}", "/", page_keys=NEAR_KEYS_MAX)
    request = page_request(listing, "")
    request.accept = _UNTRIED
    try:
        (response,) = yield (request,)
        entries = parse_page(response, listing).entries if response.status == 200 else []
    except HoldallError:  # that the object is missing is what there is to say
        return ""
    names = [entry.key[len(listing.key) :].rstrip("/") for entry in entries if folders or entry.size is not None]
    if folders and base in names:
        return " It is an object itself: get_files() reads it."
    hint = nearest(base, names)
    near = next((name for name in names if hint == f" Did you mean {name!r}?"), None)
    return "" if near is None else f" Did you mean {place.name[: len(place.name) - len(base)] + near!r}?"
