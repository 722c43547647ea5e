"""The two lines of code that give an optimization, run as a user would run them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS

EXACT = ("channels-last", "folded", "channels-last-folded", "onnxruntime", "openvino")
FEWER_BITS = ("autocast", "bfloat16")
COMPILED = ("compile", "compile-max-autotune")
ELSEWHERE = {  # key → why its lines do not run here
    "compile-reduce-overhead": "a GPU",
    "float16": "a GPU",
    "tf32": "a GPU",
    "cuda-graph": "a GPU",
    "tensorrt": "a GPU and Torch-TensorRT",
    "gradient-checkpointing": "another test",
    "aot-inductor": "half a minute of a C++ compiler",
}


class Net(nn.Module):
    """A convolution, its norm and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))
        return logits


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that the lines write are the test's."""
    monkeypatch.chdir(tmp_path)


def run(key: str) -> tuple[Tensor, Tensor]:
    """The logits of the lines and those of eager."""
    torch.manual_seed(0)
    model, image = Net().eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        model.bn.running_mean.normal_()  # type: ignore[union-attr]
        expected = model(image)
        names: dict[str, Any] = {"torch": torch, "model": model, "image": image}
        for name in ("onnxruntime", "openvino"):
            if name in key:
                names[name] = pytest.importorskip(name)
        if key == "onnxruntime-int8":
            pytest.importorskip("onnxruntime.quantization")
            names["calibration_reader"] = Reader(image)
        exec("\n".join(OPTIMIZATIONS[key].code), names)
        if key == "onnxruntime-int8":
            names["logits"] = names["onnxruntime"].InferenceSession("int8.onnx").run(None, {"x": image.numpy()})[0]
        logits = names["logits"] if "logits" in names else names["model"](names["image"])
    return torch.as_tensor(np.asarray(logits) if not isinstance(logits, Tensor) else logits).float(), expected


class Reader:
    """Calibration images as ONNX Runtime's quantizer reads them."""

    def __init__(self, image: Tensor) -> None:
        self._batches: Iterator[dict[str, Any]] = iter([{"x": image.numpy()}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def test_each_optimization_has_two_lines() -> None:
    assert {len(row.code) for row in OPTIMIZATIONS.values()} == {2}
    assert all(line == line.strip() for row in OPTIMIZATIONS.values() for line in row.code)  # pages do not indent
    assert OPTIMIZATIONS.keys() == {*EXACT, *FEWER_BITS, *COMPILED, *ELSEWHERE, "onnxruntime-int8"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", EXACT)
def test_the_lines_give_the_logits(key: str) -> None:
    logits, expected = run(key)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", [*FEWER_BITS, "onnxruntime-int8"])
def test_the_lines_give_the_logits_in_fewer_bits(key: str) -> None:
    logits, expected = run(key)
    assert 0 < float((logits - expected).abs().max() / expected.abs().max()) < 0.1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", COMPILED)
def test_the_lines_compile(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler in place of inductor: that of torch runs in another test, and takes seconds."""
    calls: list[dict[str, Any]] = []
    real = torch.compile

    def compile_without_code(model: nn.Module, **options: Any) -> Any:
        calls.append(options)
        return real(model, dynamic=False, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_without_code)
    logits, expected = run(key)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    (options,) = calls
    known = torch._inductor.list_options()
    assert set(options.get("options", {})) <= set(known)
    assert options.get("mode") in (None, *torch._inductor.list_mode_options())
