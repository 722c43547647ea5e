"""Progress on standard error."""

from __future__ import annotations

import io
import sys

import pytest

from resnet_cli.render.progress import progress


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "40")
    with progress() as update:
        update("batch 8: 120 samples, the CI is 1.2% wide, at most 12 s left")
    shown, *after = screen.getvalue().replace("\r", "").split("\x1b[K")[1:]
    assert len(shown) == 39
    assert "".join(after) == ""
