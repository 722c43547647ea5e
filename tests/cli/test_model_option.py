"""`--model`: the user's own network on the command line, in every command that has the option."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnet_cli.cli import main

NETS = """
from dataclasses import dataclass
import torch
from torch import nn

print("a word from the module")


class Net(nn.Module):
    def __init__(self, num_classes=7, width=4, image=3):
        super().__init__()
        self.conv = nn.Conv2d(image, width, 3, padding=1)
        self.lin = nn.Linear(width, num_classes)

    def forward(self, x):
        print("a word from the forward")
        return self.lin(self.conv(x).mean((2, 3)))


def factory(**options):
    return Net(**options)


@dataclass
class Out:
    logits: torch.Tensor
    features: tuple


class Several(Net):
    def forward(self, x):
        x = self.conv(x)
        return Out(self.lin(x.mean((2, 3))), (x,))


class Reading(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.tensor(0.5)
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) * self.scale.item()


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 1, 3)]  # fails on meta
        self.convs = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in rates))

    def forward(self, x):
        return self.convs(x)


class Raising(Net):
    def forward(self, x):
        x = self.conv(x)
        return self.broken(x)

    def broken(self, x):
        raise ValueError("my own words")


class Trained(Net):
    def forward(self, x):
        if self.training:
            raise ValueError("not trained yet")
        return super().forward(x)


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.lin = nn.Linear(2 * 8 * 8, 5)

    def forward(self, x):
        return self.lin(self.conv(x).flatten(1))


class Leaving(Net):
    def forward(self, x):
        raise SystemExit(0)


instance = Net()
"""
RAISED_IN = NETS[: NETS.index('raise ValueError("my own words")')].count("\n") + 1
SMALL = ["--image-size", "8", "--device", "cpu"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    out, err = capsys.readouterr()
    return code, out, err


def summary(capsys: pytest.CaptureFixture[str], model: str, *more: str) -> dict[str, object]:
    code, out, err = run(capsys, "summary", "--model", model, *SMALL, "--format", "json", *more)
    assert code == 0, err
    result: dict[str, object] = json.loads(out)
    return result


@pytest.mark.parametrize(
    ("model", "more", "parameters"),
    [
        ("nets.py:Net", [], 112 + 35),
        ("nets:Net", [], 112 + 35),
        ("nets.py:Net", ["--num-classes", "10"], 112 + 50),
        ("nets.py:Net", ["--model-args", '{"num_classes": 10, "width": 8}'], 224 + 90),
        ("nets.py:factory", ["--num-classes", "10"], 112 + 50),
        ("nets.py:factory", ["--model-args", '{"width": 8}'], 224 + 63),
        ("nets.py:instance", [], 112 + 35),
        ("nets.py:Several", [], 112 + 35),
        ("nets.py:Reading", [], 16),
        ("nets.py:Counting", [], 36),
        ("nets.py:Net", ["--in-channels", "1", "--model-args", '{"image": 1}'], 40 + 35),
    ],
)
def test_a_class_a_factory_and_an_instance(
    model: str, more: list[str], parameters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    result = summary(capsys, model, *more)
    assert result["parameters"] == parameters
    assert result["network"]["name"] == model.rpartition(":")[2]  # type: ignore[index]


@pytest.mark.parametrize("line", [["bench", "--max-time", "0.01", "--no-ceiling"], ["compare-torchvision"]])
def test_what_the_network_prints_while_it_is_measured_is_no_result(
    line: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    code = main([*line, "--model", "nets.py:Net", *SMALL, "--format", "json"])
    out, err = capfd.readouterr()
    assert "a word from the forward" in err
    assert json.loads(out) if code < 2 else not out


def test_what_the_network_prints_is_not_in_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["flops", "--model", "nets.py:Net", *SMALL, "--backward", "--format", "json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["macs"] == 64 * 27 * 4 + 28
    assert "a word from the module" in err
    assert "a word from the forward" in err


@pytest.mark.parametrize(
    ("command", "model", "words"),
    [
        (
            "summary",
            "Raising",
            [f"nets.py:{RAISED_IN}: ValueError: my own words", "in broken", "self.broken(x)"],
        ),
        ("flops", "Raising", [f"nets.py:{RAISED_IN}: ValueError: my own words"]),
        ("summary", "Leaving", ["sys.exit(0)"]),
        ("summary", "Flat", ["nets.py:", "return self.lin", "✗   lin"]),
        ("flops --backward", "Trained", ["nets.py:", "not trained yet"]),
    ],
)
def test_failures_name_the_users_lines(
    command: str, model: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*command.split(), "--model", f"nets.py:{model}", "--image-size", "12", "--device", "cpu"]
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert all(word in err for word in words), err
    assert "Traceback" not in err
    assert "resnet_cli" not in err


def test_a_relative_import_and_a_sibling_work(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pack").mkdir()
    Path("pack/blocks.py").write_text(NETS, encoding="utf-8")
    Path("pack/net.py").write_text("from .blocks import Net\nimport blocks\nSame = blocks.Net\n", encoding="utf-8")
    for name in ("Net", "Same"):
        assert summary(capsys, f"pack/net.py:{name}")["parameters"] == 112 + 35
