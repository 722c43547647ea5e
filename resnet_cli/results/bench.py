"""The result of `bench`. Times are in seconds, rates per second, sizes in bytes.

A ratio is a time over a time: model / reference, so below 1 is faster. A gain is the other way round: 2.0 is twice as
fast. Every interval has the confidence that is stated in the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resnet_cli.results.common import Environment, Input, Network, Note, Shape


@dataclass(frozen=True, slots=True)
class Distribution:
    """Samples of a time and their statistics. Outliers are counted; they are part of every statistic.

    Of several processes, the median is the geometric mean of theirs, and its interval includes what differs between
    them.
    """

    samples_s: tuple[float, ...]  # all of them, in the order of measurement
    median_s: float
    ci_low_s: float  # confidence interval of the median; wide enough for samples that depend on each other
    ci_high_s: float
    min_s: float
    max_s: float
    mean_s: float
    std_s: float | None  # None for one sample
    p90_s: float | None  # None where too few samples support it
    p95_s: float | None
    p99_s: float | None
    autocorrelation: float | None  # of successive samples (lag 1)
    effective_samples: float  # effective sample size: as many independent samples would give the same interval
    outliers: int  # beyond the outer fences of the quartiles (Tukey: 3 interquartile ranges)
    drift: float | None  # relative change from the first to the last third, where it is more than chance


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The calls before the first sample."""

    first_call_s: float
    calls: int  # until the times stabilised, the first call included
    duration_s: float  # of all these calls
    converged: bool  # False: the times had not stabilised when the time limit was reached


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """A phase of a training step, timed with a wait for the device before and after it."""

    name: str  # "forward" with the loss, "backward", "optimizer"
    median_s: float
    ci_low_s: float
    ci_high_s: float
    share: float  # of all phases


@dataclass(frozen=True, slots=True)
class BatchLimit:
    """The largest batch that fits into the memory of the device."""

    batch_size: int  # found by trying, to a 32nd
    predicted: int  # from the storages of calls at two small batches
    capacity_bytes: int  # for weights and calls
    peak_bytes: int  # of the batch that was found
    kind: str  # of that peak: "allocated" by torch on the device, or "counted" storages on the processor
    tries: int


@dataclass(frozen=True, slots=True)
class Timing:
    """The measurement of one batch size."""

    batch_size: int
    status: str  # one of "measured", "out of memory", "failed"
    reason: str | None  # why it was not measured
    warm_up: WarmUp | None
    wall: Distribution | None  # a request: from the call to the result, the device waited for
    stopped: str | None  # why sampling ended: one of "converged", "time", "interrupted"
    device: Distribution | None  # of the device's work on a call that is in its queue as a whole; None on a CPU
    # Host time to enqueue a call over `device`'s median, above 0.8 launch-bound; None where the queue does not take it.
    launch_overhead: float | None
    images_per_s: float | None  # of calls in a row, the device waited for at their end only
    flops: int | None  # of one call; None where not all products are counted
    flops_per_s: float | None
    ceiling_share: float | None  # of the measured ceiling
    peak_memory_bytes: int | None
    memory_kind: str | None  # "allocated" by torch on the device, or "resident" memory of the whole process
    knee: bool  # the smallest batch with at least 0.9 of the sweep's best images/s
    notes: tuple[Note, ...]
    phases: tuple[PhaseTime, ...] = ()  # of a training step


@dataclass(frozen=True, slots=True)
class Kernel:
    """One of the kernels that peak rates are measured with, and its best rate."""

    name: str  # "matmul 2048×2048×2048", "conv 3×3 256→256 at 14×14, channels_last"
    rate: float


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The measured peak rates of this device, for the dtype and threads of the benchmark."""

    flops_per_s: float
    bytes_per_s: float
    compute: tuple[Kernel, ...]  # FLOP/s
    bandwidth: tuple[Kernel, ...]  # B/s, read and written together


@dataclass(frozen=True, slots=True)
class Versus:
    """A paired comparison of two networks (interleaved calls), or of a run with a saved baseline."""

    batch_size: int
    method: str  # "interleaved" or "baseline"
    model: str
    reference: str
    model_time: Distribution
    reference_time: Distribution
    ratio: float  # model / reference
    ci_low: float
    ci_high: float
    margin: float  # relative difference up to which they count as the same
    verdict: str  # one of "FASTER", "SLOWER", "SAME", "UNCLEAR"
    stopped: str | None  # as in Timing; None for a baseline
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """One optimization, compared with plain eager float32 in an interleaved run."""

    key: str  # "channels_last"
    title: str  # "channels_last + conv-bn folded"
    status: str  # "measured", "unavailable", "failed"
    reason: str | None
    dtype: str
    time: Distribution | None
    speedup: float | None  # eager / this
    ci_low: float | None
    ci_high: float | None
    setup_s: float | None  # folding, compiling, capturing, until the first result
    break_even_calls: int | None  # calls after which the set-up has paid for itself; None where it never does
    logit_difference: float | None  # largest |logit - eager float32 logit| over the largest |eager logit|
    top1_agreement: float | None  # share of the images with the same likeliest class; None where none is likeliest
    peak_memory_bytes: int | None = None  # of a training step, counted from the storages alive at once
    code: tuple[str, ...] = ()  # two lines of Python that give it, for a `model` and an `image`


@dataclass(frozen=True, slots=True)
class OptimizationsResult:
    """All optimizations, and the recommended one."""

    batch_size: int
    rows: tuple[OptimizationResult, ...]  # the first one is plain eager
    best: str | None  # key of the recommended one
    recommendation: str  # one sentence
    stopped: str


@dataclass(frozen=True, slots=True)
class LayerTime:
    """The time of a module, or of the operators that a forward runs outside any leaf module.

    A single operator has the path that it has in `summary` ("layer1.0:add"); several share the path "layer1.0:own".
    """

    path: str
    name: str
    layer_type: str
    depth: int
    call: int
    is_leaf: bool  # the shares of all leaves and of other_s add up to 1
    time_s: float  # median, measured within a whole forward; in training of forward and backward
    ci_low_s: float
    ci_high_s: float
    share: float  # of the instrumented forward
    macs: int
    macs_share: float
    flops_per_s: float | None
    bytes_moved: int
    bytes_per_s: float | None
    arithmetic_intensity: float | None  # arithmetic operations per byte
    bound: str | None  # "memory" or "compute", by the measured ceilings
    backward_s: float | None = None  # the part of time_s that is the backward pass; None in inference


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """The time of a forward by layer, in training with its backward pass."""

    batch_size: int
    forward_s: float  # the whole call without a look at its layers; on a GPU as in Timing.device
    instrumented_s: float  # the network with hooks, or as profiled; the leaves and other_s add up to it
    other_s: float  # of instrumented_s, in no leaf layer
    forwards: int
    layers: tuple[LayerTime, ...]
    stopped: str | None = None  # why no more forwards were measured, as in Timing
    method: str = "hooks"  # timed by "hooks", or by what the profiler saw: "kernels" of a GPU, "operators" of a CPU


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of several."""

    rank: int
    host: str
    device: str
    time: Distribution
    images_per_s: float


@dataclass(frozen=True, slots=True)
class Replicas:
    """Replicas that run concurrently, one per process; the batch size is per process."""

    batch_size: int
    backend: str  # "gloo" or "nccl"
    wrapper: str  # "replicas" or "DistributedDataParallel"
    threads: int  # of each process
    ranks: tuple[Rank, ...]
    images_per_s: float  # total of all processes
    single_process: Distribution  # one process while the others wait, in the same run
    single_process_images_per_s: float
    efficiency: float  # images_per_s / (processes x single_process_images_per_s)
    slowest_rank: int  # rank


@dataclass(frozen=True, slots=True)
class Run:
    """One of several processes, each of which measured everything, at one batch size."""

    process: int  # from 1, in the order of measurement
    batch_size: int
    samples: int  # so many successive ones of those in `Timing` and `Versus` are of this process
    median_s: float
    ci_low_s: float  # confidence interval of the median within the process
    ci_high_s: float
    reference_median_s: float | None  # of an interleaved comparison
    ratio: float | None  # model / reference
    ratio_ci_low: float | None
    ratio_ci_high: float | None


@dataclass(frozen=True, slots=True)
class RunSpread:
    """Why processes differ: both components of the variance, as relative standard deviations."""

    batch_size: int
    quantity: str  # "time", or "ratio" of an interleaved comparison
    between: float  # between processes, beyond what the error within them explains
    within: float  # standard error of the median within a process


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What a comparison of two sets of runs takes on this machine until its interval is narrow enough for a gate."""

    batch_size: int
    quantity: str  # "time" against a baseline, or "ratio" of an interleaved comparison
    target: float  # half-width of the interval of the ratio
    processes: int  # that the noise was measured in
    between: float  # as in RunSpread
    within: float  # of a process that samples for sampled_s
    sampled_s: float
    overhead_s: float  # of each process: until its first sample
    runs: int | None  # of each side; None: out of reach
    max_time_s: float | None  # sampling in each run
    duration_s: float | None  # of all runs
    narrowest: float  # half-width with the most and longest runs that are considered


@dataclass(frozen=True, slots=True)
class Conditions:
    """State of the machine during the measurement, which may change from run to run."""

    mode: str  # "inference" or "train"
    precision: str  # "float32", "float32, convolutions in TF32"
    threads: int
    interop_threads: int
    instructions: str | None  # "AVX512", what torch's kernels use
    libraries: tuple[str, ...]  # "oneDNN 3.11", "cuDNN 9.10"
    background_cpu_load: float | None  # CPU cores that other processes kept busy meanwhile
    steal_time_share: float | None  # share of the CPU time that the hypervisor gave to other guests
    clock_hz: float | None  # median clock rate of the GPU during the measurement
    throttled: tuple[str, ...]  # reasons for throttling that were observed
    duration_s: float  # the whole benchmark
    optimizer: str | None = None  # "sgd", "adamw"; None in inference


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Latency by batch size, and the optional measurements (None or empty where they were not requested)."""

    network: Network
    input: Input  # of the first batch size
    image: Shape | None  # (C, H, W) of one image, None for other inputs
    confidence: float  # of all intervals: 0.95
    ci_width: float  # sampling stops when the interval is narrower than this share of the median
    max_time_s: float  # upper limit for the sampling of a batch size
    seed: int
    timings: tuple[Timing, ...]
    ceiling: Ceiling | None
    versus: tuple[Versus, ...]
    optimizations: OptimizationsResult | None
    layers: LayerTimes | None
    replicas: tuple[Replicas, ...]
    fail_above: float | None  # slowdown against the baseline that is a failure
    failed: bool  # whether there was such a slowdown
    interrupted: bool  # Ctrl-C ended it early; what was measured before is kept
    conditions: Conditions
    environment: Environment
    notes: tuple[Note, ...]
    runs: tuple[Run, ...] = ()  # of several processes; empty: this one measured
    spreads: tuple[RunSpread, ...] = ()
    plan: tuple[GatePlan, ...] = ()
    batch_limit: BatchLimit | None = None
    uncounted_macs: tuple[str, ...] = ()  # operators that may multiply matrices and that no rule counts

    @property
    def unit(self) -> str:
        """What `images_per_s` counts, and a batch consists of: "images", or "inputs" of another kind."""
        return "inputs" if self.image is None else "images"


def common_unit(results: Iterable[BenchResult]) -> str:
    """The unit of several results: "images" where all measured images."""
    return "images" if {result.unit for result in results} <= {"images"} else "inputs"
