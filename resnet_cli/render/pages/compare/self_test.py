"""The page of a self-test: every fault that was planted, and whether it was found and called by its name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from resnet_cli.render.document import Cell, Column, Document, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import closing, counted, exact, interrupted, text_cell
from resnet_cli.results.compare import FaultResult, SelfTestResult

_COLUMNS = (
    Column("fault", "fault", numeric=False, minimum=16, comfort=26, wrap=True),
    Column("planted", "planted", numeric=False, priority=5),
    Column("detected", "found", numeric=False),
    Column("named", "named", numeric=False, legend="the diagnosis calls the fault by its name"),
    Column("checks", "seen by", numeric=False, minimum=11, comfort=11, wrap=True, legend="the checks that saw it"),
    Column("text", "said", numeric=False, minimum=16, comfort=18, wrap=True),
)


def self_test_page(result: SelfTestResult, view: ViewOptions) -> Document:
    """The faults by group and a total; unfolded, a plain table with the keys."""
    nowhere = [one for one in result.rows if not one.planted]
    columns = (
        _COLUMNS
        if view.fold
        else (Column("key", "key", numeric=False), Column("group", "group", numeric=False), *_COLUMNS)
    )
    rows = tuple(_rows(result)) if view.fold else tuple(Row(_fault(one)) for one in result.rows)
    return Document(
        title=f"self-test: faults planted in {text_cell(result.network.name).text}",
        subtitle=f"{text_cell(result.reference).text} · {counted(len(result.rows), 'fault')}",
        parts=(
            *interrupted(result.interrupted),
            _verdict(result),
            *([Table("faults", "", columns, rows)] if rows else []),
            *([Paragraph("dim", _without_place(nowhere))] if nowhere else []),
            *closing(result.notes, result.environment),
        ),
    )


def _verdict(result: SelfTestResult) -> Paragraph:
    if not result.planted:
        return Paragraph("bad", "? nothing was planted")
    if result.same:
        return Paragraph("good", f"✓ all planted faults found and named: {result.named} of {result.planted}")
    missed = [one.key for one in result.rows if one.planted and not (one.detected and one.named)]
    if result.interrupted and not missed:
        return Paragraph("warning", f"? all faults planted so far were found and named: {result.named}")
    return Paragraph(
        "bad",
        f"✗ of {counted(result.planted, 'planted fault')}, {result.detected} found and {result.named} named; "
        f"to look at: {', '.join(missed)}",
    )


def _rows(result: SelfTestResult) -> Iterator[Row]:
    for group, members in groupby(result.rows, key=lambda one: one.group):
        yield Row({"fault": text_cell(group, "strong")})
        yield from (Row(_fault(one)) for one in members)
    yield Row(
        {
            "fault": Cell("total", "total", "strong"),
            "planted": exact(result.planted),
            "detected": exact(result.detected),
            "named": exact(result.named),
        },
        role="total",
    )


def _fault(fault: FaultResult) -> dict[str, Cell]:
    return {
        "key": text_cell(fault.key),
        "group": text_cell(fault.group),
        "fault": text_cell(fault.title, "" if fault.planted else "dim"),
        "planted": Cell("yes" if fault.planted else "no", fault.planted, "" if fault.planted else "dim"),
        "detected": _mark(fault.planted, fault.detected),
        "named": _mark(fault.planted, fault.named),
        "checks": text_cell(", ".join(fault.checks)),
        "text": text_cell(fault.text, "" if fault.planted else "dim"),
    }


def _mark(planted: bool, seen: bool) -> Cell:
    if not planted:
        return Cell("–", None, "dim")
    return Cell("✓", True, "good") if seen else Cell("✗", False, "bad")


def _without_place(faults: list[FaultResult]) -> str:
    return f"{counted(len(faults), 'fault')} without a place in this network: {', '.join(one.title for one in faults)}"
