"""The page of a comparison: the verdict, what the differences mean, every check, both networks side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from resnet_cli import formatting
from resnet_cli.render.document import Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages import PAGES
from resnet_cli.render.pages.cells import counted, error, exact, text_cell
from resnet_cli.render.pages.compare.changes import changes
from resnet_cli.render.pages.compare.diff_table import diff_table
from resnet_cli.render.pages.compare.differences import differences, groups_of
from resnet_cli.render.pages.compare.mapping import mapping
from resnet_cli.render.pages.compare.predictions import predictions
from resnet_cli.render.pages.compare.rewritings import groups_of as kinds_of_rewritings
from resnet_cli.render.pages.compare.rewritings import rewritings
from resnet_cli.render.pages.compare.verdicts import verdict_cell
from resnet_cli.render.pages.elements import blocks, closing, input_text, interrupted
from resnet_cli.results.compare import (
    DIFFERENT,
    NOT_COMPARABLE,
    REWRITTEN,
    ROUNDING,
    SKIPPED,
    Check,
    CompareInputs,
    CompareResult,
    ComparisonResult,
    Diagnosis,
)
from resnet_cli.results.registry import kind_of


def compare_page(result: CompareResult, view: ViewOptions) -> Document:
    """The verdict, and the sections that were asked for."""
    draw: dict[str, Callable[[], list[Element]]] = {
        "changes": lambda: changes(result.changes) if isinstance(result, ComparisonResult) else [],
        "checks": lambda: _checks(result.checks),
        "differences": lambda: differences(result.differences, collapse=view.collapse),
        "rewritings": lambda: rewritings(result.rewritings, collapse=view.collapse),
        "tree": lambda: diff_table(result, view),
        "mapping": lambda: mapping(result.mapping, with_pairs=not view.collapse),
        "predictions": lambda: predictions(result),
    }
    sections = view.sections or PAGES[kind_of(result)].sections
    return Document(
        title=f"{result.network.name} vs {result.reference}",
        subtitle=_subtitle(result),
        elements=(
            *interrupted(result.interrupted),
            Paragraph(*_verdict(result)),
            *_diagnoses(result),
            *(element for section in sections for element in draw[section]()),
            *_summed_up(result, sections),
            Paragraph("dim", _test_inputs(result.test_inputs)),
            *closing(result.notes, result.environment),
        ),
    )


def _subtitle(result: CompareResult) -> str:
    parts = blocks(result.network)
    if result.reference_version is not None:
        parts.append(f"torchvision {result.reference_version}")
    run = sum(check.verdict != SKIPPED for check in result.checks)
    return " · ".join([*parts, f"{run} of {counted(len(result.checks), 'check')} run"])


def _verdict(result: CompareResult) -> tuple[str, str]:
    """Style and text of the line that sums it up."""
    checks = {
        verdict: [check for check in result.checks if check.verdict == verdict]
        for verdict in (ROUNDING, DIFFERENT, NOT_COMPARABLE, SKIPPED)
    }
    skipped = f"; {counted(len(checks[SKIPPED]), 'check')} skipped" if checks[SKIPPED] else ""
    unexpected = [each for each in result.differences if not each.expected]
    if unexpected or (checks[DIFFERENT] and not result.same):
        what = counted(len(unexpected), "difference") if unexpected else checks[DIFFERENT][0].text
        kinds = len(groups_of(unexpected))
        of_kinds = f" of {counted(kinds, 'kind')}" if 1 <= kinds < len(unexpected) else ""
        return "bad", f"✗ not equivalent: {what}{of_kinds}{skipped}"
    if checks[NOT_COMPARABLE] or result.verdict == NOT_COMPARABLE:
        why = checks[NOT_COMPARABLE][0].text if checks[NOT_COMPARABLE] else "see the checks"
        return "bad", f"? cannot be compared: {why}"
    if result.checks and len(checks[SKIPPED]) == len(result.checks):
        return "bad", "? not compared: every check was skipped"
    if not result.same:
        return (
            ("warning", f"? no difference so far{skipped}")
            if result.interrupted
            else ("bad", f"✗ not equivalent{skipped}")
        )
    if result.differences:
        return "good", f"✓ equivalent except for {counted(len(result.differences), 'expected difference')}{skipped}"
    if result.verdict == REWRITTEN:
        return "good", f"✓ the same function, written otherwise{_kinds(result)}{skipped}"
    has_rounding = result.verdict == ROUNDING or bool(checks[ROUNDING])
    return "good", f"✓ equivalent: {'differences are rounding' if has_rounding else 'bitwise equal'}{skipped}"


def _summed_up(result: CompareResult, sections: Iterable[str]) -> list[Element]:
    """The verdict and its causes once more: behind the layers of both networks they are what a terminal shows last."""
    if result.same or "tree" not in sections:
        return []
    causes = [Paragraph("plain", f"· {_located(diagnosis)}") for diagnosis in result.diagnoses]
    return [Paragraph(*_verdict(result), apart=True), *causes]


def _located(diagnosis: Diagnosis) -> str:
    """A diagnosis with the line where the first of its differences is written."""
    return diagnosis.text if diagnosis.line is None else f"{diagnosis.text} ({diagnosis.line})"


def _kinds(result: CompareResult) -> str:
    """The most frequent rewriting in brackets."""
    kinds = sorted(kinds_of_rewritings(result.rewritings), key=len, reverse=True)
    if not kinds:
        return ""
    what = kinds[0][0].text.partition(": ")[2]
    more = f", and {counted(len(kinds) - 1, 'other kind')}" if len(kinds) > 1 else ""
    return f" ({len(kinds[0])} × {what}{more})"


def _diagnoses(result: CompareResult) -> list[Element]:
    if not result.diagnoses:
        return []
    columns = (
        Column("diagnosis", "diagnosis", numeric=False, minimum=16, comfort=40, wrap=True),
        Column("differences", "explains", legend=f"how many of the {len(result.differences):,} differences"),
    )
    rows = tuple(
        Row({"diagnosis": text_cell(_located(each), "strong", each.key), "differences": exact(len(each.differences))})
        for each in result.diagnoses
    )
    return [Table("diagnoses", "", columns, rows)]


def _checks(checks: Iterable[Check]) -> list[Element]:
    rows = tuple(
        Row(
            {
                "check": text_cell(check.title, value=check.key),
                "verdict": verdict_cell(check.verdict),
                "error": error(check.error),
                "limit": error(check.limit, "dim"),
                "text": text_cell(check.text),
            }
        )
        for check in checks
    )
    columns = (
        Column("check", "check", numeric=False, minimum=19),
        Column("verdict", "verdict", numeric=False),
        Column("error", "error", legend="largest |difference| / largest |value|"),
        Column("limit", "tolerance", priority=1, legend="differences up to this are rounding"),
        Column("text", "result", numeric=False, minimum=16, comfort=38, wrap=True),
    )
    return [Table("checks", "checks", columns, rows)] if rows else []


def _test_inputs(inputs: CompareInputs) -> str:
    """Seeds, weights and shapes that the networks were run with."""
    shapes = [formatting.dimensions(shape) for shape in inputs.other_shapes]
    noise = "not needed (bitwise equal)" if inputs.noise_floor is None else error(inputs.noise_floor).text
    parts = [
        f"seed {inputs.seed}",
        f"weights {inputs.weights}",
        f"eval {formatting.dimensions(inputs.shape) if inputs.inputs is None else input_text(inputs.inputs)}",
        f"train {formatting.dimensions(inputs.training_shape)}",
        *([f"also {', '.join(shapes)}"] if shapes else []),
        f"noise floor: {noise}",
    ]
    return f"test inputs: {' · '.join(parts)}"
