"""Results as a page of HTML: one result with what its view selects, or a report of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_cli.render.document import ViewOptions
from resnet_cli.render.pages import validate_view
from resnet_cli.render.pages.cells import INTERRUPTED
from resnet_cli.render.report.html import to_html
from resnet_cli.results.common import Note
from resnet_cli.results.registry import kind_of

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


def result_to_html(result: Result, view: ViewOptions) -> str:
    """The page of one result.

    Raises:
        ResnetCliError: the view asks for a column or a section that does not exist.
    """
    validate_view(kind_of(result), view)
    return to_html([result], view=view)


def report_to_html(results: Sequence[Result], notes: Sequence[Note], interrupted: bool) -> str:
    """The page of several results."""
    return to_html(results, (*([INTERRUPTED] if interrupted else []), *notes))
