"""Networks with wrappers, TorchScript, a `train` of their own: measured, or refused in one sentence with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli import cli
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.cost.flops_tables import total_macs
from resnet_cli.measure.models.copies import build_on_meta, duplicate, lazy_names, materialize_with
from resnet_cli.measure.models.inputs.model_inputs import Arguments, images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.measure.models.usable import usable
from resnet_cli.measure.models.user_model import load_model
from tests.helpers.models import flops_of, summary_of

pytestmark = [pytest.mark.filterwarnings("ignore:.*torch.(jit|ao)"), pytest.mark.filterwarnings("ignore:.*quanti")]

SHAPE = (2, 3, 8, 8)


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return out


class Around(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


def scripted() -> nn.Module:
    return torch.jit.script(Body())


def traced() -> nn.Module:
    return torch.jit.trace(Body().eval(), torch.ones(SHAPE))  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("make", [scripted, traced, lambda: Around(scripted()), lambda: Around(traced())])
def test_torchscript_is_measured(make: Callable[[], nn.Module]) -> None:
    """MACs as torch's own counter has them on real tensors, parameters as torch counts them, a row for the part."""
    model = make()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.ones(SHAPE))
    before = {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    result = summary_of(model, SHAPE)
    assert 2 * result.macs == counter.get_total_flops()
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert result.memory.training_bytes is not None
    assert result.notes == ()
    if not isinstance(model, Around):
        inside = [row.layer_type for row in result.root.children if not row.is_operator]
        assert inside == [f"{kind} (in TorchScript)" for kind in ("Conv2d", "BatchNorm2d", "Linear")]
    if isinstance(model, Around):
        body, _ = result.root.children
        assert (body.parameters, body.macs) == (4 * 27 + 4 + 8 + 25, 2 * (64 * 4 * 27 + 20))
    assert {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())} == before
    model(torch.ones(SHAPE))


def test_frozen_torchscript_runs_with_real_tensors() -> None:
    """Its weights are constants of the compiled graph, so that it cannot run on `meta`."""
    model = torch.jit.freeze(torch.jit.script(Body().eval()))
    result = flops_of(usable(model, "net"), SHAPE)
    assert result.macs == 2 * (64 * 4 * 27 + 20)
    assert {"ran-with-real-tensors", "constant-weights"} <= {note.key for note in result.notes}


def test_constants_of_frozen_torchscript_are_built_with_values() -> None:
    """They would be on `meta`, and nothing can replace them there."""

    def build() -> nn.Module:
        return torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()))  # type: ignore[no-any-return]

    subject = ModelUnderTest(build_on_meta(build), "net", rebuilt=build)
    with ForwardRunner(subject, images(SHAPE)) as passes:
        assert total_macs(passes.inference().operators) == 2 * 36 * 4 * 27


@pytest.mark.parametrize("target", ["program", "program_of", "exported"])
def test_programs_of_torch_export_are_measured(target: str, tmp_path: Path) -> None:
    code = """
import torch
from tests.measure.models.test_usable import Body, SHAPE

program = torch.export.export(Body().eval(), (torch.ones(SHAPE),))
def program_of():
    return program
exported = program.module()
"""
    (tmp_path / "exporting.py").write_text(code, encoding="ascii")
    model, _ = load_model(f"{tmp_path / 'exporting.py'}:{target}")
    result = summary_of(model, SHAPE)
    assert (result.parameters, result.macs) == (112 + 8 + 25, 2 * (64 * 4 * 27 + 20))


def test_packed_weights_are_said_to_be_missing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})  # type: ignore[no-untyped-call]
    result = flops_of(quantized, SHAPE)
    assert "packed-weights" in [note.key for note in result.notes]
    assert "packed-weights" not in [note.key for note in flops_of(model, SHAPE).notes]


class FreezesNorm(Body):
    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)
        self.norm.eval()


def test_a_train_that_returns_nothing_is_called() -> None:
    model = FreezesNorm()
    assert usable(model, "net") is model
    assert model.training
    assert model.norm.training  # the check changes nothing
    result = flops_of(model, SHAPE, backward=True)
    assert not any(convention.key == "fvcore" and convention.measured is None for convention in result.conventions)


class Loader(Body):
    def train(self, loader: Any, epochs: int = 1) -> None:  # type: ignore[override]
        for _ in loader:
            pass


class Bare(Body):
    def train(self) -> None:  # type: ignore[override]
        pass


@pytest.mark.parametrize("kind", [Loader, Bare])
def test_a_train_of_another_meaning_is_named(kind: type[nn.Module]) -> None:
    for model, name in ((kind(), kind.__name__), (Around(kind()), "a module")):
        with pytest.raises(ResnetCliError) as raised:
            usable(model, "net")
        assert raised.value.message.startswith(f"{name}.train(True), which torch's train() and eval() call, failed: ")
        assert "super().train(mode) in it" in (raised.value.hint or "")
        assert ("for _ in loader" in (raised.value.detail or "")) == (kind is Loader)


class HidesParameters(Body):
    parameters = None  # type: ignore[assignment]


class KeepsChildren(Body):
    def __init__(self) -> None:
        super().__init__()
        self.children = ["a", "b"]  # type: ignore[assignment]


@pytest.mark.parametrize(("kind", "method"), [(HidesParameters, "parameters"), (KeepsChildren, "children")])
def test_an_attribute_that_hides_a_method_of_torch_is_named(kind: type[nn.Module], method: str) -> None:
    for network in (kind(), nn.Sequential(kind())):
        with pytest.raises(ResnetCliError, match=rf"{kind.__name__}\.{method} is no method"):
            usable(network, "net")


def test_a_module_inside_itself_is_named() -> None:
    model = Around(Body())
    model.body.parent = model
    with pytest.raises(ResnetCliError, match=r"net registers body\.parent, a module that it is inside of"):
        usable(model, "net")
    twice = Around(Body())
    twice.other = twice.body  # one module under two names is no cycle
    assert usable(twice, "net") is twice


class DistributedDataParallel(nn.Module):
    """Stands for torch's, which needs a process group."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class FullyShardedDataParallel(DistributedDataParallel): ...


def test_wrappers_are_taken_off_and_shards_refused() -> None:
    model = Body()
    assert usable(DistributedDataParallel(model), "net") is model
    with pytest.raises(ResnetCliError, match="net is sharded by FSDP"):
        usable(Around(FullyShardedDataParallel(model)), "net")


def test_what_has_no_copy_is_built_again() -> None:
    def build() -> nn.Module:
        model: Any = Body()
        forward = model.forward
        model.forward = lambda x: forward(x)
        return model  # type: ignore[no-any-return]

    model = build().eval()
    model.fc.requires_grad_(False)
    with pytest.raises(ResnetCliError, match="Body cannot be copied"):
        duplicate(model)
    other = duplicate(model, build)
    image = torch.ones(SHAPE)
    assert torch.equal(other(image), model(image))
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in model.parameters()]
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert not torch.equal(other(image), model(image))


def test_lazy_weights_are_given_to_what_is_built_again() -> None:
    def build() -> nn.Module:
        model: Any = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
        forward = model.forward
        model.forward = lambda x: forward(x)
        return model  # type: ignore[no-any-return]

    model = build().eval()
    assert lazy_names(duplicate(model, build)) == lazy_names(model)
    image = torch.ones(SHAPE)
    expected = model(image)
    assert torch.equal(duplicate(model, build)(image), expected)


def test_lazy_modules_anywhere_are_given_their_shapes() -> None:
    head = nn.LazyLinear(2)
    model: Any = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten())
    features = model.forward
    model.forward = lambda x: head(features(x))
    image = Arguments((torch.ones(SHAPE),), {})
    with pytest.raises(ResnetCliError, match="the forward of net failed"):
        materialize_with(model, "net", lambda: Arguments((), {}))
    materialize_with(model, "net", lambda: image)
    assert not lazy_names(head)
    assert not lazy_names(model)
    assert model.training


FILE = """
import torch
from torch import nn

class Block(nn.Module):
    def __int__(self, width):
        super().__init__()

class Empty(nn.Module):
    def __int__(self):
        self.conv = nn.Conv2d(3, 3, 1)
    def forward(self, x):
        return self.conv(x)

def typo():
    return Block(3)

class Walking(nn.Module):
    def named_modules(self, *args, **kwargs):
        raise KeyError("of my own")
    def forward(self, x):
        return x

class Zero(nn.Linear):
    def zero_grad(self, *args, **kwargs):
        raise KeyError("of my own")

class NoInit(nn.Module):
    def __init__(self):
        self.width = 3
    def forward(self, x):
        return x

class Equal(nn.Module):
    def __eq__(self, other):
        return self is other
    def forward(self, x):
        return x

class Stop(BaseException):
    pass

class Stopping(nn.Linear):
    def forward(self, x):
        raise Stop

class Exiting(nn.Linear):
    def forward(self, x):
        raise SystemExit(0)

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.LazyConv2d(4, 1), nn.LazyLinear(1000)
    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))
"""


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FILE, encoding="utf-8")


@pytest.mark.parametrize("command", ["summary", "flops", "bench", "compare-torchvision"])
@pytest.mark.usefixtures("in_folder")
def test_what_the_users_code_raises_is_the_users(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where this package only asks for the modules."""
    assert cli.main([command, "--model", "net.py:Walking", "--image-size", "32"]) == 2
    error = capsys.readouterr().err
    assert "internal error" not in error
    assert "net.py:20" in error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoInit", "call super().__init__() first"),
        ("Equal", "define __hash__ = nn.Module.__hash__"),
        ("Stopping", "Stop\n"),
        ("Exiting", "it calls sys.exit(0)"),
    ],
)
@pytest.mark.parametrize("command", ["summary", "compare-torchvision"])
@pytest.mark.usefixtures("in_folder")
def test_what_torch_does_not_get_along_with_is_one_sentence(
    name: str, message: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [command, "--model", f"net.py:{name}", "--model-args", '{"in_features": 3, "out_features": 2}']
    assert cli.main(line[:3] if name in ("NoInit", "Equal") else line) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "another input" not in error
    assert "describe other inputs" not in error


@pytest.mark.parametrize("name", ["typo", "Empty"])
@pytest.mark.usefixtures("in_folder")
def test_a_mistyped_constructor_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "--model", f"net.py:{name}", "--image-size", "32"]) == 2
    assert f"{'Block' if name == 'typo' else name} defines __int__; did you mean __init__?" in capsys.readouterr().err


@pytest.mark.usefixtures("in_folder")
def test_a_lazy_network_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """It is nothing like the reference; its weights have shapes when they are looked at."""
    line = ["compare-torchvision", "--model", "net.py:Lazy", "--against", "squeezenet1_1", "--image-size", "32"]
    assert cli.main([*line, "--checks", "parameters,settings"]) in (1, 2)
    output = capsys.readouterr()
    assert "internal error" not in output.err
    assert "uninitialized" not in output.out + output.err
