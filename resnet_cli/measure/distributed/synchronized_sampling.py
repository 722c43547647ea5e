"""Calls in rounds that several processes run side by side, all equally long."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from resnet_cli.measure.bench.device_timer import Clock, time_back_to_back, timed
from resnet_cli.measure.bench.estimators import is_steady, median_interval, quantile
from resnet_cli.measure.bench.sampling import Call, Limits, Progress
from resnet_cli.measure.distributed.coordination import CoordinationProtocol

_ROUND_S = 0.5
_FEWEST_SAMPLES = 40
_SHARP_ROUNDS = 3  # in a row: who looks often sees one that is sharp by chance


@dataclass(slots=True)
class RankSamples:
    """What one process did in them."""

    samples_s: list[float] = field(default_factory=list)  # requests, the device waited for after each
    calls: int = 0  # in the rounds that its rate is taken of
    seconds: float = 0.0  # that those lasted
    pace_s: float = 0.0  # of a call; of the slowest process's where they are in lockstep


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a round is.

    Args:
        seconds: of a round.
        lockstep: calls wait for those of the other processes, so all of them make the same number.
        queue: every other round is of calls in a row, and the rate is theirs: for devices that have a queue.
    """

    seconds: float
    lockstep: bool
    queue: bool


def sample_synchronized(
    party: CoordinationProtocol,
    clock: Clock,
    call: Call,
    limits: Limits,
    *,
    lockstep: bool,
    queue: bool,
    progress: Progress,
    name: str,
) -> RankSamples:
    """Rounds until the times of all processes stand still, and then those that count.

    These end when the interval of the median is narrow enough in every process, or when the time is over.

    Args:
        party: who runs them side by side.
        clock: of this process's device.
        call: of this process.
        limits: when to stop; the same in all processes.
        lockstep: as in `Pace`.
        queue: as in `Pace`.
        progress: is told between two rounds.
        name: what the text for it begins with.

    Raises:
        PeerGoneError: another process failed.
    """
    pace = Pace(min(_ROUND_S, limits.max_time_s / 4), lockstep, queue)

    def warm(found: RankSamples, seconds: float) -> bool:
        progress(f"{name}warming up, {len(found.samples_s)} calls")
        return is_steady(found.samples_s[1:]) or (seconds >= limits.max_time_s / 4 and len(found.samples_s) >= 3)

    narrow_ones = 0

    def sharp(found: RankSamples, seconds: float) -> bool:
        if not (found.samples_s and found.calls):
            return False
        nonlocal narrow_ones
        low, high = median_interval(found.samples_s, limits.confidence)
        width = (high - low) / quantile(sorted(found.samples_s), 0.5)
        left = max(0.0, limits.max_time_s - seconds)
        progress(f"{name}{len(found.samples_s)} samples, interval {100 * width:.1f} % wide, at most {left:.0f} s left")
        narrow = width <= limits.ci_width and len(found.samples_s) >= _FEWEST_SAMPLES
        narrow_ones = narrow_ones + 1 if narrow else 0
        return (narrow_ones >= _SHARP_ROUNDS and seconds >= limits.min_time_s) or seconds >= limits.max_time_s

    with _cheap_collection():
        warmed = _series(party, clock, call, Pace(pace.seconds, lockstep, False), warm, 0.0)
        return _series(party, clock, call, pace, sharp, warmed.pace_s)


def _series(
    party: CoordinationProtocol,
    clock: Clock,
    call: Call,
    pace: Pace,
    done: Callable[[RankSamples, float], bool],
    pace_s: float,
) -> RankSamples:
    found = RankSamples(pace_s=pace_s)
    begin = clock.now()
    number = 0
    while True:
        party.start()
        _one(clock, call, pace, found, in_a_row=pace.queue and number % 2 == 1)
        number += 1
        mine = quantile(sorted(found.samples_s), 0.5)
        votes = party.share([done(found, clock.now() - begin), mine])
        found.pace_s = max(its for _, its in votes) if pace.lockstep else mine
        if all(ready for ready, _ in votes):  # the same votes everywhere, and so the same decision
            return found


def _one(clock: Clock, call: Call, pace: Pace, found: RankSamples, *, in_a_row: bool) -> None:
    """One round."""
    steps = max(1, math.ceil(pace.seconds / found.pace_s)) if found.pace_s > 0 else 1
    if in_a_row:
        row = time_back_to_back(clock, call, steps)
        found.calls += row.calls
        found.seconds += row.wall_s
        return
    begin = clock.now()
    taken = 0
    while taken < steps if pace.lockstep else (not taken or clock.now() - begin < pace.seconds):
        found.samples_s.append(timed(clock, call).wall_s)
        taken += 1
    if not pace.queue:
        found.calls += taken
        found.seconds += clock.now() - begin


@contextmanager
def _cheap_collection() -> Iterator[None]:
    """What is there already is not looked through again whenever Python collects its garbage."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
