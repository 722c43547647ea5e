"""Verdicts of checks: a sign, a word and a colour for each."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.render.document import Cell
from resnet_cli.render.pages.cells import text_cell
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, REWRITTEN, ROUNDING, SKIPPED, VERDICTS, Check

_SIGNS = {
    BITWISE: ("✓", "bitwise", "good"),
    ROUNDING: ("✓", "rounding (≈)", "good"),
    REWRITTEN: ("✓", "rewritten", "good"),
    DIFFERENT: ("✗", "different", "bad"),
    NOT_COMPARABLE: ("?", "not comparable", "warning"),
    SKIPPED: ("–", "skipped", "dim"),
}


def verdict_cell(verdict: str) -> Cell:
    """The verdict of a check as sign and word."""
    sign, word, style = _SIGNS.get(verdict, ("?", verdict, "warning"))
    return text_cell(f"{sign} {word}", style, verdict)


def sign_cell(verdict: str) -> Cell:
    """The verdict of a check as one character; here rounding has its own."""
    sign, _, style = _SIGNS.get(verdict, ("?", "", "warning"))
    return Cell("≈" if verdict == ROUNDING else sign, verdict, style)


def worst_verdict(default: str, checks: Sequence[Check]) -> str:
    """The worst verdict of the checks that were run; the default where none was."""
    made = [check.verdict for check in checks if check.verdict != SKIPPED]
    return max(made, key=lambda each: VERDICTS.index(each) if each in VERDICTS else len(VERDICTS), default=default)
