"""How far `bench` can be trusted: python tests/tools/bench_accuracy.py [pairs] [rounds].

Pairs of runs of the whole command, one after the other: how often do they agree within their stated intervals? And
rounds of our own sampling in turn with torch.utils.benchmark.Timer at equal threads: how far apart are the medians?

Run by hand on a quiet machine, never in CI.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import torch
from torch.utils.benchmark import Timer

from resnet_cli.measure.bench.stats.ratios import independent_ratio
from resnet_cli.measure.bench.timing.sampling import Limits, sample, warm_up
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.network.resnet import build
from resnet_cli.results.bench import BenchResult, Distribution
from resnet_cli.results.serialization import from_json

COMMAND = [sys.executable, "-m", "resnet_cli", "bench", "--depth", "18", "--no-ceiling", "--format", "json"]


def run() -> Distribution:
    """One run of the command."""
    done = subprocess.run(COMMAND, capture_output=True, check=True)
    result = from_json(done.stdout)
    assert isinstance(result, BenchResult)
    wall = result.timings[0].wall
    assert wall is not None
    return wall


def pairs(count: int) -> None:
    """Print how often two runs agree: the interval of their ratio holds 1, and their own intervals overlap."""
    agree = overlap = 0
    apart = []
    for number in range(count):
        first, second = run(), run()
        ratio, low, high = independent_ratio(first, second)
        agree += low <= 1 <= high
        overlap += first.ci_low_s <= second.ci_high_s and second.ci_low_s <= first.ci_high_s
        apart.append(abs(ratio - 1))
        print(
            f"pair {number + 1}: {1000 * first.median_s:.2f} ms [{1000 * first.ci_low_s:.2f}, {1000 * first.ci_high_s:.2f}], "
            f"{1000 * second.median_s:.2f} ms [{1000 * second.ci_low_s:.2f}, {1000 * second.ci_high_s:.2f}], "
            f"ratio {ratio:.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )
    print(
        f"{agree} of {count} pairs agree (the interval of the ratio holds 1), {overlap} have intervals that overlap; "
        f"the medians are {100 * statistics.median(apart):.1f} % apart in the median, {100 * max(apart):.1f} % at most"
    )


def timer(rounds: int) -> None:
    """Print the ratio of our median to the Timer's, in turn in one process."""
    for depth in (18, 50):
        for batch in (1, 8):
            work = Workload(build(depth), inputs=images((3, 224, 224)), device=torch.device("cpu"))
            clock, limits = CpuBackend(torch.device("cpu")), Limits(max_time_s=0.7, min_time_s=0.7)
            ours, theirs = [], []
            with work.running():
                call = work.call(batch)
                warm_up(clock, call, Limits())
                other = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
                for _ in range(rounds):
                    ours += sample(clock, [call], limits).walls[0]
                    theirs += other.blocked_autorange(min_run_time=0.7).times
            ratio = statistics.median(ours) / statistics.median(theirs)
            figures = {
                "depth": depth,
                "batch": batch,
                "threads": torch.get_num_threads(),
                "ours_ms": 1000 * statistics.median(ours),
                "timer_ms": 1000 * statistics.median(theirs),
                "ratio": ratio,
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    timer(int(sys.argv[2]) if len(sys.argv) > 2 else 10)
    pairs(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
