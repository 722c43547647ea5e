"""The page of a comparison: one verdict, what the findings mean, every check, both networks side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import closing, counted, error, exact, interrupted, outcome, text_cell
from resnet_cli.render.pages.compare.diff_table import side_by_side
from resnet_cli.render.pages.compare.findings import every_finding, findings, grouped
from resnet_cli.render.pages.sections import PARITY as SECTIONS
from resnet_cli.results.compare import (
    DIFFERENT,
    NOT_COMPARABLE,
    ROUNDING,
    SKIPPED,
    Check,
    CompareInputs,
    CompareResult,
    Mapping,
)

_NAMES = 4  # of a list that are drawn


def parity_page(result: CompareResult, view: ViewOptions) -> Document:
    """The verdict, and the sections that were asked for in the order of `SECTIONS`."""
    asked = SECTIONS if view.sections is None else view.sections
    draw: dict[str, Callable[[], Sequence[Element]]] = {
        "checks": lambda: _checks(result.checks),
        "findings": lambda: findings(result.differences) if view.collapse else every_finding(result.differences),
        "tree": lambda: side_by_side(result, view),
        "mapping": lambda: _mapping(result.mapping) if view.collapse else _pairs(result.mapping),
        "predictions": lambda: _predictions(result),
    }
    return Document(
        title=f"{text_cell(result.network.name).text} against {text_cell(result.reference).text}",
        subtitle=_subtitle(result),
        elements=(
            *interrupted(result.interrupted),
            _verdict(result),
            *_diagnoses(result),
            *(part for section in asked for part in draw[section]()),
            Paragraph("dim", _probe(result.test_inputs)),
            *closing(result.notes, result.environment),
        ),
    )


def _subtitle(result: CompareResult) -> str:
    parts = [] if result.network.block is None else [f"{text_cell(result.network.block).text} blocks"]
    if parts and result.network.repeat is not None:
        parts[0] += f" {'-'.join(map(str, result.network.repeat))}"
    if result.reference_version is not None:
        parts.append(f"torchvision {text_cell(result.reference_version).text}")
    ran = [one for one in result.checks if one.verdict != SKIPPED]
    return " · ".join([*parts, f"{len(ran)} of {counted(len(result.checks), 'check')} made"])


def _verdict(result: CompareResult) -> Paragraph:
    """One line that says it, with a sign of its own for each answer."""
    skipped = [one for one in result.checks if one.verdict == SKIPPED]
    left = f"; {counted(len(skipped), 'check')} skipped" if skipped else ""
    unexpected = [one for one in result.differences if not one.expected]
    failed = [one for one in result.checks if one.verdict == DIFFERENT]
    unable = [one for one in result.checks if one.verdict == NOT_COMPARABLE]
    if unexpected or (failed and not result.same):
        said = counted(len(unexpected), "difference") if unexpected else failed[0].text
        kinds = len(grouped(unexpected))
        of = f" of {counted(kinds, 'kind')}" if 1 <= kinds < len(unexpected) else ""
        return Paragraph("bad", f"✗ not the same network: {said}{of}{left}")
    if unable or result.verdict == NOT_COMPARABLE:
        why = unable[0].text if unable else "see the checks"
        return Paragraph("bad", f"? cannot be compared: {why}")
    if result.checks and len(skipped) == len(result.checks):
        return Paragraph("bad", "? nothing was compared: every check was skipped")
    if not result.same:
        if result.interrupted:
            return Paragraph("warning", f"? nothing differs so far{left}")
        return Paragraph("bad", f"✗ not the same network{left}")
    if result.differences:
        return Paragraph("good", f"✓ the same but for {counted(len(result.differences), 'expected change')}{left}")
    rounding = result.verdict == ROUNDING or any(one.verdict == ROUNDING for one in result.checks)
    how = "; differences are rounding" if rounding else ", bit for bit"
    return Paragraph("good", f"✓ the same network{how}{left}")


def _diagnoses(result: CompareResult) -> list[Element]:
    if not result.diagnoses:
        return []
    columns = (
        Column("diagnosis", "what it looks like", numeric=False, minimum=16, comfort=40, wrap=True),
        Column("findings", "findings", legend=f"how many of the {len(result.differences)} findings it explains"),
    )
    rows = tuple(
        Row({"diagnosis": text_cell(one.text, "strong"), "findings": exact(len(one.differences))})
        for one in result.diagnoses
    )
    return [Table("diagnoses", "", columns, rows)]


def _checks(checks: Iterable[Check]) -> list[Element]:
    rows = tuple(
        Row(
            {
                "check": text_cell(one.title, value=one.key),
                "verdict": outcome(one.verdict),
                "error": error(one.error),
                "limit": error(one.limit, "dim"),
                "text": text_cell(one.text),
            }
        )
        for one in checks
    )
    columns = (
        Column("check", "check", numeric=False, minimum=19),
        Column("verdict", "verdict", numeric=False),
        Column("error", "error", legend="largest |difference| over largest |value|"),
        Column("limit", "limit", priority=1, legend="up to here a difference is rounding"),
        Column("text", "found", numeric=False, minimum=16, comfort=38, wrap=True),
    )
    return [Table("checks", "checks", columns, rows)] if rows else []


# Mapping, predictions, probe


def _mapping(mapping: Mapping) -> list[Element]:
    """How many tensors have a counterpart, and which have none."""
    parts: list[Element] = []
    said = f"{mapping.mapped_tensors:,} of {mapping.model_tensors:,} parameters mapped (by {mapping.source})"
    if mapping.reference_tensors != mapping.model_tensors:
        said += f"; the reference has {mapping.reference_tensors:,}"
    lists = (
        ("ours alone", mapping.unmatched_model),
        ("theirs alone", mapping.unmatched_reference),
        ("ours, unused", mapping.unused_model),
    )
    rows = tuple(
        Row({"side": Cell(side), "count": exact(len(names), "strong"), "names": text_cell(_some(names))})
        for side, names in lists
        if names
    )
    if rows:
        columns = (
            Column("side", "no counterpart", numeric=False),
            Column("count", "tensors"),
            Column("names", "names", numeric=False, minimum=16, comfort=30, wrap=True),
        )
        parts.append(Table("mapping", "mapping", columns, rows))
    whole = mapping.mapped_tensors == mapping.model_tensors == mapping.reference_tensors
    return [*parts, Paragraph("plain" if whole else "strong", said)]


def _some(names: Sequence[str]) -> str:
    left = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {left:,} more" if left > 0 else "")


def _pairs(mapping: Mapping) -> list[Element]:
    """Every tensor of both networks; the side that has no counterpart is empty."""
    pairs: list[tuple[str | None, str | None]] = [
        *mapping.pairs,
        *((name, None) for name in mapping.unmatched_model),
        *((None, name) for name in mapping.unmatched_reference),
    ]
    columns = tuple(Column(side, side, numeric=False, minimum=10, comfort=24) for side in ("ours", "theirs"))
    rows = tuple(Row({"ours": text_cell(ours), "theirs": text_cell(theirs)}) for ours, theirs in pairs)
    return [Table("mapping", "mapping", columns, rows)]


def _predictions(result: CompareResult) -> list[Element]:
    if not result.predictions:
        return []
    columns = (
        Column("rank", "rank"),
        Column("our_label", "ours", numeric=False, minimum=8, comfort=20),
        Column("our_probability", "probability"),
        Column("their_label", "theirs", numeric=False, minimum=8, comfort=20),
        Column("their_probability", "probability"),
        Column("agrees", "", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "rank": exact(one.rank),
                "our_label": text_cell(one.model_label),
                "our_probability": Cell(formatting.percent(one.model_probability), one.model_probability),
                "their_label": text_cell(one.reference_label),
                "their_probability": Cell(formatting.percent(one.reference_probability), one.reference_probability),
                "agrees": Cell("✓", True, "good")
                if one.model_label == one.reference_label
                else Cell("✗", False, "bad"),
            }
        )
        for one in result.predictions
    )
    title = "predictions" if result.image is None else f"predictions for {text_cell(result.image).text}"
    return [Table("predictions", title, columns, rows)]


def _probe(probe: CompareInputs) -> str:
    """What the networks were given."""
    shapes = [formatting.dimensions(shape) for shape in probe.other_shapes]
    parts = [
        f"seed {probe.seed}",
        f"weights {probe.weights}",
        f"eval {formatting.dimensions(probe.shape)}",
        f"train {formatting.dimensions(probe.training_shape)}",
        *([f"also {', '.join(shapes)}"] if shapes else []),
        "no noise floor needed" if probe.noise_floor is None else f"noise floor {error(probe.noise_floor).text}",
    ]
    return f"probe: {' · '.join(parts)}"
