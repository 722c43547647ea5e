"""One training step: what it computes, held against torch's own, and what it leaves behind: nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models import random_init
from resnet_cli.measure.parity import train_step
from resnet_cli.measure.parity.train_step import Gradients, TensorError, Trained

IMAGE = random_init.image((4, 3, 6, 6), 5)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def trained(model: nn.Module, image: Tensor = IMAGE, seed: int = 7) -> Trained:
    return train_step.run(model, image, seed)


class Several(nn.Module):
    """Several outputs, one of them of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.one(x)
        return first, first.argmax(1), self.two(x)


def test_outputs_and_gradients_are_those_of_a_weighted_sum_in_double_precision() -> None:
    model = Several()
    result = trained(model)
    twin, x = copy.deepcopy(model).double(), IMAGE.double().requires_grad_()
    outputs = twin(x)[::2]
    weights = [random_init.image(tuple(out.shape), 7 + number, torch.float64) for number, out in enumerate(outputs)]
    sum((out * w).sum() / math.sqrt(out.numel()) for out, w in zip(outputs, weights, strict=True)).backward()
    assert all(torch.equal(a, b) for a, b in zip(result.outputs, outputs, strict=True))
    assert all(torch.equal(result.gradients[name], p.grad) for name, p in twin.named_parameters() if p.grad is not None)
    assert len(result.gradients) == 4
    assert result.input_gradient is not None
    assert torch.equal(result.input_gradient, x.grad)  # type: ignore[arg-type]
    assert not any(out.requires_grad for out in result.outputs)


def test_buffers_before_and_after_a_step() -> None:
    model = network()
    twin = copy.deepcopy(model).double().train()
    twin(IMAGE.double())
    result = trained(model)
    assert set(result.before) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert torch.equal(result.before["1.running_var"], torch.ones(4))
    assert torch.equal(result.buffers["1.running_var"], twin.get_buffer("1.running_var"))
    assert int(result.buffers["1.num_batches_tracked"]) == 1


class Dying(nn.Module):
    """Fails behind the norms that have taken a batch in."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no")


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("last", [nn.Identity(), Dying()])
def test_the_network_is_restored_after_a_step(last: nn.Module, is_training: bool) -> None:
    model = network().append(last).train(is_training)
    model[5].half()
    before = copy.deepcopy(model.state_dict())
    if isinstance(last, Dying):
        with pytest.raises(ValueError, match="no"):
            trained(model)
    else:
        trained(model)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())
    assert model.training == model[1].training == is_training


def test_random_numbers_come_from_the_seed() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout())
    state = torch.random.get_rng_state()
    first, again, other = trained(model), trained(model), trained(model, seed=8)
    assert torch.equal(first.outputs[0], again.outputs[0])
    assert not torch.equal(first.outputs[0], other.outputs[0])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_gradients_can_be_taken_one_by_one_and_are_then_gone() -> None:
    model, seen = network(), {}

    def take(name: str, parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        seen[name] = parameter.grad.clone()

    expected = trained(model).gradients
    result = train_step.run(model, IMAGE, 7, take)
    assert not result.gradients
    assert seen.keys() == expected.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(seen[name], expected[name]) for name in seen)


def test_frozen_parameters_and_constant_outputs_have_no_gradients() -> None:
    model = network()
    model.get_parameter("0.bias").requires_grad_(False)
    assert set(trained(model).gradients) == dict(model.named_parameters()).keys() - {"0.bias"}

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(2)

    result = trained(Constant())
    assert (result.gradients, result.input_gradient) == ({}, None)
    assert torch.equal(result.outputs[0], torch.ones(2))


def held(ours: nn.Module, theirs: nn.Module, pairs: dict[str, str] | None = None) -> Gradients:
    """Our gradients against theirs, one by one."""
    if pairs is None:
        pairs = {name: name for name, _ in ours.named_parameters()}
    gradients = Gradients(trained(theirs), theirs, pairs)
    gradients.finish(train_step.run(ours, IMAGE, 7, gradients.arrived), ours)
    return gradients


def errors(deviations: list[TensorError]) -> dict[str, float]:
    return {tensor.model: tensor.error for tensor in deviations}


def edited(change: Callable[[nn.Sequential], object]) -> tuple[nn.Sequential, nn.Sequential]:
    model = network()
    other = copy.deepcopy(model)
    with torch.no_grad():
        change(model)
    return model, other


def test_a_weight_further_down_shows_in_the_gradients_above() -> None:
    ours, theirs = edited(lambda model: model.get_parameter("5.weight").mul_(1.5))
    result = held(ours, theirs)
    for name in ("0.weight", "1.weight", "1.bias", "the image"):
        assert errors(result.gradients)[name] == pytest.approx(0.5)
    assert errors(result.gradients)["5.weight"] == errors(result.gradients)["5.bias"] == 0.0
    assert errors(result.parameters)["5.weight"] > 0.1
    assert errors(result.parameters)["5.bias"] == 0.0


def test_a_gradient_that_is_zero_but_for_rounding_is_no_difference() -> None:
    """A bias in front of a batch norm has no effect, so its gradient is noise of 1e-16."""
    ours, theirs = edited(lambda model: model.get_parameter("0.bias").add_(0.37))
    assert 0.0 < errors(held(ours, theirs).gradients)["0.bias"] < train_step.FLOAT64_TOLERANCE


class Sum(nn.Module):
    """Two scales, of which the second matters little."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.ones(3, 1, 1)), nn.Parameter(torch.ones(3, 1, 1))
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x + self.share * (self.b * x)


def test_a_small_gradient_is_measured_by_itself() -> None:
    assert errors(held(Sum(1.5e-3), Sum(1e-3)).gradients)["b"] == pytest.approx(0.5)


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_gradient_that_one_of_the_two_has_not_is_infinitely_far(whose: str) -> None:
    ours, theirs = network(), network()
    (ours if whose == "ours" else theirs).get_parameter("5.weight").requires_grad_(False)
    result = held(ours, theirs)
    assert {name for name, error in errors(result.gradients).items() if error} == {"5.weight"}
    assert errors(result.gradients)["5.weight"] == math.inf
    stepped = errors(result.parameters)
    if whose == "ours":  # by the step that it did not make: gradient and decay, at a rate of 0.1
        p, g = theirs.get_parameter("5.weight").detach().double(), trained(theirs).gradients["5.weight"]
        step = 0.1 * (g + 1e-4 * p)
        assert stepped["5.weight"] == pytest.approx(float(step.abs().max() / (p - step).abs().max()))
    else:
        assert "5.weight" not in stepped


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_step_that_is_not_finite_or_that_leaves_nothing() -> None:
    zero, first = vector(0.0, 0.0), vector(1.0, 0.0)
    assert train_step._step_error(first, vector(math.nan, 0.0), first, first) == math.inf
    assert train_step._step_error(zero, first, zero, zero) == math.inf
    assert train_step._step_error(zero, zero, zero, zero) == 0.0
    assert train_step._step_error(zero, None, zero, zero) == 0.0
    assert train_step._step_error(first, None, first, zero) == pytest.approx(1e-5, rel=1e-4)  # weight decay: 0.1 x 1e-4


def normed(count: int, before: Tensor, variance: Tensor, momentum: float, *, biased: bool) -> Trained:
    """A norm whose batch had this (unbiased) variance."""
    taken = variance * (count - 1) / count if biased else variance
    after = (1 - momentum) * before + momentum * taken
    return Trained([], {"var": after}, {"var": before}, {}, None)


BEFORE, VARIANCE = vector(1.0, 2.0, 0.5), vector(3.0, 0.2, 1.0)


@pytest.mark.parametrize("momentum", [0.1, 0.9, 1.0])
@pytest.mark.parametrize("count", [2, 64])
def test_a_variance_divided_by_n_is_known_by_its_ratio(count: int, momentum: float) -> None:
    theirs = normed(count, BEFORE, VARIANCE, momentum, biased=False)
    biased = normed(count, BEFORE, VARIANCE, momentum, biased=True)
    assert train_step.is_biased_variance(biased, theirs, "var", "var", count)
    assert not train_step.is_biased_variance(theirs, theirs, "var", "var", count)
    assert not train_step.is_biased_variance(theirs, biased, "var", "var", count)
    other = normed(count, BEFORE, VARIANCE, momentum / 2, biased=False)
    assert not train_step.is_biased_variance(other, theirs, "var", "var", count)
    nearly = normed(count, BEFORE, VARIANCE * vector(1.0, 1.001, 1.0), momentum, biased=True)
    assert not train_step.is_biased_variance(nearly, theirs, "var", "var", count)
    # In one channel alone.
    other.buffers["var"] = theirs.buffers["var"] * vector((count - 1) / count, 1.0, 1.0)
    assert not train_step.is_biased_variance(other, theirs, "var", "var", count)
