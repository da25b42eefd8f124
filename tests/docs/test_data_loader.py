"""The data loader of the documentation works with what PyTorch's loader does: workers with a number, batches, epochs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "data-loader.md"

DATA = '''
"""As much of torch.utils.data as a loader of an iterable dataset needs: each worker is a process of its own."""

import multiprocessing
from types import SimpleNamespace

_info = None


class IterableDataset:
    """What datasets are made of."""


def get_worker_info():
    return _info


def _work(dataset, number, workers, size, results):
    global _info
    _info = SimpleNamespace(id=number, num_workers=workers)
    items = list(dataset)
    results.put([[list(column) for column in zip(*items[at : at + size])] for at in range(0, len(items), size)])


class DataLoader:
    def __init__(self, dataset, batch_size, num_workers):
        self.given = dataset, batch_size, num_workers

    def __iter__(self):
        dataset, size, workers = self.given
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        started = [
            context.Process(target=_work, args=(dataset, number, workers, size, results)) for number in range(workers)
        ]
        for each in started:
            each.start()
        for _ in started:
            yield from results.get(timeout=60)
        for each in started:
            each.join()
'''


def test_each_image_is_in_one_batch_of_an_epoch(tmp_path: Path) -> None:
    """With four workers that are forked, 300 images come once in each of two epochs, in batches of at most 64."""
    package = tmp_path / "torch" / "utils"
    package.mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "data.py").write_text(DATA)
    fences = PAGE.read_text(encoding="utf-8").split("```python\n")[1:]
    codes = [fence.partition("```")[0] for fence in fences]
    assert sum("DataLoader" in code for code in codes) == 1
    program = tmp_path / "page.py"
    program.write_text("\n".join(codes))

    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert result.returncode == 0, result.stderr
    sizes = [int(line) for line in result.stdout.split()]
    assert sorted(sizes) == [11] * 8 + [64] * 8
