"""The command line as a whole: exit codes, what goes to which stream, and what is not imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest

from resnet_cli import __version__, cli
from resnet_cli.cli import main
from resnet_cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def test_cuda_without_cuda_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["summary", "--device", "cuda"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert "cuda" in error
    assert "cpu" in hint


def test_the_exit_code_says_whether_an_assertion_holds(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["summary", "--levels", "1", "--assert", "parameters==11689512", "--assert"]
    assert main([*arguments, "macs<=1.9G"]) == 0
    assert main([*arguments, "macs<=1.8G"]) == 1
    assert main(["flops", "--show", "operators", "--assert", "flops>3.7G"]) == 1
    capsys.readouterr()


def test_json_on_stdout_is_nothing_but_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--depth", "34", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result["schema"] == "resnet-cli/summary/2"
    assert result["parameters"] == 21_797_672  # torchvision's num_params


@pytest.mark.parametrize("suffix", ["json", "csv", "md", "svg", "html", "txt"])
def test_the_extension_of_the_file_chooses_the_format(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"result.{suffix}"
    assert main(["summary", "--repeat", "1,1,1,1", "--levels", "2", "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    text = target.read_text(encoding="utf-8")
    starts = {"json": "{", "csv": "", "md": "# resnet18", "svg": "<svg", "html": "<!doctype html>", "txt": "resnet18"}
    assert text.startswith(starts[suffix])
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_written_on_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "old.json"
    target.write_text("precious", encoding="utf-8")
    assert main(["flops", "--image-size", "32", "--backward", "-o", str(target)]) == 2
    assert target.read_text(encoding="utf-8") == "precious"
    assert list(tmp_path.iterdir()) == [target]
    capsys.readouterr()


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


def test_a_bug_is_no_failed_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", None)  # the error is raised in the command's lines
    assert main(["summary"]) == 70
    assert "TypeError: 'NoneType' object is not callable" in capsys.readouterr().err
    with pytest.raises(TypeError):
        main(["--debug", "summary"])


def test_an_empty_debug_variable_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RESNET_CLI_DEBUG", "")
    assert main(["summary", "--depth", "19"]) == 2  # with --debug it would raise
    capsys.readouterr()


def run(*arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "resnet_cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, encoding="utf-8"
    )


def test_answers_that_need_no_torch_import_none() -> None:
    lines = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS), ["flops", "--depth", "19"]]
    done = run(
        code=f"import sys; from resnet_cli.cli import main\nfor line in {lines!r}: main(line)\n"
        "print(sorted({'torch', 'torchvision', 'torchinfo', 'fvcore', 'numpy', 'rich'} & set(sys.modules)))"
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"resnet-cli {__version__}\n"


# Pitfalls of Typer, each met once


def test_messages_of_typers_converter_are_shown_without_its_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--stem", "51"]) == 2
    assert "Value error" not in capsys.readouterr().err


def test_options_before_the_command_are_none_that_a_command_needs() -> None:
    """Typer takes options of the callback before the command alone."""
    assert set(typing.get_type_hints(cli.before)) - {"context", "return"} == {"version", "debug"}


def test_click_is_not_imported() -> None:
    """Typer vendors it."""
    for path in (ROOT / "resnet_cli").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (click|typer\._)", path.read_text(encoding="utf-8"), re.MULTILINE), (
            path
        )


def test_no_torch_that_runs_code_of_a_checkpoint_is_allowed() -> None:
    """CVE-2026-24747: below torch 2.10 `weights_only` loading could be made to run code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (floor,) = (match for line in project["dependencies"] if (match := re.fullmatch(r"torch>=(\d+)\.(\d+)", line)))
    assert (int(floor[1]), int(floor[2])) >= (2, 10)
