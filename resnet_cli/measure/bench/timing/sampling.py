"""Warm-up until the times have stabilised, then interleaved samples until their confidence interval is narrow."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resnet_cli import signals
from resnet_cli.measure.bench.stats.estimators import is_steady, median_interval, quantile
from resnet_cli.measure.bench.stats.ratios import paired_ratio
from resnet_cli.measure.bench.timing.device_timer import Clock, Sample, timed
from resnet_cli.results.bench import WarmUp

Call = Callable[[], object]
Context = Callable[[], contextlib.AbstractContextManager[object]]
Progress = Callable[[str], None]

CONVERGED, TIME, INTERRUPTED = "converged", "time", "interrupted"
_REPORT_EVERY = 0.5  # seconds between two lines of progress
_CHECK_EVERY = 0.5  # seconds between two checks of the interval, or more, …
_CHECK_GROWTH = 1.1  # … until there are so many times as many samples …
_CHECK_SHARE = 0.05  # … and the checks take no more than this share of the time
_CONVERGED_CHECKS = 3  # in a row: one of many intervals is narrow by chance
_MIN_SAMPLES = 40
_MIN_CALLS = 3  # of a warm-up
_WARM_AFTER = 0.2  # seconds of work in which an idle device raises its clock rate
_MIN_WINDOW, _MAX_WINDOW = 2, 10  # calls


@dataclass(frozen=True, slots=True)
class Limits:
    """When sampling ends.

    Args:
        ci_width: when the confidence interval is narrower than this fraction of the median …
        max_time_s: … or after so many seconds in any case.
        min_time_s: but not before: a short run cannot show slow changes.
    """

    ci_width: float = 0.01
    max_time_s: float = 20.0
    min_time_s: float = 2.0


@dataclass(slots=True)
class Sampled:
    """Samples of each call, in the order of measurement; sample i of all of them belongs to round i."""

    series: list[list[Sample]]
    stopped: str
    seconds: float = 0.0

    @property
    def walls(self) -> list[list[float]]:
        """The wall times alone, in seconds."""
        return [[sample.wall_s for sample in samples] for samples in self.series]


def _silent(text: str) -> None: ...


def warm_up(clock: Clock, call: Call, limits: Limits, progress: Progress = _silent, name: str = "") -> WarmUp:
    """Call until the times have stabilised or a quarter of the time is over, not counting the first call.

    Raises:
        KeyboardInterrupt: Ctrl-C; nothing was measured yet.
    """
    begin = clock.now()
    times = [timed(clock, call).wall_s]
    budget = limits.max_time_s / 4
    steady = False
    reported = since = clock.now()
    while len(times) < _MIN_CALLS or clock.now() - since < budget:
        times.append(timed(clock, call).wall_s)
        now = clock.now()
        steady = is_steady(times[1:], _window(times, budget))
        if steady and now - since >= min(_WARM_AFTER, budget / 2):
            break
        if now - reported >= _REPORT_EVERY:
            reported = now
            progress(f"{name}warming up, {len(times)} calls")
    return WarmUp(times[0], len(times), clock.now() - begin, steady)


def _window(times: Sequence[float], budget: float) -> int:
    """Calls in each of the two windows that are compared; fewer where calls are long for the time limit."""
    fastest = min(times)
    fit = _MAX_WINDOW if fastest <= 0 else int(min(budget / fastest / 3, _MAX_WINDOW))
    return max(_MIN_WINDOW, fit)


def sample(
    clock: Clock,
    calls: Sequence[Call],
    limits: Limits,
    progress: Progress = _silent,
    name: str = "",
    *,
    settle: bool = False,
    contexts: Sequence[Context] = (),
) -> Sampled:
    """Samples of calls in turn, each round in the other direction, until every interval is narrow.

    The interval is that of the median for one call, and those of the ratios to the first call for several. Ctrl-C
    ends the sampling; complete rounds are kept.

    Args:
        clock: of the device.
        calls: warmed up.
        limits: when to stop.
        progress: called with a line of text between two rounds, never while a sample is taken.
        name: prefix of that text.
        settle: make an untimed call before each timed one, in which the threads of the call before it, which spin for
            a while as they wait for work, come to rest.
        contexts: of each call, entered before it is timed; none: the calls need none.
    """
    taken: list[list[Sample]] = [[] for _ in calls]
    begin = clock.now()
    reported = begin
    stopped = TIME
    order = list(range(len(calls)))
    rule = StoppingRule(clock, limits, begin)
    with without_collection():
        try:
            while (now := clock.now()) - begin < limits.max_time_s or not taken[0]:
                if rule.should_check(now, len(taken[0])) and rule.converged(taken):
                    stopped = CONVERGED
                    break
                if now - reported >= _REPORT_EVERY:
                    reported = now
                    left = max(0.0, limits.max_time_s - (now - begin))
                    progress(
                        f"{name}{len(taken[0])} samples, CI {100 * rule.width:.1f}% wide, at most {left:.0f} s left"
                    )
                this_round = {}
                for index in order:
                    with contexts[index]() if contexts else contextlib.nullcontext():
                        if settle:
                            calls[index]()
                        this_round[index] = timed(clock, calls[index])
                for index, new_sample in this_round.items():
                    taken[index].append(new_sample)
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
    """Sequential stopping rule: re-computes the interval at growing distances and stops after 3 narrow ones in a row.

    That limits the bias of optional stopping; the checks take at most 5% of the time.
    """

    def __init__(self, clock: Clock, limits: Limits, begin: float) -> None:
        self.clock, self.limits, self.begin = clock, limits, begin
        self.width = float("inf")
        self._next_time = begin + _CHECK_EVERY
        self._next_count = 1.0
        self._narrow = 0

    def should_check(self, now: float, count: int) -> bool:
        """Whether it is time for the next check."""
        return now >= self._next_time and count >= self._next_count

    def converged(self, taken: Sequence[Sequence[Sample]]) -> bool:
        """Whether the interval is narrow enough, and was so in the checks before."""
        start = self.clock.now()
        self.width = _width(taken)
        end = self.clock.now()
        self._next_time = end + max(_CHECK_EVERY, (end - start) / _CHECK_SHARE)
        self._next_count = _CHECK_GROWTH * len(taken[0])
        self._narrow = self._narrow + 1 if self.width <= self.limits.ci_width else 0
        return (
            self._narrow >= _CONVERGED_CHECKS
            and end - self.begin >= self.limits.min_time_s
            and len(taken[0]) >= _MIN_SAMPLES
        )


def _width(taken: Sequence[Sequence[Sample]]) -> float:
    """Width of the widest interval, relative to its median or ratio."""
    walls = [[sample.wall_s for sample in samples] for samples in taken]
    if len(walls) == 1:
        ordered = sorted(walls[0])
        low, high = median_interval(walls[0], ordered)
        middle = quantile(ordered, 0.5)
        return (high - low) / middle if middle else 0.0
    widths = []
    for compared in walls[1:]:
        ratio, low, high = paired_ratio(compared, walls[0])
        widths.append((high - low) / ratio)
    return max(widths)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Collect garbage now and not within a sample; what becomes garbage meanwhile is freed later."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
