"""The inside of a new process: call one function of a benchmark, print what it returns as one line of JSON."""

from __future__ import annotations

import importlib
import json
import sys


def _main() -> None:
    module, function, arguments = sys.argv[1:4]
    result = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    sys.stdout.flush()
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    _main()
