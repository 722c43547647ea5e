"""Other runtimes compute what the network computes, from one export."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.optimizations.runtimes import onnx_export, onnx_runtime, onnx_runtime_int8, openvino
from resnet_cli.measure.optimizations.variant import UnavailableError, build_variant
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.tracing.tensors import tensors_in
from tests.helpers.fake_clock import SimulatedBackend

CPU = torch.device("cpu")
RUNTIMES = {"onnxruntime": onnx_runtime, "openvino": openvino, "onnxruntime-int8": onnx_runtime_int8}


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.classifier = nn.Linear(8, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.classifier(features.mean((2, 3))), features


@pytest.fixture(scope="module")
def exported() -> Iterator[tuple[nn.Module, Tensor]]:
    """A network and its input; exporting takes seconds, so that the runtimes share one export."""
    torch.manual_seed(0)
    model, image = TwoOutputs().eval(), torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        content = onnx_export.onnx_model(model, image)
    patch = pytest.MonkeyPatch()
    for module in RUNTIMES.values():
        patch.setattr(module, "onnx_model", lambda *_: content)
    yield model, image
    patch.undo()


@pytest.mark.parametrize(("key", "tolerance"), [("onnxruntime", 1e-4), ("openvino", 1e-4), ("onnxruntime-int8", 0.3)])
def test_a_runtime_computes_the_networks_outputs(
    key: str, tolerance: float, exported: tuple[nn.Module, Tensor]
) -> None:
    model, image = exported
    with torch.inference_mode():
        variant = build_variant(OPTIMIZATIONS[key], model, image, device_backend(CPU)).variant
        other = torch.randn_like(image)
        outputs, expected = tensors_in(variant.run(other)), tensors_in(model(other))
    assert [tuple(output.shape) for output in outputs] == [tuple(output.shape) for output in expected]
    for output, value in zip(outputs, expected, strict=True):
        assert float((output - value).abs().max() / value.abs().max()) < tolerance


@pytest.mark.parametrize("key", RUNTIMES)
def test_what_is_not_installed_is_named(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"resnet-cli\[runtimes\]"):
        build_variant(OPTIMIZATIONS[key], nn.Identity(), torch.ones(1), device_backend(CPU))


@pytest.mark.parametrize("key", RUNTIMES)
def test_a_runtime_of_the_cpu_does_not_run_on_a_gpu(key: str) -> None:
    with pytest.raises(UnavailableError, match="CPU"):
        build_variant(OPTIMIZATIONS[key], nn.Identity(), torch.ones(1), SimulatedBackend(kind="cuda"))
