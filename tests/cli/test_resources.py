"""The same bytes again, memory within bounds, and no temporary file left: seen from outside, in a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from resnet_cli.cli import main

ROOT = Path(__file__).parents[2]
TINY = ["--repeat", "1,1,1,1", "--num-classes", "10", "--image-size", "32"]
LARGE = [
    ["summary", "--arch", name, "--batch-size", "100000", "--levels", "1"] for name in ("resnet152", "wide_resnet101_2")
]
COMMANDS = {
    "summary.json": ["summary", *TINY],
    "flops.json": ["flops", *TINY, "--backward", "--batch-size", "2"],
    "compare.json": ["compare-torchvision", *TINY],
    "changed.json": ["compare-torchvision", *TINY, "--against", "resnet18", "--checks", "settings,eval"],
}
CODES = [0, 0, 0, 1]
FAILING = [
    [*command, "--model", "net.py:broken"]
    for command in (["summary"], ["compare-torchvision"], ["bench", "--nproc", "2"])
]
CODE = """
import json, re, sys
from pathlib import Path
import torch

def peak():
    match = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(match[1])

has_peak = Path("/proc/self/status").exists()
peaks = [peak()] if has_peak else []
from resnet_cli.cli import main
large, lines = json.loads(sys.argv[1])
codes = [main(arguments) for arguments in large]
peaks += [peak()] if has_peak else []
codes += [main(arguments) for arguments in lines]
print(json.dumps([codes, peaks]), file=sys.stderr)
"""


def with_outputs(folder: Path) -> list[list[str]]:
    return [[*arguments, "-o", str(folder / name)] for name, arguments in COMMANDS.items()]


@dataclass(frozen=True)
class Finished:
    """A process that ran every command: their exit codes, its peaks of memory, and the folder of its files."""

    codes: list[int]
    peaks_kb: list[int]  # after `import torch`, and after the large networks
    folder: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("process")
    (folder / "tmp").mkdir()
    (folder / "net.py").write_text("def broken(): raise OSError()\n", encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, json.dumps([LARGE, [*with_outputs(folder), *FAILING]])],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1", "TMPDIR": str(folder / "tmp")},
    )
    codes, peaks = json.loads(process.stderr.splitlines()[-1])
    return Finished(codes, peaks, folder)


def test_the_same_command_gives_the_same_bytes_in_another_process(finished: Finished, tmp_path: Path) -> None:
    assert [main(arguments) for arguments in with_outputs(tmp_path)] == CODES
    for name in COMMANDS:
        assert (finished.folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_batch(finished: Finished) -> None:
    torch, large = finished.peaks_kb
    assert large <= 1.3 * torch


def test_no_command_leaves_a_temporary_file_even_where_it_fails(finished: Finished) -> None:
    assert finished.codes == [0, 0, *CODES, 2, 2, 2]
    left = [path.name for path in (finished.folder / "tmp").iterdir()]
    assert [name for name in left if not name.startswith("torchinductor_")] == []  # `import torchvision` makes that one
    names = {path.name for path in finished.folder.iterdir()} - {"__pycache__"}
    assert names == {"net.py", "tmp", *COMMANDS}
