"""The palette: one colour, one meaning, and named in one module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import resnet_cli.render
from resnet_cli.render.charts.architecture import architecture
from resnet_cli.render.charts.block_diagram import block_diagram
from resnet_cli.render.charts.block_types import block_types
from resnet_cli.render.charts.drawing import theme
from resnet_cli.render.charts.drawing.primitives import Box, Drawing
from resnet_cli.render.charts.error_trace_marks import STATUSES
from resnet_cli.render.charts.layer_roles import LEGEND
from tests.helpers.chart_checks import leaves
from tests.helpers.charted_models import ours


@pytest.mark.parametrize("dark", [False, True])
def test_a_colour_has_one_meaning(dark: bool) -> None:
    colours = theme.palette(dark)
    assert len(set(colours.values())) == len(colours)


def fills(drawing: Drawing) -> set[str]:
    """The names of the colours of the boxes."""
    roles = {role for mark in leaves(drawing.marks) if isinstance(mark, Box) for role in mark.role.split()}
    return roles & set(theme.COLOURS)


def test_a_projection_has_not_the_colour_of_an_activation() -> None:
    """Amber once was a projection in the architecture and a ReLU in the diagram of a block."""
    summary = ours("resnet18")
    assert "projection" in fills(architecture(summary))
    assert "activation" not in fills(architecture(summary))
    diagrams = [block_diagram(block_type.layer) for block_type in block_types(summary, "")]
    assert all("projection" not in fills(diagram) for diagram in diagrams if diagram is not None)
    assert any("activation" in fills(diagram) for diagram in diagrams if diagram is not None)


def test_every_meaning_of_a_legend_has_a_colour() -> None:
    assert {*LEGEND, *STATUSES} <= set(theme.COLOURS)
    assert set(theme.STATUSES) == set(STATUSES)
    assert set(LEGEND) <= set(theme.LAYERS)


def test_no_other_module_names_a_colour() -> None:
    folder = Path(resnet_cli.render.__file__).parent
    for path in folder.rglob("*"):
        if path.suffix in (".py", ".css", ".js", ".jinja") and path != Path(theme.__file__):
            assert not re.search(r"#[0-9a-fA-F]{6}\b|\brgba?\(|\bhsla?\(", path.read_text()), path
