"""Measure the results that the golden pages are drawn from, with the program itself.

Run as `python -m tests.tools.measure_golden_results [NAME ...]` in the repository.

The networks are small and seeded. What differs between two machines and says nothing of a page (its name, its memory)
is replaced. Needed where a field of a result changes; afterwards `pytest --regenerate` draws the pages anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "tests" / "golden" / "results"
TINY_FILE = "tests/helpers/tiny_resnet.py"
TINY = f"--model {TINY_FILE}:TinyResNet --image-size 32"
BENCH = f"bench {TINY} --seed 0 --max-time 1"
COMMANDS = {
    "summary": f"summary {TINY} --batch-size 2",
    "flops": f"flops {TINY}",
    "compare": "compare-torchvision --depth 18 --image-size 32",
    "compare-networks": f"compare {TINY_FILE}:TinyResNet {TINY_FILE}:changed --image-size 32",
    "compare-different": "compare-torchvision --model tests/helpers/tiny_resnet.py:with_mistakes --image-size 32",
    "compare-rewritten": "compare-torchvision --model tests/helpers/tiny_resnet.py:written_otherwise --image-size 32",
    "compare-all": "compare-torchvision --all --image-size 32",
    "self-test": "compare-torchvision --depth 18 --image-size 32 --self-test",
    "bench": BENCH,
    "bench-everything": f"{BENCH} --batch-size 1,8,64 --against self --layers",
    "convert": "convert {folder}/weights.pth -o {folder}/weights.safetensors --to torchvision",
    "checkpoint": f"summary {TINY} --weights {{folder}}/tiny.pth",
    "doctor": "doctor",
}
WRITE_WEIGHTS = """
import sys, torch
from resnet_cli import ResNet
from tests.helpers.tiny_resnet import TinyResNet
torch.manual_seed(0)
torch.save(ResNet(3, 1000, (2, 2, 2, 2)).state_dict(), sys.argv[1] + "/weights.pth")
torch.save({"model": TinyResNet().state_dict(), "epoch": 3}, sys.argv[1] + "/tiny.pth")
"""
ENVIRONMENT = {"platform": "Linux x86_64", "device_name": "", "device_memory_bytes": 16 * 2**30, "threads": 2}


def measure(name: str) -> str:
    """The JSON of a result, on one line."""
    with tempfile.TemporaryDirectory() as folder:
        if "{folder}" in COMMANDS[name]:
            subprocess.run([sys.executable, "-c", WRITE_WEIGHTS, folder], cwd=ROOT, check=True)
        words = [*COMMANDS[name].format(folder=folder).split(), "--format", "json"]
        # `compare-torchvision` exits with 1 where networks differ.
        process = subprocess.run(
            [sys.executable, "-m", "resnet_cli", *words], cwd=ROOT, stdout=subprocess.PIPE, check=False
        )
        if process.returncode > 1:
            sys.exit(f"{name}: exit code {process.returncode}")
        result = json.loads(process.stdout.decode().replace(f"{folder}/", ""))
    return json.dumps(_neutral(result), ensure_ascii=False, separators=(",", ":")) + "\n"


def _neutral(value: Any) -> Any:
    """A result without what belongs to this machine alone."""
    if isinstance(value, list):
        return [_neutral(item) for item in value]
    if not isinstance(value, dict):
        return value
    neutral = {key: _neutral(item) for key, item in value.items()}
    if "environment" in neutral:
        neutral["environment"] |= ENVIRONMENT
    return neutral


def main() -> None:
    """Measure the results that were named, or all."""
    RESULTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or COMMANDS:
        (RESULTS / f"{name}.json").write_text(measure(name))
        print(name)


if __name__ == "__main__":
    main()
