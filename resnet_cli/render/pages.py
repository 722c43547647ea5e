"""A result becomes a page: what is shown of it, and in which words."""

from __future__ import annotations

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.layer_columns import COLUMNS
from resnet_cli.render.page import Page, View
from resnet_cli.render.pages_flops import SECTIONS, flops_page
from resnet_cli.render.pages_summary import summary_page
from resnet_cli.render.wording import choose
from resnet_cli.results import FlopsResult, SummaryResult

Result = SummaryResult | FlopsResult


def page(result: Result, view: View) -> Page:
    """What the result has to show to this reader.

    Raises:
        ResnetCliError: the view asks for a column or a table that there is none of.
    """
    if isinstance(result, SummaryResult):
        validate_view("summary", view)
        return summary_page(result, view)
    validate_view("flops", view)
    return flops_page(result, view)


def summary_columns() -> tuple[str, ...]:
    """The names that `--columns` of a summary takes, in the order of drawing; the layer's own name is always there."""
    return tuple(COLUMNS)


def flops_sections() -> tuple[str, ...]:
    """The tables of a FLOP count, in the order of drawing."""
    return SECTIONS


def validate_view(kind: str, view: View) -> None:
    """Say what is wrong with a view before anything is measured.

    Args:
        kind: "summary" or "flops".
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
        ("section", view.sections, flops_sections() if kind == "flops" else ()),
    ):
        if asked is None:
            continue
        if not known:
            raise ResnetCliError(f"{kind} has no choice of {noun}s")
        choose(noun, asked, known)
