"""Measure all claims, or those that are named, and write the table: ``python -m benchmarks [--quick] [claim …]``."""

from __future__ import annotations

import importlib
import sys

from benchmarks._harness import parser, results_folder, run_claim
from benchmarks.report import CLAIMS, claim_lines, write_report


def _main() -> int:
    options = parser()
    options.add_argument("claims", nargs="*", metavar="claim", help=f"some of {', '.join(CLAIMS)} (default: all)")
    arguments = options.parse_args()
    unknown = [name for name in arguments.claims if name not in CLAIMS]
    if unknown:
        options.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(CLAIMS)}")
    failed = []
    for name in arguments.claims or CLAIMS:
        module = importlib.import_module(f"benchmarks.{name}")
        try:
            print("\n".join(claim_lines(run_claim(module.CLAIM, module.run, arguments))), flush=True)
        except Exception as error:  # noqa: BLE001 - the other claims are measured all the same
            failed.append(name)
            print(f"{name} FAILED: {error}", file=sys.stderr, flush=True)
    print(f"wrote {write_report(results_folder(arguments))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(_main())
