"""Any command line ends well: a result, or one error; never a traceback, a hang or a damaged file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st

from resnet_cli.commands import COMMANDS, load_command
from tests.fuzz.runner import CASES, OK, check, fuzzed, snapshot
from tests.helpers.cli_examples import make_file, stop_before_measuring

STATE = {"conv1.weight": torch.arange(24.0).reshape(4, 6), "bn1.running_var": torch.ones(4)}
FILES = ("my_resnet.py", "summary.json", "bench.json", "before.json", "weights.pth", "weights.safetensors", "map.toml")
HOSTILE = (
    "", " ", "-", "--", "\x1b[2J", "\u202e", "\udcff", "a\0b", "x" * 3000, "%s{}", "nan", "inf", "-1", "0", "1e999",
    "9" * 40, "\u0663", "0x10", "1_0", "true", "none", "all", "a,b", ",", ":", "a:b", "=", "../..", "/", ".",
    "/dev/full", "/dev/zero", "folder", "folder/", "loop", "missing/x.json", "missing.pth", "no.module:x", "[", "{}",
)  # fmt: skip
SOUND = (
    "1", "2", "3", "18", "50", "224", "32x64", "1,2", "2,2,2,2", "1%", "0.5", "resnet50", "cpu", "float32", "bfloat16",
    "json", "csv", "svg", "html", "cifar", "train", "self", "resnet-cli", "torchvision", "macs", "macs<=4.2G", "eval",
    "fvcore:resnet-cli", "summary", "architecture", "checks", "timings", "channels-last", "files", "new.json",
    "new.svg", "new.pth", "my_resnet.py:ResNet18", '{"num_classes": 10}', *FILES,
)  # fmt: skip


def tokens(command: str) -> st.SearchStrategy[list[str]]:
    """An option of a command with a value, a flag, or an argument."""
    values = st.one_of(st.sampled_from(SOUND), st.sampled_from(SOUND), st.sampled_from(HOSTILE), st.text(max_size=20))
    choices: list[st.SearchStrategy[list[str]]] = [values.map(lambda value: [value])]
    for parameter in load_command(command).params:
        names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")]
        for name in names:
            is_flag = getattr(parameter, "is_flag", False)
            choices.append(st.just([name]) if is_flag else values.map(lambda value, name=name: [name, value]))  # type: ignore[misc]
    return st.one_of(choices)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path.parent))
    stop_before_measuring(monkeypatch)
    return tmp_path


def fill(folder: Path) -> None:
    for name in FILES:
        if name == "map.toml":
            (folder / name).write_text('[parameters]\n"0.weight" = "0.weight"\n', encoding="utf-8")
        else:
            make_file(folder / name, STATE)
    (folder / "folder").mkdir(exist_ok=True)
    if not (folder / "loop").is_symlink():
        (folder / "loop").symlink_to("loop")


@pytest.mark.parametrize("command", COMMANDS)
def test_any_command_line_ends_well(command: str, folder: Path) -> None:
    codes: Counter[int] = Counter()
    start = {"convert": ["weights.pth", "-o", "new.pth"], "compare": ["resnet18", "resnet18"]}.get(command, [])
    fill(folder)

    @fuzzed(CASES)
    @given(st.booleans(), st.lists(tokens(command), max_size=4))
    def every(is_complete: bool, parts: list[list[str]]) -> None:
        line = [command, *(start if is_complete else []), *(token for part in parts for token in part)]
        note(" ".join(map(repr, line)))
        before = snapshot(folder)
        code = check(line)
        codes[code] += 1
        after = snapshot(folder)
        if after != before:
            assert code in OK or not after.keys() - before.keys(), line
            for name in after.keys() - before.keys():
                (folder / name).unlink()
            fill(folder)

    every()
    assert codes[0] + codes[1] or command == "convert", codes
    assert codes[2], codes
