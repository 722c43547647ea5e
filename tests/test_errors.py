"""Failures of other people's code: the block ends, the error is kept and told, and nothing else swallows errors."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

import resnet_cli
from resnet_cli.errors import attempt

SOURCES = Path(resnet_cli.__file__).parent


def test_an_attempt_keeps_its_error_and_logs_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="resnet_cli")
    with attempt("a division") as division:
        _ = 1 / 0
    assert isinstance(division.error, ZeroDivisionError)
    assert "a division failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_attempt_that_succeeds_has_no_error_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="resnet_cli")
    with attempt("an addition") as addition:
        _ = 1 + 1
    assert addition.error is None
    assert not caplog.text


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_signals_are_no_failures(signal: type[BaseException]) -> None:
    with pytest.raises(signal), attempt("a forward"):
        raise signal


def test_nothing_suppresses_every_error_without_a_word() -> None:
    """Ruff's BLE001 sees to `except Exception`; of `contextlib.suppress` it knows nothing."""
    broad = [
        f"{path.relative_to(SOURCES)}:{node.lineno}"
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress"
        if any(ast.unparse(error) in ("Exception", "BaseException") for error in node.args)
    ]
    assert broad == []
