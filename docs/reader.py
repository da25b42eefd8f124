"""Reads a holdall store without holdall: what docs/format.md says, in the standard library, blake3 and zstandard.

    python reader.py STORE                                        list namespaces, flows, runs and artifacts
    python reader.py STORE NAMESPACE FLOW RUN ARTIFACT [FOLDER]   print an artifact; write its buffers into FOLDER

An artifact is printed as JSON: its node, its value as far as JSON can say it, and its buffers. Every seal, every table
and every chunk is checked, and what is not as it was written ends the program with status 1.
"""

import base64
import json
import re
import struct
import sys
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


def name_of(folder: Path) -> str:  # ^a is A, %hh is a byte of UTF-8
    cased = re.sub(r"\^([a-z])", lambda match: match[1].upper(), folder.name).encode()
    return re.sub(rb"%([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), cased).decode()


def read_run(path: Path) -> dict[str, Any]:
    """Put the records of a run's log together; an artifact is its record and the packs that its spans number."""
    slots = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    run: dict[str, Any] = {"status": "running", "artifacts": {}}
    for number, slot in enumerate(slots):
        record = unseal(slot)
        place = (f"{record['slot']:08}", complement(record["run"]))
        check(place == (slot.name, path.name) and record["slot"] == number, f"{slot}: a slot is missing, or elsewhere")
        if record["event"] in ("open", "commit", "end"):
            run["status"] = record.get("status", "running")
            before = {} if record.get("complete") else run["artifacts"]
            refs = record.get("packs", [])
            run["artifacts"] = before | {name: (own, refs) for name, own in record.get("artifacts", {}).items()}
        elif record["event"] == "abandoned" and run["status"] == "running":
            run["status"] = "failed"
        check(record["event"] in ("open", "commit", "end", "fence", "abandoned"), f"{slot} is of an unknown kind")
    return run


def read_table(store: Path, ref: dict[str, Any]) -> tuple[bytes, list[tuple[Any, ...]]]:
    """Return a pack and the entries of its table, which must be the one that the record means."""
    check(re.fullmatch(r"[a-z2-7]{16}-[0-9]{1,8}", ref["name"]) is not None, f"{ref['name']!r} names no pack")
    pack = (store / "packs" / ref["name"]).read_bytes()
    table = pack[ref["table_offset"] :][: ref["entries"] * ENTRY.size]
    check(blake3(table).hexdigest() == ref["table"], f"the table of packs/{ref['name']} is damaged")
    footer = FOOTER.pack(b"HOLDPACK", 1, 0, ref["table_offset"], ref["entries"], blake3(table).digest())
    is_whole = pack.startswith(b"holdall pack 1\n".ljust(64, b"\0")) and pack.endswith(table + footer)
    check(is_whole, f"the header or the footer of packs/{ref['name']} is damaged")
    return pack, list(ENTRY.iter_unpack(table))


def read_chunk(pack: bytes, entry: tuple[Any, ...], where: str) -> bytes:
    digest, offset, stored_bytes, raw_bytes, codec, _, stride = entry
    raw = pack[offset : offset + stored_bytes]
    check(codec <= 2 and raw_bytes <= 16 << 20, f"{where} has the unknown codec {codec}, or is too large")
    if codec:
        check(zstandard.frame_content_size(raw) == raw_bytes, f"{where} has another size than its table says")
        raw = zstandard.ZstdDecompressor(max_window_size=16 << 20).decompress(raw, max_output_size=raw_bytes)
    if codec == 2:  # all first bytes of the items, then all second bytes, and so on
        check(stride in (2, 4, 8, 16) and raw_bytes % stride == 0, f"{where} cannot be grouped by {stride}")
        planes = [raw[start : start + raw_bytes // stride] for start in range(0, raw_bytes, raw_bytes // stride)]
        raw = b"".join(map(bytes, zip(*planes, strict=True)))
    check(len(raw) == raw_bytes and blake3(raw).digest() == digest, f"{where} is damaged")
    return raw


def read_buffers(store: Path, record: dict[str, Any], refs: list[dict[str, Any]]) -> list[bytes]:
    buffers, tables = [], dict[int, Any]()
    for ref in record.get("buffers", []):
        parts = [base64.b64decode(ref.get("inline", ""), validate=True)]
        for number, first, count in ref.get("spans", []):
            where = f"of packs/{refs[number]['name']}"
            pack, entries = tables[number] = tables.get(number) or read_table(store, refs[number])
            parts += [read_chunk(pack, entries[n], f"chunk {n} {where}") for n in range(first, first + count)]
        buffers.append(b"".join(parts))
        check(len(buffers[-1]) == ref["bytes"], f"a buffer has {len(buffers[-1])} bytes instead of {ref['bytes']}")
    return buffers


def value_of(node: Any, buffers: list[bytes]) -> Any:
    """Return what a node says, as far as JSON can: sequences and sets as lists, pairs for dicts with other keys."""
    if not isinstance(node, dict):
        return [value_of(item, buffers) for item in node] if isinstance(node, list) else node
    if "$" not in node:
        return {key: value_of(item, buffers) for key, item in node.items()}
    tag, raw = node["$"], buffers[node["buffer"]] if isinstance(node.get("buffer"), int) else b""
    if tag in ("tuple", "set", "frozenset", "dict", "ordereddict"):
        return value_of(node["items"], buffers)
    if tag == "int":
        return int(node["hex"], 16) if "hex" in node else int.from_bytes(raw, "little", signed=True)
    if tag in ("floats", "ints"):
        return [item for (item,) in struct.iter_unpack(f"<{'d' if tag == 'floats' else 'q'}", raw)]
    if tag == "str" and raw:
        return raw.decode()
    return node  # it says what it is, and the buffers hold its bytes


def main(store: Path, *names: str) -> None:
    unseal(store / "holdall.json")
    found = sorted((store / "runs").glob("*/*/*"))
    runs = {(name_of(run.parent.parent), name_of(run.parent), complement(run.name)): run for run in found}
    for key, run in ({} if names else runs).items():
        view = read_run(run)
        print(*key, view["status"], *view["artifacts"], sep="\t")
    if names:
        show(store, runs[names[0], names[1], names[2]], names[3], *names[4:])


def show(store: Path, run: Path, name: str, target: str = "") -> None:
    record, refs = read_run(run)["artifacts"][name]
    buffers = read_buffers(store, record, refs)
    node = json.loads(buffers.pop()) if record.get("spilled") else record["node"]
    hashes = [blake3(raw).hexdigest() for raw in buffers]
    print(json.dumps({"node": node, "value": value_of(node, buffers), "buffers": hashes}, indent=1))
    for number, raw in enumerate(buffers if target else []):
        Path(target, str(number)).write_bytes(raw)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except (OSError, ValueError, LookupError, TypeError, RecursionError, zstandard.ZstdError) as error:
        sys.exit(f"reader: {type(error).__name__}: {error}")
