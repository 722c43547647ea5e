"""The page of `compare-torchvision --all`: a row for each architecture, a column for each check."""

from __future__ import annotations

from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, scaled, text_cell
from resnet_cli.render.pages.compare.verdicts import sign_cell, worst_verdict
from resnet_cli.render.pages.elements import closing, interrupted
from resnet_cli.results.compare import BITWISE, DIFFERENT, REWRITTEN, ROUNDING, ArchitectureResult, CompareAllResult

_TITLES = {"parameters": "param", "settings": "set", "statistics": "stat", "gradients": "grad", "shapes": "size"}
_LEGEND = (
    "checks: param(eters), set(tings), forward in eval and train mode, running stat(istics), grad(ients), optimizer "
    "step, other size(s); ✓ bitwise, ≈ rounding, ✗ different, ? not comparable, – skipped"
)


def all_models_page(result: CompareAllResult, view: ViewOptions) -> Document:  # noqa: ARG001  # there is nothing to choose
    """Every architecture and every check, then the first difference of each that differs."""
    version = "" if result.reference_version is None else f"torchvision {result.reference_version} · "
    return Document(
        title="all architectures vs torchvision",
        subtitle=f"{version}{counted(len(result.architectures), 'architecture')}",
        elements=(
            *interrupted(result.interrupted),
            _verdict(result),
            *_architectures(result),
            *_first_differences(result),
            *closing(result.notes, result.environment),
        ),
    )


def _verdict(result: CompareAllResult) -> Paragraph:
    architectures = result.architectures
    if not architectures:
        return Paragraph("bad", "? not compared: there is no architecture")
    different = [each.name for each in architectures if not each.same]
    count = counted(len(architectures), "architecture")
    if different:
        verb = "is" if len(different) == 1 else "are"
        return Paragraph("bad", f"✗ {len(different)} of {count} {verb} not equivalent: {', '.join(different)}")
    if result.interrupted:
        return Paragraph("warning", f"? no difference so far ({count})")
    is_bitwise = all(worst_verdict(each.verdict, each.checks) == BITWISE for each in architectures)
    return Paragraph("good", f"✓ {count} equivalent to torchvision{': bitwise equal' if is_bitwise else ''}")


def _architectures(result: CompareAllResult) -> list[Element]:
    if not result.architectures:
        return []
    columns = (
        Column("verdict", "", numeric=False),
        Column("name", "architecture", numeric=False, minimum=8, comfort=16),
        Column("parameters", "params", priority=3),
        Column("mapped", "mapped", priority=2, legend="tensors with a counterpart"),
        *(Column(f"check_{key}", _TITLES.get(key, key), numeric=False) for key in _check_keys(result)),
    )
    rows = tuple(Row(_cells(each)) for each in result.architectures)
    return [Table("architectures", "", columns, rows), Paragraph("dim", _LEGEND)]


def _check_keys(result: CompareAllResult) -> list[str]:
    """The checks of any architecture, in the order of the result."""
    return list(dict.fromkeys(check.key for architecture in result.architectures for check in architecture.checks))


def _cells(architecture: ArchitectureResult) -> dict[str, Cell]:
    sign = sign_cell(_verdict_of(architecture))
    is_complete = architecture.mapped == architecture.tensors
    mapped = f"{architecture.mapped}/{architecture.tensors}"
    return {
        "verdict": Cell(sign.text, architecture.verdict, sign.style),
        "name": text_cell(architecture.name),
        "parameters": scaled(architecture.parameters),
        "mapped": Cell(mapped, architecture.mapped, "" if is_complete else "bad"),
        **{f"check_{check.key}": sign_cell(check.verdict) for check in architecture.checks},
    }


def _verdict_of(architecture: ArchitectureResult) -> str:
    """The worst verdict of the checks; expected differences count as none."""
    verdict = worst_verdict(architecture.verdict, architecture.checks)
    if architecture.same and verdict == DIFFERENT:
        return BITWISE
    has_difference = any(check.verdict == DIFFERENT for check in architecture.checks)
    if not architecture.same and (verdict in (BITWISE, ROUNDING, REWRITTEN) or has_difference):
        return DIFFERENT
    return verdict


def _first_differences(result: CompareAllResult) -> list[Element]:
    columns = (
        Column("name", "architecture", numeric=False, minimum=8, comfort=16),
        Column("differences", "differences"),
        Column("first_difference", "first difference", numeric=False, minimum=16, comfort=30, wrap=True),
    )
    rows = tuple(
        Row(
            {
                "name": text_cell(each.name),
                "differences": exact(each.differences),
                "first_difference": text_cell(each.first_difference),
            }
        )
        for each in result.architectures
        if each.first_difference is not None
    )
    return [Table("differences", "differences", columns, rows)] if rows else []
