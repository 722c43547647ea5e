"""The measurements of a report: each that is wanted, of one network after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from resnet_cli import signals
from resnet_cli.errors import attempt
from resnet_cli.measure.bench import benchmark, config
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads import models
from resnet_cli.measure.cost.flops import count_flops
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.models.user_model import load_subject
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.parity import compare, model_pair
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.system.environment import environment
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.common import Note, error_note
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.report import ReportResult
from resnet_cli.results.summary import SummaryResult

Progress = Callable[..., None]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A network to measure.

    Args:
        spec: of the built-in network; the default one where `model` is given.
        model: FILE.py:NAME or package.module:NAME of the user's network; None: the built-in one.
        arguments: for the user's class or function.
    """

    spec: ModelSpec
    model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name in progress and notes."""
        return self.spec.name if self.model is None else self.model


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """What to measure of each network, and how.

    Args:
        measurements: "summary", "flops", "compare", "bench", and of the benchmark "layers" and "optimizations".
        inputs_of: the inputs of a network, and the batch sizes of its benchmark; the first one is that of the others.
        device: of the benchmark and the comparison.
        dtype: of floating-point weights and input; None: the network's own. The comparison always uses float32 and
            float64.
        max_time_s: of sampling, for each batch size, the layers and the optimizations.
        seed: of random weights and inputs.
        threads: CPU threads of the benchmark; None: torch's setting.
        ceiling: whether the benchmark measures peak FLOP/s and memory bandwidth.
    """

    measurements: Sequence[str]
    inputs_of: Callable[[ModelUnderTest], tuple[ModelInputs, tuple[int, ...]]]
    device: torch.device
    dtype: torch.dtype | None
    max_time_s: float
    seed: int
    threads: int | None = None
    ceiling: bool = True


Result = SummaryResult | FlopsResult | CompareResult | BenchResult


@prints_to_stderr()
def measure_all(sources: Sequence[ModelSource], settings: ReportConfig, progress: Progress) -> ReportResult:
    """Measure network after network.

    An error in one measurement becomes a note and leaves all other results as they are. Ctrl-C ends the measuring and
    keeps the results so far.

    Args:
        sources: one or more networks.
        settings: what to measure of each.
        progress: called with a text before each measurement.

    Raises:
        ResnetCliError: nothing could be measured; the first error.
        KeyboardInterrupt: before the first result.
    """
    results: list[Result] = []
    notes: list[Note] = []
    errors: list[Exception] = []
    interrupted = False
    steps = [(source, name) for source in sources for name in MEASUREMENTS if name in settings.measurements]
    try:
        for source, name in steps:
            progress(f"{source.name}: {name}")
            with attempt(f"{name} of {source.name}") as measured:  # a bug in it must not lose the others
                result = MEASUREMENTS[name](source, settings, progress)
            if measured.error is not None:
                errors.append(measured.error)
                notes.append(_note(source, name, measured.error))
                continue
            results.append(result)
            interrupted = isinstance(result, (CompareResult, BenchResult)) and result.interrupted
            if interrupted:
                break
    except KeyboardInterrupt:
        if not results:
            raise
        signals.acknowledge()
        interrupted = True
    if not results and errors:
        raise errors[0]
    return ReportResult(
        summaries=tuple(result for result in results if isinstance(result, SummaryResult)),
        flops=tuple(result for result in results if isinstance(result, FlopsResult)),
        comparisons=tuple(result for result in results if isinstance(result, CompareResult)),
        benchmarks=tuple(result for result in results if isinstance(result, BenchResult)),
        interrupted=interrupted,
        environment=environment(settings.device),
        notes=tuple(notes),
    )


def _note(source: ModelSource, name: str, error: Exception) -> Note:
    note = error_note(error)
    return replace(note, text=f"{source.name}, {name}: {note.text}")


def _shape_model(source: ModelSource) -> ModelUnderTest:
    """The network for counting: where possible its weights are not allocated."""
    if source.model is None:
        return model_from_spec(source.spec)
    return load_subject(source.model, given=source.arguments)


def _summary(source: ModelSource, settings: ReportConfig, progress: Progress) -> SummaryResult:
    model = _shape_model(source)
    inputs, batch_sizes = settings.inputs_of(model)
    return summarize(model, inputs=inputs.at_batch(batch_sizes[0]), dtype=settings.dtype, device=settings.device)


def _flops(source: ModelSource, settings: ReportConfig, progress: Progress) -> FlopsResult:
    model = _shape_model(source)
    inputs, batch_sizes = settings.inputs_of(model)
    return count_flops(model, inputs=inputs.at_batch(batch_sizes[0]), dtype=settings.dtype, device=settings.device)


def _compare(source: ModelSource, settings: ReportConfig, progress: Progress) -> CompareResult:
    """At batch 2 or more, as batch norm in train mode needs."""
    classes = source.arguments.get("num_classes")
    pair = model_pair.model_pair(
        replace(source.spec, num_classes=classes) if type(classes) is int else source.spec,
        source.model,
        is_default=source.model is not None,
        arguments=dict(source.arguments),
        seed=settings.seed,
        as_many_classes=classes is None,
        inputs_of=lambda model: settings.inputs_of(model)[0],
    )
    inputs, batch_sizes = settings.inputs_of(pair.model)
    parity_config = ParityConfig(
        seed=settings.seed,
        device=settings.device,
        checks=CHECKS,
        keep=False,
    ).for_inputs(inputs.at_batch(max(2, batch_sizes[0])))
    result = compare.compare(pair.model, pair.reference, parity_config, progress=progress)
    return replace(result, notes=(*pair.notes, *result.notes))


def _bench(source: ModelSource, settings: ReportConfig, progress: Progress) -> BenchResult:
    model = (
        models.build(source.spec, settings.seed)
        if source.model is None
        else models.users_own(source.model, source.arguments, settings.seed)
    )
    inputs, batch_sizes = settings.inputs_of(model)
    bench_config = config.BenchmarkConfig(
        inputs=inputs,
        batch_sizes=batch_sizes,
        device=settings.device,
        dtype=settings.dtype,
        limits=Limits(max_time_s=settings.max_time_s, min_time_s=min(2.0, settings.max_time_s)),
        seed=settings.seed,
        threads=settings.threads,
        ceiling=settings.ceiling,
        layers="layers" in settings.measurements,
        optimizations=tuple(OPTIMIZATIONS) if "optimizations" in settings.measurements else None,
    )
    return benchmark.bench(model, bench_config, progress=progress)


# In the order of the report.
MEASUREMENTS: dict[str, Callable[[ModelSource, ReportConfig, Progress], Result]] = {
    "summary": _summary,
    "flops": _flops,
    "compare": _compare,
    "bench": _bench,
}
