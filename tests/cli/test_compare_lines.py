"""The lines of the user's files in the differences of `resnet-cli compare`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resnet_cli.cli import main

NETS = """
import copy
import torch
from torch import nn
from torch.nn import functional as F
from sibling import conv3x3

class Block(nn.Module):
    def __init__(self, width, stride=1):
        super().__init__()
        self.conv = conv3x3(width, width)
        self.bn = nn.BatchNorm2d(width, eps=1e-5)
        self.slow = nn.Conv2d(width, width, 3, stride, 1)  # loop
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.act(self.bn(self.conv(x)))  # first statement
        return self.slow(y)

class Net(nn.Module):
    block = Block

    def __init__(self, strides=(1, 1)):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 1, 1)
        self.blocks = nn.Sequential()
        for stride in strides:
            self.blocks.append(self.block(4, stride))
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        x = F.max_pool2d(x, 2)
        return self.fc(x.mean((2, 3)))  # last

class Setting(Net):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(
            3, 4, 3, 1, 1,
            bias=False,
        )

class LargeEps(nn.BatchNorm2d):
    def __init__(self, width):
        super().__init__(width, eps=1e-2)  # subclass

class SubclassBlock(Block):
    def __init__(self, width, stride=1):
        super().__init__(width, stride)
        self.bn = LargeEps(width)

class Subclass(Net):
    block = SubclassBlock

class Wide(Net):
    def __init__(self):
        super().__init__()
        self.blocks[1].conv = conv3x3(4, 4, dilation=2)

class Late(Net):
    def __init__(self):
        super().__init__()
        self.blocks[1] = Block(4, stride=2)  # late

def made():
    return Net([1, 2])  # made

class Operator(Net):
    def forward(self, x):
        x = self.blocks(self.stem(x))
        x = torch.tanh(F.max_pool2d(x, 2))  # tanh
        return self.fc(x.mean((2, 3)))

class Pooled(Net):
    def forward(self, x):
        x = self.blocks(self.stem(x))
        x = F.max_pool2d(x, 2, stride=1)  # functional
        return self.fc(x.mean((2, 3)))

class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)

class Lambda(Net):
    def __init__(self):
        super().__init__()
        self.blocks.append(Apply(lambda x: x.sigmoid()))  # lambda

class Deeper(Net):
    def __init__(self):
        super().__init__()
        self.blocks.append(Block(4))  # deeper

class Copied(Net):
    def __init__(self):
        super().__init__()
        layer = nn.ELU(0.5)  # original
        self.blocks.append(copy.deepcopy(layer))

class CopiedSetting(Net):
    def __init__(self):
        super().__init__()
        block = Block(4)
        block.slow = nn.Conv2d(4, 4, 3, 2, 1)  # copied setting
        self.blocks = nn.Sequential(block, copy.deepcopy(block))

class Cut(Net):
    def forward(self, x):
        x = self.blocks(self.stem(x).detach())  # cut
        x = F.max_pool2d(x, 2)
        return self.fc(x.mean((2, 3)))

class Twice(Net):
    def forward(self, x):
        x = super().forward(x)
        return x, x * 2  # twice

class Wired(Net):
    def forward(self, x):
        x = self.blocks(self.stem(x))
        x = F.max_pool2d(x, 2) + F.max_pool2d(self.stem.weight.mean() * x, 2)  # wired
        return self.fc(x.mean((2, 3)))

class Listed(Net):
    def __init__(self):
        super().__init__()
        self.blocks.append(nn.ELU())  # listed

class Frozen(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)  # frozen
        self.fc.weight.requires_grad_(False)

class LackBlock(Block):
    def forward(self, x):
        y = self.bn(self.conv(x))  # lacks
        return self.slow(y)

class Lacks(Net):
    block = LackBlock
"""
SIBLING = """
from torch import nn

def conv3x3(inputs, outputs, dilation=1):
    return nn.Conv2d(inputs, outputs, 3, 1, dilation, dilation, bias=False)
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETS)
    Path("sibling.py").write_text(SIBLING)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def line(text: str, *, after: str = "", file: str = "net.py") -> str:
    """The place of the first line that has a text, behind the first one that has another."""
    lines = Path(file).read_text().splitlines()
    start = next(number for number, each in enumerate(lines) if after in each)
    return f"{file}:{next(number for number, each in enumerate(lines) if number >= start and text in each) + 1}"


def run(capsys: pytest.CaptureFixture[str], command: str, *arguments: str, checks: str = "parameters,settings") -> str:
    ended = main([command, "--image-size", "8", "--checks", checks, *arguments])
    written = capsys.readouterr()
    assert ended == 1, written.err
    return written.out


def result_of(capsys: pytest.CaptureFixture[str], reference: str, model: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run(capsys, "compare", reference, model, "--format", "json"))
    return result


def lines_of(result: dict[str, Any], subject: str) -> tuple[str | None, str | None]:
    lines = {(row["model_line"], row["reference_line"]) for row in result["differences"] if row["subject"] == subject}
    assert len(lines) == 1, result["differences"]
    return lines.pop()


@pytest.mark.parametrize(
    ("model", "subject", "model_line", "reference_line"),
    [
        ("Setting", "conv.bias", {"text": "nn.Conv2d(", "after": "class Setting"}, {"text": "self.stem = nn.Conv2d"}),
        ("made", "conv.stride", {"text": "# made"}, {"text": "self.blocks.append(self.block"}),
        ("Late", "conv.stride", {"text": "# late"}, {"text": "self.blocks.append(self.block"}),
        ("Net([1, 2])", "conv.stride", {"text": "# loop"}, {"text": "# loop"}),
        ("Subclass", "batch_norm.eps", {"text": "# subclass"}, {"text": "eps=1e-5"}),
        (
            "Wide",
            "conv.dilation",
            {"text": "dilation=2"},
            {"text": "conv3x3(width, width)"},
        ),
        ("Operator", "tanh", {"text": "# tanh"}, {"text": "x = F.max_pool2d(x, 2)"}),
        ("Pooled", "max_pool.stride", {"text": "# functional"}, {"text": "x = F.max_pool2d(x, 2)"}),
        ("Lambda", "sigmoid", {"text": "# lambda"}, {"text": "return self.slow(y)"}),
        ("Listed", "elu", {"text": "# listed"}, {"text": "return self.slow(y)"}),
        ("Deeper", "conv", {"text": "# deeper"}, {"text": "return self.slow(y)"}),
        ("Copied", "elu", {"text": "# original"}, {"text": "return self.slow(y)"}),
        ("CopiedSetting", "conv.stride", {"text": "# copied setting"}, {"text": "# loop"}),
        ("Twice", "output", {"text": "# last"}, {"text": "# last"}),
        ("Frozen", "requires_grad", {"text": "# frozen"}, {"text": "self.fc = nn.Linear"}),
        ("Lacks", "relu", {"text": "# lacks"}, {"text": "# first statement"}),
    ],
)
def test_a_difference_has_the_lines_of_both_sides(
    capsys: pytest.CaptureFixture[str],
    model: str,
    subject: str,
    model_line: dict[str, str],
    reference_line: dict[str, str],
) -> None:
    result = result_of(capsys, "net.py:Net", f"net.py:{model}")
    assert lines_of(result, subject) == (line(**model_line), line(**reference_line))
    assert all(row["line"] == line(**model_line) for row in result["diagnoses"])


def test_a_gradient_that_is_cut_has_the_statement(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "compare", "net.py:Net", "net.py:Cut", "--format", "json", checks="gradients")
    assert lines_of(json.loads(text), "weight") == (line("# cut"), line("x = self.blocks(self.stem(x))"))


def test_libraries_have_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Path("wide.py").write_text(
        "import torchvision\n\n\ndef net():\n    model = torchvision.models.resnet18()\n"
        "    model.bn1.eps = 1e-3\n    return model\n"
    )
    result = result_of(capsys, "torchvision:resnet18", "wide.py:net")
    assert lines_of(result, "batch_norm.eps") == ("wide.py:5", None)


def test_files_of_a_revision_have_their_own_place(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("init",), ("add", "."), ("-c", "user.name=x", "-c", "user.email=x@y.z", "commit", "-m", "one")):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    before = line("# loop"), line("# first")
    text = NETS.replace("stride, 1)  # loop", "stride, 1, bias=False)  # loop").replace("y = self.act(", "y = F.elu(")
    Path("net.py").write_text(f"\n\n{text}")
    result = result_of(capsys, "net.py:Net@HEAD", "net.py:Net")
    assert lines_of(result, "conv.bias") == (line("# loop"), f"{before[0]}@HEAD")
    assert lines_of(result, "relu") == (line("# first"), f"{before[1]}@HEAD")
    shown = " ".join(run(capsys, "compare", "net.py:Net@HEAD", "net.py:Net", "--show", "differences").split())
    assert f"({line('# loop')}, reference {before[0]}@HEAD)" in shown


def test_compare_torchvision_has_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Path("wide.py").write_text(
        "import torchvision\n\ndef net():\n    model = torchvision.models.resnet18()\n    model.relu = None\n"
        "    model.relu = Act()\n    return model\n\nclass Act(torchvision.models.resnet.nn.ReLU):\n"
        "    def forward(self, x):\n        return x.tanh()\n"
    )
    text = run(capsys, "compare-torchvision", "--model", "wide.py:net", "--depth", "18", "--format", "json")
    assert lines_of(json.loads(text), "relu") == ("wide.py:11", None)


def test_lines_are_no_part_of_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "compare", "net.py:Net", "net.py:Setting", "--save-expect", "intended.toml")
    assert "net.py:3" not in Path("intended.toml").read_text().replace("net.py:Net", "")
    Path("net.py").write_text(f"\n\n\n{NETS}")
    arguments = ["compare", "net.py:Net", "net.py:Setting", "--image-size", "8", "--checks", "settings"]
    assert main([*arguments, "--expect", "intended.toml"]) == 0


def test_the_constructor_of_torch_is_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = nn.Module.__init__
    result_of(capsys, "net.py:Net", "net.py:Setting")
    assert nn.Module.__init__ is before
