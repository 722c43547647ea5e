"""`resnet-cli compare`, as a user types it."""

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
from resnet_cli.measure.models.user_model import load_model

NETS = """
from torch import nn

class Block(nn.Module):
    def __init__(self, width, stride):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()

class Net(nn.Module):
    def __init__(self, block=Block, strides=(2, 2)):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 1, 1)
        self.blocks = nn.Sequential(*[block(4, stride) for stride in strides])
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)

    def forward(self, tokens):
        return self.embed(tokens)
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETS)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    ended = main(["compare", "--image-size", "16", *arguments])
    written = capsys.readouterr()
    assert ended == code, written.err
    return written.err if code == 2 else written.out


def result_of(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run(capsys, *arguments, "--format", "json", code=code))
    return result


def changes_in(result: dict[str, Any]) -> dict[str, Any]:
    return {row["key"]: row for row in result["changes"]}


def test_a_network_is_itself(capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(capsys, "net.py:Net", "net.py:Net(Block, [2, 2])")
    assert (result["verdict"], result["same"], result["reference_version"]) == ("bitwise", True, None)
    assert {check["verdict"] for check in result["checks"]} == {"bitwise"}
    changes = changes_in(result)
    # Two convolutions of 4 to 4 channels, one of 3 to 4 with bias, two norms, the classifier.
    assert changes["parameters"]["model_value"] == changes["parameters"]["reference_value"] == 2 * 144 + 112 + 16 + 25
    assert changes["macs"]["model_value"] == 16 * 16 * 108 + 8 * 8 * 144 + 4 * 4 * 144 + 20


def test_a_change_is_named_with_its_costs(capsys: pytest.CaptureFixture[str]) -> None:
    result = result_of(capsys, "net.py:Net", "net.py:Net(Block, [2, 1])", code=1)
    (difference,) = result["differences"]
    assert (difference["subject"], difference["model_path"]) == ("conv.stride", "blocks.1.conv")
    assert (difference["model_value"], difference["reference_value"]) == ("1", "2")
    changes = changes_in(result)
    assert changes["macs"]["model_value"] - changes["macs"]["reference_value"] == (8 * 8 - 4 * 4) * 144
    assert "blocks.1.conv" in changes["numbers"]["text"]


def test_a_revision_is_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("init",), ("add", "."), ("-c", "user.name=x", "-c", "user.email=x@y.z", "commit", "-m", "one")):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    Path("net.py").write_text(NETS.replace("width, 3, stride, 1, bias=False", "width, 3, stride, 1, bias=True"))
    text = run(capsys, "net.py:Net@HEAD", "net.py:Net", "--show", "changes,differences", code=1)
    assert "Net@HEAD" in text
    assert "bias" in text
    assert "torchvision" not in text.replace("torchvision 0", "")


def test_intended_changes_are_expected(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "net.py:Net", "net.py:Net(Block, [2, 1])", "--save-expect", "intended.toml", code=1)
    run(capsys, "net.py:Net", "net.py:Net(Block, [2, 1])", "--expect", "intended.toml")


def test_each_network_has_its_own_weights(capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("a.pt", "b.pt")):
        torch.manual_seed(seed)
        torch.save(load_model("net.py:Net")[0].state_dict(), name)
    static = ["net.py:Net", "net.py:Net", "--checks", "parameters"]
    assert result_of(capsys, *static, "--weights-a", "a.pt", "--weights-b", "a.pt")["same"]
    assert not result_of(capsys, *static, "--weights-a", "a.pt", "--weights-b", "b.pt", code=1)["same"]
    assert result_of(capsys, *static, "--weights", "b.pt")["test_inputs"]["weights"] == "b.pt"
    assert result_of(capsys, *static, "--weights-b", "b.pt")["same"]
    torch.save(nn.Linear(2, 2).state_dict(), "c.pt")
    assert "c.pt" in run(capsys, *static, "--weights-a", "c.pt", code=2)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        (("net.py:Net", "net.py:Nett"), "no Nett"),
        (("net.py:Net(", "net.py:Net"), "not valid Python"),
        (("net.py:Net@HEAD", "net.py:Net"), "not in a git repository"),
        (("net.py:Net", "net.py:Net(1)"), "TypeError"),
        (("net.py:Net", "net.py:Text"), "Text"),
        (("net.py:Net", "resnet18"), "no parameter"),
        (("net.py:Net", "resnet18(classes=3)"), "classes"),
        (("torchvision:resnet81", "net.py:Net"), "resnet81"),
    ],
)
def test_bad_input_is_one_error(capsys: pytest.CaptureFixture[str], networks: tuple[str, str], message: str) -> None:
    written = run(capsys, *networks, code=2)
    assert message in written
    assert written.count("error:") == 1
