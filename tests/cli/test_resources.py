"""The same bytes again, memory within bounds, and no temporary file left: seen from outside, in whole processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_MEMORY = 1.3  # times that of `import torch`
PATIENT = {"OMP_WAIT_POLICY": "passive"}  # threads that spin while others compute make all of it slow

RUN = """
import json, sys
from resnet_cli.cli import main
codes = [main(arguments) for arguments in json.loads(sys.argv[1])]
print(codes, file=sys.stderr)
"""
PEAK = """
import re
text = open("/proc/self/status", encoding="utf-8").read()
print("peak", re.search(r"VmHWM:\\s*(\\d+) kB", text)[1], file=sys.stderr)
"""


def process(code: str, folder: Path, *arguments: str, hash_seed: str = "0") -> list[str]:
    """What a process wrote to standard error; its temporary files go to a folder that it has to leave empty."""
    scratch = folder / "tmp"
    scratch.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed, "TMPDIR": str(scratch), **PATIENT},
    )
    assert not list(scratch.iterdir())
    return done.stderr.splitlines()


COMMANDS = {
    "summary.json": ["summary", "--depth", "18"],
    "flops.json": ["flops", "--depth", "18", "--backward", "--batch-size", "2"],
    "compare.json": ["compare-torchvision", "--image-size", "32"],
    "changed.json": ["compare-torchvision", "--against", "resnet34", "--image-size", "32", "--checks", "settings,eval"],
}


def test_the_same_command_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    lines = json.dumps([[*arguments, "-o", name] for name, arguments in COMMANDS.items()])
    for seed in ("1", "2"):
        assert process(RUN, tmp_path / seed, lines, hash_seed=seed)[-1] == "[0, 0, 0, 1]"
    for name in COMMANDS:
        first, second = ((tmp_path / seed / name).read_text(encoding="utf-8") for seed in ("1", "2"))
        assert first == second, name


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_batch(tmp_path: Path) -> None:
    def peak(name: str, code: str, *arguments: str) -> int:
        return int(process(f"{code}\nimport sys\n{PEAK}", tmp_path / name, *arguments)[-1].removeprefix("peak "))

    torch = peak("torch", "import torch")
    members = ("resnet152", "wide_resnet101_2")
    lines = [["summary", "--arch", member, "--batch-size", "100000", "--levels", "1"] for member in members]
    assert peak("largest", RUN, json.dumps(lines)) <= MOST_MEMORY * torch


def test_a_failure_leaves_no_temporary_file(tmp_path: Path) -> None:
    code = f"from pathlib import Path\nPath('net.py').write_text('def broken(): raise OSError()')\n{RUN}"
    commands = (["summary"], ["compare-torchvision"], ["bench", "--nproc", "2"])
    said = process(code, tmp_path, json.dumps([[*command, "--model", "net.py:broken"] for command in commands]))
    assert said[-1] == "[2, 2, 2]"
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"net.py", "tmp"}
