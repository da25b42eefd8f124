"""Move a folder of many files into S3 and back: upload, read everything, and synchronise twice.

The server is the one that AWS_ENDPOINT_URL_S3 names, with --bucket; without it, one that runs in this process (moto).
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import random
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import holdall

FILES = 200
BYTES_MAX = 40_000


def make_folder(folder: Path) -> dict[str, str]:
    """Write files of several sizes in several folders, and return the digest of each."""
    chance = random.Random(0)
    digests = {}
    for number in range(FILES):
        path = f"{number % 10}/image-{number:05d}.bin"
        data = chance.randbytes(chance.randrange(BYTES_MAX))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        digests[path] = hashlib.sha256(data).hexdigest()
    return digests


@contextmanager
def server() -> Generator[None]:
    """Run a server of S3 in this process, with a bucket, and let the environment name it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would write a line for each request
    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}", "AWS_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    boto3.client("s3").create_bucket(Bucket="bucket")
    try:
        yield
    finally:
        made.stop()


@contextmanager
def watch(s3: holdall.S3, what: str) -> Generator[None]:
    """Tell how long a step took, and how many requests and bytes it needed."""
    before, began = s3.statistics(), time.perf_counter()
    yield
    after, seconds = s3.statistics(), time.perf_counter() - began
    requests, received, sent = (after[name] - before[name] for name in ("requests", "bytes_in", "bytes_out"))
    print(f"{what:<30} {requests:5d} requests  {(received + sent) / 1e6:6.2f} MB  {seconds:6.2f} s", flush=True)


def show(url: str, folder: Path) -> None:
    """Do all of it below `url`."""
    digests = make_folder(folder / "images")
    with holdall.S3(url, memory="16MB") as s3:
        with watch(s3, "upload a folder"):
            urls = s3.upload(folder / "images")
        assert len(urls) == FILES

        with watch(s3, "read all, at most 16 MB held"):
            found = {each.key: hashlib.sha256(each.blob or b"").hexdigest() for each in s3.iter_many(digests)}
        assert found == digests

        with watch(s3, "synchronise: nothing new"):
            assert s3.sync(folder / "images", url) == []

        (folder / "images" / "3" / "image-00003.bin").write_bytes(b"another")
        with watch(s3, "synchronise: one file"):
            (step,) = s3.sync(folder / "images", url)
        assert (step.action, step.path) == ("put", "3/image-00003.bin")

        with watch(s3, "synchronise: nothing again"):
            assert s3.sync(folder / "images", url) == []

        with watch(s3, "fetch it as a folder"):
            steps = s3.sync(url, folder / "copy")
        assert len(steps) == FILES
        assert (folder / "copy" / "3" / "image-00003.bin").read_bytes() == b"another"

        with watch(s3, "delete"):
            s3.delete_many(s3.list_recursive())


def main() -> None:
    """Run the example at the server that the environment names, or at one of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bucket", default="bucket", help="a bucket that is there; all is below holdall-example/ in it"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdall-example-") as scratch:
        url = f"s3://{options.bucket}/holdall-example/{random.SystemRandom().randrange(1 << 40):010x}"
        if os.environ.get("AWS_ENDPOINT_URL_S3"):
            show(url, Path(scratch))
        else:
            with server():
                show(url, Path(scratch))


if __name__ == "__main__":
    main()
