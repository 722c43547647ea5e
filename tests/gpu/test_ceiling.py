"""The measured peaks: cold, in a process that has called nothing before, and once more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.gpu.conftest import Record

TWICE = """
import json, sys
import torch
from resnet_cli.measure.bench.run_context import torch_settings
from resnet_cli.measure.roofline.ceiling import measure_ceiling
from resnet_cli.measure.system.devices.registry import device_backend, select_device

device, dtype = select_device(sys.argv[1]), getattr(torch, sys.argv[2])
with torch_settings(None):
    for _ in range(2):
        ceiling = measure_ceiling(device, dtype, device_backend(device), progress=lambda text: None)
        print(json.dumps([ceiling.flops_per_s, ceiling.bytes_per_s, ceiling.compute[0].name]))
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cold_ceiling_is_that_of_a_warm_one(dtype: str, device: str, record: Record) -> None:
    command = [sys.executable, "-c", TWICE, device, dtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cold, warm = (json.loads(line) for line in done.stdout.splitlines())
    record(f"ceiling, {dtype}: {cold[0] / 1e12:.1f} TFLOP/s ({cold[2]}), {cold[1] / 1e9:.0f} GB/s")
    for before, after in zip(cold[:2], warm[:2], strict=True):
        assert before == pytest.approx(after, rel=0.1)
