"""`report`: every measurement that was asked for, of one network after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import benchmark, config
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.cost.flops import count_flops
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.measure.models.user_model import load_subject
from resnet_cli.measure.parity import compare, model_pair
from resnet_cli.measure.parity.config import ParityConfig as ParityQuestion
from resnet_cli.measure.system.environment import environment
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.results.bench import OPTIMIZATIONS, BenchResult
from resnet_cli.results.common import Note, Shape
from resnet_cli.results.compare import CHECKS, CompareResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.report import ReportResult
from resnet_cli.results.summary import SummaryResult

Progress = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Named:
    """A network to report on.

    Args:
        spec: of ours; of the default one where `model` names the user's.
        model: FILE.py:NAME or package.module:NAME of the user's network, None for one of ours.
        arguments: that the user's class or function has to take.
    """

    spec: ModelSpec
    model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What progress and notes call it."""
        return self.spec.name if self.model is None else self.model


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure of each network.

    Args:
        measurements: some of `sections.MEASUREMENTS`.
        image: (C, H, W).
        batch_sizes: of the benchmark; the first one is that of all counts.
        device: where the benchmark and the comparison run.
        dtype: of weights and input; the comparison is in float32 and float64 always.
        max_time_s: of sampling, for each batch size, the layers and the ladder.
        seed: of random weights and inputs.
        threads: of the processor, for the benchmark; None: torch's.
        ceiling: whether the benchmark measures what the machine can do at best.
    """

    measurements: Sequence[str]
    image: Shape
    batch_sizes: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    max_time_s: float
    seed: int
    threads: int | None = None
    ceiling: bool = True


@dataclass(slots=True)
class _Found:
    summaries: list[SummaryResult] = field(default_factory=list)
    flops: list[FlopsResult] = field(default_factory=list)
    comparisons: list[CompareResult] = field(default_factory=list)
    benchmarks: list[BenchResult] = field(default_factory=list)
    interrupted: bool = False
    notes: list[Note] = field(default_factory=list)
    first_error: ResnetCliError | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.summaries or self.flops or self.comparisons or self.benchmarks)


def measure(networks: Sequence[Named], asked: Asked, progress: Progress) -> ReportResult:
    """Measure network after network. What fails is left out with a note; Ctrl-C keeps what there is.

    Args:
        networks: one or more.
        asked: what of each.
        progress: is told what goes on.

    Raises:
        ResnetCliError: nothing could be measured; the first reason.
        KeyboardInterrupt: before anything was measured.
    """
    found = _Found()
    try:
        for network in networks:
            for name, run in _RUNS.items():
                if name in asked.measurements and not found.interrupted:
                    _attempt(name, run, network, asked, found, progress)
    except KeyboardInterrupt:
        if found.is_empty:
            raise
        signals.acknowledge()
        found.interrupted = True
    if found.is_empty and found.first_error is not None:
        raise found.first_error
    return ReportResult(
        summaries=tuple(found.summaries),
        flops=tuple(found.flops),
        comparisons=tuple(found.comparisons),
        benchmarks=tuple(found.benchmarks),
        interrupted=found.interrupted,
        environment=environment(asked.device),
        notes=tuple(found.notes),
    )


Run = Callable[[Named, Asked, _Found, Progress], None]


def _attempt(name: str, run: Run, network: Named, asked: Asked, found: _Found, progress: Progress) -> None:
    progress(f"{network.name}: {name}")
    try:
        run(network, asked, found, progress)
    except ResnetCliError as error:
        found.first_error = found.first_error or error
        found.notes.append(Note("warning", f"{network.name} has no {name}: {error.message}"))


def _counted(network: Named) -> ModelUnderTest:
    """The network for a count: its weights not allocated where that is possible."""
    if network.model is None:
        return model_from_spec(network.spec)
    return load_subject(network.model, given=network.arguments)


def _summary(network: Named, asked: Asked, found: _Found, progress: Progress) -> None:
    shape = (asked.batch_sizes[0], *asked.image)
    found.summaries.append(summarize(_counted(network), shape=shape, dtype=asked.dtype, device=asked.device))


def _flops(network: Named, asked: Asked, found: _Found, progress: Progress) -> None:
    shape = (asked.batch_sizes[0], *asked.image)
    found.flops.append(count_flops(_counted(network), shape=shape, dtype=asked.dtype, device=asked.device))


def _parity(network: Named, asked: Asked, found: _Found, progress: Progress) -> None:
    spec = network.spec
    if network.model is None and (spec.stem, spec.in_channels) != ("imagenet", 3):
        raise ResnetCliError("torchvision's networks have the imagenet stem and 3 channels")
    pair = model_pair.model_pair(
        spec,
        network.model,
        None,
        is_default=network.model is not None,
        arguments=dict(network.arguments),
        seed=asked.seed,
    )
    asks = ParityQuestion(
        shape=(max(2, asked.batch_sizes[0]), *asked.image),
        seed=asked.seed,
        device=asked.device,
        checks=CHECKS,
        keep=False,
    )
    result = compare.compare(pair.ours, pair.theirs, asks, progress=progress)
    found.comparisons.append(replace(result, notes=(*pair.notes, *result.notes)))
    found.interrupted = result.interrupted


def _bench(network: Named, asked: Asked, found: _Found, progress: Progress) -> None:
    ours = (
        config.build(network.spec, asked.seed)
        if network.model is None
        else config.users_own(network.model, network.arguments, asked.seed)
    )
    asks = config.BenchmarkConfig(
        image=asked.image,
        batch_sizes=asked.batch_sizes,
        device=asked.device,
        dtype=asked.dtype,
        limits=Limits(max_time_s=asked.max_time_s, min_time_s=min(2.0, asked.max_time_s)),
        seed=asked.seed,
        threads=asked.threads,
        ceiling=asked.ceiling,
        layers="layers" in asked.measurements,
        levers=OPTIMIZATIONS if "ladder" in asked.measurements else None,
    )
    result = benchmark.bench(ours, asks, progress=progress)
    found.benchmarks.append(result)
    found.interrupted = result.interrupted


# In the order of the page. Layers and ladder belong to the benchmark.
_RUNS: dict[str, Run] = {"summary": _summary, "flops": _flops, "parity": _parity, "bench": _bench}
