"""Optimizations of a training step against plain eager: speed-up, memory, and whether the gradients are the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from resnet_cli import errors
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Limits, Progress
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.bench.workloads.training import TrainingStep
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.optimizations.attempt import FAILED, MEASURED, Attempt, result_rows, sample_attempts
from resnet_cli.measure.optimizations.recommendation import best_optimization, training_recommendation
from resnet_cli.measure.optimizations.registry import EAGER, OPTIMIZATIONS
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.bench import OptimizationsResult

_MAX_GRADIENT_DIFFERENCE = 0.02  # relative to the largest gradient; TF32 and deep networks amplify rounding


def compare_training(
    work: Workload,
    batch_size: int,
    *,
    backend: DeviceBackend,
    limits: Limits,
    chosen: Sequence[str],
    progress: Progress,
    duplicate: Callable[[nn.Module], nn.Module],
) -> OptimizationsResult:
    """Time training steps of the network with each optimization, interleaved.

    Args:
        work: the network, in train mode and float32; copies of it are trained.
        batch_size: of a step.
        backend: of the device.
        limits: when sampling ends; the time is that of all together.
        chosen: keys of optimizations of training.
        progress: called with a line of text.
        duplicate: makes the copies.

    Raises:
        ResnetCliError: plain eager itself does not train.
        KeyboardInterrupt: before anything was measured.
    """
    rows = (EAGER, *(row for key, row in OPTIMIZATIONS.items() if key in chosen and TRAIN in row.modes))
    attempts = [Attempt(row, backend) for row in rows]
    expected: list[Tensor] = []
    for attempt in attempts:
        progress(f"optimizations: building {attempt.optimization.title}")
        with errors.attempt(f"optimization {attempt.optimization.key} of training") as building:
            _build(attempt, work, batch_size, expected, duplicate)
        if building.error is not None:
            attempt.fail(building.error)
        if attempt.variant is not None:
            attempt.warm_up(limits, progress)
        if attempt.is_eager and attempt.variant is None:
            raise ResnetCliError(f"plain eager does not train: {attempt.reason}", "try another batch size")
    sampled = sample_attempts(attempts, backend, limits, progress)
    results = result_rows(attempts, sampled, backend.precision(torch.float32))
    keeping = {row.key for row in rows if row.keeps_precision}
    best = best_optimization(results, keeping, limits.ci_width)
    return OptimizationsResult(
        batch_size=batch_size,
        rows=results,
        best=None if best is None else best.key,
        recommendation=training_recommendation(results, best),
        stopped=sampled.stopped,
    )


def _build(
    attempt: Attempt,
    work: Workload,
    batch_size: int,
    expected: list[Tensor],
    duplicate: Callable[[nn.Module], nn.Module],
) -> None:
    """Make the step, and compare its first gradients with those of plain eager, which are `expected` from then on."""
    optimization, backend = attempt.optimization, attempt.backend
    network = duplicate(work.model).train()
    begin = backend.now()
    variant = optimization.load()(network, work.input(batch_size), backend)
    module = variant.run
    assert isinstance(module, nn.Module)
    step = TrainingStep(module, variant.inputs, work.optimizer, backend.device, seed=work.seed)
    with random_init.seeded(work.seed), _without_dropout(network):  # whatever else it draws is the same
        output = step.forward()
        step.backward()
    backend.synchronize()
    attempt.setup_s, attempt.reason = backend.now() - begin, variant.remark
    outputs = len(tensors_in(output))
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    computed = [tensor.detach().to("cpu", torch.float32, copy=True) for tensor in (*tensors_in(output), *gradients)]
    if not expected:
        expected += computed
    attempt.logit_difference = difference(computed[:outputs], expected[:outputs])
    apart = difference(computed[outputs:], expected[outputs:])
    if optimization.keeps_precision and not apart <= _MAX_GRADIENT_DIFFERENCE:
        attempt.status = FAILED
        attempt.reason = f"changes the gradients by {100 * apart:.2g}%, more than rounding does"
        return
    subject = ModelUnderTest(network, type(network).__name__)
    attempt.peak_memory_bytes = workload_cost(subject, work.inputs, torch.float32, TRAIN, work.optimizer).bytes_at(
        batch_size
    )
    attempt.status, attempt.variant = MEASURED, Variant(step, Arguments((), {}))


@contextlib.contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Which elements dropout drops depends on the memory format, so gradients are compared without it."""
    layers = [module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    try:
        for layer in layers:
            layer.eval()
        yield
    finally:
        for layer in layers:
            layer.train()


def difference(tensors: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of two lists of tensors, relative to the largest value; not a number if one is."""
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in expected]:
        return float("inf")
    pairs = list(zip(tensors, expected, strict=True))
    scale = max((float(right.abs().max()) for _, right in pairs if right.numel()), default=0.0)
    largest = max((float((left - right).abs().max()) for left, right in pairs if left.numel()), default=0.0)
    return largest / scale if scale else largest
