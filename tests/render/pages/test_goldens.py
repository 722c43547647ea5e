"""One golden output for each page, drawn at 100 columns from results that the program measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.pages import PAGES, page
from resnet_cli.results.registry import kind_of
from resnet_cli.results.serialization import from_json
from tests.tools.measure_golden_results import COMMANDS, RESULTS


@pytest.mark.parametrize("name", [name for name in COMMANDS if (RESULTS / f"{name}.json").exists()])
def test_a_page_is_as_it_was(name: str, golden: Callable[[str, str], None]) -> None:
    result = from_json((RESULTS / f"{name}.json").read_bytes())
    golden(f"pages/{name}.txt", to_text(page(result, ViewOptions()), 100))


def test_every_page_has_a_golden() -> None:
    kinds = {kind_of(from_json(path.read_bytes())) for path in Path(RESULTS).glob("*.json")}
    assert kinds >= set(PAGES) - {"compare-torchvision-all"}  # ten architectures take minutes to measure
