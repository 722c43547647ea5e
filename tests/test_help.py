"""`--help` says all: every option with its default, and examples that work."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

import pytest
import torch
from bench_samples import one_batch
from safetensors.torch import save_file

from resnet_cli import build
from resnet_cli.cli import app, main
from resnet_cli.render.to_json import to_json

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


class Reached(BaseException):
    """All that comes before the measurement went well."""


def stop(*_: object, **__: object) -> NoReturn:
    raise Reached


def examples(command: str) -> list[str]:
    lines = str(COMMANDS[command].epilog).splitlines()
    assert lines[:2] == ["\b", "Examples:"]
    assert all(line.startswith(f"  resnet-cli {command} ") for line in lines[2:])
    return [line.strip() for line in lines[2:]]


EXAMPLES = [line for command in COMMANDS for line in examples(command)]
MODEL = """
from torchvision.models import resnet18

def ResNet18(num_classes=1000):
    return resnet18(num_classes=num_classes)
"""
INTENDED = 'expected = ["setting conv.stride layer2.0.conv1 = 2"]\n'


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return build("resnet18").state_dict()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: dict[str, torch.Tensor]) -> Callable[[str], None]:
    """Make those files that a command line names, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(line: str) -> None:
        if "my_resnet.py" in line:
            Path("my_resnet.py").write_text(MODEL, encoding="utf-8")
        if "--baseline" in line:
            Path("before.json").write_text(to_json(one_batch()), encoding="utf-8")
        if "--expect" in line:
            Path("intended.toml").write_text(INTENDED, encoding="utf-8")
        for word in shlex.split(line.partition(" -o ")[0]):
            if word.endswith(".safetensors"):
                save_file(weights, word)
            elif word.endswith(".pth"):
                torch.save({"state_dict": weights, "state_dict_ema": weights} if "--ema" in line else weights, word)

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
    arguments = shlex.split(line)[1:]
    if arguments[0] in ("flops", "compare-torchvision", "bench"):  # as far as the measurement
        for seam in (
            "flops.count_flops",
            "latency.benchmark.bench",
            "latency.many.bench_many",
            "parity.compare",
            "family.compare_family",
            "self_test.self_test",
        ):
            monkeypatch.setattr(f"resnet_cli.measure.{seam}", stop)
        # Neither a GPU nor the network is needed to see that the line is right.
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
        monkeypatch.setattr("resnet_cli.measure.published_weights.resolve_weights", lambda *_, **__: "weights.pth")
        monkeypatch.setattr("resnet_cli.measure.contenders.loaded", lambda pair, path, question: question)
        with pytest.raises(Reached):
            main(arguments)
        return
    assert main(arguments) == 0, capsys.readouterr().err
    new = [path.name for path in set(Path.cwd().iterdir()) - before if path.name != "__pycache__"]
    assert new == ([arguments[arguments.index("-o") + 1]] if "-o" in arguments else [])
    assert new or capsys.readouterr().out
