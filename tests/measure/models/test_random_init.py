"""Weights behind which no fault can hide: their ranges, the statistics that fit them, and the same for one seed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.random_init import image, randomize_parameters, seeded, tensors, transfer


class Net(nn.Module):
    """A norm that keeps statistics, one that keeps none, and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1, groups=1)
        self.norm = nn.BatchNorm2d(64, momentum=0.3)
        self.bare = nn.BatchNorm2d(64, track_running_stats=False)
        self.drop, self.lin = nn.Dropout(0.1), nn.Linear(64, 50)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        out: Tensor = self.lin(self.drop(self.bare(x).relu().mean((2, 3))))
        return out


def drawn(seed: int = 0, model: nn.Module | None = None) -> nn.Module:
    model = Net() if model is None else model
    randomize_parameters(model, seed)
    return model


def test_weights_are_uniform_with_the_variance_of_kaimings_rule() -> None:
    model = drawn()
    for name, fan_out in (("conv.weight", 64 * 9), ("lin.weight", 50)):
        weight = tensors(model)[name].detach()
        bound = math.sqrt(3 * 2 / fan_out)  # a uniform distribution's variance is a third of its bound's square
        assert float(weight.abs().max()) <= bound
        assert float(weight.var()) == pytest.approx(2 / fan_out, rel=0.1)
        assert abs(float(weight.mean())) < bound / 10


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("norm.weight", 0.5, 1.5), ("norm.bias", -0.3, 0.3), ("conv.bias", -0.3, 0.3), ("bare.weight", 0.5, 1.5)],
)
def test_scales_and_offsets_are_far_from_what_a_fresh_norm_has(name: str, low: float, high: float) -> None:
    nested = nn.Sequential(nn.Sequential(Net()))
    drawn(0, nested)
    vector = tensors(nested)[f"0.0.{name}"].detach()
    assert low <= float(vector.min()) < low + 0.2 * (high - low)
    assert high - 0.2 * (high - low) < float(vector.max()) <= high


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_fit_the_network_and_are_not_exact(training: bool) -> None:
    model = Net().train(training)
    drawn(0, model)
    state = tensors(model)
    seen = model.conv(image((4, 3, 64, 64), 0)).detach()
    mean, variance = seen.mean((0, 2, 3)), seen.var((0, 2, 3))
    shift = (state["norm.running_mean"] - mean) / variance.sqrt()
    ratio = state["norm.running_var"] / variance
    assert 0.1 < float(shift.abs().max()) < 0.21
    assert float(shift.min()) < 0 < float(shift.max())
    assert 0.69 < float(ratio.min()) < 0.8
    assert 1.3 < float(ratio.max()) < 1.41
    assert int(state["norm.num_batches_tracked"]) == 3
    assert model.norm.momentum == 0.3
    assert model.training is training


def test_one_seed_draws_one_network_and_leaves_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    first, same, other = drawn(1), drawn(1), drawn(2)
    torch.set_rng_state(before)
    fresh = Net()  # draws from it
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    drawn(1, fresh)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(after)
    for name, tensor in tensors(first).items():
        assert torch.equal(tensor, tensors(same)[name])
        assert torch.equal(tensor, tensors(fresh)[name])
        assert tensor.numel() == 1 or not torch.equal(tensor, tensors(other)[name])


def test_a_network_that_does_not_run_on_a_small_image_is_drawn_all_the_same() -> None:
    norm = nn.BatchNorm2d(4)
    norm.running_mean, norm.running_var = torch.full((4,), 50.0), torch.full((4,), 9.0)
    model = drawn(0, nn.Sequential(nn.Conv2d(5, 4, 1), norm).eval())
    state = tensors(model)
    assert not model.training
    assert 0.7 <= float(state["1.running_var"].min()) <= float(state["1.running_var"].max()) <= 1.4
    assert float(state["1.running_mean"].abs().max()) <= 0.2
    assert len(set(state["1.running_mean"].tolist())) == 4
    assert norm.momentum == 0.1


def test_dropout_draws_the_same_in_both_networks_and_nothing_else_is_touched() -> None:
    values = []
    for _ in range(2):
        torch.rand(1)  # wherever torch's generator stands
        before = torch.get_rng_state()
        with seeded(3):
            values.append(nn.functional.dropout(torch.ones(50)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(values[0], values[1])


def test_values_go_from_the_reference_to_their_counterparts() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm2d(3))
    model.append(model[0])
    source = {"fc.weight": torch.arange(12.0).reshape(3, 4, 1, 1), "bn.running_mean": torch.full((3,), 7.0)}
    kept = tensors(model)["0.bias"].clone()
    pairs = {"0.weight": "fc.weight", "1.running_mean": "bn.running_mean", "0.bias": "fc.bias", "gone": "fc.weight"}
    transfer(source, model, pairs)
    values = tensors(model)
    assert torch.equal(values["0.weight"], torch.arange(12.0).reshape(3, 4))  # a 1x1 convolution is a linear layer
    assert torch.equal(values["1.running_mean"], torch.full((3,), 7.0))
    assert torch.equal(values["0.bias"], kept)
    assert values["0.weight"].requires_grad
    transfer({"x": torch.zeros(3, 4)}, model, {"2.weight": "x"})
    assert not values["0.weight"].any()  # by either name of a shared module


def test_seeded_restores_the_generators_of_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.Generator().manual_seed(5)
    monkeypatch.setattr(torch.cuda, "default_generators", (gpu,))
    before = torch.get_rng_state(), gpu.get_state()
    draws = []
    for _ in range(2):
        with seeded(3):
            draws.append((torch.rand(2), torch.rand(2, generator=gpu)))
    assert all(torch.equal(*pair) for pair in zip(*draws, strict=True))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(gpu.get_state(), before[1])


def test_parameters_without_values_stay_so() -> None:
    model = nn.Linear(2, 2)
    model.empty = nn.Parameter(torch.empty(0, 3))
    randomize_parameters(model, 0)
    assert model.empty.shape == (0, 3)


def test_images_are_on_the_cpu_whatever_the_default_device_is() -> None:
    with torch.device("meta"):
        assert image((1, 3, 4, 4), 0).device.type == "cpu"
