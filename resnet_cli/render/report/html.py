"""Results as one self-contained page of HTML: it fetches nothing, and its tables need no script."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from resnet_cli.formatting import printable
from resnet_cli.render.charts.drawing import theme
from resnet_cli.render.charts.grouping import group_by_network
from resnet_cli.render.document import Fields, Paragraph, Table, ViewOptions
from resnet_cli.render.pages import validate_view
from resnet_cli.render.pages.elements import INTERRUPTED
from resnet_cli.render.report.overview import environment_lines, overview
from resnet_cli.render.report.sections import sections
from resnet_cli.results.common import Note
from resnet_cli.results.registry import kind_of

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(
    results: Sequence[Result],
    notes: Sequence[Note] = (),
    view: ViewOptions = ViewOptions(),  # noqa: B008  # it is frozen
) -> str:
    """The page of one result or of several.

    Args:
        results: those of the same network are drawn together, different networks side by side.
        notes: about the report as a whole.
        view: what to show in the tables; only for results of one kind, since columns and sections are of a kind.
    """
    networks, ungrouped = group_by_network(results)
    style, script = _style(), _read("report.js")
    page: str = _template().render(
        title=", ".join(network.label for network in networks) or "resnet-cli",
        networks=networks,
        overview=overview(networks),
        notes=notes,
        sections=sections(networks, ungrouped, view),
        environments=environment_lines(results),
        style=Markup(style),  # files of the package
        script=Markup(script),
        policy=_policy(style, script),
    )
    return page


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


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["element"] = _is_element
    return environment.get_template("report.html.jinja")


def _is_element(element: object, kind: str) -> bool:
    """Whether an element of a document is of a kind: "fields", "table" or "paragraph"."""
    return isinstance(element, {"fields": Fields, "table": Table, "paragraph": Paragraph}[kind])


def _printable(value: Any) -> Any:
    """Escape control characters in every text that a template shows; markup is the package's own."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _style() -> str:
    light, dark = theme.palette(False), theme.palette(True)

    def declarations(colours: dict[str, str]) -> str:
        return "".join(f"--{name}:{value};" for name, value in colours.items())

    # The policy forbids inline styles, so each length of a bar has a class.
    bars = "".join(f".w{percent}{{background-size:{percent}% 100%!important}}" for percent in range(1, 101))
    return (
        f":root{{{declarations(light)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{declarations(dark)}}}}}\n"
        f"{_read('report.css')}{theme.rules('.drawing', theme.variables())}\n{bars}\n"
    )


@functools.cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which the page fetches nothing and runs only the script of the package."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src data:",  # the empty icon, so that browsers request none
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
