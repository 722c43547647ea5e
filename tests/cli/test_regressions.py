"""The 21 pitfalls of command lines in Python, each with the test that fails when it comes back.

P1 to P21 are those that were found by running Typer, Rich, torch and the file system before this tool was written.
Most have their test where the code is; the others are here.
"""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
import typer

from resnet_cli import cli
from resnet_cli.cli import app, main
from tests.helpers import terminal

ROOT = Path(__file__).parents[2]
COVERED: dict[str, tuple[str, ...]] = {
    # Rich's Live, Status and Progress take over standard output where that is a terminal.
    "P1": ("tests/cli/test_terminals.py::test_json_in_a_file_is_whole_while_a_terminal_watches",),
    # Rich cuts a table at 80 columns off a terminal.
    "P2": (
        "tests/render/text/test_terminal.py::test_off_a_terminal_there_is_no_colour_and_no_width",
        "tests/cli/test_terminals.py::test_off_a_terminal_nothing_is_cut_or_coloured",
    ),
    # Rich crops numbers on a narrow terminal, without an ellipsis.
    "P3": (
        "tests/render/text/test_terminal.py::test_no_figure_is_cut_at_any_width",
        "tests/cli/test_terminals.py::test_a_figure_that_is_shown_is_whole",
    ),
    # Markup and emoji codes in text from outside are obeyed.
    "P4": ("tests/render/text/test_terminal.py::test_nothing_from_outside_reaches_the_terminal_raw",),
    # FORCE_COLOR and GITHUB_ACTIONS colour what is no terminal.
    "P5": (
        "tests/render/text/test_terminal.py::test_a_terminal_that_wants_no_colour_gets_none",
        "tests/cli/test_terminals.py::test_off_a_terminal_nothing_is_cut_or_coloured",
    ),
    # The first … ends the command where the encoding is ASCII.
    "P6": (
        "tests/cli/test_cli.py::test_an_ascii_terminal_gets_ascii",
        "tests/render/test_output.py::test_standard_output_of_a_poor_locale",
        "tests/cli/test_terminals.py::test_the_program_at_a_terminal",
    ),
    # Escape sequences in names of tensors, files and arguments reach the terminal.
    "P7": (
        "tests/cli/test_cli.py::test_escapes_from_outside_do_not_reach_the_terminal",
        "tests/cli/test_summary_weights.py::test_names_from_the_file_cannot_reach_the_terminal",
        "tests/fuzz/test_command_line.py::test_any_command_line_ends_well",
    ),
    # NaN in JSON that is written; depth, size, types and doubled keys in JSON that is read.
    "P8": (
        "tests/render/formats/test_json.py::test_what_is_not_finite_is_never_written",
        "tests/render/formats/test_json.py::test_what_is_no_result_is_refused",
        "tests/render/formats/test_json.py::test_a_tree_too_deep_is_refused",
    ),
    # A tolerance of nan passes everything.
    "P11": ("tests/cli/test_compare.py::test_bad_input",),
    # A closed pipe is no failed check.
    "P13": ("tests/cli/test_cli.py::test_a_closed_pipe_ends_quietly",),
    # Completion and help that import torch.
    "P14": (
        "tests/cli/test_cli.py::test_completion_imports_no_torch",
        "tests/cli/test_cli.py::test_answers_that_need_no_torch_import_none",
    ),
    # A torchvision that does not fit its torch.
    "P15": ("tests/cli/test_compare.py::test_a_torchvision_that_does_not_work",),
    # Devices that are named and are not there, and inputs that do not fit.
    "P16": (
        "tests/cli/test_cli.py::test_cuda_without_cuda_is_an_error_that_says_why",
        "tests/cli/test_bench.py::test_a_batch_that_does_not_fit_is_a_row",
    ),
    # Checkpoints that run code, and torch's advice to let them.
    "P17": (
        "tests/measure/weights/test_files.py::test_nothing_is_run",
        "tests/measure/weights/test_files.py::test_what_is_no_checkpoint",
    ),
    # The user's code exits, prints and waits for input.
    "P18": (
        "tests/measure/models/test_user_model.py::test_what_goes_wrong_is_told_in_the_users_lines",
        "tests/cli/test_model_option.py::test_what_the_network_prints_is_not_in_the_result",
        "tests/fuzz/test_files.py::test_a_hostile_file_is_refused",
    ),
    # Ctrl-C and SIGTERM.
    "P19": (
        "tests/cli/test_cli.py::test_an_interrupt_is_130",
        "tests/cli/test_bench.py::test_ctrl_c_shows_what_was_measured",
    ),
    # A live bar disturbs what is measured.
    "P20": ("tests/measure/bench/test_sampling.py::test_nothing_is_told_while_a_sample_is_taken",),
    # Files that are half written, emptied or replaced where they must not be.
    "P21": (
        "tests/render/test_output.py::test_a_failure_leaves_the_old_file_and_nothing_else",
        "tests/render/test_output.py::test_dev_stdout_does_not_empty_the_file_that_it_leads_to",
        "tests/render/test_output.py::test_a_full_disk_is_told",
        "tests/render/test_output.py::test_devices_are_written_to_and_not_replaced",
    ),
}
COMMANDS: tuple[str, ...] = tuple(
    str(one.name or getattr(one.callback, "__name__", "")).replace("_", "-") for one in app.registered_commands
)


def here() -> set[str]:
    """Pitfalls that a test of this file is named after."""
    return {found[1].upper() for name in globals() if (found := re.match(r"test_(p\d+)_", name))}


def test_every_pitfall_has_a_test() -> None:
    assert set(COVERED) | here() == {f"P{number}" for number in range(1, 22)}


@pytest.mark.parametrize("node", sorted({node for nodes in COVERED.values() for node in nodes}))
def test_the_tests_that_are_named_exist(node: str) -> None:
    path, _, name = node.partition("::")
    defined = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    assert name in {each.name for each in defined if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize("command", COMMANDS)
def test_p4_help_is_no_markup(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.rich_markup_mode is None
    assert main([command, "--help"]) == 0
    assert "[default: " in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_p5_help_has_no_colour_off_a_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main([command, "--help"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_p9_what_is_shared_stands_after_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Typer takes options of the callback before the command alone, so nothing that a command needs is one."""
    assert main([command, "--format", "nothing of the kind", "--help"]) == 0
    assert "--output" in capsys.readouterr().out
    assert set(typing.get_type_hints(cli.before)) - {"context", "return"} == {"version", "debug"}


def test_p10_messages_of_the_converter_are_told_without_its_prefix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(**_: object) -> None:
        raise typer.BadParameter("Value error, '51' is not one of them")

    monkeypatch.setattr(cli, "app", refused)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert "'51' is not one of them" in error
    assert "Value error" not in error


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("line", ["compare-torchvision --atol", "compare-torchvision --rtol", "bench --max-time"])
def test_p11_no_limit_is_nan_or_infinite(line: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line.split(), value]) == 2
    assert line.split()[1] in capsys.readouterr().err


def test_p12_types_of_options_are_there_when_the_app_starts(capsys: pytest.CaptureFixture[str]) -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        hints = typing.get_type_hints(command.callback, include_extras=True)
        assert all(typing.get_origin(hint) is typing.Annotated for name, hint in hints.items() if name != "return")
    assert app.registered_callback is not None  # else an app of one command takes its name for an argument
    assert main(["flops", "--help"]) == 0
    capsys.readouterr()


def test_p13_nothing_of_click_is_asked_for() -> None:
    for path in (ROOT / "resnet_cli").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (click|typer\._)", path.read_text(encoding="utf-8"), re.MULTILINE), (
            path
        )


def test_p14_an_empty_variable_is_none_and_flags_have_no_unasked_opposite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESNET_CLI_DEBUG", "")
    assert main(["summary", "--depth", "19"]) == 2  # with --debug it would raise
    capsys.readouterr()
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        opposites = set(re.findall(r"--no-[a-z-]+", capsys.readouterr().out))
        assert opposites <= {"--no-fold", "--no-ceiling"}


def test_p17_no_torch_that_runs_code_of_a_checkpoint_is_allowed() -> None:
    """CVE-2026-24747: below torch 2.10 `weights_only` loading could be made to run code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (floor,) = (match for line in project["dependencies"] if (match := re.fullmatch(r"torch>=(\d+)\.(\d+)", line)))
    assert (int(floor[1]), int(floor[2])) >= (2, 10)


NETWORK = """
import rich
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)

    def forward(self, x):
        return self.lin(x.mean((2, 3)))
"""


def test_p18_what_lies_beside_the_network_does_not_hide_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)  # `python -m` looks in the current folder by itself
    (tmp_path / "rich.py").write_text("print('the wrong one')\n", encoding="utf-8")
    (tmp_path / "net.py").write_text(NETWORK, encoding="utf-8")
    shown = terminal.run(["summary", "--model", f"{tmp_path}/net.py:Net"], 80)
    assert shown.code == 0, shown.screen
    assert "\x1b[" in shown.screen  # Rich has coloured it


def test_p18_the_users_code_takes_no_path_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = list(sys.path)
    (tmp_path / "net.py").write_text(
        f"{NETWORK}\nimport sys\nsys.path.clear()\nsys.path.append('added')\n", encoding="utf-8"
    )
    try:
        assert main(["summary", "--model", f"{tmp_path}/net.py:Net"]) == 0
        assert sys.path == [*before, "added"]
    finally:
        sys.path[:] = before
    capsys.readouterr()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_p19_a_signal_cleans_up(number: int, code: int, tmp_path: Path) -> None:
    """A process of its own, since a signal is remembered to the end of the process."""
    script = (
        "import os, sys; from resnet_cli import signals\n"
        "signals.install_handlers()\n"
        "try:\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)}); [0 for _ in range(10**8)]\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(signals.exit_code())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "cleaned up\n", "")
