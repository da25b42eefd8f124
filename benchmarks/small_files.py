"""Save a directory of many small files as one artifact, and take it out again."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, disk_usage, fsync_file, main

CLAIM = Claim(
    "small_files",
    "Save 20 000 small files as one directory artifact, durable, against one object for each file with fsync",
    {"save": Target("one object for each file with fsync, over ours", ">=", 10, "×")},
)

FOLDERS = 200


def make_files(folder: str, count: int) -> dict[str, Any]:
    """Write files of 1 to 8 KiB that do not compress, such as thumbnails, in 200 folders."""
    rng = random.Random(1)
    root = Path(folder)
    for number in range(count):
        parent = root / f"class-{number % FOLDERS:03d}"
        parent.mkdir(parents=True, exist_ok=True)
        (parent / f"image-{number:05d}.bin").write_bytes(rng.randbytes(rng.randint(1024, 8192)))
    return {}


def save_holdall(source: str, store: str) -> dict[str, Any]:
    """Save the directory in one run, then take it out again into a fresh folder; then save it again."""
    import holdall

    client = holdall.Client(store)
    with Stopwatch() as watch, holdall.run("images", client=client) as run:
        run.save_dir(source, "images")
    artifact = client.artifact("images/images")
    with Stopwatch() as extract:
        artifact.path(to=f"{store}-out")
    with Stopwatch() as cached:
        artifact.path()
    with Stopwatch() as again, holdall.run("images", client=client) as run:
        run.save_dir(source, "images")
    return watch.sample(
        extract=extract.seconds,
        cached=cached.seconds,
        again=again.seconds,
        files=disk_usage(Path(store))["files"],
    )


def save_objects(source: str, target: str) -> dict[str, Any]:
    """Copy each file to an object named by its SHA-256, as stores of loose objects do: write, fsync, rename."""
    paths = [path for path in Path(source).rglob("*") if path.is_file()]
    os.makedirs(target)
    with Stopwatch() as watch:
        for number, path in enumerate(paths):
            content = path.read_bytes()
            name = hashlib.sha256(content).hexdigest()
            folder = os.path.join(target, name[:2])
            os.makedirs(folder, exist_ok=True)
            temporary = os.path.join(target, f"tmp-{number}")
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, os.path.join(folder, name))
        for folder in os.listdir(target):
            fsync_file(os.path.join(target, folder))
    return watch.sample(files=len(paths))


def save_tar(source: str, target: str, out: str) -> dict[str, Any]:
    """Write an uncompressed tar with the system's tar, and fsync it; then take it out again."""
    import subprocess

    with Stopwatch() as watch:
        subprocess.run(["tar", "-cf", target, "-C", source, "."], check=True)
        fsync_file(target)
    os.makedirs(out)
    with Stopwatch() as extract:
        subprocess.run(["tar", "-xf", target, "-C", out], check=True)
    return watch.sample(extract=extract.seconds)


def copy_tree(source: str, target: str) -> dict[str, Any]:
    """Copy the directory with shutil, without fsync."""
    with Stopwatch() as watch:
        shutil.copytree(source, target)
    return watch.sample()


def read_all(source: str) -> dict[str, Any]:
    """Time what no save can do without: to open and read every file."""
    with Stopwatch() as watch:
        for folder, _, names in os.walk(source):
            for name in names:
                descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                while os.read(descriptor, 1 << 16):
                    continue
                os.close(descriptor)
    return watch.sample()


def run(bench: Bench) -> None:
    """Measure the claim."""
    count = bench.size("files", 20_000, 500)
    source = bench.path("source")
    bench.child(make_files, folder=source, count=count)
    results: list[str] = []

    def ours(number: int) -> dict[str, Any]:
        bench.path("store-out")
        bench.path("home")
        sample = bench.child(save_holdall, source=source, store=bench.path("store"))
        if number == 0:
            results.append(bench.execute(["diff", "-r", str(source), str(bench.folder / "store-out")]))
        return sample

    samples = bench.rounds(
        {
            "ours": ours,
            "objects": bench.contender(save_objects, source=source, fresh={"target": "objects"}),
            "tar": bench.contender(save_tar, source=source, fresh={"target": "images.tar", "out": "images"}),
            "copy": bench.contender(copy_tree, source=source, fresh={"target": "copy"}),
            "read": bench.contender(read_all, source=source),
        },
        count=3,
    )
    if results != [""]:
        raise RuntimeError(f"What was taken out is not what was saved: {results}")
    save = bench.record("holdall: save_dir, the whole run", column(samples["ours"]), role="ours")
    objects = bench.record("one object for each file, with fsync", column(samples["objects"]), role="peer")
    bench.record("tar -cf + fsync", column(samples["tar"]), role="peer")
    bench.record("reading every file", column(samples["read"]), role="limit")
    bench.record("holdall: save_dir of the same directory again", column(samples["ours"], "again"), role="ours")
    bench.record("holdall: path(to=…), every byte verified", column(samples["ours"], "extract"), role="ours")
    bench.record("holdall: path(), into the cache", column(samples["ours"], "cached"), role="ours")
    bench.record("tar -xf", column(samples["tar"], "extract"), role="peer")
    bench.record("copying the directory", column(samples["copy"]), role="limit")
    bench.record("files in the store after two saves", column(samples["ours"], "files"), "files", role="ours")
    bench.judge("save", objects / save)


if __name__ == "__main__":
    main(CLAIM, run)
