"""A file of weights against the network that it is said to be of, and tensor by tensor."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.measure.weights import tensor_statistics
from resnet_cli.measure.weights.tensor_statistics import view_weights
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from tests.helpers.models import written

TINY: ModelSpec = replace(
    ARCHITECTURES["resnet18"], name="resnet18 with repeat 1,1,1,1", repeat=(1, 1, 1, 1), num_classes=2
)


def state_of(spec: ModelSpec, *, theirs: bool) -> dict[str, Tensor]:
    """Zeros, which cost nothing, under either naming."""
    names = torchvision_names(spec)
    shapes = build_on_meta(lambda: build(spec)).state_dict()
    return {
        names[name] if theirs else name: torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in shapes.items()
    }


@pytest.fixture(params=["x.safetensors", "x.pth"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


@pytest.mark.parametrize("theirs", [False, True])
def test_a_network_that_is_named_is_held_against_both_namings(theirs: bool, tmp_path: Path) -> None:
    state = state_of(TINY, theirs=theirs)
    shuffled = dict(sorted(state.items(), key=lambda item: item[0][::-1]))
    named = model_from_spec(TINY)
    view, model = view_weights(written(shuffled, tmp_path / "x.pth"), named)
    assert model is named
    assert view.naming == ("torchvision" if theirs else "resnet-cli")
    assert [tensor.name for tensor in view.tensors] == list(state)
    assert view.notes == ()


def test_a_file_that_fits_neither_naming_is_told_by_the_nearer(tmp_path: Path) -> None:
    state = state_of(TINY, theirs=True)
    del state["fc.bias"]
    path = written(state, tmp_path / "x.pth")
    with pytest.raises(ResnetCliError, match=r"does not fit \(torchvision names\): 1 tensor is missing \(fc\.bias\)"):
        view_weights(path, model_from_spec(TINY))
    state = {"a.weight": torch.zeros(1)}
    with pytest.raises(ResnetCliError, match=r"matches neither resnet-cli names nor torchvision names: it has a\.w"):
        view_weights(written(state, tmp_path / "y.pth"), model_from_spec(TINY))


def test_a_network_of_the_users_that_has_no_shape_yet_takes_that_of_the_file(path: Path) -> None:
    model = nn.Sequential(nn.LazyLinear(2), nn.LazyBatchNorm1d())
    state = {"0.weight": torch.ones(2, 9), "0.bias": torch.ones(2), "1.weight": torch.ones(2), "1.bias": torch.ones(2)}
    state |= {"1.running_mean": torch.zeros(2), "1.running_var": torch.ones(2)}
    view, _ = view_weights(
        written({**state, "1.num_batches_tracked": torch.tensor(3)}, path), ModelUnderTest(model, "mine")
    )
    assert view.parameters == 18 + 3 * 2
    assert view.buffers == 2 * 2 + 1
    with pytest.raises(ResnetCliError, match=r"names of mine\): 1 tensor is unexpected \(2\.weight\)"):
        view_weights(written({**state, "2.weight": torch.ones(2)}, path), ModelUnderTest(model, "mine"))


def test_figures_of_the_whole_are_sums_of_those_of_the_tensors(path: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    state = {
        "bn.weight": torch.tensor([0.0, 0.0, 1.0]),
        "bn.bias": torch.tensor([0.0, nan, nan]),
        "bn.running_var": torch.tensor([infinite, 1.0, -infinite]),
        "weight": torch.tensor([0.0, infinite], dtype=torch.float64),
        "running_var": torch.tensor([0.5, 0.5]),
    }
    view, _ = view_weights(written(state, path))
    assert (view.dead_channels, view.nan, view.infinite) == (2, 2, 3)
    assert (view.parameters, view.buffers, view.bytes) == (8, 5, 4 * 11 + 8 * 2)
    assert {tensor.name for tensor in view.tensors if tensor.is_buffer} == {"bn.running_var", "running_var"}
    # One that is without statistics beside it multiplies no channel.
    assert {tensor.name: tensor.dead_channels for tensor in view.tensors if tensor.dead_channels is not None} == {
        "bn.weight": 2
    }


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_chunks_give_the_moments_of_the_whole(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0.0, 0.0, 4.0, 6.0, 20.0, 30.0, -7.0, 100.0]
    monkeypatch.setattr(tensor_statistics, "_CHUNK", size)
    (tensor,) = tensor_statistics.view_weights(written({"a": torch.tensor(values)}, tmp_path / "x.pth"))[0].tensors
    assert tensor.mean == pytest.approx(statistics.fmean(values), rel=1e-12)
    assert tensor.standard_deviation == pytest.approx(statistics.pstdev(values), rel=1e-12)


def test_moments_of_large_close_values_are_exact(path: Path) -> None:
    """A hundred million, give or take one: in single precision their squares are all the same."""
    values = torch.tensor([1e8 - 8, 1e8, 1e8 + 8], dtype=torch.float32)
    (tensor,) = view_weights(written({"a": values}, path))[0].tensors
    assert (tensor.minimum, tensor.maximum, tensor.mean) == (1e8 - 8, 1e8 + 8, 1e8)
    assert tensor.standard_deviation == pytest.approx((2 * 64 / 3) ** 0.5, rel=1e-12)
