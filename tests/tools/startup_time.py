"""How long the commands take, as ratios to the imports that they need, interleaved.

    python tests/tools/startup_time.py [rounds]

Run by hand, never in CI: a shared machine's seconds prove nothing, and its ratios need many rounds.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

PYTHON = [sys.executable, "-W", "ignore"]
BENCH = [sys.executable, "-m", "resnet_cli"]
SAVED = tempfile.mkdtemp(prefix="resnet-cli-speed-")
TORCH = "import torch"
TORCHVISION = "import torchvision"
DRAWING = "import typer, rich"

COMMANDS: dict[str, tuple[list[str], str, str]] = {
    # name: command, reference, target
    "--version": ([*BENCH, "--version"], DRAWING, "+ 60 ms"),
    "--help": ([*BENCH, "--help"], DRAWING, "+ 60 ms"),
    "summary --help": ([*BENCH, "summary", "--help"], DRAWING, "none: Typer 0.29 imports Pydantic"),
    "summary --depth 18": ([*BENCH, "summary", "--depth", "18"], TORCH, "1.25 ×"),
    "summary --depth 152": ([*BENCH, "summary", "--depth", "152"], TORCH, "1.5 ×"),
    "flops --depth 50": ([*BENCH, "flops", "--depth", "50"], TORCH, "1.5 ×"),
    "summary --depth 50 --repeat 100,100,100,100": (
        [*BENCH, "summary", "--depth", "50", "--repeat", "100,100,100,100"],
        TORCH,
        "seconds",
    ),
    "compare-torchvision": ([*BENCH, "compare-torchvision"], TORCHVISION, "1.5 ×"),
    "report of saved results of ResNet-152": (
        [
            *BENCH,
            "report",
            f"{SAVED}/summary.json",
            f"{SAVED}/flops.json",
            f"{SAVED}/bench.json",
            "-o",
            f"{SAVED}/x.html",
        ],
        DRAWING,
        "+ 500 ms",
    ),
    "compare-torchvision --depth 50": ([*BENCH, "compare-torchvision", "--depth", "50"], TORCHVISION, "none"),
}


def seconds(command: list[str]) -> float:
    """Wall time of a whole process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(rounds: int) -> None:
    """Measure, a round of everything at a time, and print the table."""
    for name, options in (("summary", []), ("flops", []), ("bench", ["--layers", "--max-time", "2"])):
        subprocess.run([*BENCH, name, "--depth", "152", *options, "-o", f"{SAVED}/{name}.json"], check=True)
    references = {code: [*PYTHON, "-c", code] for code in (DRAWING, TORCH, TORCHVISION)}
    everything = {**references, **{name: command for name, (command, _, _) in COMMANDS.items()}}
    times: dict[str, list[float]] = {name: [] for name in everything}
    for number in range(rounds + 1):
        for name, command in everything.items():
            taken = seconds(command)
            if number:  # the first round warms the disk
                times[name].append(taken)
    table = Table("command", "median s", "against", "ratio", "difference", "target")
    for name, seconds_of_rounds in times.items():
        middle = statistics.median(seconds_of_rounds)
        if name in references:
            table.add_row(f"python -c '{name}'", f"{middle:.3f}", "", "", "", "")
            continue
        _, reference, target = COMMANDS[name]
        pairs = list(zip(seconds_of_rounds, times[reference], strict=True))
        ratio = statistics.median(command_s / reference_s for command_s, reference_s in pairs)
        more = statistics.median(command_s - reference_s for command_s, reference_s in pairs)
        table.add_row(name, f"{middle:.3f}", reference, f"{ratio:.2f} ×", f"{1000 * more:+.0f} ms", target)
    shutil.rmtree(SAVED)
    Console(width=120).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
