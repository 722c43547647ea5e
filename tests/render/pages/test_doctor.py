"""The page of `doctor`, which goes into an issue report."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from resnet_cli.measure.doctor.run import summarize_evidence
from resnet_cli.render.document import Fields, Table, ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.pages import page
from tests.helpers.results_doctor import GOOD, HOST, NO_TORCH, broken_result

BROKEN = broken_result()
PLAIN = ViewOptions()


def test_every_number_and_every_fix_stands_on_a_narrow_terminal() -> None:
    text = to_text(page(BROKEN, PLAIN), 40)
    for number in ("17.18 GB", "137.4 GB", "80.00 GB", "✗ broken"):
        assert number in text
    words = re.sub(r"\s+", "", to_text(page(BROKEN, PLAIN), 80))
    fixes = [each.fix for each in BROKEN.capabilities if each.fix is not None and "\x1b" not in each.reason]
    assert fixes
    assert all(fix.split()[-1] in words for fix in fixes)


def test_the_title_names_what_does_not_work() -> None:
    assert page(BROKEN, PLAIN).title.endswith(": torchvision")
    assert page(summarize_evidence(NO_TORCH, ()), PLAIN).title.endswith(": torch")
    assert "required components work" in page(summarize_evidence(GOOD, ()), PLAIN).title


def test_what_is_not_known_is_not_drawn_as_zero() -> None:
    host = replace(HOST, features=None, physical_cores=None, logical_cores=None, usable_cores=None, quota=None)
    host = replace(host, memory_bytes=None, memory_limit_bytes=None)
    result = replace(summarize_evidence(replace(NO_TORCH, host=host), ()), variables=())
    parts = page(result, PLAIN).elements
    machine = next(part for part in parts if isinstance(part, Fields) and part.title == "machine")
    texts = {label: cell.text for label, cell in machine.items if label != "architecture"}
    assert set(texts.values()) == {"–", "none"}
    assert [part.key for part in parts if isinstance(part, Table)] == ["capabilities"]


@pytest.mark.parametrize(
    ("status", "required", "style"), [("no", True, "bad"), ("no", False, ""), ("yes", True, "good")]
)
def test_only_what_a_command_requires_is_broken(status: str, required: bool, style: str) -> None:
    capability = replace(BROKEN.capabilities[0], status=status, required=required)
    parts = page(replace(BROKEN, capabilities=(capability,)), PLAIN).elements
    table = next(part for part in parts if isinstance(part, Table) and part.key == "capabilities")
    assert table.rows[0].cells["status"].style == style
