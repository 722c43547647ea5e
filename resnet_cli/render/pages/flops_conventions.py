"""Why two FLOP counters disagree: their conventions, the difference of two of them term by term, the terms."""

from __future__ import annotations

from collections.abc import Mapping

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import difference, exact, text_cell
from resnet_cli.results.flops import Convention, FlopsResult, Reconciliation

_VERDICTS = {
    "exact": ("✓ exact", "good"),
    "rounded": ("✓ rounded", "good"),
    "differs": ("✗ differs", "bad"),
    "lower_bound": ("≥ lower bound", "warning"),
    "not_run": ("not run", "dim"),
    "unavailable": ("unavailable", "dim"),
}


def conventions(result: FlopsResult) -> Table:
    """How each tool counts: its formula, the formula's value for this network, what the tool itself reports."""
    columns = (
        Column("name", "convention", numeric=False, minimum=8, comfort=26),
        Column(
            "unit",
            "unit",
            numeric=False,
            priority=3,
            legend="what the number counts, regardless of the tool's label",
        ),
        Column("formula", "formula", numeric=False, priority=1, legend="sum of the terms of this network"),
        Column("predicted", "predicted", legend="by the formula"),
        Column("measured", "measured", priority=2, legend="reported by the tool, or published"),
        Column("verdict", "verdict", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "name": text_cell(convention.name),
                "unit": text_cell(convention.unit),
                "formula": text_cell(convention.formula),
                "predicted": exact(convention.predicted),
                "measured": exact(convention.measured),
                "verdict": _verdict(convention),
            }
        )
        for convention in result.conventions
    )
    return Table("conventions", "conventions", columns, rows)


def _verdict(convention: Convention) -> Cell:
    text, style = _VERDICTS.get(convention.verdict, (convention.verdict, "dim"))
    if convention.verdict == "rounded" and convention.rounding is not None:
        text = f"✓ to {formatting.scaled(convention.rounding)}"
    return Cell(text, convention.verdict, style)


def convention_notes(result: FlopsResult) -> list[Element]:
    """Notes on single conventions, and which tools were run."""
    notes: list[Element] = [
        Paragraph("dim", f"{convention.name}: {convention.note}")
        for convention in result.conventions
        if convention.note
    ]
    run = [
        f"{convention.key} {convention.version}"
        for convention in result.conventions
        if convention.version and convention.measured is not None
    ]
    return [*notes, Paragraph("dim", f"run on this network: {', '.join(run)}")] if run else notes


def reconciliations(result: FlopsResult) -> list[Element]:
    """The difference of two counts term by term; a table for each pair."""
    names = {convention.key: convention.name for convention in result.conventions}
    return [_reconciliation(each, names) for each in result.reconciliations]


def _reconciliation(reconciliation: Reconciliation, names: Mapping[str, str]) -> Table:
    columns = (
        Column("symbol", "term", numeric=False, minimum=4),
        Column("meaning", "meaning", numeric=False, minimum=8, comfort=32, wrap=True),
        Column("operators", "operators", numeric=False, minimum=8, comfort=16, priority=3),
        Column("value", "value", priority=4),
        Column("coefficient", "coefficient", numeric=False, priority=1, legend="of the term in each of the two counts"),
        Column("difference", "difference"),
        Column("count", "count"),
    )
    rows = [_end(reconciliation.start, names, reconciliation.start_value, "")]
    count = reconciliation.start_value
    for step in reconciliation.steps:
        count += step.difference
        rows.append(
            Row(
                {
                    "symbol": text_cell(step.symbol),
                    "meaning": text_cell(step.meaning),
                    "operators": text_cell(", ".join(step.operators), "dim"),
                    "value": exact(step.value),
                    "coefficient": text_cell(f"{step.from_coefficient:g} → {step.to_coefficient:g}"),
                    "difference": difference(step.difference),
                    "count": exact(count),
                }
            )
        )
    rows.append(_end(reconciliation.end, names, reconciliation.end_value, "total"))
    title = f"reconciliation: {reconciliation.start} → {reconciliation.end}"
    return Table("reconciliation", title, columns, tuple(rows))


def _end(key: str, names: Mapping[str, str], count: int, style: str) -> Row:
    """The count that a reconciliation starts or ends with."""
    cells = {
        "symbol": Cell("", key),
        "meaning": text_cell(names.get(key, key), "strong"),
        "count": exact(count, "strong"),
    }
    return Row(cells, style=style)


def terms(result: FlopsResult) -> Table:
    """The counted quantities that the formulas are made of."""
    columns = (
        Column("symbol", "term", numeric=False, minimum=1),
        Column("meaning", "meaning", numeric=False, minimum=8, comfort=16, wrap=True),
        Column("value", "value"),
    )
    rows = tuple(
        Row(
            {
                "symbol": text_cell(term.symbol, "strong"),
                "meaning": text_cell(term.meaning),
                "value": exact(term.value),
            }
        )
        for term in result.terms
    )
    return Table("terms", "terms", columns, rows)
