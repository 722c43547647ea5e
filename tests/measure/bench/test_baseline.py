"""This run against a saved one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.baseline import against_baseline, check, differences, fails, with_baseline
from resnet_cli.measure.bench.processes.merge import merged
from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.results.bench import BenchResult, Ceiling, Conditions, Timing
from resnet_cli.results.common import Environment, Input, Network

NETWORK = Network("resnet18", "basic", (2, 2, 2, 2), 1, 64, "imagenet", 3, 1000)
IMAGE = (3, 224, 224)


def timing(batch_size: int, seconds: float | None, *, noise: float = 0.01, count: int = 400, seed: int = 0) -> Timing:
    dice = random.Random(f"{batch_size} {seed}")
    samples = [] if seconds is None else [seconds * dice.lognormvariate(0, noise) for _ in range(count)]
    return Timing(
        batch_size=batch_size,
        status="out of memory" if seconds is None else "measured",
        reason=None,
        warm_up=None,
        wall=describe(samples) if samples else None,
        stopped="converged",
        device=None,
        launch_overhead=None,
        images_per_s=None,
        flops=1,
        flops_per_s=None,
        ceiling_share=None,
        peak_memory_bytes=None,
        memory_kind=None,
        knee=False,
        notes=(),
    )


def result(*timings: Timing) -> BenchResult:
    return BenchResult(
        network=NETWORK,
        input=Input((1, *IMAGE), "float32", 602_112),
        image=IMAGE,
        confidence=0.95,
        ci_width=0.01,
        max_time_s=20.0,
        seed=0,
        timings=timings,
        ceiling=None,
        versus=(),
        optimizations=None,
        layers=None,
        replicas=(),
        fail_above=None,
        failed=False,
        interrupted=False,
        conditions=Conditions("inference", "float32", 2, 1, "AVX512", (), None, None, None, (), 1.0),
        environment=Environment("0.1", "3.11", "2.15", "Linux x86_64", "cpu", "a processor", 10**9, 2),
        notes=(),
    )


@pytest.mark.parametrize(
    ("slower", "noise", "limit", "verdict", "failed"),
    [
        (1.00, 0.01, 0.05, "SAME", False),
        (1.03, 0.01, 0.05, "SAME", False),
        (1.10, 0.01, 0.05, "SLOWER", True),
        (1.052, 0.05, 0.05, "UNCLEAR", False),  # slower by more, but not surely
        (0.80, 0.01, 0.05, "FASTER", False),
        (1.10, 0.01, 0.20, "SAME", False),
    ],
)
def test_only_a_sure_slowdown_fails(slower: float, noise: float, limit: float, verdict: str, failed: bool) -> None:
    now, before = result(timing(1, 0.015 * slower, noise=noise, seed=1)), result(timing(1, 0.015, noise=noise))
    (comparison,) = against_baseline(now, before, limit)
    assert comparison.verdict == verdict
    assert fails((comparison,), limit) is failed
    assert comparison.ci_low <= comparison.ratio <= comparison.ci_high
    assert comparison.ratio == pytest.approx(slower, rel=0.02)
    assert [note.level for note in comparison.notes] == (["note"] if verdict == "UNCLEAR" else [])
    assert fails((comparison,), None) is False


def test_one_slow_batch_of_many_fails_and_only_against_the_baseline() -> None:
    now, before = result(timing(1, 0.01, seed=1), timing(8, 0.06, seed=1)), result(timing(1, 0.01), timing(8, 0.05))
    comparisons = against_baseline(now, before, 0.05)
    assert [each.verdict for each in comparisons] == ["SAME", "SLOWER"]
    assert fails(comparisons, 0.05)
    assert not fails(comparisons[:1], 0.05)
    assert not fails(tuple(replace(each, method="interleaved") for each in comparisons), 0.05)
    exactly = replace(comparisons[1], ci_low=1.05, ratio=1.06, ci_high=1.07)
    assert not fails((exactly,), 0.05)  # as much as may be
    assert fails((replace(exactly, ci_low=1.0500001),), 0.05)


def test_without_a_limit_the_width_of_the_interval_decides() -> None:
    (comparison,) = against_baseline(result(timing(1, 0.0155, seed=1)), result(timing(1, 0.015)), None)
    assert (comparison.margin, comparison.verdict) == (0.01, "SLOWER")


def test_batches_that_both_have_are_compared() -> None:
    now = result(timing(1, 0.01), timing(8, 0.05), timing(32, None), timing(64, 0.3))
    before = result(timing(8, 0.05), timing(32, 0.2), timing(64, None), timing(2, 0.02))
    assert [each.batch_size for each in against_baseline(now, before, None)] == [8]


def test_the_samples_count_and_not_what_the_file_says_of_them() -> None:
    before = timing(1, 0.015)
    assert before.wall is not None
    forged = replace(before, wall=replace(before.wall, median_s=1.0, ci_low_s=1.0, ci_high_s=1.0))
    (comparison,) = against_baseline(result(timing(1, 0.015, seed=1)), result(forged), 0.05)
    assert comparison.verdict == "SAME"


def test_a_baseline_that_fits_is_let_through() -> None:
    check(result(timing(1, 0.01), timing(8, None)), NETWORK, Input((4, *IMAGE), "float32", 1), "inference", (1, 8))


@pytest.mark.parametrize(
    ("network", "image", "dtype", "mode", "batch_sizes", "message"),
    [
        (replace(NETWORK, name="resnet34"), IMAGE, "float32", "inference", (1,), "is of resnet18"),
        (replace(NETWORK, num_classes=10), IMAGE, "float32", "inference", (1,), "another variant"),
        (NETWORK, (3, 32, 32), "float32", "inference", (1,), "image size"),
        (NETWORK, IMAGE, "float16", "inference", (1,), "dtype"),
        (NETWORK, IMAGE, "float32", "train", (1,), "mode"),
        (NETWORK, IMAGE, "float32", "inference", (2, 8), "no batch of 2, 8"),
    ],
)
def test_a_baseline_of_other_work_is_refused(
    network: Network, image: tuple[int, ...], dtype: str, mode: str, batch_sizes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ResnetCliError, match=message):
        check(result(timing(1, 0.01), timing(8, None)), network, Input((1, *image), dtype, 1), mode, batch_sizes)


def test_machines_that_differ_have_a_note() -> None:
    now = result(timing(1, 0.01))
    assert [note.key for note in differences(now, now)] == ["single-process", "machine-speed-unknown"]
    before = replace(
        now,
        environment=replace(now.environment, device_name="another", torch="2.10"),
        conditions=replace(now.conditions, precision="float32, all in TF32"),
    )
    _, note, _ = differences(now, before)
    assert note.key == "baseline-conditions-differ"
    assert "device another → a processor" in note.text
    assert "torch 2.10 → 2.15" in note.text
    assert "TF32 → float32" in note.text


@pytest.mark.parametrize(
    ("rate", "keys"),
    [(1.0e11, []), (1.02e11, []), (0.9e11, ["machine-speed-differs"]), (1.2e11, ["machine-speed-differs"])],
)
def test_a_machine_of_another_speed_has_a_note(rate: float, keys: list[str]) -> None:
    before = replace(result(timing(1, 0.01)), ceiling=Ceiling(1.0e11, 1e10, (), ()))
    now = replace(before, ceiling=Ceiling(rate, 1e10, (), ()))
    assert [note.key for note in differences(now, before) if note.key != "single-process"] == keys


def test_with_one_ceiling_the_speed_of_the_machine_is_unknown() -> None:
    without = result(timing(1, 0.01))
    ceiling = replace(without, ceiling=Ceiling(1.0e11, 1e10, (), ()))
    for now, before in ((without, ceiling), (ceiling, without)):
        assert [note.key for note in differences(now, before)] == ["single-process", "machine-speed-unknown"]


# Several processes on one side or both


def of_runs(medians: Sequence[float], seed: int) -> BenchResult:
    """A result of processes with these medians."""
    return merged([result(timing(1, median, count=200, seed=seed + index)) for index, median in enumerate(medians)])


@pytest.mark.parametrize(
    ("now", "limit", "failed"),
    [
        ((0.0150, 0.0158, 0.0153, 0.0151, 0.0156), 0.05, False),
        ((0.0160, 0.0168, 0.0163, 0.0161, 0.0166), 0.05, False),  # 6% slower than by chance could be 4%
        ((0.0180, 0.0188, 0.0183, 0.0181, 0.0186), 0.05, True),
    ],
)
def test_between_sets_of_runs_their_spread_counts(now: tuple[float, ...], limit: float, failed: bool) -> None:
    before = of_runs((0.0151, 0.0157, 0.0154, 0.0150, 0.0156), seed=10)
    compared = with_baseline(of_runs(now, seed=0), before, limit)
    assert compared.failed is failed
    assert "single-process" not in [note.key for note in compared.notes]


def test_samples_of_one_process_alone_would_have_failed() -> None:
    """The same medians: within a process they are known to 0.1%, and between processes they differ by 10%."""
    slow, fast = of_runs((0.0165, 0.0150, 0.0167), seed=0), of_runs((0.0150, 0.0166, 0.0151), seed=5)
    assert not with_baseline(slow, fast, 0.02).failed
    assert with_baseline(result(timing(1, 0.0165)), result(timing(1, 0.0150, seed=1)), 0.02).failed


def test_a_single_process_has_the_spread_of_the_runs_it_is_compared_with() -> None:
    before = of_runs((0.0150, 0.0166, 0.0151), seed=5)
    assert not with_baseline(result(timing(1, 0.0165)), before, 0.02).failed


def test_runs_that_do_not_add_up_are_an_error() -> None:
    before = of_runs((0.015, 0.016), seed=0)
    damaged = replace(before, runs=(replace(before.runs[0], samples=199), before.runs[1]))
    with pytest.raises(ResnetCliError, match="do not add up"):
        with_baseline(result(timing(1, 0.015)), damaged, None)
