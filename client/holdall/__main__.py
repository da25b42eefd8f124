"""``python -m holdall`` is ``holdall``."""

from __future__ import annotations

import sys

from holdall._cli import main

if __name__ == "__main__":
    sys.exit(main())
