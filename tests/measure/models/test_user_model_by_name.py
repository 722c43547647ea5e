"""What the name in a reference may be, how it is called, and what is proposed where it cannot be."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.user_model import load_model, load_subject

GOOD = """
import warnings
from torch import nn
from torch.nn import Linear
from their_nets import resnet18

class Net(nn.Module):
    def __init__(self, num_classes=7):
        super().__init__()
        self.lin = nn.Linear(3, num_classes)

class _Private(Net): ...

def make(width=3, *, bias=True, drop=0, act="relu", fold=1, early=False):
    return nn.Sequential(nn.Linear(3, width, bias=bias))

def wide(width, num_classes):
    return nn.Linear(width, num_classes)

def in_order(width, /):
    return Net()

def needs(width, /, depth, *rest, height=1, **options):
    return Net()

def passes_on(**options):
    return Net(**options)

def fails(**options):
    return Net(none="such", **options)

def asked():
    warnings.warn("my own words")
    return Net()

class Loading(Net):
    def __init__(self):
        super().__init__()
        import torch
        self.load_state_dict({"lin.weight": torch.ones(7, 3, device="cpu"), "lin.bias": torch.ones(7, device="cpu")})

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self._orig_mod = Net()

class OptimizedModule(Wrapped): ...

class Space:
    Net = Net
    number = 3

class Raising(type):
    def __getattr__(cls, name):
        raise ValueError("nobody may look")

class Shy(metaclass=Raising): ...

instance, number, _secret_number = Net(), 3, 4
globals()[5] = "no name"
"""


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with the user's files; what was imported from it goes with it."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(GOOD, encoding="utf-8")
    Path("their_nets.py").write_text("def resnet18(): ...\n", encoding="utf-8")
    modules = set(sys.modules)
    yield
    for name in {"nets", "imports", "their_nets"} & (set(sys.modules) - modules):
        del sys.modules[name]


def refused(name: str, arguments: dict[str, Any] | None = None, *, file: str = "nets.py") -> ResnetCliError:
    with pytest.raises(ResnetCliError) as caught:
        load_model(f"{file}:{name}", given={} if arguments is None else arguments)
    return caught.value


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "Nett",
            "nets.py has no Nett",
            "did you mean Net? There are also make, wide, in_order, needs, passes_on",
        ),
        ("numbr", "nets.py has no numbr", "did you mean number?"),
        (
            "zzz",
            "nets.py has no zzz",
            "it has Net, make, wide, in_order, needs, passes_on, fails, asked and",
        ),
        ("secret_numbr", "has no secret_numbr", "it has Net, make"),
        ("_Privat", "has no _Privat", "it has Net, make"),
        ("Space.Nett", "Space has no Nett", "did you mean Net?"),
        ("nn.Linaer", "nn has no Linaer", "did you mean Linear?"),
        ("Space.zzz", "Space has no zzz", "it has Net"),
        (".Net", "nets.py has no empty name", "it has Net, make"),
        ("Shy.Net", "reading Net of Shy failed: nets.py:", None),
        ("number", "number in nets.py is an int, not a network", "name an nn.Module"),
        ("Space", "Space in nets.py returns a Space, not a network", "name an nn.Module"),
        ("warnings", "warnings in nets.py is a module, not a network", "name an nn.Module"),
    ],
)
def test_a_name_that_is_no_network(name: str, message: str, hint: str | None) -> None:
    error = refused(name)
    assert message in error.message
    assert error.hint is None if hint is None else (error.hint or "").startswith(hint)
    assert "_Private" not in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("from torch.nn import Linear\nfrom their_nets import resnet18\n", "it has resnet18"),
        ("from torch.nn import Linear\nimport os\n", "imports.py defines no network and no function"),
        ("from their_nets import resnet18\ndef mine(): ...\n", "it has mine"),
    ],
)
def test_what_a_file_imports_is_proposed_where_it_defines_nothing(text: str, hint: str) -> None:
    Path("imports.py").write_text(text, encoding="utf-8")
    assert refused("zzz", file="imports.py").hint == hint


@pytest.mark.parametrize("name", ["copy", "sys"])
def test_a_file_that_is_named_like_a_module_of_pythons_is_pointed_at(name: str) -> None:
    """Imported from a file, or built in."""
    assert "is also the name" not in (refused("Net", file=name).hint or "")
    Path(f"{name}.py").write_text(GOOD, encoding="utf-8")
    error = refused("Net", file=name)
    assert error.message == f"{name} has no Net"
    assert (error.hint or "").endswith(f"for yours, use ./{name}.py:Net")
    assert isinstance(load_model(f"./{name}.py:Net")[0], nn.Module)


@pytest.mark.parametrize(
    ("name", "arguments", "message", "hint"),
    [
        (
            "make",
            {"widht": 3},
            "make in nets.py has no parameter widht",
            "did you mean width? It takes act, bias, drop, early",
        ),
        (
            "make",
            {"zzz": 3, "b": 1},
            "make in nets.py has no parameter zzz, b",
            "It takes act, bias, drop, early, fold, width",
        ),
        ("in_order", {"width": 3}, "in_order in nets.py has no parameter width", "It takes no arguments"),
        (
            "wide",
            {"width": 3},
            "wide in nets.py needs arguments: num_classes",
            '{"num_classes": …}',
        ),
        ("asked", {"zzz": 3}, "asked in nets.py has no parameter zzz", "It takes no arguments"),
        ("needs", {"height": 3}, "needs in nets.py needs arguments: width, depth", "model_args"),
        ("instance", {"width": 3}, "instance in nets.py is an instance and takes no arguments", "its class Net"),
        ("fails", {"width": 3}, "calling fails failed: nets.py:", None),
    ],
)
def test_arguments_that_are_not_taken_or_not_given(
    name: str, arguments: dict[str, Any], message: str, hint: str | None
) -> None:
    error = refused(name, arguments)
    assert message in error.message
    assert error.hint is None if hint is None else hint in (error.hint or "")


def test_the_example_for_missing_arguments_names_them_and_the_function() -> None:
    hint = refused("needs").hint or ""
    assert '`model_args={"width": …, "depth": …}`' in hint
    assert "needs(…)" in hint


def linear(model: nn.Module) -> nn.Linear:
    (linear_layer,) = (module for module in model.modules() if isinstance(module, nn.Linear))
    return linear_layer


def test_offered_arguments_are_passed_if_accepted() -> None:
    offered = {"num_classes": 10, "in_channels": 3}
    assert linear(load_model("nets.py:Net", offered)[0]).out_features == 10
    assert linear(load_model("nets.py:make", offered, {"width": 5, "bias": False})[0]).out_features == 5
    assert linear(load_model("nets.py:wide", offered, {"width": 5})[0]).weight.shape == (10, 5)
    # It takes anything, and what it calls takes less.
    assert linear(load_model("nets.py:passes_on", {"in_channels": 3, "num_classes": 9})[0]).out_features == 7
    assert linear(load_model("nets.py:passes_on", {"in_channels": 3}, {"num_classes": 2})[0]).out_features == 2
    assert linear(load_model("nets.py:passes_on", {"num_classes": 4}, {"num_classes": 2})[0]).out_features == 2


def test_a_network_to_be_measured_has_no_values_until_it_is_built_anew() -> None:
    subject = load_subject("nets.py:Net", {"num_classes": 9}, {})
    assert (linear(subject.model).weight.is_meta, subject.name) == (True, "Net")
    assert subject.rebuilt is not None
    built = linear(subject.rebuilt())
    assert (built.weight.is_meta, built.out_features) == (False, 9)
    assert not linear(load_model("nets.py:Net")[0]).weight.is_meta


def test_weights_that_the_constructor_loads_are_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert linear(load_subject("nets.py:Loading").model).weight.is_meta


def test_warnings_of_the_constructor_are_shown() -> None:
    with pytest.warns(UserWarning, match="my own words"):
        load_subject("nets.py:asked")


def test_only_the_wrapper_of_torch_compile_is_taken_off() -> None:
    assert type(load_model("nets.py:OptimizedModule")[0]).__name__ == "Net"
    assert type(load_model("nets.py:Wrapped")[0]).__name__ == "Wrapped"
