"""Work that is worth timing."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.workloads import training
from resnet_cli.measure.bench.workloads.workload import Workload, all_finite, calibrate
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import resolve
from resnet_cli.network.resnet import build
from tests.helpers.models import Scale

CPU = torch.device("cpu")
LARGEST_HALF = torch.finfo(torch.float16).max


def largest(model: nn.Module, image: Tensor) -> float:
    with torch.inference_mode():
        return float(model(image).abs().max())


def test_a_deep_untrained_network_stays_within_half_precision() -> None:
    torch.manual_seed(0)
    model = build(152, initialization="torchvision").eval()
    image = torch.randn(1, 3, 64, 64)
    assert largest(model, image) > LARGEST_HALF  # the trap: fresh statistics
    work = Workload(model, inputs=images((3, 64, 64)), device=CPU)
    assert largest(work.model, image) < 1000


def test_held_bytes_are_those_of_weights_and_gradients() -> None:
    tied = nn.Linear(4, 4, bias=False)
    model = nn.Sequential(tied, tied)
    work = Workload(model, inputs=images((4,)), device=CPU, mode="train")
    assert work.held_bytes() == 64
    tied(torch.ones(1, 4)).sum().backward()
    assert work.held_bytes() == 128


def test_calibration_leaves_modes_momenta_and_parameters_alone() -> None:
    model = build(resolve(repeat="1,1,1,1"))
    model.eval()
    first, second = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)][:2]
    first.momentum = None
    second.train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    random = torch.random.get_rng_state()
    calibrate(model, images((3, 32, 32)), seed=0)
    assert first.momentum is None
    assert second.momentum == 0.1
    assert not first.training
    assert second.training
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert torch.equal(random, torch.random.get_rng_state())
    assert first.running_var is not None
    assert not torch.equal(first.running_var, torch.ones_like(first.running_var))


def test_a_network_without_norms_is_left_as_it_is() -> None:
    calibrate(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), images((3, 2, 2)), seed=0)
    calibrate(nn.Flatten(), images((3, 2, 2)), seed=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_inference_runs_in_its_dtype_without_autograd(dtype: torch.dtype) -> None:
    work = Workload(build(resolve(repeat="1,1,1,1")), inputs=images((3, 32, 32)), device=CPU, dtype=dtype)
    call = work.call(3)
    with work.running():
        output = call()
    assert isinstance(output, Tensor)
    assert (output.dtype, output.shape, output.requires_grad) == (dtype, (3, 1000), False)
    assert all_finite(output)


def test_a_training_step_trains() -> None:
    work = Workload(
        build(resolve(repeat="1,1,1,1", num_classes=3)), inputs=images((3, 32, 32)), device=CPU, mode="train"
    )
    before = {name: parameter.detach().clone() for name, parameter in work.model.named_parameters()}
    with work.running():
        work.call(4)()
    assert work.model.training
    changed = [name for name, parameter in work.model.named_parameters() if not torch.equal(before[name], parameter)]
    assert set(changed) == set(before)


class Several(nn.Module):
    """Its logits stand in a dict, beside a second head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head, self.second = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> dict[str, object]:
        features = self.conv(x).mean((2, 3))
        return {"out": self.head(features), "more": [self.second(features)], "count": torch.tensor(1)}


def test_every_output_of_several_is_trained() -> None:
    work = Workload(Several(), inputs=images((3, 8, 8)), device=CPU, mode="train")
    before = [parameter.detach().clone() for parameter in work.model.parameters()]
    work.call(2)()
    assert not any(torch.equal(old, new) for old, new in zip(before, work.model.parameters(), strict=True))


def test_a_network_that_cannot_be_trained_is_an_error() -> None:
    call = Workload(Frozen(), inputs=images((3, 8, 8)), device=CPU, mode="train").call(2)
    with pytest.raises(ResnetCliError, match="cannot be trained"):
        call()


class Frozen(nn.Module):
    """Its output does not depend on its parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def test_nan_and_infinity_are_found_in_nested_outputs() -> None:
    good = {"a": torch.ones(2), "b": [torch.zeros(1), torch.tensor(1)]}
    assert all_finite(good)
    assert not all_finite({**good, "c": (torch.tensor([1.0, float("nan")]),)})
    assert not all_finite(torch.tensor(float("inf")))


def listeners(model: nn.Module) -> int:
    return sum(len(parameter._post_accumulate_grad_hooks or ()) for parameter in model.parameters())


@pytest.mark.parametrize(("long", "kept"), [(1e9, 0), (0.0, 2)])
def test_ctrl_c_reaches_a_long_backward_pass(long: float, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SLOW_BACKWARD_S", long)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    step = Workload(model, inputs=images((3, 2, 2)), device=CPU, mode="train").call(2)
    assert listeners(model) == 2
    step()
    assert listeners(model) == kept


@pytest.mark.parametrize(("mode", "training"), [("inference", False), ("train", True)])
def test_the_mode_is_that_of_the_work_whatever_the_network_s_was(mode: str, training: bool) -> None:
    for before in (False, True):
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(12, 3)).train(before)
        work = Workload(model, inputs=images((3, 2, 2)), device=CPU, mode=mode)
        assert {module.training for module in work.model.modules()} == {training}


def test_two_steps_of_gradient_descent_by_hand() -> None:
    """With momentum 0.9 and weight decay 1e-4, as residual networks are trained (He et al. 2015)."""
    work = Workload(Scale(), inputs=images((3, 8, 8)), device=CPU, dtype=torch.float64, mode="train")
    (image,) = work.input(2).args
    square = float(image.square().mean())  # the loss is factor² times this
    step = work.call(2)
    factor, velocity = 1.0, 0.0
    for _ in range(2):
        torch.testing.assert_close(cast(Tensor, step()).detach(), image * factor)
        velocity = 0.9 * velocity + 2 * factor * square + 1e-4 * factor
        factor -= 1e-3 * velocity
        assert float(next(work.model.parameters()).detach()) == pytest.approx(factor, rel=1e-8)


class Logits(Scale):
    """A row for each image, the first of ten classes sure of itself."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.eye(10)[:1].expand(len(x), 10) * 1000 * self.factor


def test_labels_are_random_and_stay_the_same() -> None:
    """So the loss falls in whichever direction they pull."""

    def gradients(seed: int) -> list[float]:
        work = Workload(Logits(), inputs=images((3, 2, 2)), device=CPU, mode="train", seed=seed)
        step = work.call(64)
        gradients = []
        for _ in range(2):
            step()
            gradients.append(float(next(work.model.parameters()).grad or 0.0))
        return gradients

    first, again = gradients(0)
    assert first == again == pytest.approx(900, abs=130)  # nine of ten labels are others, within three deviations
    assert first == gradients(0)[0] != gradients(1)[0]


def test_norms_have_the_statistics_of_a_batch_that_is_not_timed() -> None:
    norm = nn.BatchNorm2d(3)
    calibrate(nn.Sequential(norm), images((3, 5, 6)), seed=4)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    batch = random_init.image((4, 3, 5, 6), 5)
    torch.testing.assert_close(norm.running_mean, batch.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, batch.transpose(0, 1).flatten(1).var(1))
    assert not torch.equal(
        batch[:2], Workload(nn.Flatten(), inputs=images((3, 5, 6)), device=CPU, seed=4).input(2).args[0]
    )


@pytest.mark.parametrize("fresh", [True, False])
def test_a_trained_network_keeps_its_statistics(fresh: bool) -> None:
    work = Workload(nn.Sequential(nn.BatchNorm2d(3)), inputs=images((3, 5, 6)), device=CPU, fresh=fresh)
    assert bool(work.model.state_dict()["0.running_mean"].eq(0).all()) == (not fresh)


def test_a_forward_that_fails_leaves_everything_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(7, 1)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calibrate(model, images((3, 5, 6)), seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model[0].momentum == 0.1
    assert not any(module.training for module in model.modules())


def test_what_is_frozen_stays_as_it_is() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Linear(3, 2))
    model[1].weight.requires_grad_(False)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    Workload(model, inputs=images((3, 2, 2)), device=CPU, mode="train").call(2)()
    same = [torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert same == [True, False, False, False]


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_weights_take_the_dtype_that_is_asked_for(dtype: torch.dtype | None) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 2, 1, dtype=torch.bfloat16), nn.Flatten(), nn.LazyLinear(2, dtype=torch.bfloat16)
    )
    model.register_parameter("phases", nn.Parameter(torch.ones(2, dtype=torch.complex64) * 1j))
    work = Workload(model, inputs=images((1, 3, 4, 4)), device=torch.device("cpu"), dtype=dtype)
    with work.running():
        output = work.call(2)()
    assert isinstance(output, Tensor)
    assert work.dtype == output.dtype == (dtype or torch.bfloat16)
    assert model.get_parameter("phases").imag.tolist() == [1.0, 1.0]
