"""A result becomes a page: what is shown of it, and in which words."""

from __future__ import annotations

from resnet_cli.errors import ResnetCliError
from resnet_cli.parity_results import FamilyResult, ParityResult, SelfTestResult
from resnet_cli.render.layer_columns import COLUMNS
from resnet_cli.render.page import Page, View
from resnet_cli.render.pages_family import family_page
from resnet_cli.render.pages_flops import SECTIONS, flops_page
from resnet_cli.render.pages_parity import SECTIONS as PARITY_SECTIONS
from resnet_cli.render.pages_parity import parity_page
from resnet_cli.render.pages_self_test import self_test_page
from resnet_cli.render.pages_summary import summary_page
from resnet_cli.render.wording import choose
from resnet_cli.results import FlopsResult, SummaryResult

Result = SummaryResult | FlopsResult | ParityResult | FamilyResult | SelfTestResult
KINDS: dict[str, type[Result]] = {
    "summary": SummaryResult,
    "flops": FlopsResult,
    "compare-torchvision": ParityResult,
    "compare-torchvision-all": FamilyResult,
    "self-test": SelfTestResult,
}


def kind_of(result: Result) -> str:
    """What a result is called in the schema of its JSON."""
    return next(kind for kind, known in KINDS.items() if isinstance(result, known))


def page(result: Result, view: View) -> Page:
    """What the result has to show to this reader.

    Raises:
        ResnetCliError: the view asks for a column or a table that there is none of.
    """
    validate_view(kind_of(result), view)
    if isinstance(result, SummaryResult):
        return summary_page(result, view)
    if isinstance(result, FlopsResult):
        return flops_page(result, view)
    if isinstance(result, ParityResult):
        return parity_page(result, view)
    if isinstance(result, FamilyResult):
        return family_page(result, view)
    return self_test_page(result, view)


def summary_columns() -> tuple[str, ...]:
    """The names that `--columns` of a summary takes, in the order of drawing; the layer's own name is always there."""
    return tuple(COLUMNS)


def flops_sections() -> tuple[str, ...]:
    """The tables of a FLOP count, in the order of drawing."""
    return SECTIONS


def parity_sections() -> tuple[str, ...]:
    """The parts of a comparison, in the order of drawing."""
    return PARITY_SECTIONS


_SECTIONS = {"flops": SECTIONS, "compare-torchvision": PARITY_SECTIONS}


def validate_view(kind: str, view: View) -> None:
    """Say what is wrong with a view before anything is measured.

    Args:
        kind: one of `KINDS`.
        view: what the reader asks for.

    Raises:
        ResnetCliError: the view asks for something that there is none of.
    """
    if view.levels is not None and view.levels < 1:
        raise ResnetCliError(
            f"a tree of {view.levels} levels shows nothing", "the smallest number of levels is 1, the stages"
        )
    for noun, asked, known in (
        ("column", view.columns, summary_columns() if kind == "summary" else ()),
        ("section", view.sections, _SECTIONS.get(kind, ())),
    ):
        if asked is None:
            continue
        if not known:
            raise ResnetCliError(f"{kind} has no choice of {noun}s")
        choose(noun, asked, known)
