"""Samples until the answer is sharp: warm-up until the times stand still, then calls in turn."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resnet_cli.bench_results import Start
from resnet_cli.measure.latency.clocks import Clock, Sample, timed
from resnet_cli.measure.latency.statistics import CONFIDENCE, is_steady, median_interval, paired_ratio, quantile

Call = Callable[[], object]
Progress = Callable[[str], None]

SHARP, TIME, INTERRUPTED = "sharp", "time", "interrupted"
_LOOKS_EVERY = 0.5  # seconds between two looks at the interval
_FEWEST_SAMPLES = 40


@dataclass(frozen=True, slots=True)
class Limits:
    """When sampling ends.

    Args:
        ci_width: when the interval is narrower than this share of the median …
        max_time_s: … or after so many seconds, whatever it says.
        min_time_s: but not before: what changes more slowly than a run lasts cannot be seen in it.
    """

    ci_width: float = 0.01
    max_time_s: float = 20.0
    min_time_s: float = 2.0
    confidence: float = CONFIDENCE


@dataclass(slots=True)
class Sampled:
    """Samples of each call, in the order of measuring; sample i of all of them belongs to round i."""

    series: list[list[Sample]]
    stopped: str
    seconds: float = 0.0

    @property
    def walls(self) -> list[list[float]]:
        """The wall times alone, in seconds."""
        return [[sample.wall_s for sample in samples] for samples in self.series]


def _silent(text: str) -> None: ...


def warm_up(clock: Clock, call: Call, limits: Limits, progress: Progress = _silent, name: str = "") -> Start:
    """Call until the times stand still, or a quarter of the time is over.

    Raises:
        KeyboardInterrupt: the user has had enough; nothing was measured yet.
    """
    begin = clock.now()
    times = [timed(clock, call).wall_s]
    steady = False
    told = begin
    while not steady and (clock.now() - begin < limits.max_time_s / 4 or len(times) < 3):
        times.append(timed(clock, call).wall_s)
        steady = is_steady(times[1:])
        if clock.now() - told >= _LOOKS_EVERY:
            told = clock.now()
            progress(f"{name}warming up, {len(times)} calls")
    return Start(times[0], len(times), clock.now() - begin, steady)


def sample(
    clock: Clock, calls: Sequence[Call], limits: Limits, progress: Progress = _silent, name: str = ""
) -> Sampled:
    """Samples of calls in turn, each round in the other direction, until every interval is sharp.

    Of one call it is the interval of the median, of several those of the ratios to the first one. Ctrl-C ends it and
    keeps the whole rounds.

    Args:
        clock: of the device.
        calls: warm ones.
        limits: when to stop.
        progress: is told between two rounds, never while a sample is taken.
        name: what the text for it begins with.
    """
    taken: list[list[Sample]] = [[] for _ in calls]
    begin = clock.now()
    looked = begin
    stopped = TIME
    order = list(range(len(calls)))
    with _no_collection():
        try:
            while (now := clock.now()) - begin < limits.max_time_s or not taken[0]:
                if now - looked >= _LOOKS_EVERY:
                    looked = now
                    width = _width(taken, limits.confidence)
                    if (
                        width <= limits.ci_width
                        and now - begin >= limits.min_time_s
                        and len(taken[0]) >= _FEWEST_SAMPLES
                    ):
                        stopped = SHARP
                        break
                    left = max(0.0, limits.max_time_s - (now - begin))
                    progress(
                        f"{name}{len(taken[0])} samples, interval {100 * width:.1f} % wide, at most {left:.0f} s left"
                    )
                this_round = {index: timed(clock, calls[index]) for index in order}
                for index, one in this_round.items():
                    taken[index].append(one)
                order.reverse()
        except KeyboardInterrupt:
            stopped = INTERRUPTED
            if not taken[0]:
                raise
            whole = min(map(len, taken))
            taken = [samples[:whole] for samples in taken]
    return Sampled(taken, stopped, clock.now() - begin)


def _width(taken: Sequence[Sequence[Sample]], confidence: float) -> float:
    """The widest interval, relative to its middle."""
    walls = [[sample.wall_s for sample in samples] for samples in taken]
    if not walls[0]:
        return float("inf")
    if len(walls) == 1:
        low, high = median_interval(walls[0], confidence)
        middle = quantile(sorted(walls[0]), 0.5)
        return (high - low) / middle if middle else 0.0
    widths = []
    for other in walls[1:]:
        ratio, low, high = paired_ratio(other, walls[0], confidence)
        widths.append((high - low) / ratio if ratio else 0.0)
    return max(widths)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Python's garbage collector takes its milliseconds now and not within a sample."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
