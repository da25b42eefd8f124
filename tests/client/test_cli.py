"""The command line as a program: help, options, exit codes, messages, pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import holdall
from holdall import _cli, _cli_views
from holdall._cli import main
from holdall._text import width_of

COMMANDS = ["ls", "show", "graph", "get", "put", "cat", "cp", "sync", "du", "exec", "table", "doctor"]


@pytest.fixture(autouse=True)
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work as ana, in a folder without a store."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    monkeypatch.setenv("COLUMNS", "100")
    return workdir


def run(*arguments: str, text: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``holdall`` as a program of its own."""
    return subprocess.run(
        [sys.executable, "-m", "holdall", *arguments],
        capture_output=True,
        text=True,
        input=text,
        env={**os.environ, **variables},
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [[], *([name] for name in COMMANDS)], ids=lambda names: " ".join(names) or "holdall"
)
def test_help_ends_with_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every help says what there is and ends with examples."""
    assert main([*arguments, "--help"]) == 0

    text = capsys.readouterr().out
    assert text.startswith(f"usage: {' '.join(['holdall', *arguments])}")
    assert "\nexamples:\n  holdall " in text
    assert text.rstrip().rpartition("\n")[2].startswith("  ")


def test_main_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The first help names the commands, the grammar of references, and all exit codes."""
    main(["--help"])

    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in COMMANDS)
    assert "[namespace/]flow[/artifact][:alias|@run]" in text
    assert "0  done" in text
    assert "1  it failed" in text
    assert "2  the command" in text
    assert "3  no such" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` names the version on standard output."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"holdall {holdall.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["lss"], "'lss'"),
        (["ls", "--limit", "few"], "'few' is no number of rows"),
        (["ls", "--limit", "-1"], "'-1' is no number of rows"),
        (["ls", "-n", "user:a", "--all-namespaces"], "not allowed with"),
        (["ls", "-n", "ana"], "'ana' is no namespace"),
        (["ls", "a/b/c"], "no namespace"),
        (["ls", "--tag", "x"], "--tag"),
        (["ls", "churn/model", "--tag", "x"], "--tag"),
        (["show", "user:ana"], "holdall ls user:ana"),
        (["show"], "REF"),
        (["get", "churn"], "names no artifact: write flow/artifact; it holds model"),
        (["put", "-", "churn"], "churn/NAME"),
        (["put", ".", "churn/x@20261123"], "every save is a new run"),
    ],
)
def test_what_makes_no_sense_is_2(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line gets one sentence on standard error, and exit code 2."""
    holdall.save(1, "churn/model")

    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err
    assert err.startswith("holdall")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "chrun"], "Did you mean 'churn'?"),
        (["show", "churn/modle"], "Did you mean 'model'?"),
        (["get", "churn/modle"], "Did you mean 'model'?"),
        (["cat", "churn/model:champion"], "no alias 'champion'"),
        (["ls", "churn/modle"], "Did you mean 'model'?"),
        (["ls", "churn@2001"], "no run '2001'"),
        (["ls", "user:anna"], "Did you mean 'user:ana'?"),
        (["ls", "user:anna/"], "Did you mean 'user:ana'?"),
        (["show", "churn", "-n", "user:bo"], "'user:ana/churn'"),
        (["ls", "--store", "elsewhere"], "There is no store"),
    ],
)
def test_what_is_not_there_is_3(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that nothing has gets the nearest one, or where it is, and exit code 3."""
    holdall.save(1, "churn/model")

    assert main(arguments) == 3

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err


def test_what_fails_is_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done, and a file that is not there, are told in a sentence with exit code 1."""
    holdall.save(object, "churn/model")

    assert main(["put", "nothing", "churn/x"]) == 1
    assert main(["cat", "churn/model"]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert "There is no file or directory 'nothing'." in err
    assert "holdall.load('user:ana/churn/model@" in err


def test_a_wrong_setting_is_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable with a value that means nothing is named."""
    monkeypatch.setenv("HOLDALL_CACHE_SIZE", "much")

    assert main(["ls"]) == 2
    assert "HOLDALL_CACHE_SIZE='much'" in capsys.readouterr().err


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_traceback_is_shown_on_demand(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error has no traceback unless ``HOLDALL_DEBUG`` asks for one; the sentence comes last all the same."""
    monkeypatch.setenv("HOLDALL_DEBUG", debug)
    holdall.save(1, "churn/model")

    main(["show", "nope"])

    lines = capsys.readouterr().err.splitlines()
    assert (lines[0] == "Traceback (most recent call last):") is bool(debug)
    assert lines[-1].startswith("holdall: There is no flow 'nope'")


def test_an_error_of_ours_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even an error that nobody foresaw has no traceback, and says how to get one."""

    def broken(*arguments: object) -> int:
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.setattr(_cli_views, "ls", broken)

    assert main(["ls"]) == 1
    assert capsys.readouterr().err == "holdall: ZeroDivisionError: by zero\\nand more (HOLDALL_DEBUG=1 shows where.)\n"


@pytest.mark.parametrize("arguments", [["--store", "there", "ls"], ["ls", "--store", "there"]])
def test_options_may_stand_before_or_after_the_command(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--store`` and ``--namespace`` mean the same on both sides of the command."""
    holdall.save(1, "churn/model", client=holdall.Client(folder / "there"))

    assert main([*arguments, "-q"]) == 0
    assert capsys.readouterr().out == "user:ana/churn\n"


def test_names_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters, in arguments or in what was saved, are written as escapes."""
    holdall.save(1, "churn/model")

    assert main(["show", "evil\x1b[31m"]) == 2
    with pytest.raises(ValueError, match="red"), holdall.run("churn", params={"p": "a\x1b[2Jb\nc"}):
        raise ValueError("\x1b[31mred\u202e")
    assert main(["show", f"churn@{holdall.Flow('churn').latest_run.id}"]) == 0

    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\u202e" not in out
    assert "a\\x1b[2Jb\\nc" in out
    assert "\\x1b[31mred\\u202e" in out


class Terminal:
    """Standard output as a terminal of some width."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("terminal", "variables", "colored"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals(
    terminal: bool,
    variables: dict[str, str],
    colored: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There are colours on a terminal alone, unless the environment has its own wish."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    if terminal:
        Terminal(monkeypatch, 100)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    holdall.save(1, "churn/model")

    main(["ls", "churn"])

    assert ("\x1b[32msucceeded\x1b[0m" in capsys.readouterr().out) is colored


@pytest.mark.parametrize("columns", [30, 60, 80, 220])
def test_tables_fit_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is wider than the terminal, and ids stay whole as long as there is room for them alone."""
    monkeypatch.setenv("NO_COLOR", "1")
    with holdall.run("churn", tags=["模型", "a long tag of many words"]) as active:
        active.log({f"metric{number}": 0.123456 for number in range(5)})
        active.save({f"artifact{number}": number for number in range(5)})
    Terminal(monkeypatch, columns)

    main(["ls", "churn"])

    lines = capsys.readouterr().out.splitlines()
    assert max(map(width_of, lines)) <= columns
    assert active.id in lines[1]
    assert ("succeeded" in lines[1]) is (columns >= 60)
    assert ("artifact4" in lines[1]) is (columns == 220)


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output is no terminal its width counts for nothing; columns are two spaces or more apart."""
    monkeypatch.setenv("COLUMNS", "20")
    with holdall.run("churn", tags=["a long tag of many words"]) as active:
        active.save({f"artifact{number}": number for number in range(9)})

    main(["ls", "churn"])

    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split() == ["RUN", "STATUS", "BEGAN", "TOOK", "TAGS", "ARTIFACTS"]
    cells = [cell.strip() for cell in row.split("  ") if cell]
    assert cells[0] == active.id
    assert cells[-2] == "a long tag of many words"
    assert cells[-1].endswith("artifact8")


def test_a_program_of_its_own() -> None:
    """``python -m holdall`` is the same program: data on standard output, messages on standard error, exit codes."""
    holdall.save({"depth": 3}, "churn/settings")

    good, missing, wrong = run("cat", "churn/settings"), run("cat", "churn/setings"), run("cat")

    assert (good.returncode, json.loads(good.stdout), good.stderr) == (0, {"depth": 3}, "")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "Did you mean 'settings'?" in missing.stderr
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_reader_that_leaves_is_no_error() -> None:
    """A closed pipe, as of ``head``, ends the program quietly."""
    with holdall.run("churn") as active:
        active.save(text="x" * 5_000_000)
    program = subprocess.Popen(
        [sys.executable, "-m", "holdall", "cat", "churn/text"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stderr is not None

    assert program.stdout.read(10) == b"x" * 10
    program.stdout.close()
    complaint = program.stderr.read()
    program.stderr.close()

    assert (program.wait(), complaint) == (0, b"")


@pytest.mark.parametrize("arguments", ["ls", "cat churn/model", "put note.txt churn/note", "--help"])
def test_a_closed_standard_output_is_told(arguments: str, folder: Path) -> None:
    """Without a standard output nothing is done, and one line says why."""
    holdall.save(1, "churn/model")
    (folder / "note.txt").write_text("a")

    result = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m holdall {arguments} >&-"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert result.stderr.startswith("holdall: Standard output is closed")
    assert result.stderr.count("\n") == 1
    assert len(list(holdall.Flow("churn").runs())) == 1


def test_a_closed_standard_error_is_no_error() -> None:
    """Without a standard error, messages go nowhere, and data and exit codes are what they are."""
    holdall.save(1, "churn/model")
    program = f"{sys.executable} -m holdall"

    result = subprocess.run(
        ["sh", "-c", f"{program} cat churn/model 2>&-; {program} cat churn/nothing 2>&-; echo $?"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout == "1\n3\n"


@pytest.mark.parametrize(("link", "told"), [(True, "is a link to 'nowhere'"), (False, "is a file")])
@pytest.mark.parametrize("arguments", [["ls"], ["cat", "churn/model"], ["put", "note.txt", "churn"]])
def test_what_is_no_folder_is_no_store(
    arguments: list[str], link: bool, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file or a dangling link where the store should be is told as such, with the way out."""
    (folder / "note.txt").write_text("a")
    place = folder / ".holdall"
    if link:
        place.symlink_to("nowhere")
    else:
        place.write_text("")

    assert main(arguments) == 3

    err = capsys.readouterr().err
    assert told in err
    assert "--store" in err
    assert sorted(path.name for path in folder.iterdir()) == [".holdall", "note.txt"]


def test_an_encoding_that_lacks_a_letter_is_no_error() -> None:
    """A terminal that cannot show a name gets it in escapes."""
    holdall.save(1, "größe/模型")

    result = run("ls", "größe", PYTHONIOENCODING="ascii", PYTHONUTF8="1")

    assert result.returncode == 0
    assert "\\u6a21\\u578b" in result.stdout


def test_help_imports_no_command() -> None:
    """Help is quick: what carries the commands out is not imported for it."""
    probe = "import sys; from holdall._cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert "holdall._cli" in result.stderr
    assert "holdall._cli_views" not in result.stderr
    assert "importlib.metadata" not in result.stderr


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupted command leaves no traceback, and the exit code that shells know."""

    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "_dispatch", interrupted)

    assert main(["ls"]) == 130
    assert capsys.readouterr() == ("", "")


def test_arguments_are_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without arguments, `main` takes those of the command line."""
    arguments: Sequence[str] = ["holdall", "--version"]
    monkeypatch.setattr(sys, "argv", list(arguments))

    assert main() == 0
    assert capsys.readouterr().out.startswith("holdall ")
