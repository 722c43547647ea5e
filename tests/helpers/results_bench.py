"""Results of `bench`, built by hand, that have all that a drawing may meet."""

from __future__ import annotations

import functools
import random
from dataclasses import replace
from statistics import fmean, median, quantiles, stdev

from resnet_cli.results.bench import (
    BatchLimit,
    BenchResult,
    Ceiling,
    Conditions,
    Distribution,
    GatePlan,
    Kernel,
    LayerTime,
    LayerTimes,
    OptimizationResult,
    OptimizationsResult,
    PhaseTime,
    Rank,
    Replicas,
    Run,
    RunSpread,
    Timing,
    Versus,
    WarmUp,
)
from resnet_cli.results.common import Input, Note
from tests.helpers.results_summary_flops import ENVIRONMENT, NETWORK

CPU = replace(ENVIRONMENT, device="cpu", device_name="", device_memory_bytes=None, threads=2)
RESNET18 = replace(NETWORK, name="resnet18", repeat=(2, 2, 2, 2), stem="imagenet", num_classes=1000)
CONDITIONS = Conditions(
    mode="inference",
    precision="float32",
    threads=2,
    interop_threads=1,
    instructions="AVX512",
    libraries=("oneDNN 3.11.0", "MKL 2024.2"),
    background_cpu_load=0.04,
    steal_time_share=0.001,
    clock_hz=None,
    throttled=(),
    duration_s=48.25,
)
FLOPS = 3_628_146_688  # of one image
PEAK = 4.3e11


@functools.cache
def series(middle: float, n: int, slow: tuple[float, ...] = (), seed: int = 0) -> tuple[float, ...]:
    """Times around a middle with a tail to the right, and a few slow ones among them."""
    chance = random.Random(seed)
    times = [middle * (0.97 + 0.03 * chance.lognormvariate(0.0, 0.5)) for _ in range(n - len(slow))]
    for index, seconds in enumerate(slow):
        times.insert((index + 1) * n // (len(slow) + 2), seconds)
    return tuple(times)


@functools.cache
def distribution(
    samples: tuple[float, ...], width: float = 0.008, outliers: int = 0, drift: float | None = None
) -> Distribution:
    """What a series says; only the interval is set, to a share of the median."""
    middle, n = median(samples), len(samples)
    cuts = quantiles(samples, n=100, method="inclusive")
    return Distribution(
        samples_s=samples,
        median_s=middle,
        ci_low_s=middle * (1 - width / 2),
        ci_high_s=middle * (1 + width / 2),
        min_s=min(samples),
        max_s=max(samples),
        mean_s=fmean(samples),
        std_s=stdev(samples),
        p90_s=cuts[89] if n >= 64 else None,
        p95_s=cuts[94] if n >= 130 else None,
        p99_s=cuts[98] if n >= 662 else None,
        autocorrelation=0.45,
        effective_samples=n / 3.1,
        outliers=outliers,
        drift=drift,
    )


def timing(batch: int, wall: Distribution, *, first: float = 2.5, **changes: object) -> Timing:
    rate = 0.98 * batch / wall.median_s
    made = Timing(
        batch_size=batch,
        status="measured",
        reason=None,
        warm_up=WarmUp(first * wall.median_s, 23, 24 * wall.median_s, True),
        wall=wall,
        stopped="converged",
        device=None,
        launch_overhead=None,
        images_per_s=rate,
        flops=batch * FLOPS,
        flops_per_s=rate * FLOPS,
        ceiling_share=rate * FLOPS / PEAK,
        peak_memory_bytes=412_000_000 + batch * 9_000_000,
        memory_kind="resident",
        knee=False,
        notes=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def without_memory(batch: int) -> Timing:
    return Timing(
        batch, "out of memory", "needs 12.3 GB where 7.9 GB are free", None, None, None, None, None, None,
        batch * FLOPS, None, None, None, None, False, (),
    )  # fmt: skip


CEILING = Ceiling(
    flops_per_s=PEAK,
    bytes_per_s=3.11e10,
    compute=(
        Kernel("conv 3×3 256→256 at 14×14, batch 32, oneDNN layout", PEAK),
        Kernel("conv 3×3 128→128 at 28×28, batch 16, channels_last", 3.98e11),
        Kernel("matmul 2048×2048×2048", 2.04e11),
    ),
    bandwidth=(Kernel("add in place, 256 MiB", 3.11e10), Kernel("copy, 256 MiB", 2.42e10)),
)

BARE = BenchResult(
    network=RESNET18,
    input=Input((1, 3, 224, 224), "float32", 602_112),
    image=(3, 224, 224),
    confidence=0.95,
    ci_width=0.01,
    max_time_s=20.0,
    seed=0,
    timings=(),
    ceiling=None,
    versus=(),
    optimizations=None,
    layers=None,
    replicas=(),
    fail_above=None,
    failed=False,
    interrupted=False,
    conditions=CONDITIONS,
    environment=CPU,
    notes=(),
)


@functools.cache
def one_batch() -> BenchResult:
    """The plain case: one batch size, sharp."""
    slow = (0.0312, 0.0298, 0.0541)
    return replace(BARE, timings=(timing(1, distribution(series(0.01472, 1024, slow), outliers=3)),), ceiling=CEILING)


@functools.cache
def sweep() -> BenchResult:
    """Several batch sizes: sharp, out of time and adrift, out of memory."""
    eight = timing(
        8,
        distribution(series(0.0742, 180, (0.1614,), seed=1), 0.013, outliers=1, drift=0.031),
        stopped="time",
        knee=True,
        notes=(
            Note("note", "batch 8: the times did not stand still within 23 calls of warm-up", "warm-up-not-converged"),
        ),
    )
    big = timing(32, distribution(series(0.2891, 52, seed=2), 0.0095), first=1.3)
    return replace(
        one_batch(),
        timings=(*one_batch().timings, eight, big, without_memory(256)),
        notes=(
            Note(
                "warning", "other processes kept 0.4 processors busy; close them for sharper figures", "background-load"
            ),
        ),
        conditions=replace(CONDITIONS, background_cpu_load=0.4),
    )


@functools.cache
def on_cuda() -> BenchResult:
    """An accelerator: its own clock beside the host's, launch-bound, and once beyond the ceiling."""
    bound = timing(
        1,
        distribution(series(0.00182, 900)),
        device=distribution(series(0.00124, 900)),
        launch_overhead=0.93,
        memory_kind="allocated",
        ceiling_share=0.031,
        flops_per_s=2.1e12,
    )
    beyond = replace(
        timing(256, distribution(series(0.0312, 300))),
        device=distribution(series(0.0309, 300)),
        launch_overhead=0.11,
        memory_kind="allocated",
        ceiling_share=1.043,
        flops_per_s=7.1e13,
        knee=True,
    )
    return replace(
        BARE,
        timings=(bound, beyond),
        environment=replace(CPU, device="cuda:0", device_name="GPU [bold]X[/bold]", device_memory_bytes=16 * 10**9),
        conditions=replace(
            CONDITIONS,
            precision="float32, convolutions in TF32",
            clock_hz=1.98e9,
            throttled=("power cap",),
            background_cpu_load=None,
            steal_time_share=None,
            libraries=("cuDNN 9.10",),
        ),
        notes=(Note("warning", "slowed down meanwhile: power cap", "throttled"),),
    )


def comparison(batch: int, verdict: str, low: float, ratio: float, high: float, **changes: object) -> Versus:
    ours = distribution(series(0.01472 * batch, 300, seed=batch))
    theirs = distribution(series(0.01472 * batch / ratio, 300, seed=batch + 1))
    made = Versus(
        batch_size=batch,
        method="interleaved",
        model="resnet18",
        reference="torchvision resnet18",
        model_time=ours,
        reference_time=theirs,
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        margin=0.01,
        verdict=verdict,
        stopped="converged",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@functools.cache
def compared() -> BenchResult:
    """Every verdict, against another network and against a saved run that was faster."""
    saved = {"method": "baseline", "model": "this run", "reference": "the baseline", "margin": 0.05, "stopped": None}
    note = Note(
        "note", "batch 8: the interval reaches across the limit of 5%, so it cannot be told", "baseline-inconclusive"
    )
    return replace(
        BARE,
        versus=(
            comparison(1, "FASTER", 0.957, 0.968, 0.979),
            comparison(8, "SAME", 0.996, 0.9992, 1.003),
            comparison(32, "UNCLEAR", 0.979, 0.995, 1.012, stopped="time"),
            comparison(1, "SLOWER", 1.071, 1.084, 1.097, **saved),
            comparison(8, "UNCLEAR", 0.99, 1.03, 1.07, **saved, notes=(note,)),
        ),
        fail_above=0.05,
        failed=True,
    )


def optimization(
    key: str, title: str, gain: float, setup: float | None, after: int | None, error: float
) -> OptimizationResult:
    dtype = "bfloat16" if key == "bfloat16" else "float32"
    time = distribution(series(0.01472 / gain, 200))
    low, high = (1.0, 1.0) if key == "eager" else (gain * 0.988, gain * 1.012)
    return OptimizationResult(key, title, "measured", None, dtype, time, gain, low, high, setup, after, error, 1.0)


@functools.cache
def optimized() -> BenchResult:
    """Optimizations that gain, one that loses, one that is unavailable."""
    rows = (
        optimization("eager", "plain eager", 1.0, None, None, 0.0),
        optimization("channels-last", "channels_last", 1.91, 0.0021, 1, 3.1e-07),
        optimization("folded", "conv-bn folded", 0.94, 0.041, None, 4.4e-07),
        optimization("channels-last-folded", "channels_last + conv-bn folded", 2.4, 0.043, 5, 4.6e-07),
        optimization("compile", "torch.compile, inductor with freezing", 3.38, 31.2, 3010, 5.2e-07),
        optimization("bfloat16", "bfloat16, channels_last + conv-bn folded", 4.41, 0.05, 5, 8.9e-03),
        OptimizationResult("float16", "float16", "unavailable", "only on CUDA: on a processor float16 is emulated", "float16",
             None, None, None, None, None, None, None, None),
        OptimizationResult("cuda-graph", "CUDA graph", "failed", "RuntimeError: \x1b[31mcaptured[red]", "float32",
             None, None, None, None, None, None, None, None),
    )  # fmt: skip
    advice = "take bfloat16, channels_last + conv-bn folded: 4.41 times as fast, logits within 0.9%, same top-1"
    return replace(BARE, optimizations=OptimizationsResult(1, rows, "bfloat16", advice, "time"))


def layer(
    path: str, kind: str, depth: int, time: float, macs: int, moved: int, *, leaf: bool = False, call: int = 1
) -> LayerTime:
    intensity = 2 * macs / moved if moved else None
    return LayerTime(
        path=path,
        name="add" if path.endswith(":own") else path.rpartition(".")[2],
        layer_type=kind,
        depth=depth,
        call=call,
        is_leaf=leaf,
        time_s=time,
        ci_low_s=time * 0.99,
        ci_high_s=time * 1.01,
        share=time / 0.010,
        macs=macs,
        macs_share=macs / 1_000_000_000,
        flops_per_s=2 * macs / time if macs else None,
        bytes_moved=moved,
        bytes_per_s=moved / time,
        arithmetic_intensity=intensity,
        bound=None if intensity is None else "memory" if intensity < 14 else "compute",
    )


@functools.cache
def layered() -> BenchResult:
    """Where the time goes: a block whose ReLU is called twice, in two wrappers of one module each."""
    block = "l0.block.ResIdentity0"
    layers = (
        layer("", "ResNet", 0, 0.0096, 1_000_000_000, 90_000_000),
        layer("head", "ResNetHead", 1, 0.0030, 400_000_000, 30_000_000),
        layer("head.conv", "Conv2d", 2, 0.0018, 400_000_000, 12_000_000, leaf=True),
        layer("head.bn", "BatchNorm2d", 2, 0.0012, 0, 18_000_000, leaf=True),
        layer("l0", "NIdentityBlocks", 1, 0.0060, 560_000_000, 50_000_000),
        layer("l0.block", "Sequential", 2, 0.0059, 560_000_000, 50_000_000),
        layer(block, "ResIdentity", 3, 0.0058, 560_000_000, 50_000_000),
        layer(f"{block}.conv1", "Conv2d", 4, 0.0031, 560_000_000, 14_000_000, leaf=True),
        layer(f"{block}.relu", "ReLU", 4, 0.0009, 0, 12_000_000, leaf=True),
        layer(f"{block}.relu", "ReLU", 4, 0.0008, 0, 12_000_000, leaf=True, call=2),
        layer(f"{block}:own", "add", 4, 0.0009, 0, 18_000_000, leaf=True),
        layer("lin", "Linear", 1, 0.0003, 40_000_000, 9_000_000, leaf=True),
    )
    return replace(BARE, ceiling=CEILING, layers=LayerTimes(8, 0.0096, 0.010, 0.0010, 212, layers))


@functools.cache
def replicated() -> BenchResult:
    """Four processes, the third of them slow; then two of them on two machines."""
    alone = distribution(series(0.0742, 100))

    def rank(number: int, host: str, rate: float) -> Rank:
        return Rank(number, host, "cpu", distribution(series(8 / rate, 90, seed=number)), rate)

    four = tuple(rank(number, "bench", rate) for number, rate in enumerate((99.1, 98.4, 81.2, 97.7)))
    two = (rank(0, "bench-a", 99.1), rank(1, "bench-b\x1b[2J", 98.8))
    return replace(
        BARE,
        replicas=(
            Replicas(8, "gloo", "replicas", 1, four, 376.4, alone, 107.8, 376.4 / (4 * 107.8), 2),
            Replicas(8, "nccl", "DistributedDataParallel", 2, two, 197.9, alone, 107.8, 197.9 / (2 * 107.8), 1),
        ),
    )


@functools.cache
def repeated() -> BenchResult:
    """Three processes at two batch sizes, one of them slow; the second batch size was compared with a reference."""

    def run(process: int, batch: int, seconds: float, ratio: float | None = None) -> Run:
        near = () if ratio is None else (seconds / ratio, ratio, 0.99 * ratio, 1.01 * ratio)
        return Run(process, batch, 250, seconds, 0.995 * seconds, 1.005 * seconds, *(near or (None,) * 4))

    eight = ((1, 0.074, 1.001), (2, 0.081, 0.998), (3, 0.075, 1.004))
    return replace(
        sweep(),
        runs=(run(1, 1, 0.0147), run(2, 1, 0.0163), run(3, 1, 0.0149), *(run(n, 8, s, ratio) for n, s, ratio in eight)),
        spreads=(
            RunSpread(1, "time", 0.055, 0.0024),
            RunSpread(8, "time", 0.048, 0.0024),
            RunSpread(8, "ratio", 0.0, 0.005),
        ),
    )


@functools.cache
def planned() -> BenchResult:
    """A gate that takes minutes, and one that is out of reach."""
    return replace(
        repeated(),
        plan=(
            GatePlan(1, "time", 0.02, 5, 0.055, 0.008, 1.0, 2.6, None, None, None, 0.025),
            GatePlan(8, "ratio", 0.02, 5, 0.004, 0.005, 1.0, 2.6, 4, 2.0, 18.4, 0.0013),
        ),
    )


@functools.cache
def trained() -> BenchResult:
    """A training step by phase, and the largest batch."""
    phases = tuple(
        PhaseTime(name, seconds, 0.99 * seconds, 1.01 * seconds, seconds / 0.060)
        for name, seconds in (("forward", 0.018), ("backward", 0.036), ("optimizer", 0.006))
    )
    row = timing(8, distribution(series(0.060, 200)), phases=phases)
    return replace(
        BARE,
        timings=(row,),
        conditions=replace(CONDITIONS, mode="train", optimizer="adamw"),
        batch_limit=BatchLimit(412, 398, 24_000_000_000, 23_100_000_000, "allocated", 9),
    )


@functools.cache
def everything() -> BenchResult:
    """All sections at once."""
    return replace(
        planned(),
        timings=(*planned().timings[:-1], *trained().timings, planned().timings[-1]),
        versus=compared().versus,
        optimizations=optimized().optimizations,
        layers=layered().layers,
        replicas=replicated().replicas,
        batch_limit=trained().batch_limit,
        fail_above=0.05,
        failed=True,
    )
