"""`--help`: every option in a group, defaults that are what the program does, and examples that work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli import build
from resnet_cli.cli import main
from resnet_cli.commands import COMMANDS, load_command
from tests.helpers import results_bench, results_compare, results_doctor, results_summary_flops
from tests.helpers.cli_examples import SEAMS, Reached, let_unexpected_pass, make_file, stop_before_measuring

# Words for what happens without an option; any other default is a value of the option.
WORDS = {"none", "all", "built-in", "random", "measured", "never", "unchanged"}


def shown_defaults(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Option → default, as --help shows them."""
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out.partition("Examples:")[0]
    parts = re.split(r"^  (?:-\w, )?(--[a-z-]+)", text, flags=re.MULTILINE)[1:]
    defaults = {}
    for name, description in zip(parts[::2], parts[1::2], strict=True):
        match = re.search(r"\[default: (.*?)(?:; [^]]*<=x[^]]*|; x>=[^]]*)?\]", " ".join(description.split()))
        if match is not None:
            defaults[name] = match[1]
    return defaults


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_in_a_group_with_its_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    defaults = shown_defaults(command, capsys)
    assert main([command, "--help"]) == 0
    groups = re.split(r"^(\w+):$", capsys.readouterr().out, flags=re.MULTILINE)
    named = dict(zip(groups[1::2], groups[2::2], strict=True))
    assert re.findall(r"^  (?:-\w, )?(--[a-z-]+)", named["Options"], re.MULTILINE) == ["--help"]
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)(?: (?:/ )?[^ ]+)?", "".join(groups), re.MULTILINE)
    flags = {"--help", "--all", "--self-test", "--layers", "--find-batch-size", "--backward", "--ema", "--compile"}
    required = {"--output"} if command == "convert" else set()
    assert set(options) - flags - required == defaults.keys()
    assert not re.search(r"<(str|int|float|bool|list)\b", "".join(groups))


def recorded(value: Any) -> Any:
    """What is passed to a measurement, without what is new in each run."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: recorded(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [recorded(each) for each in value]
    if isinstance(value, dict):
        return {key: recorded(each) for key, each in value.items()}
    if isinstance(value, torch.nn.Module) or callable(value):
        return type(value).__name__
    return repr(value)


RESULTS: dict[str, Callable[[], Any]] = {
    "cost.summary.summarize": results_summary_flops.summary_result,
    "cost.flops.count_flops": results_summary_flops.flops_result,
    "bench.task.run_task": results_bench.everything,
    "parity.compare.compare": results_compare.stride,
    "doctor.run.examine": results_doctor.broken_result,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_default_that_is_shown_is_what_happens_without_the_option(
    command: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[Any] = []

    def measured(seam: str) -> Callable[..., Any]:
        def measure(*arguments: Any, **options: Any) -> Any:
            calls.append(recorded([arguments, options]))
            if seam not in RESULTS:
                raise Reached
            return RESULTS[seam]()

        return measure

    let_unexpected_pass(monkeypatch)
    for seam in SEAMS:
        monkeypatch.setattr(f"resnet_cli.measure.{seam}", measured(seam))
    base = {"convert": ["weights.pth", "-o", "new.pth"], "compare": ["resnet18", "resnet34"]}.get(command, [])
    if command == "convert":
        Path("weights.pth").symlink_to(weights / "plain.pth")

    def run(*more: str) -> tuple[int, Any, str]:
        calls.clear()
        try:
            code = main([command, *base, *more])
        except Reached:
            code = -1
        return code, list(calls), capsys.readouterr().out

    expected = run()
    assert expected[0] in (-1, 0, 1)
    for option, default in shown_defaults(command, capsys).items():
        if default not in WORDS and " " not in default:
            is_flag = option == f"--{default}"
            assert (run(option) if is_flag else run(option, default)) == expected, (option, default)


# Examples


def examples(command: str) -> list[str]:
    lines = str(load_command(command).epilog).splitlines()
    assert lines[:2] == ["\b", "Examples:"]
    assert all(line.startswith(f"  resnet-cli {command} ") for line in lines[2:])
    return [line.strip() for line in lines[2:]]


@pytest.fixture(autouse=True)
def without_initialization(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    """Nothing is measured with the weights of the networks, which take long to draw."""
    for name in ("kaiming_uniform_", "kaiming_normal_", "uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(f"torch.nn.init.{name}", lambda tensor, *_, **__: tensor)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights in each kind of file."""
    folder = tmp_path_factory.mktemp("weights")
    state = build("resnet18", repeat=(1, 1, 1, 1)).state_dict()
    for suffix in (".pth", ".safetensors"):
        make_file(folder / f"plain{suffix}", state)
    torch.save({"state_dict": state, "state_dict_ema": state}, folder / "ema.pth")
    return folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path) -> Callable[[str], None]:
    """Make those files that a command line names, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(line: str) -> None:
        for word in shlex.split(line.partition(" -o ")[0], comments=True):
            path = Path(word.partition(":")[0])
            if path.suffix in (".pth", ".safetensors"):
                path.symlink_to(weights / ("ema.pth" if "--ema" in line else f"plain{path.suffix}"))
            elif path.suffix in (".py", ".toml", ".json"):
                make_file(path, {})

    return make


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_the_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.rstrip().splitlines()]
    lines_of_command = examples(command)
    assert lines[-len(lines_of_command) - 1 :] == ["Examples:", *lines_of_command]


@pytest.mark.parametrize("line", [line for command in COMMANDS for line in examples(command)])
def test_every_example_works(
    line: str, files: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files(line)
    before = set(Path.cwd().iterdir())
    arguments = shlex.split(line, comments=True)[1:]
    is_drawn = arguments[0] == "report" and arguments[1].endswith(".json")
    if arguments[0] not in ("summary", "convert") and not is_drawn:  # as far as the measurement
        stop_before_measuring(monkeypatch)
        with pytest.raises(Reached):
            main(arguments)
        return
    assert main(arguments) == 0, capsys.readouterr().err
    new = [path.name for path in set(Path.cwd().iterdir()) - before if path.name != "__pycache__"]
    assert new == ([arguments[arguments.index("-o") + 1]] if "-o" in arguments else [])
    assert new or capsys.readouterr().out
