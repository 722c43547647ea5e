"""Other runtimes compute what the network computes, from one export."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments, ModelInputs
from resnet_cli.measure.models.inputs.specs import parse_arguments
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.optimizations.runtimes import onnx_export, onnx_runtime, onnx_runtime_int8, openvino
from resnet_cli.measure.optimizations.variant import UnavailableError, build_variant
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.tracing.tensors import tensors_in
from tests.helpers.fake_clock import SimulatedBackend

CPU = torch.device("cpu")
RUNTIMES = {"onnxruntime": onnx_runtime, "openvino": openvino, "onnxruntime-int8": onnx_runtime_int8}


class SeveralInputs(nn.Module):
    """An image, tokens, and a mask of them by name only; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.words = nn.Embedding(9, 8)
        self.classifier = nn.Linear(8, 7)

    def forward(self, image: Tensor, tokens: Tensor, *, mask: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(image)
        words = torch.where(mask.unsqueeze(2), self.words(tokens), 0.0).sum(1)
        return self.classifier(features.mean((2, 3)) + words), features


def inputs(seed: int) -> Arguments:
    described = ModelInputs(*parse_arguments(["float[2,3,16,16]", "int64[2,5]<9", "mask=bool[2,5]"]))
    return described.random(seed, torch.float32)


@pytest.fixture(scope="module")
def exported() -> Iterator[nn.Module]:
    """A network; exporting takes seconds, so that the runtimes share one export."""
    torch.manual_seed(0)
    model = SeveralInputs().eval()
    with torch.inference_mode():
        content = onnx_export.onnx_model(model, inputs(0))
    patch = pytest.MonkeyPatch()
    for module in RUNTIMES.values():
        patch.setattr(module, "onnx_model", lambda *_: content)
    yield model
    patch.undo()


@pytest.mark.parametrize(("key", "tolerance"), [("onnxruntime", 1e-4), ("openvino", 1e-4), ("onnxruntime-int8", 0.3)])
def test_a_runtime_computes_the_networks_outputs_from_all_its_inputs(
    key: str, tolerance: float, exported: nn.Module
) -> None:
    with torch.inference_mode():
        variant = build_variant(OPTIMIZATIONS[key], exported, inputs(0), device_backend(CPU)).variant
        other = inputs(1)
        outputs, expected = tensors_in(other.call(variant.run)), tensors_in(other.call(exported))
    assert [tuple(output.shape) for output in outputs] == [tuple(output.shape) for output in expected]
    for output, value in zip(outputs, expected, strict=True):
        assert float((output - value).abs().max() / value.abs().max()) < tolerance


def test_an_input_that_the_export_leaves_out_is_told() -> None:
    with pytest.raises(UnavailableError, match="1 inputs for 2 tensors"):
        onnx_export.feeds(["x"], torch.ones(1), torch.ones(1))


@pytest.mark.parametrize("key", RUNTIMES)
def test_what_is_not_installed_is_named(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"resnet-cli\[runtimes\]"):
        build_variant(OPTIMIZATIONS[key], nn.Identity(), Arguments((torch.ones(1),), {}), device_backend(CPU))


@pytest.mark.parametrize("key", RUNTIMES)
def test_a_runtime_of_the_cpu_does_not_run_on_a_gpu(key: str) -> None:
    with pytest.raises(UnavailableError, match="CPU"):
        build_variant(OPTIMIZATIONS[key], nn.Identity(), Arguments((torch.ones(1),), {}), SimulatedBackend(kind="cuda"))
