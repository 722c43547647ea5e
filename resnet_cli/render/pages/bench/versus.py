"""Two networks, or two runs: the ratio of their times with its confidence interval, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from resnet_cli.formatting import percent, percent_setting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import exact, factor, seconds, text_cell
from resnet_cli.render.pages.elements import notes
from resnet_cli.results.bench import BenchResult, Versus

BASELINE = "baseline"
_VERDICTS = {
    "FASTER": ("✓ FASTER", "good"),
    "SLOWER": ("✗ SLOWER", "bad"),
    "SAME": ("≈ SAME", "good"),
    "UNCLEAR": ("? UNCLEAR", "warning"),
}


def versus(result: BenchResult) -> list[Element]:
    """A table for each reference with its verdicts, and whether --fail-above holds."""
    elements: list[Element] = []
    for _, group in groupby(result.versus, key=lambda each: (each.method, each.model, each.reference)):
        elements += _one_reference(list(group), result.confidence, has_runs=bool(result.runs))
    return [*elements, *_fail_above(result)]


def _one_reference(comparisons: Sequence[Versus], confidence: float, *, has_runs: bool) -> Iterator[Element]:
    first = comparisons[0]
    method = "" if first.method == BASELINE else ", interleaved call by call"
    columns = (
        Column("batch_size", "batch"),
        Column("model_time", "model"),
        Column("reference_time", "reference"),
        Column("ratio", "ratio", legend="time of the model / time of the reference: below 1 is faster"),
        Column("ci_low", "CI low"),
        Column("ci_high", "CI high", legend=f"{percent_setting(confidence)} confidence interval of the ratio"),
        Column("verdict", "verdict", numeric=False),
    )
    title = f"{first.model} vs {first.reference}{method}"
    yield Table("versus", title, columns, tuple(Row(_cells(each)) for each in comparisons))
    for each in comparisons:
        yield Paragraph("plain", _sentence(each, "--runs" if has_runs else "--max-time"))
        yield from notes(each.notes)


def _cells(comparison: Versus) -> dict[str, Cell]:
    text, style = _VERDICTS.get(comparison.verdict, (comparison.verdict, ""))
    return {
        "batch_size": exact(comparison.batch_size),
        "model_time": seconds(comparison.model_time.median_s),
        "reference_time": seconds(comparison.reference_time.median_s),
        "ratio": factor(comparison.ratio, 3, "", "strong"),
        "ci_low": factor(comparison.ci_low, 3, ""),
        "ci_high": factor(comparison.ci_high, 3, ""),
        "verdict": text_cell(text, style, comparison.verdict),
    }


def _sentence(comparison: Versus, option: str) -> str:
    """The verdict and its interval in words; `option` narrows the interval."""
    names = f"batch {comparison.batch_size:,}: {comparison.model} vs {comparison.reference}"
    interval = f"{_change(comparison.ci_low)} to {_change(comparison.ci_high)}"
    margin = f"±{percent_setting(comparison.margin)}"
    if comparison.verdict == "SAME":
        return f"{names}: {interval} time; the same within {margin}"
    if comparison.verdict == "UNCLEAR":
        # The notes of a comparison with a baseline say why.
        hint = "" if comparison.method == BASELINE else f"; raise {option} to narrow the interval"
        return f"{names}: {interval} time; inconclusive at {margin}{hint}"
    return f"{names}: {_change(comparison.ratio)} time ({interval})"


def _change(ratio: float) -> str:
    """A ratio of times as a change: 0.968 is "−3.2%"."""
    sign = "−" if ratio < 1 else "+"
    return f"{sign}{percent(abs(ratio - 1))}"


def _fail_above(result: BenchResult) -> list[Element]:
    """The verdict of --fail-above."""
    if result.fail_above is None:
        return []
    limit = percent_setting(result.fail_above)
    if result.failed:
        return [Paragraph("bad", f"✗ failed: significantly slower than the baseline by more than {limit}")]
    if any(each.method == BASELINE and each.ci_high > 1 + result.fail_above for each in result.versus):
        text = f"? passed, but inconclusive: the interval includes a slowdown of more than {limit}"
        return [Paragraph("plain", text)]
    return [Paragraph("good", f"✓ passed: not slower than the baseline by more than {limit}")]
