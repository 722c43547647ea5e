"""Rounds of calls that several processes run side by side, all equally long."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from resnet_cli.measure.bench.stats.estimators import is_steady, median_interval, quantile
from resnet_cli.measure.bench.timing.device_timer import Clock, time_back_to_back, timed
from resnet_cli.measure.bench.timing.sampling import Call, Limits, Progress
from resnet_cli.measure.distributed.process_group import Share

_ROUND_S = 0.5
_MIN_SAMPLES = 40
_CONVERGED_ROUNDS = 3  # in a row: one of many intervals is narrow by chance


@dataclass(slots=True)
class RankSamples:
    """What one process measured."""

    samples_s: list[float] = field(default_factory=list)  # requests, with a wait for the device after each
    calls: int = 0  # in the rounds that its rate is taken of
    seconds: float = 0.0  # that those lasted
    call_s: float = 0.0  # time of a call; in lockstep of the slowest process


@dataclass(frozen=True, slots=True)
class _Rounds:
    """How the calls of a process are made.

    Args:
        clock: of this process's device.
        call: of this process.
        share: exchanges values with the other processes.
        seconds: of a round.
        lockstep: calls wait for those of the other processes, so all of them make the same number.
        queue: every other round is of calls back to back, and the rate is theirs: for devices with a queue.
    """

    clock: Clock
    call: Call
    share: Share
    seconds: float
    lockstep: bool
    queue: bool

    def run(self, done: Callable[[RankSamples, float], bool], call_s: float) -> RankSamples:
        """Rounds until all processes are done.

        Args:
            done: whether this process is, by its samples and the seconds since the first round.
            call_s: time of a call, as far as it is known.
        """
        taken = RankSamples(call_s=call_s)
        begin = self.clock.now()
        number = 0
        while True:
            self.share(None)  # all begin at once
            self._round(taken, back_to_back=self.queue and number % 2 == 1)
            number += 1
            own = quantile(sorted(taken.samples_s), 0.5)
            votes = self.share((done(taken, self.clock.now() - begin), own))
            taken.call_s = max(seconds for _, seconds in votes) if self.lockstep else own
            if all(ready for ready, _ in votes):  # the same votes everywhere, and so the same decision
                return taken

    def _round(self, taken: RankSamples, *, back_to_back: bool) -> None:
        calls = max(1, math.ceil(self.seconds / taken.call_s)) if taken.call_s > 0 else 1
        if back_to_back:
            row = time_back_to_back(self.clock, self.call, calls)
            taken.calls += row.calls
            taken.seconds += row.wall_s
            return
        begin = self.clock.now()
        count = 0
        while count < calls if self.lockstep else (not count or self.clock.now() - begin < self.seconds):
            taken.samples_s.append(timed(self.clock, self.call).wall_s)
            count += 1
        if not self.queue:
            taken.calls += count
            taken.seconds += self.clock.now() - begin


def sample_synchronized(
    share: Share,
    clock: Clock,
    call: Call,
    limits: Limits,
    *,
    lockstep: bool,
    queue: bool,
    progress: Progress,
    name: str,
) -> RankSamples:
    """Rounds of warm-up until the times of all processes have settled, and then those that count.

    These end when the interval of the median is narrow enough in every process, or when the time is over.

    Args:
        share: exchanges values with the other processes.
        clock: of this process's device.
        call: of this process.
        limits: when to stop; the same in all processes.
        lockstep: calls wait for those of the other processes.
        queue: the device has a queue.
        progress: called with a line of text between two rounds.
        name: prefix of that text.

    Raises:
        DisconnectedError: another process failed.
    """
    rounds = _Rounds(clock, call, share, min(_ROUND_S, limits.max_time_s / 4), lockstep, queue)
    converged = 0

    def warm(taken: RankSamples, seconds: float) -> bool:
        progress(f"{name}warming up, {len(taken.samples_s)} calls")
        return is_steady(taken.samples_s[1:]) or (seconds >= limits.max_time_s / 4 and len(taken.samples_s) >= 3)

    def narrow(taken: RankSamples, seconds: float) -> bool:
        if not (taken.samples_s and taken.calls):
            return False
        nonlocal converged
        low, high = median_interval(taken.samples_s)
        width = (high - low) / quantile(sorted(taken.samples_s), 0.5)
        left = max(0.0, limits.max_time_s - seconds)
        progress(f"{name}{len(taken.samples_s)} samples, CI {100 * width:.1f}% wide, at most {left:.0f} s left")
        is_narrow = width <= limits.ci_width and len(taken.samples_s) >= _MIN_SAMPLES
        converged = converged + 1 if is_narrow else 0
        return (converged >= _CONVERGED_ROUNDS and seconds >= limits.min_time_s) or seconds >= limits.max_time_s

    with _frozen_objects():
        warmed = replace(rounds, queue=False).run(warm, 0.0)
        return rounds.run(narrow, warmed.call_s)


@contextmanager
def _frozen_objects() -> Iterator[None]:
    """Existing objects are left out of garbage collections, which then take little time within a round."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
