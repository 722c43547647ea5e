"""`bench` and `compare-torchvision` of ResNet-50 and 152 on a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resnet_cli.cli import main
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from tests.gpu.conftest import Record

# Compilation takes longer than all the others together, and has a test of its own.
CHOSEN = ",".join(key for key, row in OPTIMIZATIONS.items() if key != "compile" and row.needs != "cpu")


def measured(*arguments: str, code: int = 0) -> Any:
    """The result of a command."""
    assert main([*arguments, "-o", "result.json"]) == code
    return json.loads(Path("result.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are written into an empty folder."""
    monkeypatch.chdir(tmp_path)


def leaves(result: Any) -> list[Any]:
    return [layer for layer in result["layers"]["layers"] if layer["is_leaf"]]


@pytest.mark.parametrize("depth", ["50", "152"])
def test_a_network_is_measured_in_every_way(depth: str, device: str, record: Record) -> None:
    common = ["--depth", depth, "--device", device, "--max-time", "3"]
    result = measured("bench", *common, "--batch-size", "1,32", "--layers", "--optimizations", CHOSEN)
    assert [note for note in result["notes"] if note["level"] == "error"] == []
    one, many = result["timings"]
    for row in (one, many):
        assert row["device"]["median_s"] <= 1.05 * row["wall"]["median_s"]
        assert row["ceiling_share"] < 1.05
        assert row["memory_kind"] == "allocated"
        record(
            f"ResNet-{depth}, batch {row['batch_size']}, {result['conditions']['precision']}: "
            f"{1e3 * row['wall']['median_s']:.2f} ms, device {1e3 * row['device']['median_s']:.2f} ms, "
            f"{row['images_per_s']:.0f} images/s, {100 * row['ceiling_share']:.0f}% of the ceiling, "
            f"{row['peak_memory_bytes'] / 1e6:.0f} MB"
        )
    if None not in (one["launch_overhead"], many["launch_overhead"]):  # its queue takes the whole call
        assert one["launch_overhead"] > many["launch_overhead"]  # the host does the same, and the device more
    # Kernels of a forward, as the profiler sees them, against the device's own time with a full queue.
    layers = result["layers"]
    assert layers["method"] == "kernels"
    assert 0.5 * layers["forward_s"] < layers["instrumented_s"] < 1.1 * layers["forward_s"]
    convolutions = sum(layer["time_s"] for layer in leaves(result) if "Conv" in layer["layer_type"])
    assert convolutions > 0.3 * layers["instrumented_s"]
    rows = {row["key"]: row for row in result["optimizations"]["rows"]}
    for key, row in rows.items():
        assert row["status"] == "measured" or (row["status"], key) == ("unavailable", "tf32"), (key, row["reason"])
    record(f"ResNet-{depth}: {result['optimizations']['recommendation']}")
    record(f"ResNet-{depth}: TF32 moves the logits by {100 * rows['eager']['logit_difference']:.2g}%")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_training_steps(dtype: str, device: str, record: Record) -> None:
    options = ["--depth", "50", "--mode", "train", "--dtype", dtype, "--batch-size", "32", "--device", device]
    result = measured("bench", *options, "--max-time", "3", "--no-ceiling", "--layers")
    (row,) = result["timings"]
    assert row["status"] == "measured"
    assert "output-not-finite" not in {note["key"] for note in row["notes"]}
    assert result["conditions"]["precision"].startswith(dtype)
    assert result["conditions"]["precision"].endswith("autocast") == (dtype != "float32")
    # The backward pass of a convolution has two convolutions.
    layers = [layer for layer in leaves(result) if "Conv" in layer["layer_type"]]
    backward = sum(layer["backward_s"] for layer in layers) / sum(layer["time_s"] for layer in layers)
    assert 0.5 < backward < 0.9
    record(f"ResNet-50, training in {dtype}: {100 * backward:.0f}% of the convolutions' time is backward")
    record(
        f"ResNet-50, training step of batch 32, {result['conditions']['precision']}: "
        f"{1e3 * row['wall']['median_s']:.1f} ms, {row['peak_memory_bytes'] / 1e9:.2f} GB"
    )


def test_the_peak_of_a_forward_is_what_is_predicted(device: str, record: Record) -> None:
    predicted = measured("summary", "--depth", "50", "--batch-size", "64")["memory"]["inference_bytes"]
    (row,) = measured("bench", "--depth", "50", "--batch-size", "64", "--device", device, "--max-time", "1")["timings"]
    ratio = row["peak_memory_bytes"] / predicted
    record(f"ResNet-50, batch 64: peak {row['peak_memory_bytes'] / 1e6:.0f} MB, {ratio:.2f} of the predicted")
    assert 0.9 < ratio < 1.5  # workspaces of convolutions are not predicted


@pytest.mark.parametrize("depth", ["50", "152"])
def test_a_network_is_torchvision_s(depth: str, device: str, record: Record) -> None:
    result = measured("compare-torchvision", "--depth", depth, "--device", device)
    assert result["verdict"] in ("bitwise", "rounding")
    assert result["environment"]["device"].startswith(device)
    verdicts = {check["key"]: check["verdict"] for check in result["checks"]}
    assert set(verdicts.values()) <= {"bitwise", "rounding"}
    record(f"ResNet-{depth} against torchvision: {', '.join(f'{key} {value}' for key, value in verdicts.items())}")
