"""`--weights`, by name and by file, as a user types it; the cache is the test's own and the network is never asked."""

from __future__ import annotations

import hashlib
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli.cli import main
from resnet_cli.measure.models import torchvision_models
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names

COMPARE = ["compare-torchvision", "--image-size", "32", "--checks", "parameters,eval"]


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a ResNet-18 under torchvision's names."""
    torch.manual_seed(0)
    names = torchvision_names(ARCHITECTURES["resnet18"])
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save({names[name]: tensor for name, tensor in build(18).state_dict().items()}, path)
    return path


@pytest.fixture
def cache(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place in torch's cache for torchvision's weights, which are the test's."""

    def offline(*_: Any, **__: Any) -> Any:
        raise urllib.error.URLError("nobody answers")

    url = f"https://example.invalid/resnet18-{hashlib.sha256(state.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    monkeypatch.setattr(torchvision_models, "published_weights", lambda _: {"IMAGENET1K_V1": url, "DEFAULT": url})
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / url.rpartition("/")[2]


def test_torchvisions_own_by_name(cache: Path, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.symlink_to(state)
    assert main([*COMPARE, "--weights", "IMAGENET1K_V1", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert str(cache) in json.dumps(json.loads(out))


def test_offline(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPARE, "--weights", "DEFAULT"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert "nobody answers" in error
    assert str(cache) in hint
    assert list(cache.parent.iterdir()) == []


def test_a_name_for_a_network_that_has_none(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPARE, "--num-classes", "10", "--weights", "DEFAULT"]) == 2
    assert "for 1000 classes, not 10" in capsys.readouterr().err


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("prefix", ["module.model.", ""])
def test_weights_in_the_field_of_a_training_loop(prefix: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = torch.load(state, weights_only=True)
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in tensors.items()}}, "run.ckpt")
    assert main([*COMPARE, "--weights", "run.ckpt"]) == 0
    capsys.readouterr()


NETWORK = """
import torchvision
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torchvision.models.squeezenet1_1(num_classes=1000)

    def forward(self, x):
        return self.net(x)
"""


@pytest.mark.usefixtures("cache")
def test_a_network_that_keeps_its_layers_in_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of the user's network itself, and those of the reference inside it, which have no such name."""
    Path("mine.py").write_text(NETWORK, encoding="utf-8")
    inside = torchvision_models.build_named("squeezenet1_1", 1000).state_dict()
    arguments = [*COMPARE, "--model", "mine.py:Net", "--against", "squeezenet1_1"]
    for prefix in ("net.", "", "module.net."):
        torch.save({prefix + name: tensor for name, tensor in inside.items()}, "mine.pth")
        assert main([*arguments, "--weights", "mine.pth"]) in (0, 1)
        assert "error" not in capsys.readouterr().err
