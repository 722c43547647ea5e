"""Rounds of calls that several processes make together, in simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.distributed import synchronized_sampling
from resnet_cli.measure.distributed.process_group import Share, alone
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples, sample_synchronized
from resnet_cli.measure.system.devices.cpu import CpuBackend

LIMITS = Limits(ci_width=0.01, max_time_s=8.0, min_time_s=2.0)


@pytest.fixture(autouse=True)
def no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting the garbage of all that torch has loaded takes longer than anything here."""
    monkeypatch.setattr(synchronized_sampling, "gc", SimpleNamespace(collect=int, freeze=int, unfreeze=int))


class Simulated(CpuBackend):
    """Its time goes on by the calls that are made."""

    def __init__(self, call_s: float | Sequence[float]) -> None:
        super().__init__(torch.device("cpu"))
        self.seconds = 0.0
        self.calls = 0
        self._durations = [call_s] if isinstance(call_s, float) else list(call_s)

    def now(self) -> float:
        return self.seconds

    def call(self) -> None:
        self.seconds += self._durations[self.calls % len(self._durations)]
        self.calls += 1


class OtherProcess:
    """`Share` with a second process, which is ready from some round on and whose calls last `pace_s` each."""

    def __init__(self, ready_after: int, pace_s: float) -> None:
        self.ready_after, self.pace_s = ready_after, pace_s
        self.votes: list[Any] = []
        self.starts = 0

    def __call__(self, value: Any) -> list[Any]:
        if value is None:
            self.starts += 1
            return [None, None]
        self.votes.append(value)
        return [value, (len(self.votes) > self.ready_after, self.pace_s)]


def run(clock: Simulated, share: Share, limits: Limits = LIMITS, **how: bool) -> RankSamples:
    return sample_synchronized(
        share, clock, clock.call, limits, **{"lockstep": False, "queue": False, **how}, progress=print, name=""
    )


def test_equal_calls_converge_at_the_minimum_time() -> None:
    measured = run(Simulated(0.02), alone)
    assert measured.samples_s == pytest.approx([0.02] * measured.calls)
    assert measured.seconds == pytest.approx(0.02 * measured.calls)
    assert LIMITS.min_time_s <= measured.seconds < LIMITS.min_time_s + 0.55


def test_an_interval_that_is_narrow_three_times_has_converged() -> None:
    measured = run(Simulated(0.01), alone, Limits(ci_width=0.01, max_time_s=8.0, min_time_s=0.0))
    assert measured.seconds == pytest.approx(1.5, abs=0.04)  # rounds of half a second
    # Of 20 calls a round it takes two until there are samples enough.
    measured = run(Simulated(0.025), alone, Limits(ci_width=0.01, max_time_s=8.0, min_time_s=0.0))
    assert measured.seconds == pytest.approx(2.0, abs=0.1)


def test_calls_that_differ_take_all_the_time() -> None:
    measured = run(Simulated([0.01, 0.05]), alone)
    assert LIMITS.max_time_s <= measured.seconds < LIMITS.max_time_s + 0.55
    assert measured.calls / measured.seconds == pytest.approx(1 / 0.03, rel=0.02)


def test_slow_calls_are_a_round_each() -> None:
    clock = Simulated(5.0)
    measured = run(clock, alone)
    assert measured.calls == 2  # 10 of 8 seconds
    assert clock.calls == 3 + 2  # the warm-up has at least three


def test_no_process_stops_before_all_are_ready() -> None:
    least = int(LIMITS.min_time_s / 0.5)
    for ready_after in (0, 30):
        share = OtherProcess(ready_after, 0.02)
        run(Simulated(0.02), share)
        assert len(share.votes) == ready_after + 1 + least  # the warm-up, and then those that count
        assert share.starts == len(share.votes)


def test_in_lockstep_all_make_the_same_steps_at_the_pace_of_the_slowest() -> None:
    share = OtherProcess(0, 0.1)
    clock = Simulated(0.02)
    measured = run(clock, share, lockstep=True)
    assert measured.call_s == 0.1
    assert measured.calls % 5 == 0  # rounds of 0.5 s at 0.1 s a step
    assert clock.calls - measured.calls == 1 + 5 * (len(share.votes) - measured.calls // 5 - 1)


def test_with_a_queue_the_rate_is_that_of_calls_in_a_row() -> None:
    clock = Simulated(0.02)
    measured = run(clock, alone, queue=True)
    assert measured.calls % 25 == 0  # rounds of 0.5 s
    assert measured.seconds == pytest.approx(0.02 * measured.calls)
    assert abs(len(measured.samples_s) - measured.calls) <= 26  # every other round
