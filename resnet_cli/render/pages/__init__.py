"""A result becomes a page: what is shown of it, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import Document, ViewOptions
from resnet_cli.render.pages.sections import BENCH, CONVERT, FLOPS, PARITY, WEIGHTS
from resnet_cli.results.registry import kind_of
from resnet_cli.suggest import validate_names

# A page is imported when it is drawn: `--help` needs none of them.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


def page(result: Result, view: ViewOptions) -> Document:
    """What the result has to show to this reader.

    Raises:
        ResnetCliError: the view asks for a column or a table that there is none of.
    """
    kind = kind_of(result)
    validate_view(kind, view)
    drawn: Document = _pages()[kind](result, view)
    return drawn


def _pages() -> dict[str, Any]:
    from resnet_cli.render.pages.bench import bench_page
    from resnet_cli.render.pages.checkpoint import weights_page
    from resnet_cli.render.pages.compare import parity_page
    from resnet_cli.render.pages.compare.all_models import family_page
    from resnet_cli.render.pages.compare.self_test import self_test_page
    from resnet_cli.render.pages.convert import convert_page
    from resnet_cli.render.pages.doctor import doctor_page
    from resnet_cli.render.pages.flops import flops_page
    from resnet_cli.render.pages.summary import summary_page

    return {
        "summary": summary_page,
        "flops": flops_page,
        "compare-torchvision": parity_page,
        "compare-torchvision-all": family_page,
        "self-test": self_test_page,
        "bench": bench_page,
        "convert": convert_page,
        "checkpoint": weights_page,
        "doctor": doctor_page,
    }


def summary_column_names() -> tuple[str, ...]:
    """The names that `--columns` of a summary takes, in the order of drawing; the layer's own name is always there."""
    from resnet_cli.render.pages.summary_columns import COLUMNS

    return tuple(COLUMNS)


def flops_sections() -> tuple[str, ...]:
    """The tables of a FLOP count, in the order of drawing."""
    return FLOPS


def parity_sections() -> tuple[str, ...]:
    """The parts of a comparison, in the order of drawing."""
    return PARITY


def bench_sections() -> tuple[str, ...]:
    """The parts of a benchmark, in the order of drawing."""
    return BENCH


_SECTIONS = {"flops": FLOPS, "compare-torchvision": PARITY, "bench": BENCH, "convert": CONVERT, "checkpoint": WEIGHTS}


def validate_view(kind: str, view: ViewOptions) -> None:
    """Say what is wrong with a view before anything is measured.

    Args:
        kind: one of the kinds of result.
        view: what the reader asks for.

    Raises:
        ResnetCliError: the view asks for something that there is none of.
    """
    if view.levels is not None and view.levels < 1:
        raise ResnetCliError(
            f"a tree of {view.levels} levels shows nothing", "the smallest number of levels is 1, the stages"
        )
    has_tree = kind in ("summary", "checkpoint")
    for noun, asked, known in (
        (
            "column",
            view.columns,
            summary_column_names() if has_tree and view.columns is not None else (),
        ),
        ("section", view.sections, _SECTIONS.get(kind, ())),
    ):
        if asked is None:
            continue
        if not known:
            raise ResnetCliError(f"{kind} has no choice of {noun}s")
        validate_names(noun, asked, known)
