"""What is measured of a warm call beside its samples: many in a row, the device's own time, phases of training."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli import signals
from resnet_cli.errors import attempt
from resnet_cli.measure.bench.timing.device_sampling import DeviceSamples, device_samples
from resnet_cli.measure.bench.timing.device_timer import Clock, time_back_to_back
from resnet_cli.measure.bench.timing.phases import time_phases
from resnet_cli.measure.bench.timing.sampling import Call, Limits
from resnet_cli.measure.bench.workloads.training import TrainingStep
from resnet_cli.results.bench import PhaseTime

_BACK_TO_BACK_S = 1.0  # of calls without a wait between them
_MAX_BACK_TO_BACK = 1000  # calls; bounds the time, since the launch queue is full long before


@dataclass(slots=True)
class FurtherTimes:
    """As much of it as was measured.

    Args:
        in_a_row_s: time of a call among many; None on a processor, where samples are as close to each other.
        device: samples of the device's own time, as `device_samples` gives them.
        phases: of a training step.
        error: what ended it early.
        interrupted: Ctrl-C ended it early.
    """

    in_a_row_s: float | None = None
    device: DeviceSamples | None = None
    phases: tuple[PhaseTime, ...] = ()
    error: Exception | None = None
    interrupted: bool = False


def further_times(
    call: Call, median_s: float, enqueue_s: float, clock: Clock, limits: Limits, *, has_queue: bool
) -> FurtherTimes:
    """Measure it. An error or Ctrl-C ends it, and what was measured is kept.

    Args:
        call: warmed up.
        median_s: wall time of it alone.
        enqueue_s: host time until it returns.
        clock: of the device.
        limits: of its samples.
        has_queue: the device works off a queue.
    """
    times = FurtherTimes()
    try:
        with attempt("further times of a call") as measuring:
            if has_queue:
                calls = max(10, min(_MAX_BACK_TO_BACK, int(_BACK_TO_BACK_S / median_s)))
                times.in_a_row_s = time_back_to_back(clock, call, calls).wall_s / calls
                times.device = device_samples(clock, call, enqueue_s)
            if isinstance(call, TrainingStep):
                times.phases = time_phases(call, clock, limits)
        times.error = measuring.error
    except KeyboardInterrupt:
        signals.acknowledge()
        times.interrupted = True
    return times
