"""Reads a holdall store without holdall: what docs/format.md says, in the standard library, blake3 and zstandard.

    python reader.py STORE                                        list namespaces, flows, runs, tasks and artifacts
    python reader.py STORE NAMESPACE FLOW RUN ARTIFACT [FOLDER]   print an artifact; write its buffers into FOLDER
A task is RUN/STEP/TASK, or RUN/STEP/TASK^ATTEMPT. Every seal, table and chunk is checked; damage ends this with status 1.
"""

import base64
import json
import re
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3

ENTRY = struct.Struct("<32sQIIBBH")  # digest, offset, stored size, raw size, codec, flags, stride
FOOTER = struct.Struct("<8sIIQQ32s")  # magic, version, zero, table offset, entries, digest of the table


def check(is_right: bool, what: str) -> None:
    if not is_right:
        raise ValueError(what)


def unseal(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    body, seal = raw[:-78], raw[-78:]  # ,"blake3":"<64 digits>"}\n
    check(seal == b',"blake3":"' + blake3(body).hexdigest().encode() + b'"}\n', f"{path} is damaged")
    record: dict[str, Any] = json.loads(body + b"}")
    check(record["holdall"] == 1, f"{path} is of format {record['holdall']}, and this program reads 1")
    return record


def complement(run: str) -> str:  # of the time: what follows it is random
    return run[:21].translate(str.maketrans("0123456789tT", "9876543210Tt")) + run[21:]


def name_of(segment: str) -> str:  # ^a is A, %hh is a byte of UTF-8, and a ^ before anything else no part of a name
    cased = re.sub(r"\^([a-z])", lambda match: match[1].upper(), re.sub(r"^\^(?![a-z])", "", segment)).encode()
    return re.sub(rb"%([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), cased).decode()


def read_run(path: Path, place: str) -> dict[str, Any]:
    run: dict[str, Any] = {"status": "running", "artifacts": {}, "hidden": set()}
    for number, slot in enumerate(sorted(each for each in path.iterdir() if each.is_file() and each.name[:1] != ".")):
        record = unseal(slot)
        task = f"/{record['step']}/{record['task']}^{record.get('attempt', 0)}" if "step" in record else place[28:]
        named = slot.name == f"{number:08}" and place == record["run"] + task.removesuffix("^0")
        check(named and record["slot"] == number, f"{slot}: a slot is missing, or elsewhere")
        if record["event"] in ("open", "commit", "end"):
            run["status"] = record.get("status", "running")
            own = {name: (each, record.get("packs", [])) for name, each in record.get("artifacts", {}).items()}
            run["artifacts"] = own if record.get("complete") else run["artifacts"] | own
        elif record["event"] in ("deleted", "restored"):  # the run, or artifacts of it
            change = run["hidden"].update if record["event"] == "deleted" else run["hidden"].difference_update
            change(record.get("names", [""]))
        else:
            check(record["event"] in ("fence", "abandoned"), f"{slot} is of an unknown kind")
            run["status"] = "failed" if (record["event"], run["status"]) == ("abandoned", "running") else run["status"]
    return run


@cache
def read_moves(store: Path) -> dict[str, tuple[Any, Any]]:
    records = map(unseal, sorted((store / "gc").glob("[0-9]*")))  # of collections: they take packs apart
    return {name: (moved, each["targets"]) for each in records for name, moved in each.get("moved", {}).items()}


@cache
def read_table(store: Path, *, name: str, table_offset: int, entries: int, table: str) -> dict[int, tuple[bytes, Any]]:
    check(re.fullmatch(r"[a-z2-7]{16}-[0-9]{1,8}", name) is not None, f"{name!r} names no pack")
    moved, targets = read_moves(store).get(name, ({}, []))
    pack = b"" if moved else (store / "packs" / name).read_bytes()
    raw = pack[table_offset:][: entries * ENTRY.size] if not moved else read_buffer(store, moved["table"], targets)
    check(blake3(raw).hexdigest() == table, f"the table of packs/{name} is damaged")
    own = {number: (pack, entry) for number, entry in enumerate(ENTRY.iter_unpack(raw))}
    if moved:
        spans = [(at + n, read_table(store, **targets[t])[to + n]) for at, m, t, to in moved["spans"] for n in range(m)]
        check(all(own[n][1][0] == one[0] for n, (_, one) in spans), f"chunks of packs/{name} are not where they were")
        return dict(spans)
    is_whole = pack.endswith(raw + FOOTER.pack(b"HOLDPACK", 1, 0, table_offset, entries, blake3(raw).digest()))
    check(is_whole and pack.startswith(b"holdall pack 1\n".ljust(64, b"\0")), f"header, footer of packs/{name}")
    return own


def read_chunk(pack: bytes, entry: tuple[Any, ...], where: str) -> bytes:
    digest, offset, stored_bytes, raw_bytes, codec, _, stride = entry
    raw = pack[offset : offset + stored_bytes]
    check(codec <= 2 and raw_bytes <= 16 << 20, f"{where} has the unknown codec {codec}, or is too large")
    if codec:
        check(zstandard.frame_content_size(raw) == raw_bytes, f"{where} has another size than its table says")
        raw = zstandard.ZstdDecompressor(max_window_size=16 << 20).decompress(raw, max_output_size=raw_bytes)
    if codec == 2:  # all first bytes of the items, then all second bytes, and so on
        check(stride in (2, 4, 8, 16) and raw_bytes % stride == 0, f"{where} cannot be grouped by {stride}")
        raw = b"".join(raw[n :: raw_bytes // stride] for n in range(raw_bytes // stride))
    check(len(raw) == raw_bytes and blake3(raw).digest() == digest, f"{where} is damaged")
    return raw


def read_buffer(store: Path, ref: dict[str, Any], refs: list[dict[str, Any]]) -> bytes:
    parts = [base64.b64decode(ref.get("inline", ""), validate=True)]
    for number, first, count in ref.get("spans", []):
        table, name = read_table(store, **refs[number]), refs[number]["name"]
        parts += [read_chunk(*table[n], f"chunk {n} of packs/{name}") for n in range(first, first + count)]
    check(sum(map(len, parts)) == ref["bytes"], f"a buffer has not {ref['bytes']} bytes")
    return b"".join(parts)


def value_of(node: Any, buffers: list[bytes]) -> Any:
    if not isinstance(node, dict) or "$" not in node:
        pairs = {key: value_of(item, buffers) for key, item in node.items()} if isinstance(node, dict) else node
        return [value_of(item, buffers) for item in node] if isinstance(node, list) else pairs
    tag, raw = node["$"], buffers[node["buffer"]] if isinstance(node.get("buffer"), int) else b""
    if tag in ("tuple", "set", "frozenset", "dict", "ordereddict"):
        return value_of(node["items"], buffers)
    if tag == "int":
        return int(node["hex"], 16) if "hex" in node else int.from_bytes(raw, "little", signed=True)
    if tag in ("floats", "ints"):
        return [item for (item,) in struct.iter_unpack(f"<{'d' if tag == 'floats' else 'q'}", raw)]
    return raw.decode() if tag == "str" and raw else node  # it says what it is, and the buffers hold its bytes


def main(store: Path, *names: str) -> None:
    unseal(store / "holdall.json")
    logs = {}
    for path in sorted({slot.parent for slot in (store / "runs").rglob("[0-9]" * 8) if slot.is_file()}):
        space, flow, name, *task = path.relative_to(store / "runs").parts
        logs[name_of(space), name_of(flow), "/".join([complement(name), *map(name_of, task)])] = path
    for key, run in [] if names else [(key, read_run(path, key[2])) for key, path in logs.items()]:
        if "" not in run["hidden"]:
            print(*key, run["status"], *(name for name in run["artifacts"] if name not in run["hidden"]), sep="\t")
    if names:
        record, refs = read_run(logs[names[0], names[1], names[2]], names[2])["artifacts"][names[3]]
        buffers = [read_buffer(store, ref, refs) for ref in record.get("buffers", [])]
        node = json.loads(buffers.pop()) if record.get("spilled") else record["node"]
        hashes = [blake3(raw).hexdigest() for raw in buffers]
        print(json.dumps({"node": node, "value": value_of(node, buffers), "buffers": hashes}, indent=1))
        for number, raw in enumerate(buffers if names[4:] else []):
            Path(names[4], str(number)).write_bytes(raw)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, zstandard.ZstdError) as error:
        sys.exit(f"reader: {type(error).__name__}: {error}")
