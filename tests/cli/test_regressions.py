"""Defects and pitfalls that were met once and have no other home."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from resnet_cli.cli import main
from tests.helpers import terminal

ROOT = Path(__file__).parents[2]


def test_help_has_no_colour_off_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["summary", "--help"]) == 0
    assert "\x1b" not in capsys.readouterr().out


NETWORK = """
import rich
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)

    def forward(self, x):
        return self.lin(x.mean((2, 3)))
"""


def test_what_lies_beside_the_network_does_not_hide_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)  # `python -m` looks in the current folder by itself
    (tmp_path / "rich.py").write_text("print('the wrong one')\n", encoding="utf-8")
    (tmp_path / "net.py").write_text(NETWORK, encoding="utf-8")
    shown = terminal.run(["summary", "--model", f"{tmp_path}/net.py:Net"], 80)
    assert shown.code == 0, shown.screen
    assert "\x1b[" in shown.screen  # Rich has coloured it


def test_the_users_code_takes_no_path_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = list(sys.path)
    (tmp_path / "net.py").write_text(
        f"{NETWORK}\nimport sys\nsys.path.clear()\nsys.path.append('added')\n", encoding="utf-8"
    )
    try:
        assert main(["summary", "--model", f"{tmp_path}/net.py:Net"]) == 0
        assert sys.path == [*before, "added"]
    finally:
        sys.path[:] = before
    capsys.readouterr()
