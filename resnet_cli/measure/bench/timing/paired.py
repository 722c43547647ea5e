"""Two networks timed call by call in turn: a disturbance affects both, and hardly their ratio."""

from __future__ import annotations

from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.measure.bench.stats.ratios import paired_ratio, verdict
from resnet_cli.measure.bench.timing import batch_timing
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.results.bench import Timing, Versus


def interleaved(
    model: Workload,
    reference: Workload,
    names: tuple[str, str],
    batch_size: int,
    context: batch_timing.BatchContext,
    *,
    reference_first: bool = False,
) -> tuple[Timing, Versus | None]:
    """The row of the model, and its comparison with the reference; None where one of the two does not run.

    The verdict is SAME where the interval of the ratio is within the target width.

    Args:
        model: the network under test.
        reference: what it is compared with, in the same mode and dtype on the same device.
        names: of both.
        batch_size: images.
        context: of the batch size; its cost is the model's, and the reference is assumed to be as large.
        reference_first: it is warmed up and called before the model.

    Raises:
        KeyboardInterrupt: before anything was measured.
    """
    limits = context.limits
    try:
        context.require_memory(batch_size, networks=2)
        with model.running():
            works = [(model, reference.held_bytes()), (reference, 0)]
            order = -1 if reference_first else 1
            calls = [batch_timing.warm_up_batch(work, batch_size, context, beside) for work, beside in works[::order]]
            sampled = batch_timing.sample_calls(calls, batch_size, context)
            (ready, samples), (reference_call, reference_samples) = [*zip(calls, sampled.series, strict=True)][::order]
            row = batch_timing.timing(model, batch_size, context, ready, samples, sampled.stopped)
    except batch_timing.NotRunError as failure:
        return batch_timing.not_measured(batch_size, context.cost, failure), None
    wall, reference_wall = ([sample.wall_s for sample in taken] for taken in (samples, reference_samples))
    ratio, low, high = paired_ratio(wall, reference_wall)
    return row, Versus(
        batch_size=batch_size,
        method="interleaved",
        model=names[0],
        reference=names[1],
        model_time=describe(wall),
        reference_time=describe(reference_wall),
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        margin=limits.ci_width,
        verdict=verdict(low, high, limits.ci_width),
        stopped=sampled.stopped,
        notes=tuple(note for note in reference_call.notes if note not in ready.notes),
    )
