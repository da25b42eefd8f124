"""Save a frame, load it, load two of its columns."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks._frames import make_frame
from benchmarks._harness import Bench, Claim, Contender, Stopwatch, Target, column, disk_usage, fsync_file, main

CLAIM = Claim(
    "frame",
    "Save a pandas frame of 5 million rows and 10 mixed columns, load it, load 2 of its columns, each in a new process",
    {
        "load": Target("load, every byte verified, against the fastest of pickle, Parquet and Feather", "<=", 1.0, "×"),
        "columns": Target("load of 2 columns, against the load of all", "<=", 0.3, "×"),
    },
)

TWO: Final = ("user", "amount")
FORMATS: Final = {
    "pickle": "pickle, protocol 5",
    "parquet": "Parquet, zstd",
    "feather": "Feather, uncompressed, memory map",
    "feather-lz4": "Feather, lz4, memory map",
    "feather-zstd": "Feather, zstd, memory map",
    "arrow": "Arrow IPC in one batch, memory map, split_blocks: not copied, not verified, not read",
}
ROUNDS_MAX = 3


def make_source(path: str, rows: int) -> dict[str, Any]:
    """Write the frame for the children that save it."""
    make_frame(rows).to_pickle(path)
    return {}


def _writers(path: str) -> dict[str, Callable[[Any], Any]]:
    import pyarrow as pa
    from pyarrow import feather

    def dump(frame: Any) -> None:
        with open(path, "wb") as file:
            pickle.dump(frame, file, protocol=5)

    def write_batch(frame: Any) -> None:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks(), max_chunksize=len(frame))

    return {
        "pickle": dump,
        "parquet": lambda frame: frame.to_parquet(path, engine="pyarrow", compression="zstd"),
        "feather": lambda frame: feather.write_feather(frame, path, compression="uncompressed"),
        "feather-lz4": lambda frame: feather.write_feather(frame, path, compression="lz4"),
        "feather-zstd": lambda frame: feather.write_feather(frame, path, compression="zstd"),
        "arrow": write_batch,
    }


def save_peer(source: str, folder: str, kind: str) -> dict[str, Any]:
    """Write the frame in one format, and fsync."""
    import pandas as pd
    import pyarrow.parquet

    pyarrow.parquet.__name__  # noqa: B018 - imported before the time is taken
    frame = pd.read_pickle(source)
    path = os.path.join(folder, f"frame.{kind}")
    write = _writers(path)[kind]
    with Stopwatch() as watch:
        write(frame)
        fsync_file(path)
    return watch.sample(bytes=os.path.getsize(path))


def load_peer(folder: str, kind: str, two: bool) -> dict[str, Any]:
    """Load all or two columns of one format with the settings that are said to be fastest."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet
    from pyarrow import feather

    path = os.path.join(folder, f"frame.{kind}")
    columns = list(TWO) if two else None
    pyarrow.parquet.__name__  # noqa: B018 - imported before the time is taken
    with Stopwatch() as watch:
        if kind == "pickle":
            with open(path, "rb") as file:
                frame = pickle.load(file)
            frame = frame[columns] if columns else frame
        elif kind == "parquet":
            frame = pd.read_parquet(path, engine="pyarrow", columns=columns, memory_map=True)
        elif kind == "arrow":
            options = pa.ipc.IpcReadOptions(included_fields=[1, 2] if two else None)
            with pa.memory_map(path) as mapped:
                frame = pa.ipc.open_file(mapped, options=options).read_all().to_pandas(split_blocks=True)
        else:
            frame = feather.read_feather(path, columns=columns, memory_map=True)
    if frame.shape[1] != (2 if two else 10):
        raise RuntimeError(f"{kind} loaded {frame.shape}")
    return watch.sample()


def save_holdall(source: str, store: str) -> dict[str, Any]:
    """Save the frame in one run; the whole run is timed."""
    import pandas as pd
    import pyarrow as pa

    import holdall

    pa.array([1])
    frame = pd.read_pickle(source)
    client = holdall.Client(store)
    with Stopwatch() as watch, holdall.run("frame", client=client) as run:
        run.save(frame=frame)
    return watch.sample(bytes=disk_usage(Path(store))["bytes"])


def load_holdall(store: str, source: str, two: bool, verify: bool, compare: bool) -> dict[str, Any]:
    """Load all or two columns; once, compare with what was saved."""
    import pandas as pd
    import pyarrow as pa

    import holdall

    pa.array([1])
    client = holdall.Client(store)
    with Stopwatch() as watch:
        frame = holdall.load("frame/frame", client=client, columns=list(TWO) if two else None, verify=verify)
    if compare:
        expected = pd.read_pickle(source)
        pd.testing.assert_frame_equal(frame, expected[list(TWO)] if two else expected, check_exact=True)
    return watch.sample()


def run(bench: Bench) -> None:
    """Measure the claim."""
    rows = bench.size("rows", 5_000_000, 20_000)
    source = bench.path("source.pickle")
    bench.child(make_source, path=source, rows=rows)
    folder = bench.path("files")
    folder.mkdir()

    saves = bench.rounds(_savers(bench, source, folder), count=ROUNDS_MAX)
    loads = bench.rounds(_loaders(bench, source, folder))
    _record(bench, saves, loads)


def _savers(bench: Bench, source: Path, folder: Path) -> dict[str, Contender]:
    def save(store: str, compression: str) -> Contender:
        environ = {"HOLDALL_COMPRESSION": compression}
        return bench.contender(save_holdall, source=source, fresh={"store": store}, environ=environ)

    peers = {kind: bench.contender(save_peer, source=source, folder=folder, kind=kind) for kind in FORMATS}
    return {"holdall": save("store", "auto"), "small": save("small", "small"), **peers}


def _loaders(bench: Bench, source: Path, folder: Path) -> dict[str, Contender]:
    def load(store: str, two: bool, verify: bool) -> Contender:
        path = bench.folder / store
        return lambda number: bench.child(
            load_holdall, store=path, source=source, two=two, verify=verify, compare=number == 0
        )

    contenders: dict[str, Contender] = {}
    for two in (False, True):
        contenders[f"holdall {two}"] = load("store", two, True)
        contenders[f"unverified {two}"] = load("store", two, False)
        contenders[f"small {two}"] = load("small", two, True)
        contenders |= {
            f"{kind} {two}": bench.contender(load_peer, folder=folder, kind=kind, two=two) for kind in FORMATS
        }
    return contenders


def _record(bench: Bench, saves: dict[str, list[Any]], loads: dict[str, list[Any]]) -> None:
    names = {
        "holdall": "holdall, every byte verified",
        "unverified": "holdall, verify=False",
        "small": "holdall, compression small",
        **FORMATS,
    }
    medians: dict[str, float] = {}
    for kind, name in names.items():
        role: Any = "limit" if kind == "arrow" else "peer" if kind in FORMATS else "ours"
        for two, what in ((False, "load"), (True, "load 2 columns")):
            key = f"{kind} {two}"
            medians[key] = bench.record(f"{what}: {name}", column(loads[key]), role=role)
    for kind, samples in saves.items():
        role = "limit" if kind == "arrow" else "peer" if kind in FORMATS else "ours"
        name = names[kind].removesuffix(", every byte verified")
        bench.record(f"save, durable: {name}", column(samples), role=role)
        bench.record(f"size: {name}", column(samples, "bytes")[0] / 1e6, "MB", role=role)
    peers = {kind: medians[f"{kind} False"] for kind in FORMATS if kind != "arrow"}
    fastest = min(peers, key=lambda kind: peers[kind])
    bench.judge("load", medians["holdall False"] / peers[fastest])
    bench.judge("columns", medians["holdall True"] / medians["holdall False"])
    bench.note(f"The fastest peer to load is {FORMATS[fastest]}. None of the peers verifies what it reads.")
    bench.note("pandas, pyarrow and holdall are imported before the time is taken; the page cache is warm.")


if __name__ == "__main__":
    main(CLAIM, run)
