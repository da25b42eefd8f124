"""The first script that anybody writes, and what `import holdall` costs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks._harness import Bench, Claim, Target, column, disk_usage, main

CLAIM = Claim(
    "hello_world",
    "Hello world: a script that saves small values in one run; and import holdall",
    {
        "files": Target("files in the store besides a .gitignore", "<=", 4, "files"),
        "import": Target("import holdall, above an empty Python", "<=", 0.1, "s"),
        "heavy": Target("heavy modules after import holdall", "<=", 0, "modules"),
    },
)

HEAVY = frozenset(
    [
        "numpy",
        "pandas",
        "pyarrow",
        "polars",
        "scipy",
        "sklearn",
        "torch",
        "botocore",
        "boto3",
        "s3fs",
        "fsspec",
        "aiohttp",
        "asyncio",
        "obstore",
        "cloudpickle",
        "sqlite3",
        "IPython",
        "matplotlib",
        "requests",
    ]
)

IMPORT_ROUNDS = 20

SCRIPT = """
import holdall

with holdall.run("hello", params={"who": "world"}) as run:
    run.log(loss=0.5)
    run.save(message="hello world", numbers=[1, 2, 3])
assert holdall.load("hello/message") == "hello world"
"""

SHORTEST = "import holdall; holdall.save('hello world', 'hello/message')"


def run(bench: Bench) -> None:
    """Measure the claim."""
    usage: list[dict[str, int]] = []

    def script(code: str) -> dict[str, Any]:
        start = time.perf_counter()
        bench.execute([sys.executable, "-c", code])
        return {"seconds": time.perf_counter() - start}

    def hello(code: str) -> dict[str, Any]:
        store = bench.path(".holdall")
        sample = script(code)
        usage.append(disk_usage(store))
        return sample

    for code in ("pass", "import holdall", SCRIPT):  # compiles what is to be imported
        hello(code) if code == SCRIPT else script(code)
    rounds = bench.rounds(
        {"script": lambda _: hello(SCRIPT), "shortest": lambda _: hello(SHORTEST)},
    )
    imports: dict[str, list[float]] = {"pass": [], "import holdall": [], "import numpy": []}
    for number in range(bench.size("processes", IMPORT_ROUNDS, 3)):
        for code in list(imports) if number % 2 else reversed(list(imports)):
            imports[code].append(script(code)["seconds"])
    probe = "import json, sys; import holdall; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    loaded = set(json.loads(bench.execute([sys.executable, "-c", probe])))
    heavy = sorted(loaded & HEAVY)

    bare = bench.record("python -c pass", imports["pass"], role="limit")
    ours = bench.record("python -c 'import holdall'", imports["import holdall"], role="ours")
    bench.record("python -c 'import numpy'", imports["import numpy"], role="peer")
    bench.record("the script, the whole process", column(rounds["script"]), role="ours")
    bench.record("the shortest form, the whole process", column(rounds["shortest"]), role="ours")
    files = max(each["files"] for each in usage)
    bench.record("files in the store, at most", files, "files", role="ours")
    bench.record("modules in sys.modules after import holdall", len(loaded), "modules", role="ours")
    bench.judge("files", files)
    bench.judge("import", ours - bare)
    bench.judge("heavy", len(heavy))
    if heavy:
        bench.note(f"Heavy modules after import holdall: {', '.join(heavy)}.")
    bench.note("Run within a git repository: the script waits for what git says of it.")


if __name__ == "__main__":
    main(CLAIM, run)
