"""Where a result goes: whole files, pure standard output, errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnet_cli import files
from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.output import check_output, choose_format, notes_to, render, write
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
    notes_to(stream, [Note("note", "x")])


def test_a_stream_without_bytes_gets_text(summary: SummaryResult) -> None:
    stream = io.StringIO()
    write(summary, format="json", output=None, stdout=stream)
    assert from_json(stream.getvalue()) == summary


def test_a_wrong_view_writes_nothing(summary: SummaryResult, tmp_path: Path) -> None:
    for medium in RESULT_FORMATS:
        with pytest.raises(ResnetCliError, match="there is no column"):
            write(summary, format=medium, output=str(tmp_path / "x"), view=ViewOptions(columns=("nothing",)))
    assert list(tmp_path.iterdir()) == []


# Files


def refused(output: str) -> str:
    """What is said of an output, before measuring and after it alike."""
    with pytest.raises(ResnetCliError) as before:
        check_output(output)
    with pytest.raises(ResnetCliError) as after:
        files.write_file(output, b"x")
    assert before.value.message == after.value.message
    assert before.value.exit_code == 2
    assert before.value.hint
    assert before.value.message.isprintable()
    return before.value.message


def test_what_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    assert "it is a folder" in refused(str(tmp_path))
    assert "it is a folder" in refused(f"{tmp_path}/new/")
    assert "there is no folder" in refused(str(tmp_path / "missing" / "x.json"))
    assert "there is no folder" in refused(str(tmp_path / "file" / "x.json"))
    assert "the name is empty" in refused("")
    assert "null" in refused("a\0b").lower()
    assert "too long" in refused(str(tmp_path / ("x" * 300)))
    assert "\\x1b" in refused(f"{tmp_path}/\x1b[2J/x")
    assert (tmp_path / "file").read_text() == "kept"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere, so for a while it is not root."""
    me = os.geteuid()
    if me == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if me == 0:
            os.setresuid(0, 0, 0)


@linux
def test_what_may_not_be_written_is_refused() -> None:
    # Not pytest's own folder: nobody else may look into that.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        locked = folder / "locked"
        locked.mkdir(mode=0o555)
        (folder / "read-only").write_text("kept")
        (folder / "read-only").chmod(0o444)
        folder.chmod(0o777)
        with nobody():
            assert "denied" in refused(str(locked / "x"))
            assert "may not be written" in refused(str(folder / "read-only"))


@linux
def test_a_folder_that_takes_no_files_is_refused() -> None:
    assert "cannot write /proc/x.json" in refused("/proc/x.json")


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused(str(tmp_path / "a"))


def test_checking_leaves_no_trace(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("old")
    for output in (str(old), str(tmp_path / "new"), "-", None):
        check_output(output)
    assert old.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["old"]


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    for text in (b"one", b"two"):  # at first it leads nowhere
        files.write_file(str(link), text)
        assert link.is_symlink()
        assert target.read_bytes() == text


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_modes_are_kept_or_follow_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.write_file(str(tmp_path / "new"), b"")
    finally:
        os.umask(mask)
    old = tmp_path / "old"
    old.touch()
    old.chmod(0o604)
    files.write_file(str(old), b"")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old")] == [0o640, 0o604]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((ResnetCliError, KeyboardInterrupt)) as caught:
        files.write_file(str(path), b"new")
    assert isinstance(caught.value, KeyboardInterrupt) or "no space left" in str(caught.value)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


@linux
def test_devices_are_written_to_and_not_replaced() -> None:
    check_output("/dev/null")
    files.write_file("/dev/null", b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    check_output("/dev/full")
    with pytest.raises(ResnetCliError, match="no space left"):
        files.write_file("/dev/full", b"x")


@linux
def test_a_named_pipe_gets_all_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    check_output(str(path))
    reader.start()
    files.write_file(str(path), b"x" * 200_000)
    reader.join(10)
    assert read == [b"x" * 200_000]
    assert stat.S_ISFIFO(path.stat().st_mode)


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


@pytest.mark.parametrize("medium", ["terminal", "json"])
def test_a_reader_that_goes_away_is_no_error(saved: Path, medium: str) -> None:
    process = subprocess.Popen(command(saved, medium, times=50), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert b"Traceback" not in (said := process.stderr.read()), said
    assert b"Broken" not in said
    process.stderr.close()
    assert process.wait(20) == 0


@linux
@pytest.mark.parametrize("medium", ["terminal", "json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(saved: Path, medium: str, unbuffered: str) -> None:
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


@linux
def test_dev_stdout_does_not_empty_the_file_that_it_leads_to(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with path.open("ab") as log:
        subprocess.run(command(saved, "json", "/dev/stdout"), stdout=log, stderr=subprocess.DEVNULL, check=True)
    first, rest = path.read_text().split("\n", 1)
    assert first == "before"
    from_json(rest)


@linux
def test_an_open_descriptor_is_written_to(saved: Path) -> None:
    done = subprocess.run(command(saved, "markdown", "/dev/fd/2"), capture_output=True, check=True, text=True)
    assert done.stderr.startswith("# résnet")
    assert done.stdout == ""


@linux
def test_a_closed_standard_output_is_told(saved: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command(saved, "terminal")]
    done = subprocess.run(shell, stderr=subprocess.PIPE, check=False, text=True)
    assert (done.returncode, "standard output is closed" in done.stderr) == (2, True)


@pytest.mark.parametrize("medium", MEDIA)
def test_standard_output_of_a_poor_locale(saved: Path, medium: str) -> None:
    done = subprocess.run(
        command(saved, medium), capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    if medium in ("terminal", "json"):
        assert done.stdout.isascii()
    else:
        done.stdout.decode()  # formats are UTF-8 wherever they are written


# Signs of life


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
        assert stream.getvalue() == "loading torch…"
        raise KeyError
    assert stream.getvalue().endswith("\r\x1b[K")
