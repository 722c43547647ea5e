"""Two networks, or two runs, side by side: the ratio of their times, how sure it is, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from resnet_cli.formatting import percent
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import exact, seconds, text_cell
from resnet_cli.results.bench import BenchResult, Versus

BASELINE = "baseline"
_VERDICTS = {
    "FASTER": ("✓ FASTER", "good"),
    "SLOWER": ("✗ SLOWER", "bad"),
    "SAME": ("≈ SAME", "good"),
    "UNCLEAR": ("? UNCLEAR", "warning"),
}
_NAMES = (
    Column("batch_size", "batch"),
    Column("kind", "kind", numeric=False),
    Column("our_name", "ours is", numeric=False),
    Column("their_name", "theirs is", numeric=False),
    Column("band", "band"),
)


def _columns(confidence: float) -> tuple[Column, ...]:
    return (
        Column("batch_size", "batch"),
        Column("our_time_s", "ours"),
        Column("their_time_s", "theirs"),
        Column("ratio", "ratio", legend="our time over theirs: below 1 is faster"),
        Column("low", "from"),
        Column("high", "to", legend=f"ends of the {100 * confidence:g} % interval of the ratio"),
        Column("verdict", "verdict", numeric=False),
    )


def comparisons(result: BenchResult, view: ViewOptions) -> list[Element]:
    """A table for each opponent, what it says in words, and whether the run has failed."""
    if not view.collapse:
        rows = tuple(Row(_cells(one)) for one in result.versus)
        return [Table("comparison", "", (*_NAMES, *_columns(result.confidence)[1:]), rows)] if rows else []
    found: list[Element] = []
    for _, group in groupby(result.versus, key=lambda one: (one.method, one.model, one.reference)):
        found += _against(list(group), result)
    return [*found, *_failure(result)]


def _against(them: Sequence[Versus], result: BenchResult) -> Iterator[Element]:
    first = them[0]
    how = "" if first.method == BASELINE else ", in turn call by call"
    yield Table(
        "comparison",
        f"{text_cell(first.model).text} against {text_cell(first.reference).text}{how}",
        _columns(result.confidence),
        tuple(Row(_cells(one)) for one in them),
    )
    for one in them:
        yield Paragraph("plain", _sentence(one))
        yield from (Paragraph(note.level, note.text) for note in one.notes)


def _cells(one: Versus) -> dict[str, Cell]:
    said, role = _VERDICTS.get(one.verdict, (one.verdict, ""))
    return {
        "kind": text_cell(one.method),
        "our_name": text_cell(one.model),
        "their_name": text_cell(one.reference),
        "band": Cell(percent(one.margin), one.margin),
        "batch_size": exact(one.batch_size),
        "our_time_s": seconds(one.model_time.median_s),
        "their_time_s": seconds(one.reference_time.median_s),
        "ratio": Cell(f"{one.ratio:.3f}", one.ratio, "strong"),
        "low": Cell(f"{one.ci_low:.3f}", one.ci_low),
        "high": Cell(f"{one.ci_high:.3f}", one.ci_high),
        "verdict": text_cell(said, role, one.verdict),
    }


def _sentence(one: Versus) -> str:
    """The verdict and its interval in words."""
    batch, band = f"batch {one.batch_size:,}", f"{100 * one.margin:g} %"
    ours, theirs = text_cell(one.model).text, text_cell(one.reference).text
    between = _between(one.ci_low, one.ci_high)
    if one.verdict == "SAME":
        return f"{batch}: no difference beyond {band} ({between})"
    if one.verdict == "UNCLEAR":
        # A baseline's notes say why.
        why = "" if one.method == BASELINE else f": too wide to tell at {band}; a longer --max-time makes it narrower"
        return f"{batch}: {ours} takes {between} time than {theirs}{why}"
    return f"{batch}: {ours} takes {_change(one.ratio)} time than {theirs} ({between})"


def _between(low: float, high: float) -> str:
    """An interval of ratios in words."""
    if low < 1 < high:
        return f"{_change(low)} to {_change(high)}"
    near, far = (high, low) if high <= 1 else (low, high)
    return f"{percent(abs(near - 1))} to {_change(far)}"


def _change(ratio: float) -> str:
    """A ratio of times in words: 0.968 is "3.2 % less"."""
    return f"{percent(abs(ratio - 1))} {'less' if ratio < 1 else 'more'}"


def _failure(result: BenchResult) -> list[Element]:
    """What --fail-above found."""
    if result.fail_above is None:
        return []
    limit = f"{100 * result.fail_above:g} %"
    if result.failed:
        return [Paragraph("bad", f"✗ failed: surely slower than the baseline by more than {limit}")]
    if any(one.method == BASELINE and one.ci_high > 1 + result.fail_above for one in result.versus):
        return [Paragraph("plain", f"? unclear, so it passes: it may be slower than the baseline by more than {limit}")]
    return [Paragraph("good", f"✓ passed: not slower than the baseline by more than {limit}")]
