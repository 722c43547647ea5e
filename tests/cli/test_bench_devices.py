"""`bench --device` where there is no such device, and where it fails in the middle of the work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli.cli import main
from resnet_cli.measure.bench.timing import batch_timing
from resnet_cli.measure.system.devices.cpu import CpuBackend
from tests.helpers.fake_clock import without_garbage
from tests.helpers.simulated_gpu import simulated_gpu

no_garbage = pytest.fixture(autouse=True)(without_garbage)
QUICK = "bench --model net.py:Net --image-size 8 --max-time 0.2 --no-ceiling --device cpu --layers"
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
"""


@pytest.mark.parametrize(
    "command", ["bench --depth 18", "bench --depth 18 --nproc 2", "compare-torchvision --depth 18"]
)
def test_without_cuda_there_is_one_clear_error(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([*shlex.split(command), "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("error:") == 1
    assert "--device cuda: " in err
    assert "CUDA" in err
    assert "Traceback" not in err


def breaking(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Exit code of a benchmark in whose second batch size an assertion fails on the device."""
    Path("net.py").write_text(NET, encoding="utf-8")
    real = batch_timing.time_batch
    with simulated_gpu(monkeypatch) as gpu:

        def time_batch(workload: Any, batch_size: int, *others: Any) -> Any:
            gpu.fails_at = 0 if batch_size == 2 else None
            return real(workload, batch_size, *others)

        monkeypatch.setattr(batch_timing, "time_batch", time_batch)
        return main([*shlex.split(QUICK), "--batch-size", "1,2,4", *options])


def test_a_gpu_that_fails_in_the_middle_is_one_error_beside_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = Path("saved.json")
    assert breaking(monkeypatch, "--save", str(saved)) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "internal error" not in out + err
    assert "failed: CUDA error: device-side assert triggered" in " ".join(out.split())
    assert (out + err).count("the GPU stopped working") == 1
    result = json.loads(saved.read_text(encoding="utf-8"))
    assert [(row["batch_size"], row["status"]) for row in result["timings"]] == [(1, "measured"), (2, "failed")]
    assert result["timings"][0]["wall"]["samples_s"]
    assert [note["key"] for note in result["notes"] if note["level"] == "error"] == ["incomplete"]


@pytest.mark.parametrize("command", [QUICK, "compare-torchvision --depth 18 --device cpu"])
def test_a_gpu_that_does_not_work_from_the_beginning_is_one_error(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET, encoding="utf-8")
    monkeypatch.setattr(CpuBackend, "title", "GPU")

    def busy(self: object) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCompile with …")

    monkeypatch.setattr(CpuBackend, "synchronize", busy)
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "error: the GPU does not work: CUDA error: CUDA-capable device(s) is/are busy or unavailable\n" in err
    assert "Compile" not in err
