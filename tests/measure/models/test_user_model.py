"""A user's own network, and everything that can be wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.user_model import load_model

GOOD = """
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self, num_classes=7):
        super().__init__()
        self.lin = nn.Linear(3, num_classes)

def factory():
    return Net(3)

def greedy(width, depth):
    return Net()

def everything(**options):
    return Net(options["num_classes"])

class Space:
    Inner = Net

def of_parts(block, widths):
    return nn.Sequential(*(kind(width) for kind in block for width in widths))

instance = Net(5)
number = 3
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    assert not {name for name in set(sys.modules) - modules if name in ("my_net", "blocks", "copy_of")}


def file(text: str, name: str = "my_net.py") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def outputs(model: nn.Module) -> int:
    linear = model.get_submodule("lin")
    assert isinstance(linear, nn.Linear)
    return linear.out_features


@pytest.mark.parametrize(
    ("name", "classes"), [("Net", 10), ("factory", 3), ("everything", 10), ("instance", 5), ("Space.Inner", 10)]
)
def test_classes_factories_and_instances(name: str, classes: int) -> None:
    model, shown = load_model(f"{file(GOOD)}:{name}", {"num_classes": 10})
    assert outputs(model) == classes
    assert name.rpartition(".")[2] in shown


@pytest.mark.parametrize("name", ["süß.py", "with space.py", "folder/deep/x.py", "copy.py", "torch.py"])
def test_files_of_any_name(name: str) -> None:
    model, _ = load_model(f"{file(GOOD, name)}:factory")
    assert outputs(model) == 3


def test_what_it_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    load_model(f"{file('print(1234)' + GOOD)}:factory")
    out, err = capfd.readouterr()
    assert "1234" not in out
    assert "1234" in err


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (GOOD, "Nett", ["no Nett", "Net"]),
        (GOOD, "number", ["number", "int"]),
        (GOOD, "greedy", ["greedy", "width"]),
        ("def f():\n    return {}\n", "f", ["f", "dict"]),
        ("def f(:\n", "f", ["SyntaxError", "my_net.py:1"]),
        ("import does_not_exist\n", "f", ["does_not_exist", "my_net.py:1"]),
        ("x = 1\nraise ValueError('no\\nthanks')\n", "f", ["ValueError", "no", "my_net.py:2"]),
        ("import sys\nsys.exit(3)\n", "f", ["my_net.py:2"]),
        ("def f():\n    return f()\n", "f", ["RecursionError", "my_net.py:2"]),
    ],
)
def test_what_goes_wrong_is_told_in_the_users_lines(text: str, name: str, words: list[str]) -> None:
    with pytest.raises(ResnetCliError) as caught:
        load_model(f"{file(text)}:{name}")
    text = f"{caught.value.message}\n{caught.value.hint}\n{caught.value.detail}"
    assert all(word in text for word in words), text
    assert "\n" not in caught.value.message
    assert "resnet_cli/" not in text
    assert caught.value.exit_code == 2


def test_an_interruption_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        load_model(f"{file('raise KeyboardInterrupt')}:f")


def test_names_of_the_module_are_arguments() -> None:
    path = file(GOOD)
    model, _ = load_model(f"{path}:of_parts", given={"block": ["@Net", "@Space.Inner"], "widths": [2, 4]})
    assert [outputs(part) for part in model.children()] == [2, 4, 2, 4]
    with pytest.raises(ResnetCliError, match="has no Nett") as raised:
        load_model(f"{path}:of_parts", given={"block": "@Nett", "widths": []})
    assert "did you mean Net?" in (raised.value.hint or "")
    with pytest.raises(ResnetCliError, match="TypeError"):
        load_model(f"{path}:Net", given={"num_classes": "@@Net"})
