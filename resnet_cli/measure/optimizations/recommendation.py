"""Which optimization to take, in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from resnet_cli.results.bench import OptimizationResult


def best_optimization(
    rows: Sequence[OptimizationResult], keeping: Collection[str], as_good: float
) -> OptimizationResult | None:
    """The fastest row that keeps the precision and is significantly faster than eager; the cheapest of equal ones.

    Args:
        rows: of a comparison.
        keeping: keys of those that keep the precision of eager.
        as_good: rows that are slower by less than this fraction are equal.
    """
    candidates = [row for row in rows if row.key in keeping and _speedup(row) > 1]
    fastest = max(map(_speedup, candidates), default=1.0)
    equal = [row for row in candidates if _speedup(row) >= (1 - as_good) * fastest]
    return min(equal, key=lambda row: row.setup_s or 0.0, default=None)


def recommendation(
    rows: Sequence[OptimizationResult],
    best: OptimizationResult | None,
    keeping: Collection[str],
    images: int,
    as_good: float,
) -> str:
    """The recommendation.

    Args:
        rows: of a comparison.
        best: of `best_optimization`.
        keeping: as there.
        images: number of images that the logits were compared on; 0 where the network is untrained, so that its logits
            say nothing of a trained one's: an untrained deep network amplifies rounding.
        as_good: as there.
    """
    first = (
        "stay with plain eager: no optimization in this precision is significantly faster"
        if best is None
        else _take(best)
    )
    reached = 1.0 if best is None else _speedup(best)
    faster = [row for row in rows if row.key not in keeping and _speedup(row) > (1 + as_good) * reached]
    if not faster:
        return _with_top1(first, best, images)
    fastest = max(faster, key=_speedup)
    return f"{_with_top1(first, best, images)}; {_alternative(fastest, images)}"


def training_recommendation(rows: Sequence[OptimizationResult], best: OptimizationResult | None) -> str:
    """The recommendation for training: what is fastest, and what takes less memory.

    Args:
        rows: of a comparison; the first one is plain eager.
        best: of `best_optimization`.
    """
    first = "stay with plain eager: no optimization is significantly faster" if best is None else _take(best)
    eager = rows[0].peak_memory_bytes
    smaller = [
        f"{row.key} takes {row.peak_memory_bytes / eager:.2f}× the memory and {1 / row.speedup:.2f}× the time"
        for row in rows[1:]
        if eager and row.speedup and row.peak_memory_bytes is not None and row.peak_memory_bytes < eager
    ]
    return "; ".join([first, *smaller])


def _speedup(row: OptimizationResult) -> float:
    """Speed-up over eager where it is significant, else 1."""
    return row.speedup if row.speedup is not None and row.ci_low is not None and row.ci_low > 1 else 1.0


def _take(row: OptimizationResult) -> str:
    calls = row.break_even_calls
    paid = f", break-even after {calls:,} call{'' if calls == 1 else 's'}" if calls else ""
    return f"take {row.key}: {_times(row)} as fast as plain eager{paid}"


def _with_top1(text: str, row: OptimizationResult | None, images: int) -> str:
    if row is None or not images:
        return text
    return f"{text}, logits within {_logit_difference(row)}{_top1(row, images)}"


def _alternative(row: OptimizationResult, images: int) -> str:
    if not images:
        return f"{row.key} is {_times(row)} as fast in fewer bits: compare its predictions with trained weights"
    logits = f"changes the logits by {_logit_difference(row)}{_top1(row, images)}"
    return f"{row.key} is {_times(row)} as fast, but {logits}"


def _times(row: OptimizationResult) -> str:
    return f"{row.speedup:.2f}×"


def _logit_difference(row: OptimizationResult) -> str:
    """Relative difference of the logits; in scientific notation below 0.01%."""
    assert row.logit_difference is not None
    return f"{row.logit_difference:.1e}" if row.logit_difference < 1e-4 else f"{100 * row.logit_difference:.2g}%"


def _top1(row: OptimizationResult, images: int) -> str:
    if row.top1_agreement is None:  # an output that is not a value for each class has none
        return ""
    return f" (top-1 the same for {round(row.top1_agreement * images)} of {images})"
