"""`compare-torchvision`, as a user types it."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from resnet_cli.cli import main
from resnet_cli.network.architectures import resolve
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names

QUICK = ["compare-torchvision", "--image-size", "64"]
TINY = ["--repeat", "1,1,1,1", "--num-classes", "10"]
STATIC = [*QUICK, "--checks", "parameters,settings"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files that a test names are its own."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def written(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


MODELS = """
import torchvision

def v1():
    net = torchvision.models.resnet50()
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net

def changed():
    net = torchvision.models.squeezenet1_1()
    net.features[0].stride = (1, 1)
    return net

def same():
    print("on standard output")
    return torchvision.models.squeezenet1_1()

class Broken(torchvision.models.ResNet):
    def __init__(self):
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2])

    def forward(self, x):
        return x.reshape(7, 7)
"""


def test_the_same_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, *TINY]) == 0
    out, err = capsys.readouterr()
    assert "✓" in out
    assert err == ""


def test_another_network_is_not_the_same_and_json_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    model = written("mine.py", MODELS) + ":v1"
    assert main([*STATIC, "--model", model, "--format", "json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "resnet-cli/compare-torchvision/2"
    assert result["verdict"] == "different"
    assert [diagnosis["key"] for diagnosis in result["diagnoses"]] == ["resnet-v1"]
    assert {"conv.stride"} <= {difference["subject"] for difference in result["differences"]}
    assert result["reference"] == "torchvision resnet50"  # the nearest by its parameters


def test_what_a_model_prints_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", written("mine.py", MODELS) + ":same", "--against", "squeezenet1_1"]
    assert main([*STATIC, *model, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["same"] is True
    assert "on standard output" in err


def test_a_model_that_fails_is_shown_in_its_own_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*STATIC, "--model", written("mine.py", MODELS) + ":Broken"]) == 2
    err = capsys.readouterr().err
    assert "mine.py:24" in err
    assert "return x.reshape(7, 7)" in err
    assert "resnet_cli" not in err


def test_intended_changes_are_written_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    written("mine.py", MODELS)
    same, changed = (
        [*STATIC, "--model", f"mine.py:{name}", "--against", "squeezenet1_1"] for name in ("same", "changed")
    )
    assert main([*changed, "--save-expect", "intended.toml"]) == 1
    assert main([*changed, "--expect", "intended.toml"]) == 0
    assert main([*same, "--expect", "intended.toml"]) == 0
    written("other.toml", "expected = []\n")
    assert main([*changed, "--expect", "other.toml"]) == 1
    capsys.readouterr()


def test_a_map_is_written_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    static, evaluated = [*STATIC, *TINY], [*QUICK, *TINY, "--checks", "eval"]
    assert main([*static, "--save-map", "map.toml"]) == 0
    text = Path("map.toml").read_text(encoding="utf-8")
    assert '"head.conv.weight" = "conv1.weight"' in text
    assert main([*static, "--map", "map.toml"]) == 0
    # A wrong map is followed, and the networks are then not the same.
    first, second = "l0.block.ResIdentity0.conv1.weight", "l0.block.ResIdentity0.conv2.weight"
    written("wrong.toml", f'[parameters]\n"{first}" = "layer1.0.conv2.weight"\n"{second}" = "layer1.0.conv1.weight"\n')
    assert main([*evaluated, "--map", "wrong.toml"]) == 1
    written("unknown.toml", '[parameters]\n"head.conv.weigth" = "conv1.weight"\n')
    assert main([*static, "--map", "unknown.toml"]) == 2
    assert "did you mean head.conv.weight" in capsys.readouterr().err


def test_weights_are_loaded_under_either_name(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(3)
    spec = resolve(repeat="1,1,1,1")
    names, state = torchvision_names(spec), build(spec).state_dict()
    torch.save({names[name]: tensor for name, tensor in state.items()}, "torchvision.pth")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, "resnet_cli.pth")
    photograph = torchvision.transforms.functional.to_pil_image(torch.rand(3, 300, 400))
    photograph.save("photo.png")
    predictions = []
    arguments = [*QUICK, "--repeat", "1,1,1,1", "--checks", "parameters,eval", "--image", "photo.png", "-f", "json"]
    for name in ("torchvision.pth", "resnet_cli.pth"):
        assert main([*arguments, "--weights", name]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["verdict"] == "bitwise"
        assert name in json.dumps(result)
        assert len(result["predictions"]) == 5
        for row in result["predictions"]:
            assert row["model_label"] == row["reference_label"]
            assert row["model_probability"] == row["reference_probability"]
        predictions.append(result["predictions"])
    assert predictions[0] == predictions[1]


def test_weights_of_another_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torchvision.models.resnet34().state_dict(), "other.pth")
    assert main([*QUICK, "--weights", "other.pth"]) == 2
    err = capsys.readouterr().err
    assert "other.pth" in err
    assert "--depth 34" in err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), ["torchvision::nms", "--index-url"]),
        (ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), ["not installed", "pip install"]),
        (ImportError("undefined symbol: _ZN3c10"), ["undefined symbol", "pip install"]),
    ],
)
def test_a_torchvision_that_does_not_work(
    error: Exception, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name.startswith("torchvision"):
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refusing)
    assert main(QUICK) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words)
    assert "Traceback" not in err


def test_any_classification_network_can_be_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    model = written("mine.py", "import torchvision\nnet = torchvision.models.squeezenet1_1()\n") + ":net"
    assert main([*QUICK, "--checks", "parameters,settings,eval", "--model", model, "--against", "squeezenet1_1"]) == 0
    capsys.readouterr()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--device", "cuda", "--format", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["environment"]["device"].startswith("cuda")
    assert {check["verdict"] for check in result["checks"]} <= {"bitwise", "rounding"}
