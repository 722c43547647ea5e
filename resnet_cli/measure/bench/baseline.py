"""This run against a saved one: is it slower, surely?"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions, printable
from resnet_cli.measure.bench.estimators import UNCLEAR, describe, independent_ratio, verdict
from resnet_cli.results.bench import BenchResult, Timing, Versus
from resnet_cli.results.common import Network, Note, Shape

_PACE = 0.03  # change of the measured ceiling that is worth a sentence


def check(
    baseline: BenchResult, network: Network, image: Shape, dtype: str, mode: str, batch_sizes: tuple[int, ...]
) -> None:
    """Before anything is measured: is the saved run of the same network and the same work?

    Raises:
        ResnetCliError: it is not, or it has none of these batch sizes.
    """
    theirs = baseline.network
    if theirs != network:
        other = f"of {printable(theirs.name)}" if theirs.name != network.name else "of another variant"
        raise ResnetCliError(
            f"the baseline is {other}, and this is {printable(network.name)}",
            "a network is held against itself; --against compares two",
        )
    for what, saved, now in (
        ("image size", dimensions(baseline.image), dimensions(image)),
        ("dtype", baseline.input.dtype, dtype),
        ("mode", baseline.conditions.mode, mode),
    ):
        if saved != now:
            raise ResnetCliError(f"the baseline has another {what}: {printable(saved)}, and this is {now}")
    known = [row.batch_size for row in baseline.timings if row.wall is not None]
    if not set(known) & set(batch_sizes):
        has = ", ".join(map(str, known)) or "none"
        raise ResnetCliError(
            f"the baseline has no batch of {', '.join(map(str, batch_sizes))}", f"its batch sizes: {has}"
        )


def against_baseline(result: BenchResult, baseline: BenchResult, fail_above: float | None) -> tuple[Versus, ...]:
    """Every batch that both have, this run / the saved one.

    Args:
        result: this run.
        baseline: the saved one, checked.
        fail_above: the slowdown that may be, 0.05 for 5 %; None: as much as the intervals are allowed to be wide.
    """
    band = result.ci_width if fail_above is None else fail_above
    saved = {row.batch_size: row for row in baseline.timings}
    return tuple(
        _compare(result, row, saved[row.batch_size], band)
        for row in result.timings
        if row.wall is not None and row.batch_size in saved and saved[row.batch_size].wall is not None
    )


def _compare(result: BenchResult, row: Timing, saved: Timing, band: float) -> Versus:
    assert row.wall is not None
    assert saved.wall is not None
    # From the samples, not from what the file says of them.
    theirs = describe(saved.wall.samples_s, result.confidence)
    ratio, low, high = independent_ratio(row.wall, theirs)
    found = verdict(low, high, band)
    notes: tuple[Note, ...] = ()
    if found == UNCLEAR:
        text = (
            f"batch {row.batch_size}: the interval reaches across the limit of {100 * band:g} %, so it cannot be told; "
            "a longer --max-time makes it narrower"
        )
        notes = (Note("note", text),)
    return Versus(
        batch_size=row.batch_size,
        method="baseline",
        model="this run",
        reference="the baseline",
        model_time=row.wall,
        reference_time=theirs,
        ratio=ratio,
        ci_low=low,
        ci_high=high,
        margin=band,
        verdict=found,
        stopped=None,
        notes=notes,
    )


def fails(comparisons: tuple[Versus, ...], fail_above: float | None) -> bool:
    """Whether a slowdown lies beyond the limit with its whole interval."""
    return fail_above is not None and any(
        one.ci_low > 1 + fail_above for one in comparisons if one.method == "baseline"
    )


def differences(result: BenchResult, baseline: BenchResult) -> Iterator[Note]:
    """What is not the same about the two machines, so that a ratio may be the machine's and not the network's."""
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
    changed = [f"{what} {printable(before)} → {after}" for what, before, after in facts if before != after]
    if changed:
        yield Note("warning", f"the baseline was measured elsewhere: {'; '.join(changed)}")
    yield from _pace(result, baseline)


def _pace(result: BenchResult, baseline: BenchResult) -> Iterator[Note]:
    """Whether the machine itself went at another pace: no interval of a run knows what the next run will meet."""
    now, then = result.ceiling, baseline.ceiling
    if now is None or then is None:
        yield Note(
            "note",
            "two runs may meet the same machine at another pace, which only the ceiling would show (--no-ceiling)",
        )
        return
    change = now.flops_per_s / then.flops_per_s - 1
    if abs(change) > _PACE:
        yield Note(
            "warning",
            f"the machine itself was {abs(100 * change):.0f} % {'faster' if change > 0 else 'slower'} than for the "
            "baseline, by its ceiling: the difference may be its own",
        )
