"""A GPU that fails, and one without memory, in processes of their own: nothing works after a failed assertion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        number = torch.zeros(len(x), dtype=torch.long, device=x.device)
        if len(x) == 4 and not x.is_meta:
            number += 1_000_000  # beyond the table: a kernel asserts that it is not
        return self.head(self.table(number))
"""
LIMITED = """
import sys, torch
from resnet_cli.cli import main
if sys.argv[1] == "cuda":
    torch.cuda.set_per_process_memory_fraction(1.5e9 / torch.cuda.get_device_properties(0).total_memory)
sys.exit(main(["bench", "--depth", "50", "--device", sys.argv[1], "--batch-size", "1,1024,2", "--max-time", "0.5",
    "--no-ceiling", "-o", "result.json"]))
"""


def run(folder: Path, *command: str) -> tuple[int, Any, str]:
    """Exit code, result and standard error of a process; on standard output the driver may say something too."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    result = folder / "result.json"
    return done.returncode, json.loads(result.read_text(encoding="utf-8")) if result.exists() else None, done.stderr


def test_an_assertion_that_fails_on_the_device_keeps_what_was_measured(device: str, tmp_path: Path) -> None:
    model = tmp_path / "net.py"
    model.write_text(MODEL, encoding="utf-8")
    code, result, errors = run(
        tmp_path,
        *("-m", "resnet_cli", "bench", "--model", f"{model}:Net", "--device", device, "--batch-size", "1,4,8"),
        *("--max-time", "0.5", "--no-ceiling", "-o", "result.json"),
    )
    assert code == 2, errors
    assert "Traceback" not in errors
    assert [row["status"] for row in result["timings"]] == ["measured", "failed"]
    (error,) = (note for note in result["notes"] if note["level"] == "error")
    assert error["text"].startswith("the GPU stopped working: CUDA error: device-side assert triggered")


def test_a_batch_without_memory_is_a_row_and_the_next_one_runs(device: str, tmp_path: Path) -> None:
    code, result, errors = run(tmp_path, "-c", LIMITED, device)
    assert code == 0, errors
    assert [row["status"] for row in result["timings"]] == ["measured", "out of memory", "measured"]
