"""Both networks side by side: blocks with a difference are opened, equal parts are one row each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from resnet_cli.render.document import Cell, Column, Element, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import error, text_cell
from resnet_cli.render.pages.compare.diff_hunks import Hunk, hunks
from resnet_cli.render.pages.compare.setting_diff import settings_of
from resnet_cli.results.compare import AlignedOp, CompareResult

FIRST_DIFFERENCE = "◀ HERE"
_SIGNS = {"equal": "=", "setting": "~", "replaced": "~", "missing": "-", "extra": "+", "moved": ">", "rewritten": "≡"}
_SAME_SETTINGS = "!"
_MEANINGS = {
    "=": "equal",
    "~": "different setting or operator",
    "-": "only in reference",
    "+": "only in model",
    ">": "moved",
    "≡": "other operators, same function",
    _SAME_SETTINGS: "same settings, different output",
    "?": "unknown status",
}
_DEFAULT_LEVELS = 1

_STATUS = Column("status", "±", numeric=False)
_MODEL = Column("model", "model", numeric=False, minimum=8, comfort=14)
_MODEL_LAYER = Column("model_layer", "layer", numeric=False, minimum=12, comfort=16)
_REFERENCE = Column("reference", "reference", numeric=False, minimum=8, comfort=10)
_REFERENCE_LAYER = Column("reference_layer", "layer", numeric=False, minimum=12, comfort=14)
_CUMULATIVE = Column(
    "cumulative", "error", legend="largest |difference| / largest |value| up to here, eval mode; ≈ is rounding"
)
_ISOLATED = Column(
    "isolated", "per-op error", priority=1, legend="error of the model's operator when fed the reference's input"
)
_HERE = Column("is_first_difference", "", numeric=False)


def diff_table(result: CompareResult, view: ViewOptions) -> list[Element]:
    """Both networks as one table; without collapsing, a row for every operator."""
    if not result.aligned_ops:
        return []
    levels = _DEFAULT_LEVELS if view.levels is None else view.levels
    table = _DiffRows(result)
    stands_out = table.stands_out if view.collapse else (lambda _: True)
    drawn = [table.row(hunk) for hunk in hunks(result.aligned_ops, levels, stands_out)]
    signs = {row.cells["status"].text for row in drawn if "status" in row.cells}
    columns = (
        replace(_STATUS, legend=_legend(signs)),
        _MODEL,
        *([_MODEL_LAYER] if any("model_layer" in row.cells for row in drawn) else []),
        _REFERENCE,
        _REFERENCE_LAYER,
        *_error_columns(result.aligned_ops),
    )
    return [Table("tree", "both networks, layer by layer", columns, tuple(drawn))]


def _error_columns(ops: Sequence[AlignedOp]) -> Iterable[Column]:
    """The columns that have values."""
    if any(op.cumulative is not None for op in ops):
        yield _CUMULATIVE
    if any(op.isolated is not None for op in ops):
        yield _ISOLATED
    if any(op.is_first_difference for op in ops):
        yield _HERE


def _legend(signs: set[str]) -> str:
    """The meaning of the signs in the table; a table of equal rows needs none."""
    return "" if signs == {"="} else ", ".join(f"{sign} {text}" for sign, text in _MEANINGS.items() if sign in signs)


class _DiffRows:
    """Rows from hunks, with the tolerance and the colour of one comparison."""

    def __init__(self, result: CompareResult) -> None:
        self.limit = next((each.limit for each in result.checks if each.key == "eval" and each.limit is not None), 0.0)
        self.style = "warning" if result.same else "bad"

    def stands_out(self, op: AlignedOp) -> bool:
        """Whether the operator must be drawn in a row of its own."""
        return self._sign(op) != "="

    def row(self, hunk: Hunk) -> Row:
        """The row of a hunk: the head of a block, one operator of each network, or several equal ones."""
        if not hunk.ops:
            heads = {"model": text_cell(hunk.model, "strong"), "reference": text_cell(hunk.reference, "strong")}
            return Row(heads, spill=True)
        if len(hunk.ops) == 1:
            return self._pair(hunk, hunk.ops[0])
        return Row(
            {
                "status": Cell("=", "equal", "dim"),
                "model": text_cell(hunk.model),
                "reference": text_cell(hunk.reference),
                "reference_layer": Cell(f"{len(hunk.ops)} operators", None, "dim"),
                **self._errors(hunk.ops),
            },
            spill=True,
        )

    def _pair(self, hunk: Hunk, op: AlignedOp) -> Row:
        sign = self._sign(op)
        style = "" if sign in "=≡" else self.style
        model, reference = settings_of(op)
        same = model == reference
        cells = {
            "status": Cell(sign, op.status, style or "dim"),
            "model": text_cell(hunk.model, style if op.reference_path is None else ""),
            "model_layer": text_cell(model, style if sign != _SAME_SETTINGS else ""),
            "reference": text_cell(hunk.reference, style if op.model_path is None else ""),
            "reference_layer": text_cell("same", "dim") if same else text_cell(reference, "strong"),
            **self._errors((op,)),
        }
        if op.is_first_difference:
            cells["is_first_difference"] = Cell(FIRST_DIFFERENCE, True, self.style)
        return Row(cells)

    def _sign(self, op: AlignedOp) -> str:
        if op.status == "equal" and self._is_at_fault(op):
            return _SAME_SETTINGS
        return _SIGNS.get(op.status, "?")

    def _is_at_fault(self, op: AlignedOp) -> bool:
        """Whether the operator itself makes the error, rather than its input."""
        return op.is_first_difference or ((op.isolated or 0.0) > self.limit and not op.rounding)

    def _errors(self, ops: tuple[AlignedOp, ...]) -> dict[str, Cell]:
        """The largest errors of some operators; an error that is not finite is larger than any."""
        is_rounding = all(op.rounding or not (op.cumulative or op.isolated) for op in ops)
        styles = {
            "cumulative": self.style if any(op.is_first_difference for op in ops) else "",
            "isolated": self.style if any(map(self._is_at_fault, ops)) else "",
        }
        cells = {name: error(_largest([getattr(op, name) for op in ops]), style) for name, style in styles.items()}
        return {name: _as_rounding(cell) if is_rounding and cell.value else cell for name, cell in cells.items()}


def _largest(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _as_rounding(cell: Cell) -> Cell:
    return replace(cell, text=f"≈{cell.text}", style="dim")
