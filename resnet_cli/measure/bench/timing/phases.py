"""Forward, backward and optimizer of a training step, each with its own time."""

from __future__ import annotations

from resnet_cli.measure.bench.stats.estimators import median_interval, quantile
from resnet_cli.measure.bench.timing.device_timer import Clock, timed
from resnet_cli.measure.bench.timing.sampling import Limits, without_collection
from resnet_cli.measure.bench.workloads.training import TrainingStep
from resnet_cli.results.bench import PhaseTime

_SHARE = 0.25  # of the time for sampling whole steps
_FEWEST, _MOST = 5, 400  # steps


def time_phases(step: TrainingStep, clock: Clock, limits: Limits) -> tuple[PhaseTime, ...]:
    """Times of the phases of a warm training step; the device is waited for after each.

    They are measured apart from whole steps, since an accelerator goes on without a wait between phases there.

    Args:
        step: that has run before.
        clock: of the device.
        limits: of the whole steps; a quarter of their time is taken.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    taken: dict[str, list[float]] = {name: [] for name in step.phases}
    begin, steps = clock.now(), 0
    with without_collection():
        while steps < _FEWEST or (steps < _MOST and clock.now() - begin < _SHARE * limits.max_time_s):
            for name, phase in step.phases.items():
                taken[name].append(timed(clock, phase).wall_s)
            steps += 1
    medians = {name: quantile(sorted(times), 0.5) for name, times in taken.items()}
    whole = sum(medians.values())
    return tuple(
        PhaseTime(name, medians[name], *median_interval(times), medians[name] / whole if whole else 0.0)
        for name, times in taken.items()
    )
