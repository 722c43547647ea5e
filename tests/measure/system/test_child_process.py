"""A child process that measures: however it ends, its parent hears of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from resnet_cli.measure.system.child_process import ERROR, RESULT, reports, started

CHILD = "import sys; from resnet_cli.measure.system.child_process import *; serve(lambda report: {})"


def run(body: str, log: Path) -> tuple[list[tuple[str, Any]], int]:
    with log.open("wb") as file, started([sys.executable, "-c", CHILD.format(body)], file, {}) as child:
        return list(reports(child)), child.wait()


@pytest.mark.parametrize(
    ("body", "told", "code"),
    [
        ("report(RESULT, 3)", [(RESULT, 3)], 0),
        ("sys.exit(0)", [(ERROR, ("the network's own code calls sys.exit(0)", None, None))], 1),
    ],
)
def test_a_child_tells_its_result_or_why_there_is_none(
    body: str, told: list[tuple[str, Any]], code: int, tmp_path: Path
) -> None:
    assert run(body, tmp_path / "log") == (told, code)
