"""A result becomes a page: what is shown of it, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.names import choose
from resnet_cli.render.page import Page, View
from resnet_cli.render.sections import BENCH, CONVERT, FLOPS, PARITY, WEIGHTS

# A page is imported when it is drawn: `--help` needs none of them.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from resnet_cli.bench_results import BenchResult
    from resnet_cli.convert_results import ConvertResult
    from resnet_cli.doctor_results import DoctorResult
    from resnet_cli.parity_results import FamilyResult, ParityResult, SelfTestResult
    from resnet_cli.report_results import ReportResult
    from resnet_cli.results import FlopsResult, SummaryResult
    from resnet_cli.weight_results import WeightsResult

    Result = (
        SummaryResult
        | FlopsResult
        | ParityResult
        | FamilyResult
        | SelfTestResult
        | BenchResult
        | ConvertResult
        | WeightsResult
        | ReportResult
        | DoctorResult
    )

# What a result is called in the schema of its JSON.
KINDS = {
    "SummaryResult": "summary",
    "FlopsResult": "flops",
    "ParityResult": "compare-torchvision",
    "FamilyResult": "compare-torchvision-all",
    "SelfTestResult": "self-test",
    "BenchResult": "bench",
    "ConvertResult": "convert",
    "WeightsResult": "weights",
    "ReportResult": "report",
    "DoctorResult": "doctor",
}


def kind_of(result: Result) -> str:
    """What a result is called in the schema of its JSON."""
    return KINDS[type(result).__name__]


def page(result: Result, view: View) -> Page:
    """What the result has to show to this reader.

    Raises:
        ResnetCliError: the view asks for a column or a table that there is none of.
    """
    kind = kind_of(result)
    validate_view(kind, view)
    drawn: Page = _pages()[kind](result, view)
    return drawn


def _pages() -> dict[str, Any]:
    from resnet_cli.render.pages_bench import bench_page
    from resnet_cli.render.pages_convert import convert_page
    from resnet_cli.render.pages_doctor import doctor_page
    from resnet_cli.render.pages_family import family_page
    from resnet_cli.render.pages_flops import flops_page
    from resnet_cli.render.pages_parity import parity_page
    from resnet_cli.render.pages_self_test import self_test_page
    from resnet_cli.render.pages_summary import summary_page
    from resnet_cli.render.pages_weights import weights_page

    return {
        "summary": summary_page,
        "flops": flops_page,
        "compare-torchvision": parity_page,
        "compare-torchvision-all": family_page,
        "self-test": self_test_page,
        "bench": bench_page,
        "convert": convert_page,
        "weights": weights_page,
        "doctor": doctor_page,
    }


def summary_columns() -> tuple[str, ...]:
    """The names that `--columns` of a summary takes, in the order of drawing; the layer's own name is always there."""
    from resnet_cli.render.layer_columns import COLUMNS

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


_SECTIONS = {"flops": FLOPS, "compare-torchvision": PARITY, "bench": BENCH, "convert": CONVERT, "weights": WEIGHTS}


def validate_view(kind: str, view: View) -> None:
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
    has_tree = kind in ("summary", "weights")
    for noun, asked, known in (
        (
            "column",
            view.columns,
            summary_columns() if has_tree and view.columns is not None else (),
        ),
        ("section", view.sections, _SECTIONS.get(kind, ())),
    ):
        if asked is None:
            continue
        if not known:
            raise ResnetCliError(f"{kind} has no choice of {noun}s")
        choose(noun, asked, known)
