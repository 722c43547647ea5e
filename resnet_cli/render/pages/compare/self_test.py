"""The page of a self-test: every injected fault, and whether it was detected and diagnosed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, text_cell, yes_no
from resnet_cli.render.pages.elements import closing, interrupted
from resnet_cli.results.compare import FaultResult, SelfTestResult

_COLUMNS = (
    Column("fault", "fault", numeric=False, minimum=16, comfort=26, wrap=True),
    Column("injected", "injected", numeric=False, priority=5),
    Column("detected", "detected", numeric=False),
    Column("diagnosed", "diagnosed", numeric=False, legend="the diagnosis names the fault"),
    Column("checks", "detected by", numeric=False, minimum=11, comfort=11, wrap=True, legend="checks that differ"),
    Column("text", "diagnosis", numeric=False, minimum=16, comfort=18, wrap=True),
)


def self_test_page(result: SelfTestResult, view: ViewOptions) -> Document:  # noqa: ARG001  # there is nothing to choose
    """The faults by group, and a total."""
    rows = tuple(_rows(result))
    return Document(
        title=f"self-test: faults injected into {result.network.name}",
        subtitle=f"{result.reference} · {counted(len(result.faults), 'fault')}",
        elements=(
            *interrupted(result.interrupted),
            _verdict(result),
            *([Table("faults", "", _COLUMNS, rows)] if result.faults else []),
            *_not_applicable(result),
            *closing(result.notes, result.environment),
        ),
    )


def _verdict(result: SelfTestResult) -> Paragraph:
    if not result.injected:
        return Paragraph("bad", "? no fault was injected")
    if result.same:
        return Paragraph(
            "good", f"✓ all injected faults detected and diagnosed: {result.diagnosed} of {result.injected}"
        )
    missed = [fault.key for fault in result.faults if fault.injected and not (fault.detected and fault.diagnosed)]
    if result.interrupted and not missed:
        return Paragraph("warning", f"? all faults injected so far were detected and diagnosed: {result.diagnosed}")
    return Paragraph(
        "bad",
        f"✗ of {counted(result.injected, 'injected fault')}, {result.detected} detected and {result.diagnosed} "
        f"diagnosed; missed: {', '.join(missed)}",
    )


def _rows(result: SelfTestResult) -> Iterator[Row]:
    for group, faults in groupby(result.faults, key=lambda fault: fault.group):
        yield Row({"fault": text_cell(group, "strong")})
        yield from map(_row, faults)
    yield Row(
        {
            "fault": Cell("total", "total", "strong"),
            "injected": exact(result.injected),
            "detected": exact(result.detected),
            "diagnosed": exact(result.diagnosed),
        },
        style="total",
    )


def _row(fault: FaultResult) -> Row:
    style = "" if fault.injected else "dim"
    return Row(
        {
            "fault": text_cell(fault.title, style, fault.key),
            "injected": Cell("yes" if fault.injected else "no", fault.injected, style),
            "detected": yes_no(fault.detected if fault.injected else None, "", "", "–"),
            "diagnosed": yes_no(fault.diagnosed if fault.injected else None, "", "", "–"),
            "checks": text_cell(", ".join(fault.checks)),
            "text": text_cell(fault.text, style),
        }
    )


def _not_applicable(result: SelfTestResult) -> list[Element]:
    faults = [fault for fault in result.faults if not fault.injected]
    if not faults:
        return []
    titles = ", ".join(fault.title for fault in faults)
    return [Paragraph("dim", f"{counted(len(faults), 'fault')} not applicable to this network: {titles}")]
