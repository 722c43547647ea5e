"""Samples until the answer is sharp: warm-up until the times stand still, then calls in turn."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resnet_cli import signals
from resnet_cli.measure.bench.device_timer import Clock, Sample, timed
from resnet_cli.measure.bench.estimators import CONFIDENCE, is_steady, median_interval, paired_ratio, quantile
from resnet_cli.results.bench import WarmUp

Call = Callable[[], object]
Progress = Callable[[str], None]

SHARP, TIME, INTERRUPTED = "sharp", "time", "interrupted"
_TOLD_EVERY = 0.5  # seconds between two words on the progress
_LOOK_EVERY = 0.5  # seconds between two looks at the interval, or more, …
_LOOK_GROWTH = 1.1  # … until there are so many times as many samples …
_LOOK_SHARE = 0.05  # … and the looks take no more than this share of the time
_CONVERGED_CHECKS = 3  # in a row: who looks often sees one that is sharp by chance, and that misses more often
_FEWEST_SAMPLES = 40
_FEWEST_CALLS = 3  # of a warm-up
_WARM_AFTER = 0.2  # seconds of work in which a device that idled raises its clocks
_SHORTEST_WINDOW, _LONGEST_WINDOW = 2, 10  # calls


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


def warm_up(clock: Clock, call: Call, limits: Limits, progress: Progress = _silent, name: str = "") -> WarmUp:
    """Call until the times stand still, or a quarter of the time is over; the first call may take as long as it does.

    Raises:
        KeyboardInterrupt: the user has had enough; nothing was measured yet.
    """
    begin = clock.now()
    times = [timed(clock, call).wall_s]
    budget = limits.max_time_s / 4
    steady = False
    told = since = clock.now()
    while len(times) < _FEWEST_CALLS or clock.now() - since < budget:
        times.append(timed(clock, call).wall_s)
        now = clock.now()
        steady = is_steady(times[1:], _window(times, budget))
        if steady and now - since >= min(_WARM_AFTER, budget / 2):
            break
        if now - told >= _TOLD_EVERY:
            told = now
            progress(f"{name}warming up, {len(times)} calls")
    return WarmUp(times[0], len(times), clock.now() - begin, steady)


def _window(times: Sequence[float], budget: float) -> int:
    """Calls to hold against as many before them; fewer where calls are so long that the time would not do for more."""
    fastest = min(times)
    fit = _LONGEST_WINDOW if fastest <= 0 else int(min(budget / fastest / 3, _LONGEST_WINDOW))
    return max(_SHORTEST_WINDOW, fit)


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
    told = begin
    stopped = TIME
    order = list(range(len(calls)))
    looks = StoppingRule(clock, limits, begin)
    with without_collection():
        try:
            while (now := clock.now()) - begin < limits.max_time_s or not taken[0]:
                if looks.should_check(now, len(taken[0])) and looks.converged(taken):
                    stopped = SHARP
                    break
                if now - told >= _TOLD_EVERY:
                    told = now
                    left = max(0.0, limits.max_time_s - (now - begin))
                    progress(
                        f"{name}{len(taken[0])} samples, interval {100 * looks.width:.1f} % wide, "
                        f"at most {left:.0f} s left"
                    )
                this_round = {index: timed(clock, calls[index]) for index in order}
                for index, one in this_round.items():
                    taken[index].append(one)
                order.reverse()
        except KeyboardInterrupt:
            stopped = INTERRUPTED
            whole = min(map(len, taken))
            if not whole:
                raise
            signals.acknowledge()
            taken = [samples[:whole] for samples in taken]
    return Sampled(taken, stopped, clock.now() - begin)


class StoppingRule:
    """Looks at the interval: rare enough to cost little, and to be believed."""

    def __init__(self, clock: Clock, limits: Limits, begin: float) -> None:
        self.clock, self.limits, self.begin = clock, limits, begin
        self.width = float("inf")
        self._next_time = begin + _LOOK_EVERY
        self._next_count = 1.0
        self._sharp = 0

    def should_check(self, now: float, count: int) -> bool:
        """Whether enough has happened since the last look."""
        return now >= self._next_time and count >= self._next_count

    def converged(self, taken: Sequence[Sequence[Sample]]) -> bool:
        """Look: is the interval narrow enough, and was it the last times?"""
        start = self.clock.now()
        self.width = _width(taken, self.limits.confidence)
        end = self.clock.now()
        self._next_time = end + max(_LOOK_EVERY, (end - start) / _LOOK_SHARE)
        self._next_count = _LOOK_GROWTH * len(taken[0])
        self._sharp = self._sharp + 1 if self.width <= self.limits.ci_width else 0
        return (
            self._sharp >= _CONVERGED_CHECKS
            and end - self.begin >= self.limits.min_time_s
            and len(taken[0]) >= _FEWEST_SAMPLES
        )


def _width(taken: Sequence[Sequence[Sample]], confidence: float) -> float:
    """The widest interval, relative to its middle."""
    walls = [[sample.wall_s for sample in samples] for samples in taken]
    if len(walls) == 1:
        low, high = median_interval(walls[0], confidence)
        middle = quantile(sorted(walls[0]), 0.5)
        return (high - low) / middle if middle else 0.0
    widths = []
    for other in walls[1:]:
        ratio, low, high = paired_ratio(other, walls[0], confidence)
        widths.append((high - low) / ratio)
    return max(widths)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Python's garbage collector takes its milliseconds now and not within a sample, or frees nothing meanwhile."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
