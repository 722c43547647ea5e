"""Where a result goes: whole files, pure standard output, errors that say what to do."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.output import choose_format, notes_to, render, write
from resnet_cli.render.progress import status
from resnet_cli.results.common import Note
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.serialization import from_json, to_json
from resnet_cli.results.summary import SummaryResult

linux = pytest.mark.skipif(sys.platform != "linux", reason="the devices of Linux")


MEDIA = RESULT_FORMATS


@pytest.mark.parametrize(
    ("medium", "output", "chosen"),
    [
        (None, None, "terminal"),
        (None, "-", "terminal"),
        (None, "a.json", "json"),
        (None, "A.JSON", "json"),
        (None, "a.csv", "csv"),
        (None, "a.md", "markdown"),
        (None, "a.svg", "svg"),
        (None, "a.txt", "terminal"),
        (None, "a.unknown", "terminal"),
        (None, "folder.json/a", "terminal"),
        ("csv", "a.json", "csv"),
    ],
)
def test_the_format_follows_the_name(medium: str | None, output: str | None, chosen: str) -> None:
    assert choose_format(medium, output).key == chosen


@pytest.mark.parametrize("medium", MEDIA)
def test_a_file_and_standard_output_hold_the_same(
    summary: SummaryResult, tmp_path: Path, capsys: pytest.CaptureFixture[str], medium: str
) -> None:
    path = tmp_path / "out"
    write(summary, format=medium, output=str(path))
    capsys.readouterr()
    write(summary, format=medium, output=None)
    assert path.read_bytes().decode() == capsys.readouterr().out == render(summary, medium)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("medium", ["json", "csv"])
def test_notes_go_to_standard_error_where_the_format_is_for_programs(
    summary: SummaryResult, capsys: pytest.CaptureFixture[str], medium: str
) -> None:
    write(summary, format=medium, output="-")
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == "note: a sentence [/x] | of *some* length"
    assert captured.err.splitlines()[1] == "warning: beware of evil\\x1b[2J|<b>[/x]:x:\\u202e"
    assert "a sentence [/x] |" not in captured.out or medium == "json"


@pytest.mark.parametrize("medium", ["terminal", "markdown", "svg"])
def test_notes_are_on_the_page_where_people_read_it(
    summary: SummaryResult, capsys: pytest.CaptureFixture[str], medium: str
) -> None:
    write(summary, format=medium, output=None)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "beware of" in captured.out


def test_csv_says_which_section_it_holds(flops: FlopsResult, capsys: pytest.CaptureFixture[str]) -> None:
    write(flops, format="csv", output=None, view=ViewOptions(sections=("conventions", "modules")))
    assert "conventions" in capsys.readouterr().err


def test_a_closed_standard_error_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    notes_to(stream, [Note("note", "x", "a-note")])


def test_a_stream_without_bytes_gets_text(summary: SummaryResult) -> None:
    stream = io.StringIO()
    write(summary, format="json", output=None, stdout=stream)
    assert from_json(stream.getvalue()) == summary


def test_a_wrong_view_writes_nothing(summary: SummaryResult, tmp_path: Path) -> None:
    for medium in RESULT_FORMATS:
        with pytest.raises(ResnetCliError, match="there is no column"):
            write(summary, format=medium, output=str(tmp_path / "x"), view=ViewOptions(columns=("nothing",)))
    assert list(tmp_path.iterdir()) == []


# Standard output, in a process of its own

WRITE = """
import sys
from pathlib import Path
from resnet_cli.errors import ResnetCliError
from resnet_cli.results.serialization import from_json
from resnet_cli.render.output import write
result = from_json(Path(sys.argv[1]).read_bytes())
try:
    for _ in range(int(sys.argv[4])):
        write(result, format=sys.argv[2], output=sys.argv[3] or None)
except ResnetCliError as error:
    print("error:", error.message, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def saved(summary: SummaryResult, tmp_path: Path) -> Path:
    path = tmp_path / "saved.json"
    path.write_text(to_json(summary))
    return path


def command(saved: Path, medium: str, output: str = "", times: int = 1) -> list[str]:
    return [sys.executable, "-c", WRITE, str(saved), medium, output, str(times)]


def test_a_reader_that_goes_away_is_no_error(saved: Path) -> None:
    process = subprocess.Popen(command(saved, "terminal", times=50), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    message = process.stderr.read()
    assert b"Traceback" not in message, message
    assert b"Broken" not in message
    process.stderr.close()
    assert process.wait(20) == 0


@linux
@pytest.mark.parametrize(("medium", "unbuffered"), [("terminal", ""), ("json", "1")])
def test_a_full_disk_is_an_error(saved: Path, medium: str, unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(saved, medium),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: cannot write to standard output: No space left on device",
    )
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("medium", ["terminal", "html"])
def test_standard_output_of_a_poor_locale(saved: Path, medium: str) -> None:
    done = subprocess.run(
        command(saved, medium), capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    if medium == "terminal":
        assert done.stdout.isascii()
    else:
        done.stdout.decode()  # formats are UTF-8 wherever they are written


# Progress


def test_waiting_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with status("loading torch"):
        pass
    assert capsys.readouterr() == ("", "")


def test_waiting_leaves_no_trace_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with contextlib.suppress(KeyError), status("loading torch"):
        assert stream.getvalue().endswith("loading torch…")
        raise KeyError
    assert stream.getvalue().endswith("\r\x1b[K")
