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
    nowhere = [one for one in result.faults if not one.injected]
    columns = (
        _COLUMNS
        if view.collapse
        else (Column("key", "key", numeric=False), Column("group", "group", numeric=False), *_COLUMNS)
    )
    rows = tuple(_rows(result)) if view.collapse else tuple(Row(_fault(one)) for one in result.faults)
    return Document(
        title=f"self-test: faults planted in {text_cell(result.network.name).text}",
        subtitle=f"{text_cell(result.reference).text} · {counted(len(result.faults), 'fault')}",
        elements=(
            *interrupted(result.interrupted),
            _verdict(result),
            *([Table("faults", "", columns, rows)] if rows else []),
            *([Paragraph("dim", _without_place(nowhere))] if nowhere else []),
            *closing(result.notes, result.environment),
        ),
    )


def _verdict(result: SelfTestResult) -> Paragraph:
    if not result.injected:
        return Paragraph("bad", "? nothing was planted")
    if result.same:
        return Paragraph("good", f"✓ all planted faults found and named: {result.diagnosed} of {result.injected}")
    missed = [one.key for one in result.faults if one.injected and not (one.detected and one.diagnosed)]
    if result.interrupted and not missed:
        return Paragraph("warning", f"? all faults planted so far were found and named: {result.diagnosed}")
    return Paragraph(
        "bad",
        f"✗ of {counted(result.injected, 'planted fault')}, {result.detected} found and {result.diagnosed} named; "
        f"to look at: {', '.join(missed)}",
    )


def _rows(result: SelfTestResult) -> Iterator[Row]:
    for group, members in groupby(result.faults, key=lambda one: one.group):
        yield Row({"fault": text_cell(group, "strong")})
        yield from (Row(_fault(one)) for one in members)
    yield Row(
        {
            "fault": Cell("total", "total", "strong"),
            "planted": exact(result.injected),
            "detected": exact(result.detected),
            "named": exact(result.diagnosed),
        },
        style="total",
    )


def _fault(fault: FaultResult) -> dict[str, Cell]:
    return {
        "key": text_cell(fault.key),
        "group": text_cell(fault.group),
        "fault": text_cell(fault.title, "" if fault.injected else "dim"),
        "planted": Cell("yes" if fault.injected else "no", fault.injected, "" if fault.injected else "dim"),
        "detected": _mark(fault.injected, fault.detected),
        "named": _mark(fault.injected, fault.diagnosed),
        "checks": text_cell(", ".join(fault.checks)),
        "text": text_cell(fault.text, "" if fault.injected else "dim"),
    }


def _mark(planted: bool, seen: bool) -> Cell:
    if not planted:
        return Cell("–", None, "dim")
    return Cell("✓", True, "good") if seen else Cell("✗", False, "bad")


def _without_place(faults: list[FaultResult]) -> str:
    return f"{counted(len(faults), 'fault')} without a place in this network: {', '.join(one.title for one in faults)}"
