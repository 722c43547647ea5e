"""How far `bench` can be trusted, and what it finds: python tests/tools/bench_accuracy.py [PART ...].

Parts, all of them without an argument, each with a table on standard output:
- timer: medians of our sampling in turn with torch.utils.benchmark.Timer at equal threads (within 3%).
- pairs: 20 pairs of runs of the whole command with `--runs 5`: the interval of their ratio holds 1 in 18 or more.
- torchvision: the built-in networks against torchvision's with `--runs 5`: SAME or FASTER.
- optimizations: all of them on ResNet-18, each with its check, and whether torch.compile reaches the other runtimes.
- profile: where a compiled ResNet-18 spends its time, and the layouts of its convolutions.

Run by hand on a quiet machine, never in CI; all parts take about two hours on two cores.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from itertools import product

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from resnet_cli.measure.bench.baseline import against_baseline
from resnet_cli.measure.bench.timing.sampling import Limits, sample, warm_up
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.optimizations.compiled.torch_compile import compile_with, inductor
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.network.resnet import build
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.serialization import from_json

COMMAND = [sys.executable, "-m", "resnet_cli", "bench", "--no-ceiling", "--format", "json"]
CPU = torch.device("cpu")
SIZES = ((18, 1), (18, 8), (50, 1), (50, 8))
RUNTIMES = ("onnxruntime", "openvino")


def bench(*arguments: str) -> BenchResult:
    """One run of the command."""
    result = from_json(subprocess.run([*COMMAND, *arguments], capture_output=True, check=True).stdout)
    assert isinstance(result, BenchResult)
    return result


def timer(rounds: int = 10) -> None:
    print("depth  batch      ours     Timer   ratio")
    for depth, batch in SIZES:
        work = Workload(build(depth), inputs=images((3, 224, 224)), device=CPU)
        clock, limits = CpuBackend(CPU), Limits(max_time_s=0.7, min_time_s=0.7)
        ours, others = [], []
        with work.running():
            call = work.call(batch)
            warm_up(clock, call, Limits())
            other = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
            for _ in range(rounds):
                ours += sample(clock, [call], limits).walls[0]
                others += other.blocked_autorange(min_run_time=0.7).times
        median, reference = 1000 * statistics.median(ours), 1000 * statistics.median(others)
        print(f"{depth:5}  {batch:5}  {median:8.2f}  {reference:8.2f}  {median / reference:6.3f}", flush=True)


def pairs(count: int = 20) -> None:
    agree = 0
    for number in range(count):
        first, second = (bench("--depth", "18", "--runs", "5", "--max-time", "3") for _ in range(2))
        (compared,) = against_baseline(second, first, None)
        agree += compared.ci_low <= 1 <= compared.ci_high
        interval = f"[{compared.ci_low:.3f}, {compared.ci_high:.3f}]"
        print(f"pair {number + 1}: ratio {compared.ratio:.3f} {interval}, {agree} agree", flush=True)
    print(f"{agree} of {count} pairs agree: the interval of their ratio holds 1")


def torchvision() -> None:
    print("depth  batch  mode        ratio  interval          verdict")
    for (depth, batch), mode in product(SIZES, ("inference", "train")):
        size = ["--depth", str(depth), "--batch-size", str(batch), "--mode", mode]
        (compared,) = bench(*size, "--against", "torchvision", "--runs", "5", "--max-time", "20").versus
        interval = f"[{compared.ci_low:.3f}, {compared.ci_high:.3f}]"
        print(f"{depth:5}  {batch:5}  {mode:9}  {compared.ratio:6.3f}  {interval}  {compared.verdict}", flush=True)


def optimizations() -> None:
    for batch in (1, 8):
        result = bench(
            "--depth", "18", "--batch-size", str(batch), "--optimizations", "all", "--max-time", "120"
        ).optimizations
        assert result is not None
        print(f"batch {batch}")
        for row in result.rows:
            time = "" if row.time is None else f"{1000 * row.time.median_s:8.2f} ms  {row.speedup:5.2f}×  "
            print(f"  {row.key:24} {time}{row.status} {row.reason or ''} logits {row.logit_difference}")
        print(f"  → {result.recommendation}")
        times = {row.key: row.time.median_s for row in result.rows if row.time is not None}
        fastest = min((times[key] for key in RUNTIMES if key in times), default=None)
        if fastest is not None and "compile" in times:
            print(
                f"  torch.compile takes {times['compile'] / fastest:.3f} of the time of the faster runtime", flush=True
            )


def compiled_profile() -> None:
    """Operators of a compiled ResNet-18, and what oneDNN says of each convolution: implementation, layouts, time in ms.

    Without the C++ wrapper, whose calls the profiler does not see; the convolutions and their layouts are the same.
    """
    work = Workload(build(18), inputs=images((3, 224, 224)), device=CPU)
    with work.running():
        inputs = best_eager(work.model, work.input(1)).inputs
        run = compile_with(work.model, inputs, inductor, [{"freezing": True}]).run
        for _ in range(20):
            inputs.call(run)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(20):
                inputs.call(run)
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):  # type: ignore[no-untyped-call]
            inputs.call(run)
    print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


PARTS = {
    "timer": timer,
    "pairs": pairs,
    "torchvision": torchvision,
    "optimizations": optimizations,
    "profile": compiled_profile,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        print(f"\n{name}")
        PARTS[name]()
