"""Where the output goes is closed, full, or not to be written to: one clear error, and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from resnet_cli import build
from resnet_cli.cli import main
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.serialization import to_json
from resnet_cli.results.summary import SummaryResult
from tests.helpers.results_bench import one_batch

ROOT = Path(__file__).parents[2]
FORMATS = ("terminal", "json", "csv", "markdown", "svg")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line for bash, in which resnet-cli is this one."""
    function = f'resnet-cli() {{ {sys.executable} -m resnet_cli "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", function + line],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The one error of a run that did not go well."""
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert second.startswith("hint: ")
    return first


def test_a_closed_standard_output_is_known_before_anything_is_measured(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "w.pth")
    for command in ("summary", "bench", f"convert {tmp_path}/w.pth -o {tmp_path}/o.pth"):
        # No torch is imported until then: to be without it would be another error.
        done = shell(f"resnet-cli {command} >&-", PYTHONPATH=f"{blocked(tmp_path)}:{ROOT}")
        assert error(done) == "error: standard output is closed"
    assert {path.name for path in tmp_path.iterdir()} == {"w.pth", "blocked"}


def test_what_is_printed_when_the_process_ends_is_no_result() -> None:
    code = "from resnet_cli.__main__ import _end_of_results\nprint(1)\n_end_of_results()\nprint(2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("1\n", "2\n")


def blocked(folder: Path) -> Path:
    """A folder in which torch cannot be imported."""
    there = folder / "blocked"
    there.mkdir(exist_ok=True)
    (there / "torch.py").write_text("raise SystemExit('torch was imported')", encoding="utf-8")
    return there


@pytest.fixture
def report(tmp_path: Path, summary: SummaryResult) -> str:
    """A command line that draws a saved result, which needs no torch."""
    (tmp_path / "saved.json").write_text(to_json(summary), encoding="utf-8")
    return f"resnet-cli report {tmp_path}/saved.json"


def test_a_closed_standard_error_changes_nothing(report: str) -> None:
    done = shell(f"{report} 2>&-")
    assert done.returncode == 0
    assert done.stdout.endswith("</html>\n")
    assert shell("resnet-cli summary --depth 19 2>&-").returncode == 2


def test_a_full_disk_under_standard_output(report: str) -> None:
    assert error(shell(f"{report} >/dev/full"))
    assert error(shell("resnet-cli summary --help >/dev/full"))


def test_a_full_disk_under_a_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], summary: SummaryResult
) -> None:
    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", lambda *_, **__: summary)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert main(["summary"]) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(build("resnet18", repeat=(1, 1, 1, 1), num_classes=1).state_dict(), path)
    return str(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_reader_that_has_gone_away_is_no_error(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    summary: SummaryResult,
    flops: FlopsResult,
    weights_file: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", lambda *_, **__: summary)
    monkeypatch.setattr("resnet_cli.measure.cost.flops.count_flops", lambda *_, **__: flops)
    monkeypatch.setattr("resnet_cli.measure.bench.task.run_task", lambda *_, **__: one_batch())
    copy = str(tmp_path / "o.pth")
    for arguments in (
        ["summary"],
        ["flops"],
        ["bench"],
        ["convert", weights_file, "-o", copy],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        with monkeypatch.context() as patch, os.fdopen(writing, "w", encoding="utf-8") as pipe:
            patch.setattr(sys, "stdout", pipe)
            try:
                code = main([*arguments, "--format", kind])
            except SystemExit as left:
                code = int(left.code or 0)
        err = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("note:", "warning:"))]
        assert (arguments[0], code, err) == (arguments[0], 0, [])


# Folders


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system of its own in a folder."""
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", ",".join(options), "resnet-cli-test", str(folder)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs mount")
    if done.returncode:
        pytest.skip(f"may not mount a file system here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """The error of a command line, whose hint says what to do."""

    def run(arguments: list[str]) -> str:
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        first, hint = err.splitlines()
        assert (out, hint[:6]) == ("", "hint: ")
        return first

    return run


def test_a_disk_that_becomes_full_keeps_what_was_there(
    tmp_path: Path, weights_file: str, refused: Callable[[list[str]], str]
) -> None:
    with mounted(tmp_path / "small", "size=64k") as small:
        for name, arguments in {
            "out.json": ["summary", "--depth", "50"],
            "out.safetensors": ["convert", weights_file],
        }.items():
            (small / name).write_text("old", encoding="utf-8")
            assert "no space left" in refused([*arguments, "-o", str(small / name)])
            assert (small / name).read_text(encoding="utf-8") == "old"
        assert {path.name for path in small.iterdir()} == {"out.json", "out.safetensors"}


def test_a_folder_that_is_read_only_is_known_before(
    tmp_path: Path, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("it was measured first")

    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", measured)
    with mounted(tmp_path / "fixed", "ro") as fixed:
        message = refused(["summary", "-o", str(fixed / "out.json")])
    assert message == f"error: cannot write {fixed / 'out.json'}: read-only file system"
