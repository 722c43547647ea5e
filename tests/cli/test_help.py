"""`--help` says all: every option with its default, and examples that work."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

from resnet_cli import build
from resnet_cli.cli import app, main
from tests.helpers.cli_examples import Reached, make_file, stop_before_measuring

COMMANDS = {str(one.callback.__name__).replace("_", "-"): one for one in app.registered_commands if one.callback}


def options(function: Callable[..., Any]) -> Iterator[tuple[str, Any, str]]:
    """Name, default and declared help of each option of a command."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        info = get_args(hints[name])[1]
        if type(info).__name__ != "OptionInfo":
            continue
        declared = (info.default, *(info.param_decls or ()))  # inside Annotated the first name lands in `default`
        names = [one for one in declared if isinstance(one, str) and one.startswith("--")]
        yield names[0] if names else f"--{name.replace('_', '-')}", parameter.default, info.help


def said(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What --help says of each option."""
    assert main([command, "--help"]) == 0
    found: dict[str, str] = {}
    name = ""
    for line in capsys.readouterr().out.splitlines():
        if match := re.match(r"  (?:-\w, )?(--[a-z-]+)", line):
            name = match[1]
        elif not line.startswith("   "):
            name = ""
        if name:
            found[name] = f"{found.get(name, '')} {line.strip()}"
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_there_with_its_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(command, capsys)
    function = COMMANDS[command].callback
    assert function is not None
    found = list(options(function))
    assert {name.partition("/")[0] for name, _, _ in found} | {"--help"} == shown.keys()
    for name, default, promised in found:
        flag, _, off = name.partition("/")
        text = shown[flag]
        assert promised.split()[0] in text, name
        if default is inspect.Parameter.empty:
            assert "[required]" in text, name
        elif default is None:  # what happens then stands there in words
            assert re.search(r"\[default: [^\]]+\]", text), name
        elif default is not False:  # a flag that is not given is off
            value = off.removeprefix("--no-") if off else default
            assert f"[default: {value}]" in text, name


# Examples


def examples(command: str) -> list[str]:
    lines = str(COMMANDS[command].epilog).splitlines()
    assert lines[:2] == ["\b", "Examples:"]
    assert all(line.startswith(f"  resnet-cli {command} ") for line in lines[2:])
    return [line.strip() for line in lines[2:]]


EXAMPLES = [line for command in COMMANDS for line in examples(command)]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return build("resnet18").state_dict()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: dict[str, torch.Tensor]) -> Callable[[str], None]:
    """Make those files that a command line names, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(line: str) -> None:
        for word in shlex.split(line.partition(" -o ")[0], comments=True):
            name = word.partition(":")[0]
            if name.endswith((".py", ".toml", ".json", ".pth", ".safetensors")):
                make_file(Path(name), weights)
            if "--ema" in line and name.endswith(".pth"):
                torch.save({"state_dict": weights, "state_dict_ema": weights}, name)

    return make


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_the_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.rstrip().splitlines()]
    mine = examples(command)
    assert len(mine) >= 3
    assert lines[-len(mine) - 1 :] == ["Examples:", *mine]


@pytest.mark.parametrize("line", EXAMPLES)
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
