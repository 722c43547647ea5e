"""`bench`: everything that was asked for, in one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.layers.layer_times import layer_times
from resnet_cli.measure.bench.run_context import RunContext, torch_settings
from resnet_cli.measure.bench.stats.ratios import with_knee
from resnet_cli.measure.bench.timing import batch_timing
from resnet_cli.measure.bench.timing.paired import interleaved
from resnet_cli.measure.bench.timing.sampling import INTERRUPTED, Progress
from resnet_cli.measure.bench.workloads.batch_limit import find_batch_size
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.bench.workloads.models import OtherModel
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import WorkloadCost, layers, workload_cost
from resnet_cli.measure.cost.uncounted import uncounted_notes
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.optimizations.training import compare_training
from resnet_cli.measure.roofline.ceiling import measure_ceiling
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.devices.loss import DeviceLostError, loss_of, require_device
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.results.bench import BatchLimit, BenchResult, Ceiling, LayerTimes, OptimizationsResult, Timing, Versus
from resnet_cli.results.common import Note, error_note

_MEMORY_SHARE = 0.95  # of what is free; the rest is for workspaces and other processes


@prints_to_stderr()
def bench(
    model: ModelUnderTest,
    config: BenchmarkConfig,
    *,
    reference: OtherModel | None = None,
    progress: Progress,
) -> BenchResult:
    """Time a network.

    An error after the first batch size, and Ctrl-C, keep what was measured before: the result has an error note then,
    or says that it was interrupted.

    Args:
        model: the network, with weights, on the CPU; it is moved to the device, and in train mode trained.
        config: what to measure.
        reference: another network, interleaved with this one.
        progress: called with a line of text, between samples.

    Raises:
        ResnetCliError: nothing could be measured.
        KeyboardInterrupt: before anything was measured.
    """
    if config.optimizations is not None:
        config = replace(config, dtype=torch.float32)  # whose logits the optimizations are judged by
    require_device(device_backend(config.device), "does not work")
    with torch_settings(config.threads):
        context = RunContext(model, config)
        run = _Run(model, config, reference, device_backend(config.device), context.monitor, progress)
        run.measure()
        result = context.close()
        return replace(
            result,
            timings=with_knee(run.timings),
            ceiling=run.ceiling,
            versus=tuple(run.versus),
            optimizations=run.optimizations,
            layers=run.layers,
            batch_limit=run.batch_limit,
            interrupted=run.interrupted,
            uncounted_macs=run.uncounted,
            notes=(*result.notes, *uncounted_notes((), run.uncounted), *run.errors),
        )


@dataclass(slots=True)
class _Run:
    """A benchmark, and what it has measured so far."""

    model: ModelUnderTest
    config: BenchmarkConfig
    reference: OtherModel | None
    backend: DeviceBackend
    monitor: conditions.ConditionMonitor
    report: Progress
    timings: list[Timing] = field(default_factory=list)
    versus: list[Versus] = field(default_factory=list)
    ceiling: Ceiling | None = None
    optimizations: OptimizationsResult | None = None
    layers: LayerTimes | None = None
    batch_limit: BatchLimit | None = None
    interrupted: bool = False
    lost: bool = False  # the device no longer works
    uncounted: tuple[str, ...] = ()
    errors: list[Note] = field(default_factory=list)

    @property
    def has_times(self) -> bool:
        """Whether a batch size was measured; without one there is no result."""
        return any(row.wall is not None for row in self.timings)

    def measure(self) -> None:
        """Row after row, then optimizations and layers at the first batch size that ran."""
        config = self.config
        try:
            self.report("counting")
            cost = workload_cost(self.model, config.inputs, config.dtype, config.mode, config.optimizer)
            self.uncounted = cost.uncounted
            original = self.model.duplicate() if config.optimizations is not None else None
            work = self._workload(self.model.model, config.inputs, config.dtype)
            with attempt("timing") as rows:
                self._rows(work, cost)
            if rows.error is not None and not self.has_times:
                raise rows.error
            self._keep(rows.error)
            _require_one(self.timings)
            if config.find_batch_size and not (self.interrupted or self.lost):
                self._attempt_batch_limit(work, cost)
            if original is not None and not (self.interrupted or self.lost):
                self._attempt_optimizations(original)
            # Last: launches may be slower in a process that has profiled.
            if config.layers and not (self.interrupted or self.lost):
                self._attempt_layers(work)
        except KeyboardInterrupt:
            if not self.has_times:
                raise
            signals.acknowledge()
            self.interrupted = True
        except Exception as error:
            if (explained := self._explained(error)) is not error:
                raise explained from error
            raise

    def progress(self, text: str) -> None:
        """Between samples there is time to look at the accelerator's clock rate."""
        self.monitor.sample()
        self.report(text)

    def _workload(self, model: nn.Module, inputs: ModelInputs, dtype: torch.dtype | None) -> Workload:
        config = self.config
        return Workload(
            model,
            inputs=inputs,
            device=config.device,
            dtype=dtype,
            mode=config.mode,
            seed=config.seed,
            fresh=config.fresh,
            mixed=config.is_mixed,
            optimizer=config.optimizer,
        )

    def _rows(self, work: Workload, cost: WorkloadCost) -> None:
        config = self.config
        if config.ceiling:
            self.report("measuring the peak of this machine")
            self.ceiling = measure_ceiling(config.device, work.dtype, self.backend, progress=self.progress)
        free = self.backend.free_memory()
        available = None if free is None else int(_MEMORY_SHARE * free)
        context = batch_timing.BatchContext(
            self.backend, config.limits, cost, self.progress, ceiling=self.ceiling, available=available
        )
        reference_work = None
        if self.reference is not None:
            reference_inputs = self.reference.inputs_of(config.inputs)
            reference_work = self._workload(self.reference.model, reference_inputs, work.dtype)
        for batch_size in config.batch_sizes:
            if reference_work is None or self.reference is None:
                row = batch_timing.time_batch(work, batch_size, context)
            else:
                names = (self.model.name, self.reference.name)
                row, versus = interleaved(
                    work, reference_work, names, batch_size, context, reference_first=config.reference_first
                )
                if versus is not None:
                    self.versus.append(versus)
            self.timings.append(row)
            require_device(self.backend)
            if row.stopped == INTERRUPTED:
                self.interrupted = True
                return

    @property
    def _batch_size(self) -> int:
        return next(row.batch_size for row in self.timings if row.wall is not None)

    def _keep(self, error: Exception | None) -> None:
        """An error ends one part of the measurement; the others stay."""
        if error is not None:
            error = self._explained(error)
            self.lost = isinstance(error, DeviceLostError)
            self.errors.append(error_note(error))

    def _explained(self, error: Exception) -> Exception:
        """The loss of the device, or memory that ended, where that is the reason of an error."""
        if (loss := loss_of(self.backend)) is not None:
            return loss
        reason = batch_timing.as_not_run(error, self.backend)
        if isinstance(error, ResnetCliError) or reason.status != batch_timing.OUT_OF_MEMORY:
            return error
        return ResnetCliError(
            f"{reason.status}: {reason.reason}", "free memory of the device, or use a smaller network"
        )

    def _attempt_batch_limit(self, work: Workload, cost: WorkloadCost) -> None:
        with attempt("finding the largest batch") as finding:
            free = self.backend.free_memory()
            if free is None:
                raise ResnetCliError("the largest batch is unknown: the system does not tell how much memory is free")
            capacity = int(_MEMORY_SHARE * free) + work.held_bytes()
            self.batch_limit = find_batch_size(work, cost, self.backend, capacity, self.progress)
        self._keep(finding.error)

    def _attempt_layers(self, work: Workload) -> None:
        with attempt("timing layers") as timing:
            root = layers(self.model, self.config.inputs.at_batch(self._batch_size), self.config.dtype)
            self.layers = layer_times(
                work,
                self._batch_size,
                root,
                backend=self.backend,
                limits=self.config.limits,
                ceiling=self.ceiling,
                progress=self.progress,
            )
            if self.uncounted:
                self.layers = _without_rates(self.layers)
            self.interrupted = self.layers.stopped == INTERRUPTED
        self._keep(timing.error)

    def _attempt_optimizations(self, original: nn.Module) -> None:
        with attempt("comparing optimizations") as comparing:
            compare = compare_training if self.config.mode == TRAIN else compare_optimizations
            self.optimizations = compare(
                self._workload(original, self.config.inputs, torch.float32),
                self._batch_size,
                backend=self.backend,
                limits=self.config.limits,
                chosen=self.config.optimizations or (),
                progress=self.progress,
                duplicate=self.model.duplicate,
            )
            self.interrupted = self.optimizations.stopped == INTERRUPTED
        self._keep(comparing.error)


def _without_rates(times: LayerTimes) -> LayerTimes:
    """Where products are not counted, it is not known which layers have more FLOPs than are counted."""
    return replace(times, layers=tuple(replace(layer, flops_per_s=None) for layer in times.layers))


def _require_one(rows: Sequence[Timing]) -> None:
    """Raises: ResnetCliError: no batch size could be measured."""
    if any(row.wall is not None for row in rows):
        return
    row = rows[0]
    hint = (
        "use a smaller `batch_size` or `image_size`"
        if row.status == batch_timing.OUT_OF_MEMORY
        else "try another `batch_size`, `dtype` or `device`"
    )
    raise ResnetCliError(f"`batch_size={row.batch_size}`: {row.status}: {row.reason}", hint)
