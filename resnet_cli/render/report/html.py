"""Results as one page of HTML that needs nothing else: no network, and for its tables no script."""

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
from resnet_cli.render.charts.grouping import entries
from resnet_cli.render.report.overview import environment_lines, overview, part_kind
from resnet_cli.render.report.sections import chapters
from resnet_cli.results.common import Note

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(results: Sequence[Result], notes: Sequence[Note] = ()) -> str:
    """The page of one result or of many.

    Args:
        results: one or more; those of the same network are drawn together, different networks side by side.
        notes: about the report as a whole.
    """
    found, loose = entries(results)
    style, script = _style(), _read("report.js")
    page: str = _template().render(
        title=", ".join(entry.label for entry in found) or "resnet-cli",
        entries=found,
        overview=overview(found),
        notes=notes,
        chapters=chapters(found, loose),
        environments=environment_lines(results),
        style=Markup(style),  # our own files
        script=Markup(script),
        policy=_policy(style, script),
    )
    return page


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
    environment.tests["a"] = part_kind
    return environment.get_template("report.html.jinja")


def _printable(value: Any) -> Any:
    """Every text that a template shows, with what could be obeyed spelled out; what is marked up already is ours."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _style() -> str:
    light, dark = theme.palette(False), theme.palette(True)

    def declared(colours: dict[str, str]) -> str:
        return "".join(f"--{name}:{value};" for name, value in colours.items())

    # A policy without inline styles leaves no other way to make a bar as long as its figure.
    bars = "".join(f".w{percent}{{background-size:{percent}% 100%!important}}" for percent in range(1, 101))
    return (
        f":root{{{declared(light)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{declared(dark)}}}}}\n"
        f"{_read('report.css')}{theme.rules('.drawing', theme.variables())}\n{bars}\n"
    )


@functools.cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which the page can fetch nothing and runs our own script alone."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src data:",  # the empty icon, so that no browser asks for one
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
