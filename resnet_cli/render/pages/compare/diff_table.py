"""Two networks side by side: a row for each operator, equal runs in one, the first divergence marked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from resnet_cli.render.document import Cell, Column, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import error, text_cell
from resnet_cli.render.pages.compare.diff_hunks import Hunk, hunks
from resnet_cli.results.compare import AlignedOp, CompareResult

HERE = "◀ HERE"
_SIGNS = {"equal": "=", "setting": "~", "replaced": "~", "missing": "-", "extra": "+", "moved": ">"}
_MEANINGS = {
    "=": "equal",
    "~": "other setting or operator",
    "-": "missing in ours",
    "+": "only in ours",
    ">": "moved",
    "!": "equal by its settings, not by what it gives",
    "?": "of a kind that this resnet-cli does not know",
}
_LEVELS = 1

_STATUS = Column("status", "±", numeric=False)
_OURS = Column("ours", "ours", numeric=False, minimum=8, comfort=14)
_THEIRS = Column("theirs", "theirs", numeric=False, minimum=8, comfort=10)
_LAYER = Column("our_layer", "layer", numeric=False, minimum=12, comfort=16)
_CUMULATIVE = Column(
    "cumulative", "error", legend="largest |difference| over largest |value| up to here, eval mode; ≈ is rounding"
)
_ISOLATED = Column(
    "isolated", "isolated", priority=1, legend="error of our operator alone, given what the reference's is given"
)
_HERE = Column("here", "", numeric=False)


def side_by_side(result: CompareResult, view: ViewOptions) -> list[Table]:
    """The two networks as one table; unfolded, it has every operator and every column."""
    if not result.aligned_ops and view.collapse:
        return []
    drawn = _Drawn(result)
    return [drawn.folded(_LEVELS if view.levels is None else view.levels) if view.collapse else drawn.whole()]


class _Drawn:
    """The rows of one comparison."""

    def __init__(self, result: CompareResult) -> None:
        self.lines = result.aligned_ops
        self.limit = next((one.limit for one in result.checks if one.key == "eval" and one.limit is not None), 0.0)
        self.role = "warning" if result.same else "bad"

    def folded(self, levels: int) -> Table:
        """As people read it: blocks with a difference opened, the rest in few rows."""
        rows = [(hunk, self._hunk(hunk)) for hunk in hunks(self.lines, levels, self._stands_out)]
        signs = {row.cells["status"].text for _, row in rows if "status" in row.cells}
        columns = (
            replace(_STATUS, legend=_legend(signs)),
            _OURS,
            *([_LAYER] if any("our_layer" in row.cells for _, row in rows) else []),
            _THEIRS,
            replace(_LAYER, key="their_layer", comfort=14),
            *self._errors(),
        )
        return Table("tree", "both networks, layer by layer", columns, tuple(row for _, row in rows))

    def whole(self) -> Table:
        """As programs read it: every operator, every column."""
        columns = (
            _STATUS,
            _OURS,
            Column("our_operator", "operator", numeric=False, minimum=4, comfort=10, priority=4),
            replace(_LAYER, key="our_text", title="settings"),
            _THEIRS,
            Column("their_operator", "operator", numeric=False, minimum=4, comfort=10, priority=4),
            replace(_LAYER, key="their_text", title="settings"),
            _CUMULATIVE,
            _ISOLATED,
            Column("rounding", "rounding", numeric=False, priority=3),
            _HERE,
        )
        return Table("tree", "both networks, layer by layer", columns, tuple(map(self._line, self.lines)))

    def _errors(self) -> Iterable[Column]:
        """The columns behind the two trees, where there is anything in them."""
        if any(line.cumulative is not None for line in self.lines):
            yield _CUMULATIVE
        if any(line.isolated is not None for line in self.lines):
            yield _ISOLATED
        if any(line.is_first_difference for line in self.lines):
            yield _HERE

    def _sign(self, line: AlignedOp) -> str:
        if line.status == "equal" and self._own_fault(line):
            return "!"
        return _SIGNS.get(line.status, "?")

    def _own_fault(self, line: AlignedOp) -> bool:
        return line.is_first_difference or ((line.isolated or 0.0) > self.limit and not line.rounding)

    def _stands_out(self, line: AlignedOp) -> bool:
        return self._sign(line) != "="

    def _hunk(self, hunk: Hunk) -> Row:
        if not hunk.lines:
            return Row({"ours": text_cell(hunk.ours, "strong"), "theirs": text_cell(hunk.theirs, "strong")}, spill=True)
        if len(hunk.lines) == 1:
            return self._pair(hunk)
        return Row(
            {
                "status": Cell("=", "equal", "dim"),
                "ours": text_cell(hunk.ours),
                "theirs": text_cell(hunk.theirs),
                "their_layer": Cell(f"{len(hunk.lines)} operators", None, "dim"),
                **self._figures(hunk.lines),
            },
            spill=True,
        )

    def _pair(self, hunk: Hunk) -> Row:
        """A line of each network."""
        (line,) = hunk.lines
        sign = self._sign(line)
        role = "" if sign == "=" else self.role
        ours, theirs = _layers(line)
        cells = {
            "status": Cell(sign, line.status, role or "dim"),
            "ours": text_cell(hunk.ours, role if line.reference_path is None else ""),
            "our_layer": text_cell(ours, role if sign != "!" else ""),
            "theirs": text_cell(hunk.theirs, role if line.model_path is None else ""),
            **self._figures(hunk.lines),
        }
        cells["their_layer"] = text_cell("same", "dim") if ours == theirs else text_cell(theirs, "strong")
        if line.is_first_difference:
            cells["here"] = Cell(HERE, True, self.role)
        return Row(cells)

    def _line(self, line: AlignedOp) -> Row:
        sign = self._sign(line)
        role = "" if sign == "=" else self.role
        cells = {
            "status": Cell(sign, line.status, role or "dim"),
            "rounding": Cell("≈" if line.rounding else "", line.rounding),
            "here": Cell(HERE if line.is_first_difference else "", line.is_first_difference, self.role),
            **self._figures((line,)),
        }
        texts = {
            "ours": line.model_path,
            "our_operator": line.model_op,
            "our_text": line.model_settings,
            "theirs": line.reference_path,
            "their_operator": line.reference_op,
            "their_text": line.reference_settings,
        }
        return Row(
            {
                **cells,
                **{
                    key: Cell("", None) if text is None else text_cell(text, role if key.endswith("text") else "")
                    for key, text in texts.items()
                },
            }
        )

    def _figures(self, lines: tuple[AlignedOp, ...]) -> dict[str, Cell]:
        """The errors of a line, or the worst of several; what is no number is worse than any."""
        faulty = any(map(self._own_fault, lines))
        rounding = all(line.rounding or not (line.cumulative or line.isolated) for line in lines)
        worst = {name: _worst([getattr(line, name) for line in lines]) for name in ("cumulative", "isolated")}
        roles = {
            "cumulative": self.role if any(line.is_first_difference for line in lines) else "",
            "isolated": self.role if faulty else "",
        }
        cells = {name: error(value, roles[name]) for name, value in worst.items()}
        return {name: _rounded(cell) if rounding and cell.value else cell for name, cell in cells.items()}


def _rounded(cell: Cell) -> Cell:
    return replace(cell, text=f"≈{cell.text}", style="dim")


def _worst(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _legend(signs: Iterable[str]) -> str:
    """What the signs that stand in the table mean."""
    found = set(signs) if set(signs) != {"="} else set()
    return ", ".join(f"{sign} {meaning}" for sign, meaning in _MEANINGS.items() if sign in found)


def _layers(line: AlignedOp) -> tuple[str, str]:
    """Operator and settings of both sides; where only settings differ, theirs has no more than those.

    What differs stands first, so that no narrow column cuts it off.
    """
    ours, theirs = line.model_settings, line.reference_settings
    if line.model_op != line.reference_op or ours == theirs:
        return f"{line.model_op or ''} {ours}".strip(), f"{line.reference_op or ''} {theirs}".strip()
    left, right = _settings(ours), _settings(theirs)
    mine, other = [one for one in left if one not in right], [one for one in right if one not in left]
    rest = " ".join((line.model_op or "", *(one for one in left if one in right))).strip()
    mine, other = mine or [f"without {one}" for one in other], other or [f"without {one}" for one in mine]
    return ", ".join((*mine, rest)), ", ".join(other) or theirs


def _settings(text: str) -> list[str]:
    """The settings in a text, a name with its value: "64→64 3×3 stride 2" is three."""
    found: list[str] = []
    named = False
    for piece in text.split():
        value = not piece[0].isalpha() or piece in ("True", "False", "None", "true", "false")
        if named and (value or (piece.islower() and not value and found[-1].endswith("_mode"))):
            found[-1] += f" {piece}"
            named = False
        else:
            found.append(piece)
            named = not value
    return found
