"""This run compared with a saved one: is it significantly slower?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.bench.stats.ratios import UNCLEAR, independent_ratio, verdict
from resnet_cli.measure.bench.stats.runs import describe_runs, estimates, ratio_of_runs
from resnet_cli.measure.bench.workloads.mixed_precision import AUTOCAST
from resnet_cli.results.bench import BenchResult, Timing, Versus
from resnet_cli.results.common import Input, Network, Note

_NO_AUTOCAST = f"no {AUTOCAST}"
_PACE = 0.03  # relative change of the measured ceiling that is worth a note


def check(
    baseline: BenchResult,
    network: Network,
    inputs: Input,
    mode: str,
    batch_sizes: tuple[int, ...],
    autocast: str | None = None,
    optimizer: str | None = None,
) -> None:
    """Before anything is measured: is the saved run of the same network and the same work?

    Args:
        baseline: the saved run.
        network: under test.
        inputs: of its forward.
        mode: "inference" or "train".
        batch_sizes: of this run.
        autocast: mixed precision of this run, such as "bfloat16 autocast"; None: it has none.

    Raises:
        ResnetCliError: it is not, or it has none of these batch sizes.
    """
    saved = baseline.network
    if saved != network:
        difference = f"of {saved.name}" if saved.name != network.name else "of another variant"
        raise ResnetCliError(
            f"the baseline is {difference}, and this is {network.name}",
            "`baseline` compares a network with itself; `against` compares two",
        )
    for what, before, now in (
        ("image size", _sizes(baseline.input), _sizes(inputs)),
        ("dtype", baseline.input.dtype, inputs.dtype),
        ("mode", baseline.conditions.mode, mode),
        ("optimizer", str(baseline.conditions.optimizer), str(optimizer)),
        ("precision", _autocast_of(baseline.conditions.precision), autocast or _NO_AUTOCAST),
    ):
        if before != now:
            raise ResnetCliError(f"the baseline has another {what}: {before}, and this is {now}")
    known = [row.batch_size for row in baseline.timings if row.wall is not None]
    if not set(known) & set(batch_sizes):
        has = ", ".join(map(str, known)) or "none"
        raise ResnetCliError(
            f"the baseline has no batch of {', '.join(map(str, batch_sizes))}", f"its batch sizes: {has}"
        )


def _autocast_of(precision: str) -> str:
    return precision if precision.endswith(AUTOCAST) else _NO_AUTOCAST


def _sizes(inputs: Input) -> str:
    """Shapes of the tensors without their batch axis."""
    shapes = [tensor.shape for tensor in inputs.tensors] or [inputs.shape]
    return ", ".join(dimensions(shape[1:]) for shape in shapes)


def against_baseline(result: BenchResult, baseline: BenchResult, fail_above: float | None) -> tuple[Versus, ...]:
    """Every batch that both have, this run / the saved one.

    Args:
        result: this run.
        baseline: the saved one, checked.
        fail_above: the slowdown that is allowed, 0.05 for 5%; None: the width that intervals may have.
    """
    band = result.ci_width if fail_above is None else fail_above
    saved = {row.batch_size: row for row in baseline.timings}
    return tuple(
        _compare(row, _series(result, row), _series(baseline, saved[row.batch_size]), band)
        for row in result.timings
        if row.wall is not None and row.batch_size in saved and saved[row.batch_size].wall is not None
    )


def with_baseline(result: BenchResult, baseline: BenchResult, fail_above: float | None) -> BenchResult:
    """The result with its comparison with a saved one.

    Args:
        result: this run.
        baseline: the saved one, checked.
        fail_above: the slowdown that is a failure; None: none is.

    Raises:
        ResnetCliError: the saved one contradicts itself.
    """
    compared = against_baseline(result, baseline, fail_above)
    return replace(
        result,
        versus=(*result.versus, *compared),
        fail_above=fail_above,
        failed=fails(compared, fail_above),
        notes=(*result.notes, *differences(result, baseline)),
    )


def _series(result: BenchResult, row: Timing) -> list[tuple[float, ...]]:
    """The samples of each process: a saved result is judged by these, whatever statistics it has.

    Raises:
        ResnetCliError: its processes have another number of samples in all.
    """
    assert row.wall is not None
    samples = row.wall.samples_s
    counts = [run.samples for run in result.runs if run.batch_size == row.batch_size] or [len(samples)]
    if min(counts) < 1 or sum(counts) != len(samples):
        raise ResnetCliError(
            f"the baseline is damaged: its runs at batch {row.batch_size} do not add up to its samples", "measure again"
        )
    ends = [*accumulate(counts)]
    return [samples[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _compare(row: Timing, series: Sequence[Sequence[float]], saved: Sequence[Sequence[float]], band: float) -> Versus:
    """This run's samples, by process, and those of the saved one."""
    assert row.wall is not None
    saved_time = describe_runs(saved)
    if len(series) == len(saved) == 1:
        ratio, low, high = independent_ratio(row.wall, saved_time)
    else:
        ratio, low, high = ratio_of_runs(estimates(series), estimates(saved))
    outcome = verdict(low, high, band)
    notes: tuple[Note, ...] = ()
    if outcome == UNCLEAR:
        more = "more `runs` narrow it" if len(series) > 1 else "a longer `max_time` narrows it"
        text = f"batch {row.batch_size}: inconclusive, the CI crosses the limit of {100 * band:g}%; {more}"
        notes = (Note("note", text, "baseline-inconclusive"),)
    return Versus(
        batch_size=row.batch_size,
        method="baseline",
        model="this run",
        reference="the baseline",
        model_time=row.wall,
        reference_time=saved_time,
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        margin=band,
        verdict=outcome,
        stopped=None,
        notes=notes,
    )


def fails(comparisons: tuple[Versus, ...], fail_above: float | None) -> bool:
    """Whether the whole interval of a slowdown is beyond the limit."""
    return fail_above is not None and any(
        versus.ci_low > 1 + fail_above for versus in comparisons if versus.method == "baseline"
    )


def differences(result: BenchResult, baseline: BenchResult) -> Iterator[Note]:
    """Notes on differences between the two machines: a ratio may be theirs and not the network's."""
    now, then = result.environment, baseline.environment
    facts = (
        ("device", then.device_name, now.device_name),
        ("threads", str(then.threads), str(now.threads)),
        ("torch", then.torch, now.torch),
        ("Python", then.python, now.python),
        ("platform", then.platform, now.platform),
        ("precision", baseline.conditions.precision, result.conditions.precision),
        ("instructions", str(baseline.conditions.instructions), str(result.conditions.instructions)),
    )
    if not result.runs and not baseline.runs:
        text = "both are of a single process: the interval leaves out what differs between processes; see `runs`"
        yield Note("note", text, "single-process")
    changed = [f"{what} {before} → {after}" for what, before, after in facts if before != after]
    if changed:
        yield Note(
            "warning",
            f"the baseline was measured under other conditions: {'; '.join(changed)}",
            "baseline-conditions-differ",
        )
    yield from _pace(result, baseline)


def _pace(result: BenchResult, baseline: BenchResult) -> Iterator[Note]:
    """Whether the speed of the machine itself changed, which no interval of a single run includes."""
    now, then = result.ceiling, baseline.ceiling
    if now is None or then is None:
        text = "the speed of the machine may differ between two runs; only the measured peak would show it"
        yield Note("note", text, "machine-speed-unknown")
        return
    change = now.flops_per_s / then.flops_per_s - 1
    if abs(change) > _PACE:
        text = (
            f"the measured peak of this machine is {abs(100 * change):.0f}% {'higher' if change > 0 else 'lower'} than "
            "in the baseline, which may explain the difference"
        )
        yield Note("warning", text, "machine-speed-differs")
