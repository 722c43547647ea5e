"""The page of a whole family compared: a row for each member, a column for each check."""

from __future__ import annotations

from resnet_cli.network.architectures import FAMILY
from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import closing, counted, exact, interrupted, overall, scaled, sign, text_cell
from resnet_cli.results.compare import BITWISE, CHECKS, DIFFERENT, ROUNDING, ArchitectureResult, CompareAllResult

_TITLES = {"parameters": "param", "settings": "set", "statistics": "stat", "gradients": "grad", "shapes": "size"}
_LEGEND = (
    "checks: param(eters), set(tings), forward in eval and train mode, running stat(istics), grad(ients), optimizer "
    "step, other size(s); ✓ bitwise, ≈ rounding, ✗ different, ? not comparable, – skipped"
)


def family_page(result: CompareAllResult, view: ViewOptions) -> Document:
    """Every member and every check; what differs stands below, unfolded in its row."""
    members = result.architectures
    columns = [
        Column("verdict", "", numeric=False),
        Column("name", "network", numeric=False, minimum=8, comfort=16),
        Column("parameters", "params", priority=3),
        Column("mapped", "mapped", priority=2, legend="tensors that have a counterpart"),
        *(Column(f"check_{key}", _TITLES.get(key, key), numeric=False) for key in _keys(result)),
    ]
    if not view.collapse:
        columns.append(Column("findings", "findings"))
        columns.append(Column("first", "first difference", numeric=False, minimum=16, comfort=24, wrap=True))
    rows = tuple(Row(_member(one)) for one in members)
    version = "" if result.reference_version is None else f"torchvision {text_cell(result.reference_version).text} · "
    table: list[Element] = [Table("members", "", tuple(columns), rows), Paragraph("dim", _LEGEND)] if rows else []
    return Document(
        title="the family against torchvision",
        subtitle=f"{version}{counted(len(members), 'member')}",
        elements=(
            *interrupted(result.interrupted),
            _verdict(result),
            *table,
            *(_differences(result) if view.collapse else []),
            *closing(result.notes, result.environment),
        ),
    )


def _keys(result: CompareAllResult) -> list[str]:
    """The checks that were made of any member, in their order; unknown ones last."""
    made = dict.fromkeys(check.key for member in result.architectures for check in member.checks)
    return [*(key for key in CHECKS if key in made), *(key for key in made if key not in CHECKS)]


def _member(member: ArchitectureResult) -> dict[str, Cell]:
    verdict = overall(member.verdict, member.checks)
    made = [one.verdict for one in member.checks]
    if member.same and verdict == DIFFERENT:  # all of it expected
        verdict = BITWISE
    elif not member.same and (verdict in (BITWISE, ROUNDING) or DIFFERENT in made):
        verdict = DIFFERENT
    whole = member.mapped == member.tensors
    return {
        "verdict": Cell(sign(verdict).text, member.verdict, sign(verdict).style),
        "name": text_cell(member.name),
        "parameters": scaled(member.parameters),
        "mapped": Cell(f"{member.mapped}/{member.tensors}", member.mapped, "" if whole else "bad"),
        **{f"check_{check.key}": sign(check.verdict) for check in member.checks},
        "findings": exact(member.differences),
        "first": Cell("", None) if member.first_difference is None else text_cell(member.first_difference),
    }


def _verdict(result: CompareAllResult) -> Paragraph:
    members = result.architectures
    if not members:
        return Paragraph("bad", "? nothing was compared: the family has no member")
    wrong = [one.name for one in members if not one.same]
    if wrong:
        return Paragraph(
            "bad", f"✗ {len(wrong)} of {counted(len(members), 'member')} are not the same: {', '.join(wrong)}"
        )
    if result.interrupted:
        done = f"{len(members)} of {counted(len(FAMILY), 'member')}"
        return Paragraph("warning", f"? {done} compared, and nothing differs so far")
    exactly = all(overall(one.verdict, one.checks) == BITWISE for one in members)
    how = ", bit for bit" if exactly else ""
    return Paragraph("good", f"✓ {'each' if len(members) > 1 else 'it'} is the same network as torchvision's{how}")


def _differences(result: CompareAllResult) -> list[Element]:
    """What the first difference of a member is, in full."""
    found = [one for one in result.architectures if one.first_difference is not None]
    if not found:
        return []
    columns = (
        Column("name", "network", numeric=False, minimum=8, comfort=16),
        Column("findings", "findings"),
        Column("first", "the first difference", numeric=False, minimum=16, comfort=30, wrap=True),
    )
    rows = tuple(
        Row({"name": text_cell(one.name), "findings": exact(one.differences), "first": text_cell(one.first_difference)})
        for one in found
    )
    return [Table("differences", "differences", columns, rows)]
