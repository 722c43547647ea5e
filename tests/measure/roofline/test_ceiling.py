"""The ceiling: known rates in virtual time, and plausible ones in real time."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.roofline.ceiling import fastest, measure_ceiling
from resnet_cli.measure.roofline.kernels import Candidate, arithmetic, streaming
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.results.bench import Kernel
from tests.helpers.fake_clock import SimulatedClock, steps

CPU = torch.device("cpu")


def silent(text: str) -> None: ...


def candidate(clock: SimulatedClock, name: str, work: float, *seconds: float) -> Candidate:
    """A kernel whose calls take these times, then always the last one."""

    def make() -> Callable[[], object]:
        times = [*seconds]
        return lambda: clock.run(times.pop(0) if len(times) > 1 else times[0])

    return Candidate(name, work, make)


def test_a_rate_is_work_over_the_least_time() -> None:
    clock = SimulatedClock(queued=False)
    (kernel,) = fastest([candidate(clock, "a", 100.0, 0.4, 0.3, 0.2, 0.25)], clock, 1.0, silent)
    assert kernel.name == "a"
    assert kernel.rate == pytest.approx(500.0)


def test_the_fastest_comes_first() -> None:
    clock = SimulatedClock(queued=False)
    kernels = [candidate(clock, name, 1.0, seconds) for name, seconds in (("b", 0.02), ("a", 0.01), ("c", 0.03))]
    assert [kernel.name for kernel in fastest(kernels, clock, 0.1, silent)] == ["a", "b", "c"]


def test_promising_kernels_get_the_time() -> None:
    clock = SimulatedClock(queued=False)
    calls: dict[str, int] = {}

    def counting(name: str, seconds: float) -> Candidate:
        def call() -> None:
            calls[name] = calls.get(name, 0) + 1
            clock.run(seconds)

        return Candidate(name, 1.0, lambda: call)

    fastest([counting(str(number), 0.01 * number) for number in range(1, 8)], clock, 6.0, silent)
    # Two rounds of 3 seconds: a seventh of the first one for each, a quarter of the second one for the better four.
    assert calls["1"] == pytest.approx(1 + 3 / 7 / 0.01 + 3 / 4 / 0.01, abs=3)
    assert calls["4"] == pytest.approx(1 + 3 / 7 / 0.04 + 3 / 4 / 0.04, abs=3)
    assert calls["7"] == pytest.approx(1 + 3 / 7 / 0.07, abs=2)


def test_a_disturbance_at_the_first_call_hides_no_kernel() -> None:
    clock = SimulatedClock(queued=False)
    slow_start = candidate(clock, "best", 1.0, 0.5, 0.5, 0.01)
    others = [candidate(clock, str(number), 1.0, 0.02 + 0.001 * number) for number in range(5)]
    best, *_ = fastest([*others, slow_start], clock, 20.0, silent)
    assert best.name == "best"
    assert best.rate == pytest.approx(100.0)


def test_a_very_slow_kernel_is_timed_once() -> None:
    clock = SimulatedClock(queued=False)
    slow = steps(clock, 10.0)
    kernels = fastest([Candidate("slow", 1.0, lambda: slow)], clock, 60.0, silent)
    assert slow.calls == 2  # and once for what only a first call does
    assert kernels == [Kernel("slow", 0.1)]


def test_a_kernel_that_would_take_too_long_stays_untried() -> None:
    clock = SimulatedClock(queued=False)
    few, many = steps(clock, 0.5), steps(clock, 64.0)
    kernels = fastest([Candidate("few", 1.0, lambda: few), Candidate("many", 128.0, lambda: many)], clock, 2.0, silent)
    assert [kernel.name for kernel in kernels] == ["few"]
    assert many.calls == 0


def test_after_one_that_would_take_too_long_others_have_their_turn() -> None:
    clock = SimulatedClock(queued=False)
    few, many, less = steps(clock, 0.5), steps(clock, 64.0), steps(clock, 0.25)
    candidates = [
        Candidate("few", 1.0, lambda: few),
        Candidate("many", 128.0, lambda: many),
        Candidate("less", 1.0, lambda: less),
    ]
    assert {kernel.name for kernel in fastest(candidates, clock, 2.0, silent)} == {"few", "less"}


def test_of_four_kernels_the_faster_two_go_on() -> None:
    clock = SimulatedClock(queued=False)
    slowest, fast, slow, fastest_of_all = (steps(clock, seconds) for seconds in (0.04, 0.0125, 0.02, 0.01))
    candidates = [
        Candidate("slowest", 1.0, lambda: slowest),
        Candidate("fast", 1.0, lambda: fast),
        Candidate("slow", 1.0, lambda: slow),
        Candidate("fastest", 1.0, lambda: fastest_of_all),
    ]
    fastest(candidates, clock, 2.0, silent)
    # A quarter of the first second for each, half of the other one for two.
    assert [call.calls for call in (fastest_of_all, fast)] == pytest.approx([1 + 25 + 50, 1 + 20 + 40], abs=2)
    assert [call.calls for call in (slow, slowest)] == pytest.approx([1 + 13, 1 + 7], abs=1)


def test_what_a_kernel_warns_of_stays_off_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Callable[[], object]:
        warnings.warn("not made for this dtype", stacklevel=1)
        return lambda: None

    monkeypatch.setattr(
        "resnet_cli.measure.roofline.ceiling.arithmetic", lambda *_, **__: iter([Candidate("a", 1.0, make)])
    )
    monkeypatch.setattr("resnet_cli.measure.roofline.ceiling.streaming", lambda *_, **__: iter(()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure_ceiling(CPU, torch.float32, CpuBackend(torch.device("cpu")), seconds=0.0, progress=silent)
    assert caught == []


def test_a_device_is_timed_by_its_own_clock() -> None:
    clock = SimulatedClock()
    call = steps(clock, 0.02, enqueue_s=0.001)
    (kernel,) = fastest([Candidate("a", 1.0, lambda: call)], clock, 1.0, silent)
    assert kernel.rate == pytest.approx(1 / 0.021)  # between two marks, the first of which is reached at once


def test_short_kernels_are_timed_in_a_full_queue() -> None:
    clock = SimulatedClock()
    call = steps(clock, 1e-4, enqueue_s=3e-5)  # one call from an idle device takes 1.3e-4 s
    (kernel,) = fastest([Candidate("a", 1.0, lambda: call)], clock, 1.0, silent)
    assert kernel.rate == pytest.approx(1e4, rel=0.01)


def test_loading_and_autotuning_in_a_first_call_do_not_lower_the_ceiling() -> None:
    """Libraries are loaded in the first call of all, algorithms tried in the first one of each kernel."""
    clock = SimulatedClock()
    kernels = [
        candidate(clock, str(number), 1e9, cold, 1e-3 / number) for number, cold in ((1, 3.0), (2, 0.4), (4, 1.5))
    ]
    best, *others = fastest(kernels, clock, 2.0, silent)
    assert best.rate == pytest.approx(4e12, rel=0.01)
    assert [kernel.name for kernel in others] == ["2", "1"]


def test_ctrl_c_is_no_kernel_that_fails() -> None:
    clock = SimulatedClock(queued=False)
    call = steps(clock, 0.1, raises={2: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        fastest([Candidate("a", 1.0, lambda: call)], clock, 1.0, silent)


def test_what_fails_is_left_out() -> None:
    clock = SimulatedClock(queued=False)

    def refuse() -> Callable[[], object]:
        raise RuntimeError("not implemented for 'Half'")

    broken = steps(clock, 0.01, raises={2: RuntimeError("out of memory")})
    kernels = fastest(
        [Candidate("refused", 1.0, refuse), candidate(clock, "good", 1.0, 0.1), Candidate("late", 1.0, lambda: broken)],
        clock,
        0.3,
        silent,
    )
    assert [kernel.name for kernel in kernels] == ["good"]
    assert clock.freed


def test_no_kernel_no_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_cli.measure.roofline.ceiling.arithmetic", lambda *_, **__: iter(()))
    monkeypatch.setattr("resnet_cli.measure.roofline.ceiling.streaming", lambda *_, **__: iter(()))
    assert measure_ceiling(CPU, torch.float32, CpuBackend(torch.device("cpu")), seconds=0.0, progress=silent) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device", [CPU, torch.device("cuda")])
def test_every_kernel_has_its_name_and_its_work(device: torch.device, dtype: torch.dtype) -> None:
    for candidates in (
        [*arithmetic(device, dtype, accelerator=device != CPU)],
        [*streaming(device, dtype, accelerator=device != CPU)],
    ):
        names = [candidate.name for candidate in candidates]
        assert names
        assert len(names) == len(set(names))
        assert all(candidate.work > 0 for candidate in candidates)


def test_flops_are_those_that_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_cli.measure.roofline.kernels._SIDES", (8,))
    monkeypatch.setattr("resnet_cli.measure.roofline.kernels._CONVOLUTIONS", ((4, 6, 3, 5, 1), (6, 4, 1, 7, 2)))
    monkeypatch.setattr("resnet_cli.measure.roofline.kernels._PACKED", ())
    monkeypatch.setattr("resnet_cli.measure.roofline.kernels._PACKED_SIDES", ())
    kernels = [*arithmetic(CPU, torch.float32, accelerator=False)]
    assert len(kernels) == 3
    for kernel in kernels:
        call = kernel.make()
        with FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == kernel.work, kernel.name


SMALL = 8 * 4 * 2**16


@pytest.mark.filterwarnings("ignore")  # importing torch.utils.mkldnn warns, where nobody imported it before
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_real_ceiling(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = "resnet_cli.measure.roofline.kernels"
    monkeypatch.setattr(f"{kernels}._CONVOLUTIONS", ((32, 32, 3, 14, 1),))
    monkeypatch.setattr(f"{kernels}._PACKED", ((32, 32, 3, 14, 1),))
    monkeypatch.setattr(f"{kernels}._PACKED_SIDES", (64,))
    monkeypatch.setattr(f"{kernels}._SIDES", (64, 128))
    monkeypatch.setattr(f"{kernels}._SMALLEST_ARRAY_BYTES", 1)
    monkeypatch.setattr(CpuBackend, "free_memory", lambda self: SMALL)
    messages: list[str] = []
    # So long that no kernel is left out on a machine that stands still now and then.
    ceiling = measure_ceiling(CPU, dtype, CpuBackend(torch.device("cpu")), seconds=0.5, progress=messages.append)
    assert ceiling is not None
    assert ceiling.flops_per_s == max(kernel.rate for kernel in ceiling.compute) > 0
    assert ceiling.bytes_per_s == max(kernel.rate for kernel in ceiling.bandwidth) > 0
    assert len(ceiling.bandwidth) == 3
    names = {kernel.name for kernel in ceiling.compute}
    assert {f"the ceiling: {name}" for name in names} <= set(messages)
    assert any("matmul 64" in name for name in names)
    if dtype != torch.bfloat16:  # which oneDNN holds on some processors
        has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        assert any("oneDNN" in name for name in names) == (dtype == torch.float32 and has_onednn)
