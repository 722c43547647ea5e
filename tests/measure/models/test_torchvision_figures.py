"""Figures that torchvision publishes, read from its source: also from one that is odd, cut or not there."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from resnet_cli.measure.models import torchvision_figures as published
from resnet_cli.measure.models.torchvision_figures import TorchvisionFigures, UnpublishedError, torchvision_figures


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    published._read.cache_clear()
    yield
    published._read.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, source: bytes | None) -> None:
    """A torchvision whose models/resnet.py is this."""
    if source is not None:
        (folder / "models").mkdir()
        (folder / "models" / "resnet.py").write_bytes(source)
    spec = ModuleSpec("torchvision", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "torchvision" else None)


SOURCE = """
# Größe
_COMMON = {"num_params": 1, "_ops": 1.0}

class Wide_ResNet50_2_Weights(WeightsEnum):
    V1 = Weights(url="…", meta={**_COMMON, "num_params": 68883240, "_metrics": {"acc": 78.4}, "_ops": 11.398})
    V2 = Weights(url="…", meta={**_COMMON, "num_params": 2, "_ops": 2.5})

class ResNeXt50_32X4D_Weights(WeightsEnum):
    V1 = Weights(meta={"num_params": 25028904, "_ops": 4})

class Without_Weights(WeightsEnum):
    V1 = Weights(meta={"num_params": 25028904})

class Worded_Weights(WeightsEnum):
    V1 = Weights(meta={"num_params": "many", "_ops": 4.0})

class ResNet:
    meta = {"num_params": 3, "_ops": 3.0}

def resnet18_Weights():
    return {"num_params": 3, "_ops": 3.0}
"""


def test_each_network_has_the_figures_of_its_first_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, SOURCE.encode())
    assert torchvision_figures("wide_resnet50_2") == TorchvisionFigures(68_883_240, 11.398)
    assert torchvision_figures("resnext50_32x4d") == TorchvisionFigures(25_028_904, 4.0)


@pytest.mark.parametrize("name", ["without", "worded", "resnet", "resnet18", "nobody"])
def test_networks_without_published_figures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, SOURCE.encode())
    with pytest.raises(UnpublishedError, match=f"publishes no values for {name}$"):
        torchvision_figures(name)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "cannot be read: FileNotFoundError"),
        (b"class :", "cannot be read: SyntaxError"),
        (b"\xff\xfe\xff", "cannot be read: UnicodeDecodeError"),
        (b"class ResNet50_Weights: pass", "keeps its metadata elsewhere"),
        (b"", "keeps its metadata elsewhere"),
    ],
)
def test_unreadable_torchvision_sources_are_reported(
    source: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, source)
    with pytest.raises(UnpublishedError, match=reason):
        torchvision_figures("resnet50")


def test_a_torchvision_without_a_folder_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    with pytest.raises(UnpublishedError, match="torchvision is not installed"):
        torchvision_figures("resnet50")
