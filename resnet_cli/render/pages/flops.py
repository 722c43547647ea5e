"""The page of `flops`: by operator, by module, and why two counters disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from resnet_cli.render.document import Cell, Column, Document, Element, Row, Table, ViewOptions
from resnet_cli.render.pages import PAGES
from resnet_cli.render.pages.cells import EMPTY, exact, scaled, share, text_cell
from resnet_cli.render.pages.elements import assertions, closing, compute_fields, fields, qualified_label, subtitle
from resnet_cli.render.pages.flops_conventions import convention_notes, conventions, reconciliations, terms
from resnet_cli.render.pages.layer_tree import LayerRow, layer_tree
from resnet_cli.results.flops import FlopsResult, ModuleFlops, Operator

_DEFAULT_LEVELS = 2  # stages and blocks

_MACS = Column("macs", "MACs", legend="of convolutions and matrix products; 1 MAC = 2 FLOPs")
_FLOPS = Column("flops", "FLOPs", priority=3, legend="2 × MACs")
_OPS = Column("ops", "ops", priority=1, legend="all arithmetic ops: elementwise ones and pooling included")
_BACKWARD = Column("backward", "backward", priority=5, legend="MACs of the backward pass")
_TORCH = Column("torch_flops", "torch", priority=4, legend="FLOPs by torch's FlopCounterMode")
_FVCORE = Column("fvcore", "fvcore", priority=2, legend='fvcore\'s "flops": MACs, and some elementwise ops')
_SHARE = Column("share", "share", priority=6, bar=True, legend="of all arithmetic ops; a full bar is the largest row")


def flops_page(result: FlopsResult, view: ViewOptions) -> Document:
    """The totals, and the sections that were asked for."""
    draw: dict[str, Callable[[], list[Element]]] = {
        "operators": lambda: [_operators(result)],
        "modules": lambda: [_modules(result, view)],
        "conventions": lambda: [conventions(result), *convention_notes(result)],
        "reconciliation": lambda: reconciliations(result),
        "terms": lambda: [terms(result)],
    }
    return Document(
        title=result.network.name,
        subtitle=subtitle(result),
        elements=(
            compute_fields(result, "forward"),
            *_backward(result),
            *(element for section in view.sections or PAGES["flops"].sections for element in draw[section]()),
            *assertions(result.assertions),
            *closing(result.notes, result.environment),
        ),
    )


def _backward(result: FlopsResult) -> list[Element]:
    if result.backward_macs is None:
        return []
    macs, flops = exact(result.backward_macs, "strong"), exact(result.backward_flops)
    return [
        fields(
            "backward",
            (qualified_label("MACs", result.notes, "backward_macs"), macs),
            (qualified_label("FLOPs (2 × MACs)", result.notes, "backward_flops"), flops),
        )
    ]


# By operator


def _operators(result: FlopsResult) -> Table:
    """Forward operators, then backward ones, and a total of each."""
    phases = [
        [operator for operator in result.operators if operator.phase == phase] for phase in ("forward", "backward")
    ]
    largest = max((operator.ops / result.ops for operator in phases[0]), default=0.0) if result.ops else 0.0
    columns = (
        Column("operator", "operator", numeric=False, minimum=8, comfort=16),
        *([Column("phase", "phase", numeric=False)] if all(phases) else []),
        Column("calls", "calls", priority=8),
        Column("term", "term", numeric=False, priority=7, legend="symbol in the formulas of the conventions"),
        *(_MACS, _FLOPS, _OPS, _TORCH, _FVCORE, _SHARE),
    )
    rows = [_operator(operator, result.ops, largest) for phase in phases for operator in phase]
    totals = [_phase_total(phase, result.ops) for phase in phases if phase]
    return Table("operators", "operators", columns, (*rows, *totals))


def _operator(operator: Operator, whole: int, largest: float) -> Row:
    return Row(
        {
            "operator": text_cell(operator.name),
            "phase": text_cell(operator.phase, "dim"),
            "term": EMPTY if operator.term is None else text_cell(operator.term),
            "calls": exact(operator.calls),
            "macs": scaled(operator.macs),
            "flops": scaled(operator.flops),
            "ops": scaled(operator.ops) if operator.counted else Cell("not counted", None, "dim"),
            "torch_flops": scaled(operator.torch_flops),
            "fvcore": scaled(operator.fvcore),
            "share": _share(operator.ops, whole, largest) if operator.phase == "forward" else EMPTY,
        }
    )


def _phase_total(operators: Sequence[Operator], whole: int) -> Row:
    """The closing row of the forward or of the backward operators."""
    ops = sum(operator.ops for operator in operators)
    cells = {
        "operator": Cell("total", "total", "strong"),
        "phase": text_cell(operators[0].phase),
        "calls": exact(sum(operator.calls for operator in operators)),
        "macs": scaled(sum(operator.macs for operator in operators)),
        "flops": scaled(sum(operator.flops for operator in operators)),
        "ops": scaled(ops),
        "torch_flops": scaled(_known_sum(operator.torch_flops for operator in operators)),
        "fvcore": scaled(_known_sum(operator.fvcore for operator in operators)),
        "share": _share(ops, whole, 1.0) if operators[0].phase == "forward" else EMPTY,
    }
    return Row(cells, style="total")


def _known_sum(values: Iterable[int | None]) -> int | None:
    """The sum of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _share(value: int, whole: int, largest: float) -> Cell:
    return share(value / whole if whole else None, largest)


# By module


def _modules(result: FlopsResult, view: ViewOptions) -> Table:
    levels = _DEFAULT_LEVELS if view.levels is None else view.levels
    rows = layer_tree(result.root, collapse=view.collapse, levels=levels)
    whole = result.root.ops
    largest = max((_total(row.members, "ops") or 0 for row in rows), default=0) / whole if whole else 0.0

    def cells(members: tuple[ModuleFlops, ...]) -> dict[str, Cell]:
        return {
            "type": text_cell(members[0].layer_type, "dim"),
            "macs": scaled(_total(members, "macs")),
            "flops": scaled(_total(members, "flops")),
            "ops": scaled(_total(members, "ops")),
            "backward": scaled(_total(members, "backward_macs")),
            "torch_flops": scaled(_total(members, "torch_flops")),
            "fvcore": scaled(_total(members, "fvcore")),
            "share": _share(sum(member.ops for member in members), whole, largest),
        }

    def drawn(row: LayerRow[ModuleFlops]) -> Row:
        name = text_cell(row.name, "strong" if row.children else "", row.path)
        return Row({"module": name, **cells(row.members)}, row.depth)

    total = {**cells((result.root,)), "module": Cell("total", "total", "strong"), "type": EMPTY}
    columns = (
        Column("module", "module", numeric=False, minimum=8, comfort=24),
        Column("type", "type", numeric=False, minimum=6, comfort=14, priority=7),
        *(_MACS, _FLOPS, _OPS),
        *([] if result.root.backward_macs is None else [_BACKWARD]),
        *(_TORCH, _FVCORE, _SHARE),
    )
    return Table("modules", "modules", columns, (*map(drawn, rows), Row(total, style="total")), tree=True)


def _total(members: tuple[ModuleFlops, ...], field: str) -> int | None:
    values = [getattr(member, field) for member in members]
    return None if None in values else sum(values)
