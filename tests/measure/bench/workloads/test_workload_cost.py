"""What a call asks for, against torch's own counter and against `summary`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import layers, workload_cost
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.copies import lazy_names
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.network.architectures import resolve
from resnet_cli.network.resnet import build

SMALL = resolve(repeat="1,1,1,1", num_classes=10)
CPU = torch.device("cpu")


@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_flops_of_an_inference_are_those_that_torch_counts(batch_size: int) -> None:
    cost = workload_cost(model_from_spec(resolve(18)), images((3, 224, 224)), torch.float32, "inference")
    assert cost.flops_at(batch_size) == batch_size * 3_628_146_688  # torch's counter, by hand


@pytest.mark.parametrize("batch_size", [2, 3])
def test_flops_of_a_step_are_those_that_torch_counts(batch_size: int) -> None:
    work = Workload(build(SMALL), inputs=images((3, 32, 32)), device=CPU, mode="train")
    step = work.call(batch_size)
    with FlopCounterMode(display=False) as counter:
        step()
    cost = workload_cost(model_from_spec(SMALL), images((3, 32, 32)), torch.float32, "train")
    assert cost.flops_at(batch_size) == counter.get_total_flops()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_is_what_summary_says(dtype: torch.dtype) -> None:
    of_summary = summarize(model_from_spec(SMALL), inputs=images((7, 3, 96, 64)), dtype=dtype, device=CPU).memory
    assert (
        workload_cost(model_from_spec(SMALL), images((3, 96, 64)), dtype, "inference").bytes_at(7)
        == of_summary.inference_bytes
    )
    assert of_summary.training_bytes is not None
    needed = workload_cost(model_from_spec(SMALL), images((3, 96, 64)), dtype, "train").bytes_at(7)
    assert needed == pytest.approx(of_summary.training_bytes, rel=0.01)


@pytest.mark.parametrize("mode", ["inference", "train"])
def test_an_image_that_does_not_get_through_is_an_error(mode: str) -> None:
    with pytest.raises(ResnetCliError, match=r"fails at head\."):
        workload_cost(model_from_spec(SMALL), images((3, 0, 64)), torch.float32, mode)


def test_a_weight_that_is_not_trained_needs_neither_gradient_nor_momentum() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3000, 1000, bias=False), nn.ReLU(), nn.Linear(1000, 10, bias=False))

    def needed() -> int:
        return workload_cost(ModelUnderTest(model, "net"), images((3, 10, 100)), torch.float32, "train").bytes_at(2)

    both = needed()
    model[1].weight.requires_grad_(False)
    assert both - needed() == 2 * 3000 * 1000 * 4


class Cut(nn.Module):
    """Nothing learns from its output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.mean((2, 3)))
        return logits.detach()


@pytest.mark.parametrize(
    ("model", "reason", "hint"),
    [
        (Cut(), "none of its outputs depends on a trainable parameter", None),
        (
            nn.Sequential(nn.Conv2d(3, 3, 8), nn.InstanceNorm2d(3, track_running_stats=True)),
            "Expected more than 1 spatial element when training",
            "use a larger `image_size`",
        ),
    ],
)
def test_why_a_network_cannot_be_trained(model: nn.Module, reason: str, hint: str | None) -> None:
    with pytest.raises(ResnetCliError) as caught:
        workload_cost(ModelUnderTest(model, "net"), images((3, 8, 8)), torch.float32, "train")
    assert caught.value.message.startswith(f"`mode=train`: this network cannot be trained on 2×3×8×8: {reason}")
    assert caught.value.hint == hint


def test_without_trainable_parameters_there_is_no_training_step() -> None:
    model = nn.Conv2d(3, 4, 3).requires_grad_(False)
    with pytest.raises(ResnetCliError, match="no trainable parameters"):
        workload_cost(ModelUnderTest(model, "net"), images((3, 8, 8)), torch.float32, "train")


def test_a_lazy_network_has_the_memory_of_its_shapes() -> None:
    lazy, plain = nn.LazyConv2d(4, 3), nn.Conv2d(3, 4, 3)
    costs = [workload_cost(ModelUnderTest(model, "net"), images((3, 8, 8)), None, "train") for model in (lazy, plain)]
    assert costs[0] == costs[1]
    assert lazy_names(lazy) == ["weight", "bias"]


def test_the_layers_are_those_of_the_batch() -> None:
    root = layers(model_from_spec(SMALL), images((3, 3, 64, 64)), torch.float32)
    assert root.output_shape == (3, 10)
    assert 2 * root.macs == workload_cost(
        model_from_spec(SMALL), images((3, 64, 64)), torch.float32, "inference"
    ).flops_at(3)


class Solving(nn.Module):
    """A product that is counted, and those within a matrix exponential, which are not."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.linalg.matrix_exp(x[:, 0]) + self.lin(x[:, 1])
        return out


def test_there_is_no_rate_where_not_all_products_are_counted() -> None:
    cost = workload_cost(ModelUnderTest(Solving(), "solving"), images((3, 4, 4)), torch.float32, "inference")
    assert cost.uncounted == ("linalg_matrix_exp",)
    assert cost.flops_at(2) is None


class OneImage(nn.Module):
    """Takes one image alone, as an exported network does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == 1, "one image at a time"
        features: Tensor = self.norm(self.conv(x))
        return features


def test_a_network_of_one_batch_size_has_the_cost_of_that() -> None:
    cost = workload_cost(ModelUnderTest(OneImage(), "net"), images((3, 8, 8)), torch.float32, "inference")
    assert cost.flops_at(1) == 2 * 36 * 4 * 27
    assert cost.flops_at(2) is None
    with pytest.raises(ResnetCliError, match="one image at a time"):
        workload_cost(ModelUnderTest(OneImage(), "net"), images((2, 3, 8, 8)), torch.float32, "inference")


def test_norms_keep_their_statistics_where_they_cannot_be_calibrated() -> None:
    model = OneImage()
    work = Workload(model, inputs=images((3, 8, 8)), device=torch.device("cpu"))
    assert model.norm.running_mean is not None
    assert model.norm.running_mean.tolist() == [0.0] * 4
    with work.running():
        assert work.call(1)() is not None
