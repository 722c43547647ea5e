"""How a call is timed on a simulated device."""

from __future__ import annotations

import pytest

from resnet_cli.measure.bench.timing.device_sampling import device_samples
from resnet_cli.measure.bench.timing.device_timer import Sample, between_events, busy_time, time_back_to_back, timed
from tests.helpers.fake_clock import SimulatedClock, steps


def test_a_call_that_the_device_works_long_on() -> None:
    clock = SimulatedClock()
    sample = timed(clock, steps(clock, 0.010, enqueue_s=0.002, kernels=10))
    # The device begins when the first of ten kernels has been enqueued, and is busy from then on.
    assert sample.enqueue_s == pytest.approx(0.002)
    assert sample.wall_s == pytest.approx(0.0002 + 0.010)


def test_a_call_that_the_host_is_too_slow_for() -> None:
    clock = SimulatedClock()
    sample = timed(clock, steps(clock, 0.002, enqueue_s=0.010, kernels=10))
    # The device waits for each kernel; only the last one is still running when the call returns.
    assert sample.enqueue_s == pytest.approx(0.010)
    assert sample.wall_s == pytest.approx(0.010 + 0.0002)


def test_a_call_on_a_processor() -> None:
    clock = SimulatedClock(queued=False)
    assert timed(clock, steps(clock, 0.25, enqueue_s=0.25)) == Sample(0.5, 0.5)


def test_what_the_device_has_to_do_from_before_does_not_count() -> None:
    clock = SimulatedClock()
    clock.run(5.0)
    assert timed(clock, steps(clock, 0.25)) == Sample(wall_s=0.25, enqueue_s=0.0)


@pytest.mark.parametrize("device_s", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("enqueue_s", [0.0, 0.2, 1.0])
def test_times_of_a_call_are_in_order(device_s: float, enqueue_s: float) -> None:
    clock = SimulatedClock(read_s=0.001)
    sample = timed(clock, steps(clock, device_s, enqueue_s=enqueue_s, kernels=3))
    assert enqueue_s <= sample.enqueue_s <= sample.wall_s
    assert device_s <= sample.wall_s


def test_the_host_clock_is_read_after_a_wait_at_both_ends() -> None:
    clock = SimulatedClock()
    timed(clock, steps(clock, 1.0, name="call"))
    assert clock.log == ["synchronize", "now", "call", "now", "synchronize", "now"]
    # The one look at the clock while the device works is the one for the enqueue time.
    assert clock.read_while_busy == 1


@pytest.mark.parametrize(("device_s", "enqueue_s"), [(0.010, 0.002), (0.002, 0.010)])
def test_the_device_is_as_long_busy_whoever_is_slower(device_s: float, enqueue_s: float) -> None:
    clock = SimulatedClock(latency_s=0.001)
    call = steps(clock, device_s, enqueue_s=enqueue_s, kernels=10)
    assert busy_time(clock, call, 2 * enqueue_s) == pytest.approx(device_s)
    begun = between_events(clock, call)
    assert begun is not None
    assert begun > max(device_s, enqueue_s)  # an idle device waits for the host


def test_a_device_that_was_not_held_for_long_enough_tells_nothing() -> None:
    clock = SimulatedClock()
    assert busy_time(clock, steps(clock, 0.002, enqueue_s=0.010, kernels=10), ahead_s=0.005) is None
    assert busy_time(SimulatedClock(queued=False), steps(clock, 0.002), ahead_s=1.0) is None


def test_a_call_with_more_kernels_than_the_queue_holds() -> None:
    """The host gets on as the device does: ahead of it to the end, or at last behind it. A wait looks the same."""
    for waits, seconds in ((False, [0.020] * 50), (True, []), (None, [])):
        clock = SimulatedClock(depth=5, waits=waits)
        times = device_samples(clock, steps(clock, 0.020, enqueue_s=0.002, kernels=10), enqueue_s=0.002)
        assert times is not None
        assert times.seconds[:50] == pytest.approx(seconds[: len(times.seconds)]), waits
        assert times.fits_queue == (not times.seconds)
    clock = SimulatedClock(depth=5, waits=False)
    slow = device_samples(clock, steps(clock, 0.002, enqueue_s=0.010, kernels=10), enqueue_s=0.01)
    assert slow is not None
    assert slow.seconds == []


def test_the_device_is_held_longer_where_that_was_not_enough() -> None:
    clock = SimulatedClock()
    samples = device_samples(clock, steps(clock, 0.002, enqueue_s=0.010, kernels=10), enqueue_s=0.002)
    assert samples is not None
    assert samples.fits_queue
    assert samples.seconds == pytest.approx([0.002] * max(10, len(samples.seconds)))
    assert device_samples(SimulatedClock(queued=False), steps(clock, 0.002), enqueue_s=0.01) is None


def test_calls_in_a_row_are_waited_for_once() -> None:
    clock = SimulatedClock()
    clock.run(5.0)
    row = time_back_to_back(clock, steps(clock, 0.010, enqueue_s=0.002, name="call"), 4)
    assert clock.log == ["synchronize", "now", *["call"] * 4, "now", "synchronize", "now"]
    assert row.calls == 4
    assert row.wall_s == pytest.approx(0.002 + 4 * 0.010)  # the host enqueues while the device works
    assert row.enqueue_s == pytest.approx(4 * 0.002)
    alone = timed(clock, steps(clock, 0.010, enqueue_s=0.002))
    assert row.wall_s < 4 * alone.wall_s
