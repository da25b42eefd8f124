"""What a script defines is loaded by a process that never saw the script, or is refused where it is saved."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

OTHER = """
def score(x): return "the loading script's own"
def helper(x): return "the loading script's own"
class Scorer: "The loading script's own."
MISSING = UserId = "the loading script's own"
"""
"""Names that the script that loads happens to have, too."""


def run_script(folder: Path, name: str, code: str) -> list[str]:
    """Run a script in `folder`, and return the lines that it prints."""
    script = folder / name
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def save_and_load(folder: Path, save: str, load: str) -> list[str]:
    """Run a script that saves, and one that loads and has other things under the same names; return what it prints."""
    assert run_script(folder, "save.py", "import holdall\n" + textwrap.dedent(save)) == []
    return run_script(
        folder,
        "load.py",
        "import holdall\n" + OTHER + "get = lambda name: holdall.load('f/' + name)\n" + textwrap.dedent(load),
    )


def test_cached_functions(tmp_path: Path) -> None:
    """A function of ``lru_cache`` comes back with its code and bounds and an empty cache, wherever it is held."""
    lines = save_and_load(
        tmp_path,
        """
        import functools
        @functools.lru_cache(maxsize=7, typed=True)
        def score(x): return x * 2
        @functools.cache
        def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
        def helper(x): return score(x) + 1
        class Scorer:
            @functools.cache
            def score(self, x): return x * 3
        score.note = "kept"
        score(1), fibonacci(5)
        for name, value in {
            "score": score, "fibonacci": fibonacci, "helper": helper, "partial": functools.partial(helper, 5),
            "list": [1, score, score], "object": Scorer(), "method": Scorer.score,
        }.items():
            holdall.save(value, "f/" + name)
        """,
        """
        print(get("score").cache_info(), get("score").cache_parameters(), get("score").note, get("score").__name__)
        print(get("score")(4), get("fibonacci")(60), get("helper")(4), get("partial")(), get("list")[1](4))
        print(get("list")[1] is get("list")[2], get("list")[1].__module__)
        both = get("list")
        print(both[1] is both[2], get("object").score(2), get("method")(None, 2))
        holdall.save(get("helper"), "f/again")
        """,
    )
    assert lines == [
        "CacheInfo(hits=0, misses=0, maxsize=7, currsize=0) {'maxsize': 7, 'typed': True} kept score",
        "8 1548008755920 9 11 8",
        "False __main__",
        "True 6 6",
    ]
    assert run_script(tmp_path, "later.py", "import holdall; print(holdall.load('f/again')(10))") == ["21"]


def test_properties_and_dispatchers(tmp_path: Path) -> None:
    """What holds locks and weak references for its own use is made anew with its class."""
    lines = save_and_load(
        tmp_path,
        """
        import functools
        from dataclasses import dataclass
        @functools.singledispatch
        def describe(x): return "anything"
        @describe.register
        def _(x: int): return "number, not " + describe("")
        class Scorer:
            weight = 3
            @functools.cached_property
            def heavy(self):
                "It weighs."
                return self.weight * 10
            @functools.singledispatchmethod
            def kind(self, x): return "anything"
            @kind.register
            def _(self, x: int): return "number"
        @dataclass
        class Config:
            size: int
            @functools.cached_property
            def area(self): return self.size ** 2
        holdall.save(Scorer(), "f/object")
        holdall.save(Config(4), "f/config")
        holdall.save([describe], "f/describe")
        """,
        """
        loaded = get("object")
        print(loaded.heavy, vars(loaded), type(loaded).heavy.__doc__, loaded.kind(1), loaded.kind(""))
        print(get("config").area, get("describe")[0](1), get("describe")[0].__name__)
        """,
    )
    assert lines == ["30 {'heavy': 30} It weighs. number anything", "16 number, not anything describe"]


def test_types_of_annotations(tmp_path: Path) -> None:
    """What a script defines for its annotations travels with the functions that it annotates."""
    lines = save_and_load(
        tmp_path,
        """
        import typing
        UserId = typing.NewType("UserId", int)
        P, Ts = typing.ParamSpec("P"), typing.TypeVarTuple("Ts")
        class Row(typing.TypedDict):
            user: UserId
            note: typing.NotRequired[str]
        def decorate(function: typing.Callable[P, int], *rest: typing.Unpack[Ts]) -> Row: return {"user": 1}
        holdall.save(decorate, "f/function")
        holdall.save(UserId, "f/new")
        holdall.save(Row, "f/row")
        """,
        """
        print(get("new"), get("new").__supertype__, get("new")(3), get("function")(None))
        print(get("row").__name__, sorted(get("row").__required_keys__), sorted(get("row").__optional_keys__))
        """,
    )
    assert lines == ["__main__.UserId <class 'int'> 3 {'user': 1}", "Row ['user'] ['note']"]


def test_what_only_has_a_name_is_refused(tmp_path: Path) -> None:
    """A sentinel of the script, and the script as a module, are refused with the way to them and the way out."""
    lines = run_script(
        tmp_path,
        "script.py",
        """
        import sys, threading, holdall
        class Missing:
            def __reduce__(self): return "MISSING"
        class Guarded:
            lock = threading.Lock()
        MISSING, this = Missing(), sys.modules["__main__"]
        def default(x=MISSING): return x
        def look(): return this
        for value in ([1, MISSING], {"f": default}, look, Guarded()):
            try:
                holdall.save(value, "f/x")
            except holdall.UnsupportedTypeError as error:
                print(error)
        """,
    )
    assert len(lines) == 4
    assert "x[1]: cannot save a __main__.Missing" in lines[0]
    assert "'MISSING' in __main__" in lines[0]
    assert "into a module" in lines[0]
    assert "x['f'] (a default argument): " in lines[1]
    assert "x (its global 'this'): " in lines[2]
    assert "it is the script itself" in lines[2]
    assert "x (its class).lock: " in lines[3]


@pytest.mark.parametrize("name", ["<run_path>", "job"])
def test_scripts_that_runpy_runs(tmp_path: Path, name: str) -> None:
    """A script that runs under a name that cannot be imported is treated like any other."""
    (tmp_path / "job.txt").write_text(
        textwrap.dedent(
            """
            import enum, functools, holdall
            from dataclasses import dataclass
            from typing import NamedTuple
            @dataclass
            class Config:
                size: int = 3
            class Pair(NamedTuple):
                left: int
            class Color(enum.Enum):
                RED = 1
            @functools.cache
            def score(x): return x * 2
            def helper(x): return score(x) + 1
            for name, value in {"config": Config(), "pair": Pair(7), "color": Color.RED, "helper": helper}.items():
                assert holdall.save(value, "f/" + name).runs_code
            """
        ),
        encoding="utf-8",
    )
    lines = save_and_load(
        tmp_path,
        f"import runpy; runpy.run_path('job.txt', run_name={name!r})",
        'print(get("config").size, get("pair").left, get("color").name, get("helper")(4))',
    )
    assert lines == ["3 7 RED 9"]
