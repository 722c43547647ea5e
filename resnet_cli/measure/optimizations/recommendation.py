"""Which rung of a ladder to take, in one sentence. Results only: no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from resnet_cli.results.bench import OptimizationResult


def best_optimization(
    rungs: Sequence[OptimizationResult], keeping: Collection[str], as_good: float
) -> OptimizationResult | None:
    """The fastest rung that surely gains and keeps the precision; of equally fast ones the cheapest to set up.

    Args:
        rungs: of a ladder.
        keeping: keys of those that keep the precision; the others are for the user to judge.
        as_good: what is slower by less than this share of the time is as fast.
    """
    candidates = [rung for rung in rungs if rung.key in keeping and _gain(rung) > 1]
    fastest = max(map(_gain, candidates), default=1.0)
    equal = [rung for rung in candidates if _gain(rung) >= (1 - as_good) * fastest]
    return min(equal, key=lambda rung: rung.setup_s or 0.0, default=None)


def recommendation(
    rungs: Sequence[OptimizationResult],
    best: OptimizationResult | None,
    keeping: Collection[str],
    images: int,
    as_good: float,
) -> str:
    """The sentence.

    Args:
        rungs: of a ladder.
        best: of `best_optimization`.
        keeping: as there.
        images: on how many the logits were compared.
        as_good: as there.
    """
    first = "stay with plain eager: nothing else in this precision is surely faster" if best is None else _take(best)
    reached = 1.0 if best is None else _gain(best)
    faster = [rung for rung in rungs if rung.key not in keeping and _gain(rung) > (1 + as_good) * reached]
    if not faster:
        return _with_top1(first, best, images)
    fastest = max(faster, key=_gain)
    return f"{_with_top1(first, best, images)}; {_alternative(fastest, images)}"


def _gain(rung: OptimizationResult) -> float:
    """How many times as fast, where that is sure; otherwise 1, as plain eager is."""
    return rung.speedup if rung.speedup is not None and rung.ci_low is not None and rung.ci_low > 1 else 1.0


def _take(rung: OptimizationResult) -> str:
    calls = rung.break_even_calls
    paid = f", paid for after {calls:,} call{'' if calls == 1 else 's'}" if calls else ""
    return f"take {rung.key}: {_times(rung)} as fast as plain eager{paid}"


def _with_top1(text: str, rung: OptimizationResult | None, images: int) -> str:
    if rung is None:
        return text
    return f"{text}, logits within {_moved(rung)} (top-1 {_top1(rung, images)})"


def _alternative(rung: OptimizationResult, images: int) -> str:
    return f"{rung.key} is {_times(rung)} as fast, but moves the logits by {_moved(rung)} (top-1 {_top1(rung, images)})"


def _times(rung: OptimizationResult) -> str:
    return f"{rung.speedup:.2f}×"


def _moved(rung: OptimizationResult) -> str:
    """The relative difference of the logits: as a percentage where one can imagine that."""
    assert rung.logit_difference is not None  # it was measured
    return f"{rung.logit_difference:.1e}" if rung.logit_difference < 1e-4 else f"{100 * rung.logit_difference:.2g} %"


def _top1(rung: OptimizationResult, images: int) -> str:
    assert rung.top1_agreement is not None
    return f"the same for {round(rung.top1_agreement * images)} of {images}"
