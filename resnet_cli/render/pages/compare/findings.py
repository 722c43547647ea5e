"""The places where two networks are not the same: what says the same of many is one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import counted, text_cell
from resnet_cli.results.compare import Difference

_GROUPS = 20  # that are drawn


def grouped(them: Iterable[Difference]) -> list[list[Difference]]:
    """Findings that say the same of different places, in the order of the first."""
    groups: dict[object, list[Difference]] = {}
    for one in them:
        sides = one.model_path is None, one.reference_path is None
        values = () if _measured(one) else (one.model_value, one.reference_value)
        groups.setdefault((one.check, one.category, one.subject, one.expected, sides, values), []).append(one)
    return list(groups.values())


def _measured(finding: Difference) -> bool:
    """Whether its values are figures, which are others at each place."""
    return finding.category == "value" or finding.check not in ("parameters", "settings")


def findings(them: Sequence[Difference]) -> list[Element]:
    """What differs, equal findings in one row."""
    if not them:
        return []
    groups = sorted(grouped(them), key=lambda group: group[0].expected)
    columns = (
        Column("sign", "", numeric=False),
        *([Column("times", "")] if any(len(group) > 1 for group in groups) else []),
        Column("text", "finding", numeric=False, minimum=16, comfort=40, wrap=True),
    )
    rows = []
    for group in groups[:_GROUPS]:
        first, expected = group[0], group[0].expected
        text = f"expected · {first.text}" if expected else first.text
        if len(group) > 1:
            last = group[-1].model_path if group[-1].model_path is not None else group[-1].reference_path
            alike = "a difference too" if _measured(first) else "the same"
            text += f"; {alike} in {len(group) - 1} more" + (f", the last {last}" if last else "")
        rows.append(
            Row(
                {
                    "sign": Cell("✓", None, "good") if expected else Cell("✗", None, "bad"),
                    "times": Cell(f"×{len(group)}" if len(group) > 1 else "", len(group), "strong"),
                    "text": text_cell(text),
                }
            )
        )
    left = groups[_GROUPS:]
    more = f"{counted(sum(map(len, left)), 'more finding')} not drawn: --format json has them all"
    return [Table("findings", "findings", columns, tuple(rows)), *([Paragraph("note", more)] if left else [])]


def every_finding(them: Iterable[Difference]) -> list[Element]:
    """Each finding in a row of its own, with every field."""
    names = ("check", "category", "subject", "model_path", "reference_path", "model_value", "reference_value")
    columns = (
        *(Column(name, name.replace("_", " "), numeric=False, minimum=6, comfort=10) for name in names),
        Column("expected", "expected", numeric=False),
        Column("text", "text", numeric=False, minimum=16, comfort=30, priority=1, wrap=True),
    )
    rows = tuple(
        Row(
            {
                **{name: text_cell(getattr(one, name)) for name in names},
                "expected": Cell("yes" if one.expected else "no", one.expected),
                "text": text_cell(one.text),
            }
        )
        for one in them
    )
    return [Table("findings", "findings", columns, rows)]
