"""The page of a FLOP count: by operator, by module, and why two counters disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import (
    assertions,
    closing,
    exact,
    facts,
    scaled,
    subtitle,
    text_cell,
)
from resnet_cli.render.pages.flops_conventions import conventions, parts, remarks, walks
from resnet_cli.render.pages.layer_tree import layer_tree
from resnet_cli.render.pages.sections import FLOPS as SECTIONS
from resnet_cli.results.flops import FlopsResult, ModuleFlops, Operator

_LEVELS = 2  # stages and blocks

_MACS = Column("macs", "MACs", legend="multiply-accumulates of convolutions and matrix products; 1 MAC = 2 FLOPs")
_FLOPS = Column("flops", "FLOPs", priority=3, legend="2 × MACs")
_OPERATIONS = Column(
    "operations", "operations", priority=1, legend="every arithmetic operation, elementwise and pooling included"
)
_BACKWARD = Column("backward", "backward", priority=5, legend="MACs of the backward pass")
_TORCH = Column("torch_flops", "torch", priority=4, legend="FLOPs by torch's FlopCounterMode")
_FVCORE = Column("fvcore", "fvcore", priority=2, legend="what fvcore calls flops: MACs, and some elementwise work")
_SHARE = Column("share", "share", priority=6, bar=True, legend="of all operations; a full bar is the largest row")


def flops_page(result: FlopsResult, view: ViewOptions) -> Document:
    """The totals, and the tables that were asked for in the order of `SECTIONS`."""
    asked = SECTIONS if view.sections is None else view.sections
    draw: dict[str, Callable[[], list[Element]]] = {
        "operators": lambda: [_operators(result), *_uncounted(result)],
        "modules": lambda: [_modules(result, view)],
        "conventions": lambda: [conventions(result), *remarks(result)],
        "walks": lambda: walks(result),
        "parts": lambda: [parts(result)],
    }
    return Document(
        title=formatting.printable(result.network.name),
        subtitle=subtitle(result.network, result.input, None, result.macs),
        elements=(
            facts(
                "forward",
                ("MACs", exact(result.macs, "strong")),
                ("FLOPs, 2 × MACs", exact(result.flops)),
                ("every operation", exact(result.ops)),
            ),
            *_backward(result),
            *(part for section in asked for part in draw[section]()),
            *assertions(result.assertions),
            *closing(result.notes, result.environment),
        ),
    )


def _backward(result: FlopsResult) -> list[Element]:
    if result.backward_macs is None:
        return []
    macs, flops = exact(result.backward_macs, "strong"), exact(result.backward_flops)
    return [facts("backward", ("MACs", macs), ("FLOPs, 2 × MACs", flops))]


def _share(value: int, whole: int, widest: float) -> Cell:
    fraction = value / whole if whole else None
    bar = None if fraction is None or not widest else min(fraction / widest, 1.0)
    return Cell(formatting.percent(fraction) if fraction != 0 else "0", fraction, "" if fraction else "dim", bar)


def _operators(result: FlopsResult) -> Table:
    """Forward operators, then backward ones, and a total of each."""
    whole = result.ops
    forward = [one for one in result.operators if one.phase == "forward"]
    widest = max((one.ops / whole for one in forward), default=0.0) if whole else 0.0
    phases = {one.phase for one in result.operators}
    rows = [
        Row(
            {
                "operator": text_cell(one.name),
                "phase": text_cell(one.phase, "dim"),
                "part": Cell("", None) if one.term is None else text_cell(one.term),
                "calls": exact(one.calls),
                "elements": exact(one.elements),
                "macs": scaled(one.macs),
                "flops": scaled(one.flops),
                "operations": scaled(one.ops) if one.counted else Cell("not counted", None, "dim"),
                "torch_flops": scaled(one.torch_flops),
                "fvcore": scaled(one.fvcore),
                "share": _share(one.ops, whole, widest) if one.phase == "forward" else Cell("", None),
            }
        )
        for one in result.operators
    ]
    totals = [
        _phase_total(phase, [one for one in result.operators if one.phase == phase], whole)
        for phase in sorted(phases, reverse=True)
    ]
    columns = (
        Column("operator", "operator", numeric=False, minimum=8, comfort=16),
        *([Column("phase", "phase", numeric=False)] if len(phases) > 1 else []),
        Column("calls", "calls", priority=8),
        Column("part", "part", numeric=False, priority=7, legend="symbol in the formulas of the conventions"),
        _MACS,
        _FLOPS,
        _OPERATIONS,
        _TORCH,
        _FVCORE,
        _SHARE,
    )
    return Table("operators", "operators", columns, (*rows, *totals))


def _phase_total(phase: str, operators: Sequence[Operator], whole: int) -> Row:
    """The closing row of the forward or of the backward operators."""
    operations = sum(one.ops for one in operators)
    cells = {
        "operator": Cell("total", "total", "strong"),
        "phase": text_cell(phase),
        "calls": exact(sum(one.calls for one in operators)),
        "macs": scaled(sum(one.macs for one in operators)),
        "flops": scaled(sum(one.flops for one in operators)),
        "operations": scaled(operations),
        "torch_flops": scaled(_known_sum([one.torch_flops for one in operators])),
        "fvcore": scaled(_known_sum([one.fvcore for one in operators])),
        "share": _share(operations, whole, 1.0) if phase == "forward" else Cell("", None),
    }
    return Row(cells, style="total")


def _known_sum(values: list[int | None]) -> int | None:
    """The sum of the figures there are, None where there is none at all."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _uncounted(result: FlopsResult) -> list[Element]:
    if not result.uncounted:
        return []
    return [Paragraph("dim", f"no arithmetic is counted for {', '.join(result.uncounted)}")]


def _modules(result: FlopsResult, view: ViewOptions) -> Table:
    levels = _LEVELS if view.levels is None else view.levels
    whole = result.root.ops
    rows = [row for top in layer_tree(result.root, fold=view.collapse, levels=levels) for row in top]

    def total(members: tuple[ModuleFlops, ...], name: str) -> int | None:
        values = [getattr(member, name) for member in members]
        return None if None in values else sum(values)

    widest = max((sum(m.ops for m in row.members) / whole for row in rows), default=0.0) if whole else 0.0

    def cells(members: tuple[ModuleFlops, ...]) -> dict[str, Cell]:
        return {
            "kind": text_cell(members[0].layer_type, "dim"),
            "macs": scaled(total(members, "macs")),
            "flops": scaled(total(members, "flops")),
            "operations": scaled(total(members, "ops")),
            "backward": scaled(total(members, "backward_macs")),
            "torch_flops": scaled(total(members, "torch_flops")),
            "fvcore": scaled(total(members, "fvcore")),
            "share": _share(sum(member.ops for member in members), whole, widest),
        }

    closing_row = {**cells((result.root,)), "module": Cell("total", "total", "strong"), "kind": Cell("", None)}
    columns = (
        Column("module", "module", numeric=False, minimum=8, comfort=24),
        Column("kind", "kind", numeric=False, minimum=6, comfort=14, priority=7),
        _MACS,
        _FLOPS,
        _OPERATIONS,
        *([] if result.root.backward_macs is None else [_BACKWARD]),
        _TORCH,
        _FVCORE,
        _SHARE,
    )
    drawn = (
        Row(
            {"module": text_cell(row.name, "strong" if row.children else "", row.path), **cells(row.members)}, row.depth
        )
        for row in rows
    )
    return Table("modules", "modules", columns, (*drawn, Row(closing_row, style="total")), tree=True)
