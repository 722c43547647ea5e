"""`summary --weights`: what a file of weights holds, read piece by piece."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from resnet_cli.cli import main
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.weights import tensor_statistics
from resnet_cli.measure.weights.tensor_statistics import view_weights
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.render.document import Table, ViewOptions
from resnet_cli.render.pages import page
from resnet_cli.results.checkpoint import CheckpointResult, TensorStatistics
from tests.helpers.models import written

SMALL: ModelSpec = replace(
    ARCHITECTURES["resnet18"], name="resnet18 with repeat 1,1,1,1", repeat=(1, 1, 1, 1), num_classes=3
)


def weights_of(spec: ModelSpec, *, theirs: bool = False) -> dict[str, Tensor]:
    """Weights without an initialisation, which would take longer than the test."""
    shapes = build_on_meta(lambda: build(spec)).state_dict()
    names = torchvision_names(spec)
    return {
        names[name] if theirs else name: torch.full(tensor.shape, 0.5).to(tensor.dtype)
        for name, tensor in shapes.items()
    }


@pytest.fixture(params=["x.safetensors", "x.pth"])
def any_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.pth"


def statistics(path: str, name: str) -> TensorStatistics:
    (row,) = (tensor for tensor in view_weights(path)[0].tensors if tensor.name == name)
    return row


@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=40),
    size=st.integers(1, 50),
)
def test_statistics_are_those_of_the_finite_values(values: list[float], size: int) -> None:
    tensor = torch.tensor(values, dtype=torch.float32)
    chunk, tensor_statistics._CHUNK = tensor_statistics._CHUNK, size
    try:
        measured = tensor_statistics._statistics("x", tensor, is_batch_norm=True)
    finally:
        tensor_statistics._CHUNK = chunk
    finite = tensor.double()[tensor.isfinite()]
    assert measured.nan == sum(map(math.isnan, values))
    assert measured.infinite == sum(map(math.isinf, values))
    assert measured.dead_channels == values.count(0.0)
    if not finite.numel():
        assert (measured.minimum, measured.maximum, measured.mean, measured.standard_deviation) == (None,) * 4
        return
    largest = finite.abs().max().item()
    assert (measured.minimum, measured.maximum) == (finite.min().item(), finite.max().item())
    assert measured.mean == pytest.approx(finite.mean().item(), rel=1e-9, abs=1e-12 * largest)
    spread = finite.std(correction=0).item()
    assert measured.standard_deviation == pytest.approx(spread, rel=1e-6, abs=1e-9 * largest)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_every_dtype_is_read(any_path: Path, dtype: torch.dtype) -> None:
    measured = statistics(written({"a": torch.tensor([[0, 1], [1, 0]]).to(dtype)}, any_path), "a")
    assert (measured.shape, measured.elements, measured.bytes) == (
        (2, 2),
        4,
        4 * torch.empty((), dtype=dtype).element_size(),
    )
    assert measured.dtype == str(dtype).removeprefix("torch.")
    assert (measured.minimum, measured.maximum, measured.mean, measured.standard_deviation) == (0, 1, 0.5, 0.5)


@pytest.mark.parametrize("tensor", [torch.ones(2, dtype=torch.complex64), torch.eye(2).to_sparse(), torch.ones(0)])
def test_what_has_no_numbers_has_no_statistics(tensor: Tensor) -> None:
    row = tensor_statistics._statistics("x", tensor, is_batch_norm=False)
    assert (row.minimum, row.maximum, row.mean, row.standard_deviation) == (None,) * 4
    assert (row.elements, row.nan, row.infinite) == (tensor.numel(), 0, 0)


def test_dead_channels_are_those_of_batch_norms(any_path: Path) -> None:
    state = weights_of(SMALL, theirs=True)
    state["layer1.0.bn2.weight"][:5] = 0
    state["layer1.0.conv2.weight"][:] = 0  # no batch norm's
    state["bn1.running_mean"][0] = math.nan
    state["fc.bias"][1] = -math.inf
    view, subject = view_weights(written(state, any_path))
    assert (view.dead_channels, view.nan, view.infinite) == (5, 1, 1)
    assert {tensor.name for tensor in view.tensors if tensor.dead_channels} == {"layer1.0.bn2.weight"}
    assert subject is not None
    assert view.parameters == sum(parameter.numel() for parameter in subject.model.parameters())
    assert view.buffers == sum(buffer.numel() for buffer in subject.model.buffers())
    assert view.bytes == sum(tensor.nbytes for tensor in state.values())


@pytest.mark.parametrize("theirs", [False, True])
def test_the_network_is_measured_and_gives_the_order(path: Path, theirs: bool) -> None:
    spec = replace(SMALL, in_channels=1, stem="cifar")
    state = weights_of(spec, theirs=theirs)
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    view, subject = view_weights(written(wrapped, path))
    assert subject is not None
    assert subject.spec == spec
    assert (view.naming, view.prefix) == ("torchvision" if theirs else "resnet-cli", "module.")
    assert [tensor.name for tensor in view.tensors] == list(state)


def test_a_file_that_fits_nothing_is_shown_alone(path: Path) -> None:
    view, subject = view_weights(written({"a.weight": torch.ones(2)}, path))
    assert (subject, view.network) == (None, None)
    assert [tensor.name for tensor in view.tensors] == ["a.weight"]
    assert "no layer tree" in view.notes[0].text


def test_a_network_with_a_hole_is_shown_alone_with_a_warning(path: Path) -> None:
    state = weights_of(SMALL, theirs=True)
    del state["layer3.0.bn1.weight"]
    view, subject = view_weights(written(state, path))
    assert subject is None
    assert view.notes[0].level == "warning"
    assert "layer3.0.bn1.weight" in view.notes[0].text


def test_a_named_network_has_to_fit(path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LazyLinear(2))
    state = {"0.weight": torch.ones(4, 3, 1, 1), "0.bias": torch.ones(4), "1.weight": torch.ones(2, 9)}
    named = ModelUnderTest(model, "mine")
    view, subject = view_weights(written({**state, "1.bias": torch.ones(2)}, path), named)
    assert subject is named
    assert (view.naming, view.network) == (None, named.description)
    with pytest.raises(ResnetCliError, match="does not fit"):
        view_weights(written({**state, "other": torch.ones(2)}, path), named)


RESIDENT = """
import re, sys
from resnet_cli.measure.weights import tensor_statistics

def resident(kind):
    status = open("/proc/self/status").read()
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", status)[1])

for kind, small, large in zip(*[iter(sys.argv[1:])] * 3):
    tensor_statistics.view_weights(small)  # imports and caches
    seen = [resident(kind)]
    view, _ = tensor_statistics.view_weights(large, progress=lambda _: seen.append(resident(kind)))
    seen.append(resident(kind))
    print(view.bytes, max(seen) - seen[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_file_is_not_loaded(tmp_path: Path) -> None:
    """At most a tensor at a time. What torch maps of a .pth stays with the kernel, which takes it back at will."""
    arguments = []
    for name, kind in (("x.safetensors", "VmRSS"), ("x.pth", "RssAnon")):
        large = written({f"w{number}": torch.ones(2**20) for number in range(32)}, tmp_path / name)
        arguments += [kind, written({"w": torch.ones(2**20)}, tmp_path / f"small_{name}"), large]
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, *arguments], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    for line in done.stdout.splitlines():
        total, growth = map(int, line.split())
        assert total == 32 * 2**22
        assert growth < total / 4
    assert len(done.stdout.splitlines()) == 2


def view_of(spec: ModelSpec, path: Path) -> CheckpointResult:
    return view_weights(written(weights_of(spec, theirs=True), path))[0]


def test_counters_are_folded(path: Path) -> None:
    result = view_of(SMALL, path)

    def names(view: ViewOptions) -> list[str]:
        (table,) = (part for part in page(result, view).elements if isinstance(part, Table) and part.key == "tensors")
        return [row.cells["name"].text for row in table.rows]

    assert names(ViewOptions(collapse=False)) == [tensor.name for tensor in result.tensors]
    assert names(ViewOptions()) == [
        tensor.name for tensor in result.tensors if not tensor.name.endswith("num_batches_tracked")
    ]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["summary", "--device", "cpu", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_architecture_is_measured_from_the_shapes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(SMALL, in_channels=1)
    file = written(weights_of(spec), path)
    code, out, err = run(capsys, "--weights", file, "--image-size", "32", "--format", "json")
    assert code == 0, err
    measured = json.loads(out)
    assert measured["schema"] == "resnet-cli/checkpoint/2"
    assert measured["summary"]["input"]["shape"] == [1, 1, 32, 32]
    assert measured["summary"]["parameters"] == measured["parameters"]
    assert measured["network"]["num_classes"] == 3


def test_the_page_has_the_tree_and_the_weights(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(weights_of(SMALL, theirs=True), path)
    code, out, _ = run(capsys, "--weights", file, "--image-size", "32", "--levels", "1")
    assert code == 0
    assert out.index("SkipAndNIdentityBlocks") < out.index("layer1.0.bn1.weight")
    assert out.count("Python ") == 1  # the machine is named once


def test_weights_that_do_not_fit_the_chosen_network(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(weights_of(SMALL), path)
    for arguments in (["--depth", "18"], ["--num-classes", "10"]):
        code, out, err = run(capsys, "--weights", file, *arguments)
        assert (code, out) == (2, "")
        assert "does not fit" in err


def test_a_missing_file_and_a_budget_without_a_network(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--weights", str(path))[0] == 2
    file = written({"a": torch.ones(2)}, path)
    assert run(capsys, "--weights", file)[0] == 0
    code, out, err = run(capsys, "--weights", file, "--assert", "parameters<3")
    assert (code, out) == (2, "")
    assert "--model" in err


def test_the_users_own_network_takes_its_weights(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = path.with_name("net.py")
    source.write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 2, 1))\n", encoding="utf-8"
    )
    file = written({"0.weight": torch.ones(2, 3, 1, 1), "0.bias": torch.zeros(2)}, path)
    code, out, err = run(capsys, "--model", f"{source}:make", "--weights", file, "--image-size", "4")
    assert code == 0, err
    assert "make" in out
