"""What ten versions take in the store: a table as people edit it, and a model as people train it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks._frames import edit_table, make_frame, real_flights
from benchmarks._harness import Bench, Claim, disk_usage, main
from benchmarks._models import ARRAYS, change_one, make_model

CLAIM = Claim("versions_stored", "Bytes stored for ten edited versions of a table, a real table and a model")

KINDS: Final = ("table", "flights", "model")


def versions(kind: str, size: int, count: int) -> Iterator[tuple[str, Any]]:
    """Yield the first `count` of the ten versions of one kind of data, with what was done."""
    if kind == "table":
        every = edit_table(make_frame(size * 1000), "amount", "comment")
    elif kind == "flights":
        every = edit_table(real_flights().head(size * 2000), "dep_delay", "tailnum")
    else:
        every = edit_model(make_model(max(size // 4, 4)))
    yield from islice(every, count)


def edit_model(model: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield ten versions of a model, each made of the one before."""
    import numpy as np

    rng = np.random.default_rng(5)
    yield "as it is", dict(model)
    for number in (ARRAYS - 2, ARRAYS - 1):
        change_one(model, number, seed=number)
    yield "the last two layers trained anew", dict(model)
    for number in range(40, 48):
        change_one(model, number, seed=number)
    yield "eight layers trained anew", (third := dict(model))
    scale = np.float32(1e-4)
    model = {name: array + scale * rng.standard_normal(array.shape, dtype=np.float32) for name, array in model.items()}
    yield "all fine-tuned: every number moved by about 1e-4", dict(model)
    shape = next(iter(model.values())).shape
    model |= {f"adapter.{n}.weight": rng.standard_normal(shape, dtype=np.float32) for n in range(4)}
    yield "four layers added", dict(model)
    del model["layers.03.weight"]
    yield "a layer removed", dict(model)
    model = {name.replace("layers", "encoder"): array for name, array in model.items()}
    yield "layers renamed", dict(model)
    changed = model["encoder.00.weight"].copy()
    changed[rng.integers(0, len(changed), 20)] = 0.25
    model["encoder.00.weight"] = changed
    yield "20 rows of an embedding changed", dict(model)
    momenta = {f"optimizer.{name}": np.zeros_like(array) for name, array in model.items()}
    yield "with the state of a new optimizer", {**model, **momenta}
    yield "back to the third version", third


def store_holdall(store: str, kind: str, size: int, count: int) -> dict[str, Any]:
    """Save each version in a run of its own."""
    import holdall

    client = holdall.Client(store)
    sizes = []
    for _, version in versions(kind, size, count):
        with holdall.run(kind, client=client) as run:
            run.save(data=version)
        sizes.append(disk_usage(Path(store))["bytes"])
    return {"sizes": sizes}


def write_files(folder: str, kind: str, size: int, count: int) -> dict[str, Any]:
    """Write each version as whole files: ``plain`` as people do, ``cdc`` as Parquet with content-defined chunking."""
    import numpy as np

    steps = []
    for number, (step, version) in enumerate(versions(kind, size, count)):
        steps.append(step)
        if kind == "model":
            np.savez(os.path.join(folder, f"plain-{number}.npz"), **version)
            continue
        version.to_parquet(os.path.join(folder, f"plain-{number}.parquet"), compression="zstd", index=False)
        version.to_parquet(
            os.path.join(folder, f"cdc-{number}.parquet"),
            compression="zstd",
            index=False,
            use_content_defined_chunking=True,
        )
    return {"steps": steps}


def _files(folder: Path, style: str) -> list[Path]:
    return sorted(folder.glob(f"{style}-*"))


def dedup_chunks(folder: str, style: str) -> dict[str, Any]:
    """Cut each file into content-defined chunks of about 64 KiB, and count each different one once."""
    from blake3 import blake3

    from holdall_store.format.chunker import OPAQUE, first_cut

    cutter, seen, total, sizes = OPAQUE.cutter(), set(), 0, []
    for path in _files(Path(folder), style):
        view, position = memoryview(path.read_bytes()), 0
        while position < len(view):
            length = first_cut(cutter, OPAQUE, view[position : position + OPAQUE.max_bytes], 1)
            digest = blake3(view[position : position + length]).digest()
            total += 0 if digest in seen else length
            seen.add(digest)
            position += length
        sizes.append(total)
    return {"sizes": sizes}


def backup_restic(bench: Bench, folder: Path, style: str) -> list[int]:
    """Back up each file under one name with restic; return the size of its repository after each."""
    repository, data = bench.path("restic"), bench.path("backup")
    data.mkdir()
    environ = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repository)}
    environ["RESTIC_CACHE_DIR"] = str(bench.folder / "restic-cache")
    bench.execute(["restic", "init", "--repository-version", "2"], environ=environ)
    sizes = []
    for path in _files(folder, style):
        shutil.copyfile(path, data / f"data{path.suffix}")
        bench.execute(["restic", "backup", "--quiet", "--compression", "auto", str(data)], environ=environ)
        sizes.append(disk_usage(repository)["bytes"])
    return sizes


def run(bench: Bench) -> None:
    """Measure the claim."""
    size = bench.size("thousand rows; a quarter of it in MiB of model", 256, 8)
    count = bench.size("versions", 10, 3)
    restic = shutil.which("restic")
    for kind in KINDS:
        folder = bench.path("files")
        folder.mkdir()
        steps = bench.child(write_files, folder=folder, kind=kind, size=size, count=count)["steps"]
        contenders: list[tuple[str, Any, list[int]]] = []
        for compression in ("auto", "small"):
            store = bench.path("store")
            environ = {"HOLDALL_COMPRESSION": compression}
            saved = bench.child(store_holdall, store=store, kind=kind, size=size, count=count, environ=environ)
            contenders.append((f"holdall, compression {compression}", "ours", saved["sizes"]))
        for style, name in _styles(kind).items():
            whole = [path.stat().st_size for path in _files(folder, style)]
            contenders.append((f"{name}, whole files", "peer", [sum(whole[: n + 1]) for n in range(len(whole))]))
            chunks = bench.child(dedup_chunks, folder=folder, style=style)["sizes"]
            contenders.append((f"{name}, each 64 KiB chunk once", "peer", chunks))
            if restic:
                contenders.append((f"{name}, restic", "peer", backup_restic(bench, folder, style)))
        for name, role, sizes in contenders:
            bench.record(f"{kind}, {count} versions: {name}", sizes[-1] / 1e6, "MB", role=role)
        for name, role, sizes in contenders:
            bench.record(f"{kind}, what versions 2–{count} add: {name}", (sizes[-1] - sizes[0]) / 1e6, "MB", role=role)
        bench.note(f"{kind}: {'; '.join(steps)}.")
        for name, _, sizes in contenders[:2]:
            added = [(after - before) / 1e6 for before, after in zip([0, *sizes], sizes, strict=False)]
            bench.note(f"{kind}, {name}, MB added by each version: {', '.join(f'{value:.2f}' for value in added)}.")
    _say_restic(bench, restic)


def _styles(kind: str) -> dict[str, str]:
    if kind == "model":
        return {"plain": "npz"}
    return {"plain": "Parquet zstd", "cdc": "Parquet zstd, content-defined chunking"}


def _say_restic(bench: Bench, restic: str | None) -> None:
    if restic is None:
        bench.note("restic is not installed (Debian: apt-get install restic): left out.")
        return
    words = subprocess.run([restic, "version"], capture_output=True, text=True, check=True).stdout.split()
    bench.note(f"restic {words[1]}, repository version 2, compression auto.")


if __name__ == "__main__":
    main(CLAIM, run)
