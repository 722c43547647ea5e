"""The README cannot rot: what it tells the reader to type works, and its pictures are what comes out."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnet_cli import build
from resnet_cli.cli import main
from resnet_cli.commands import COMMANDS as REGISTRY
from resnet_cli.commands.report import DEFAULT_MEASUREMENTS
from resnet_cli.render.charts import CHARTS
from tests.helpers.cli_examples import Reached, make_file, stop_before_measuring

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[list[str]]:
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "resnet-cli":
            yield words[1:]


COMMANDS = list(commands())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that the README names."""
    path = tmp_path_factory.mktemp("readme")
    weights = build("resnet18").state_dict()
    for name in (
        *("my_resnet.py", "before.json", "summary.json", "flops.json", "compare.json", "bench.json"),
        *("resnet18.pth", "resnet18-f37072fd.pth", "weights.safetensors"),
    ):
        make_file(path / name, weights)
    return path


def test_there_are_commands_of_every_kind() -> None:
    assert {words[0] for words in COMMANDS} == set(REGISTRY)
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_right_as_far_as_the_measurement(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    stop_before_measuring(monkeypatch)
    try:
        assert main(words) == 0, capsys.readouterr().err
    except Reached:
        return


def test_the_example_in_python_runs() -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    parameters = sum(one.numel() for one in names["net"].parameters())  # type: ignore[attr-defined]
    assert parameters == sum(one.numel() for one in build("resnet50", num_classes=10, stem="cifar").parameters())
    said = re.search(r"# ResNet-18: ([\d,]+) parameters", code)
    assert said is not None
    assert int(said[1].replace(",", "")) == sum(one.numel() for one in build(18).parameters())


def test_the_commands_that_set_it_up_are_those_of_ci() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].endswith("resnet-cli summary --depth 18")
    assert lines[1].endswith("pytest -n auto")
    assert "s/^\\(python3 -m venv .*pytest.*\\)$" in (ROOT / ".ci" / "run").read_text()


def test_every_picture_is_there_and_every_one_is_shown() -> None:
    shown = set(re.findall(r"!\[[^\]]+\]\((tests/readme/pictures/[^)]+)\)", TEXT))
    assert shown == {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "readme" / "pictures").iterdir()}


def test_lists_of_names_are_complete() -> None:
    for chart in CHARTS.values():
        commands = ", ".join(f"`{command}`" for command in chart.commands)
        assert f"| `{chart.key}` | {chart.shows} | {commands} |" in TEXT
    assert ",".join(DEFAULT_MEASUREMENTS) in TEXT


def test_every_option_in_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known: set[str] = set()
    for command in ([], *([words[0]] for words in COMMANDS)):
        assert main([*command, "--help"]) == 0
        known |= set(re.findall(r"(--[a-z][a-z-]+)", capsys.readouterr().out))
    prose = re.sub(r"(torchrun|pytest)[^`\n]*", "", TEXT)
    assert set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", prose)) <= known


if sys.platform == "win32":  # shlex splits as a POSIX shell does
    pytestmark = pytest.mark.skip(reason="the README's commands are for a POSIX shell")
