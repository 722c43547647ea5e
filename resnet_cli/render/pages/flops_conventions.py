"""The tables that say why two counters disagree: conventions, walks between two figures, the parts of both."""

from __future__ import annotations

from collections.abc import Mapping

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import difference, exact, text_cell
from resnet_cli.results.flops import Convention, FlopsResult, Reconciliation


def conventions(result: FlopsResult) -> Table:
    """How each tool counts: its formula, what that gives here, what the tool itself says."""
    columns = (
        Column("name", "convention", numeric=False, minimum=8, comfort=16),
        Column("unit", "unit", numeric=False, priority=3, legend="what the figure is, whatever its maker calls it"),
        Column("formula", "formula", numeric=False, priority=1, legend="over the parts counted on this network"),
        Column("predicted", "predicted", legend="by the formula"),
        Column("measured", "measured", priority=2, legend="the tool's own figure"),
        Column("verdict", "verdict", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "name": text_cell(one.name),
                "unit": text_cell(one.unit),
                "formula": text_cell(one.formula),
                "predicted": exact(one.predicted),
                "measured": exact(one.measured),
                "verdict": _verdict(one),
            }
        )
        for one in result.conventions
    )
    return Table("conventions", "conventions", columns, rows)


def _verdict(convention: Convention) -> Cell:
    text = convention.verdict
    if text == "rounded" and convention.rounding is not None:
        text = f"to {formatting.scaled(convention.rounding)}"
    mark, role = {
        "exact": ("✓ ", "good"),
        "rounded": ("✓ ", "good"),
        "differs": ("✗ ", "bad"),
        "formula": ("", "dim"),
    }.get(convention.verdict, ("", "dim"))
    said = {"formula": "not run"}.get(text, text)
    return Cell(mark + text_cell(said).text, convention.verdict, role)


def remarks(result: FlopsResult) -> list[Element]:
    """What there is to say of single conventions, and which tools were run."""
    said: list[Element] = [Paragraph("dim", f"{one.name}: {one.note}") for one in result.conventions if one.note]
    ran = [f"{one.key} {one.version}" for one in result.conventions if one.version and one.measured is not None]
    return [*said, Paragraph("dim", f"run on this network: {', '.join(ran)}")] if ran else said


def walks(result: FlopsResult) -> list[Element]:
    """From one figure to another, a part at a time; a table for each pair."""
    return [_walk(result, walk) for walk in result.reconciliations]


def _walk(result: FlopsResult, walk: Reconciliation) -> Table:
    names = {one.key: one.name for one in result.conventions}
    columns = (
        Column("symbol", "part", numeric=False, minimum=4),
        Column("meaning", "meaning", numeric=False, minimum=8, comfort=32),
        Column("operators", "operators", numeric=False, minimum=8, comfort=16, priority=3),
        Column("value", "value", priority=4),
        Column("coefficient", "counted", numeric=False, priority=1, legend="how often each of the two counts the part"),
        Column("difference", "difference"),
        Column("running", "figure"),
    )
    rows = [_figure(walk.start, names, walk.start_value, "")]
    running = walk.start_value
    for step in walk.steps:
        running += step.difference
        rows.append(
            Row(
                {
                    "symbol": text_cell(step.symbol),
                    "meaning": text_cell(step.meaning),
                    "operators": text_cell(", ".join(step.operators), "dim"),
                    "value": exact(step.value),
                    "coefficient": text_cell(f"{step.from_coefficient:g} → {step.to_coefficient:g}"),
                    "difference": difference(step.difference),
                    "running": exact(running),
                }
            )
        )
    rows.append(_figure(walk.end, names, walk.end_value, "total"))
    return Table("walks", f"walk: {text_cell(walk.start).text} → {text_cell(walk.end).text}", columns, tuple(rows))


def _figure(key: str, names: Mapping[str, str], figure: int, role: str) -> Row:
    """An end of the walk: whose figure it is."""
    cells = {
        "symbol": Cell("", key),
        "meaning": text_cell(names.get(key, key), "strong"),
        "running": exact(figure, "strong"),
    }
    return Row(cells, style=role)


def parts(result: FlopsResult) -> Table:
    """The counted quantities that the formulas are made of."""
    columns = (
        Column("symbol", "part", numeric=False, minimum=1),
        Column("meaning", "meaning", numeric=False, minimum=8, comfort=16),
        Column("value", "value"),
    )
    rows = tuple(
        Row({"symbol": text_cell(one.symbol, "strong"), "meaning": text_cell(one.meaning), "value": exact(one.value)})
        for one in result.terms
    )
    return Table("parts", "parts", columns, rows)
