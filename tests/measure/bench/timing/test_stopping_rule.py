"""When sampling looks at what it has, whatever the hour, and what Ctrl-C and garbage have to do with it."""

from __future__ import annotations

import pytest

from resnet_cli import signals
from resnet_cli.measure.bench.timing import sampling
from resnet_cli.measure.bench.timing.sampling import CONVERGED, INTERRUPTED, Limits, sample
from tests.helpers.fake_clock import SimulatedClock, steps, without_garbage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    """It has gone on for a while already."""
    without_garbage(monkeypatch)
    return SimulatedClock(queued=False, host_s=5000.0)


@pytest.mark.parametrize("least", [0.5, 4.0])
def test_the_least_time_is_that_since_sampling_began(least: float, clock: SimulatedClock) -> None:
    taken = sample(clock, [steps(clock, 0.01)], Limits(min_time_s=least))
    assert taken.stopped == CONVERGED
    assert least <= taken.seconds <= least + 1.5
    assert taken.seconds == pytest.approx(clock.host_s - 5000)


@pytest.mark.parametrize(
    ("widths", "looks"), [((0, 0, 0), 3), ((1, 0, 0, 0), 4), ((0, 1, 0, 0, 0), 5), ((0, 0, 1, 0, 0, 0), 6)]
)
def test_it_has_to_be_narrow_three_times_in_a_row(
    widths: tuple[int, ...], looks: int, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = iter(widths)
    monkeypatch.setattr(sampling, "_width", lambda taken: float(next(shown)))
    taken = sample(clock, [steps(clock, 0.01)], Limits(min_time_s=0.0))
    assert taken.stopped == CONVERGED
    assert next(shown, None) is None
    assert taken.seconds >= looks * 0.5  # a look in half a second at most


def test_ctrl_c_that_keeps_samples_lets_the_work_go_on(clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_first", 2)
    monkeypatch.setattr(signals, "_acknowledged", False)
    taken = sample(clock, [steps(clock, 0.01, raises={9: KeyboardInterrupt()})], Limits())
    assert (taken.stopped, len(taken.series[0])) == (INTERRUPTED, 8)
    signals.check()
