"""Networks that do what few networks do: their figures are those of real tensors, or are said to be unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.utils import mkldnn
from torch.utils.checkpoint import checkpoint

from resnet_cli.errors import ResnetCliError
from tests.helpers.models import summary_of
from tests.helpers.real_figures import real_figures
from tests.measure.cost.test_real_figures import check

SHAPE = (2, 3, 8, 8)
Step = Callable[["Two", Tensor], Tensor]


class Two(nn.Module):
    """Two convolutions, and what a function does with them."""

    def __init__(self, step: Step, *layers: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
        self.step, self.layers = step, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.step(self, x).mean((2, 3))
        return out


class Swish(torch.autograd.Function):
    """A function with a backward pass of its own, which keeps its input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        slope: Tensor = grad * gate * (1 + x * (1 - gate))
        return slope


class Symmetric(nn.Module):
    """A weight that equals its transpose."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


def twice(layer: nn.Module) -> Two:
    """An activation whose backward pass may hold the most memory of all."""
    return Two(lambda model, x: model.layers[0](model.second(model.layers[0](model.first(x)))), layer)


def by_step(step: Step) -> Callable[[], nn.Module]:
    return lambda: Two(step)


def stochastic_depth(model: Two, x: Tensor) -> Tensor:
    out = model.first(x)
    if model.training:
        out = out * out.new_empty(len(x), 1, 1, 1).bernoulli_(0.8).div_(0.8)
    result: Tensor = model.second(out)
    return result


def nested_checkpoints(model: Two, x: Tensor) -> Tensor:
    def inner(x: Tensor) -> Tensor:
        return functional.gelu(model.first(x))

    def outer(x: Tensor) -> Tensor:
        return functional.gelu(model.second(checkpoint(inner, x, use_reentrant=False)))

    result: Tensor = checkpoint(outer, x * 2, use_reentrant=False)
    return result


def in_place_on_views(model: Two, x: Tensor) -> Tensor:
    out = model.first(x)
    out[:, :2].add_(1)
    out.view(len(x), 2, 2, 8, 8)[:, 1].neg_()
    result: Tensor = model.second(out)
    return result


def saved_in_half(model: Two, x: Tensor) -> Tensor:
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept.bfloat16(), lambda kept: kept.float()):
        out = functional.gelu(model.first(x))
    result: Tensor = model.second(out).tanh()
    return result


def literals(model: Two, x: Tensor) -> Tensor:
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device)
    more = scale.new_tensor([2.0] * 4)
    out: Tensor = model.second(model.first(x) * scale[:, None, None]) * more[:, None, None]
    return out


def loss_in_train_mode(model: Two, x: Tensor) -> Tensor:
    out: Tensor = model.first(x)
    return functional.smooth_l1_loss(out, out.detach() + 2)[(None,) * 4] if model.training else out


def strided(model: Two, x: Tensor) -> Tensor:
    out: Tensor = model.first(x)
    view = out.as_strided((len(x), 4, 4, 4), (out.stride(0), out.stride(1), 16, 2))
    result: Tensor = model.second(view * view)
    return result


def mapped(model: Two, x: Tensor) -> Tensor:
    out: Tensor = torch.vmap(lambda image: model.first(image[None])[0].exp())(x)
    return out


def norm_of_the_input(model: Two, x: Tensor) -> Tensor:
    out: Tensor = model.first(model.layers[0](x.contiguous(memory_format=torch.channels_last)))
    return out


def bias_alone() -> nn.Module:
    model = Two(lambda model, x: model.second(model.first(x)).exp())
    model.first.weight.requires_grad_(False)
    model.second.weight.requires_grad_(False)
    return model


def hooked() -> nn.Module:
    model = Two(lambda model, x: model.second(model.first(x)))
    model.first.register_forward_hook(lambda module, inputs, output: output.sigmoid() * 2)
    model.second.weight.register_hook(lambda grad: grad * 0.5)  # type: ignore[no-untyped-call]
    return model


def symmetric() -> nn.Module:
    layer = nn.Linear(4, 4)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return Two(lambda model, x: model.layers[0](model.first(x).mT[..., :4]), layer)


def bag(mode: str) -> Callable[[], nn.Module]:
    def step(model: Two, x: Tensor) -> Tensor:
        indices = (x.flatten(1)[:, :6] * 3).long().clamp(0, 9)
        out: Tensor = model.first(x)[..., :1] * model.layers[0](indices)[:, :, None, None]
        return out

    return lambda: Two(step, nn.EmbeddingBag(10, 4, mode=mode))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "silu": lambda: twice(nn.SiLU()),
    "mish": lambda: twice(nn.Mish()),
    "gelu": lambda: twice(nn.GELU()),
    "loss": by_step(lambda model, x: functional.mse_loss(out := model.first(x), out.detach() + 2)[(None,) * 4]),
    "loss in train mode": by_step(loss_in_train_mode),
    "norm without weights": lambda: twice(nn.BatchNorm2d(4, affine=False)),
    "norm of instances": lambda: twice(nn.InstanceNorm2d(4, track_running_stats=True)),
    "norm of the input": lambda: Two(lambda model, x: model.layers[0](x), nn.BatchNorm2d(3)),
    "norm of the input in another layout": lambda: Two(norm_of_the_input, nn.BatchNorm2d(3)),
    "norm of a transposed sequence": lambda: Two(
        lambda model, x: model.layers[0](model.first(x).flatten(2).mT.exp().mT).exp()[..., None], nn.BatchNorm1d(4)
    ),
    "norm with channels last": lambda: twice(nn.BatchNorm2d(4)).to(memory_format=torch.channels_last),
    "bias alone": bias_alone,
    "stochastic depth": by_step(stochastic_depth),
    "nested checkpoints": by_step(nested_checkpoints),
    "function with its own backward": by_step(lambda model, x: model.second(Swish.apply(model.first(x)))),
    "in place on views": by_step(in_place_on_views),
    "saved in half precision": by_step(saved_in_half),
    "literals": by_step(literals),
    "overlapping view": by_step(strided),
    "vmap": by_step(mapped),
    "hooks": hooked,
    "parametrized weight": symmetric,
    "bag, sum": bag("sum"),
    "bag, mean": bag("mean"),
    "bag, max": bag("max"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_figures_are_those_of_real_tensors(case: str) -> None:
    torch.manual_seed(0)
    check(NETWORKS[case], torch.rand(SHAPE))


HALF: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: twice(nn.BatchNorm2d(4)),
    "batch norm without statistics": lambda: twice(nn.BatchNorm2d(4, track_running_stats=False)),
    "batch norm without weights": lambda: twice(nn.BatchNorm2d(4, affine=False)),
    "instance norm": lambda: twice(nn.InstanceNorm2d(4)),
    "group norm": lambda: twice(nn.GroupNorm(2, 4)),
    "layer norm": lambda: Two(lambda model, x: model.layers[0](model.first(x)), nn.LayerNorm(8)),
    "layer norm in another layout": lambda: Two(
        lambda model, x: model.layers[0](model.first(x).permute(0, 2, 3, 1)).exp(), nn.LayerNorm(4)
    ),
}


@pytest.mark.parametrize("case", HALF)
def test_statistics_of_norms_have_half_precision_on_a_cpu(case: str) -> None:
    torch.manual_seed(0)
    check(lambda: HALF[case]().bfloat16(), torch.rand(SHAPE, dtype=torch.bfloat16))


def as_rows(network: Two, x: Tensor, layout: torch.layout) -> Tensor:
    rows = [image.flatten(1).mT[: 5 + 3 * index] for index, image in enumerate(network.first(x))]
    ragged = torch.nested.as_nested_tensor(rows, layout=layout)
    out = network.layers[0](ragged).relu()
    return torch.stack([part.mean(0) for part in out.unbind()])[:, :, None, None]


def test_the_parts_of_ragged_tensors_are_counted() -> None:
    result = summary_of(Two(lambda network, x: as_rows(network, x, torch.jagged), nn.Linear(4, 6)), SHAPE)
    rows = 5 + 8
    convolution = 2 * 64 * 4 * 27
    assert result.macs == convolution + rows * 4 * 6
    assert result.root.backward_macs == convolution + 2 * rows * 4 * 6
    layer = next(child for child in result.root.children if child.path == "layers.0")
    assert layer.output_shape == (rows, 6)


def test_ragged_tensors_without_a_shape_are_refused_in_one_sentence() -> None:
    with pytest.raises(ResnetCliError, match="nested tensors of the strided layout"):
        summary_of(Two(lambda network, x: as_rows(network, x, torch.strided), nn.Linear(4, 6)), SHAPE)


class Rows(nn.Module):
    """Holds rows as they are compressed from a dense matrix: storages with room to spare."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.register_buffer("matrix", torch.eye(4).to_sparse_csr())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.matrix @ self.layer(x.mean((2, 3)))[0]
        return out


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_bytes_of_a_sparse_buffer_are_those_of_its_storages() -> None:
    memory = summary_of(Rows(), SHAPE).memory
    assert (
        memory.parameter_bytes + memory.buffer_bytes == real_figures(Rows, torch.ones(SHAPE), train=False).weight_bytes
    )


@pytest.mark.parametrize("step", [lambda x: x.quantile(0.5, 2), lambda x: torch.nanquantile(x, 0.5, 2)])
def test_what_torch_runs_otherwise_when_it_is_traced_is_named(step: Callable[[Tensor], Tensor]) -> None:
    result = summary_of(Two(lambda network, x: step(network.first(x))[:, :, None]), SHAPE)
    assert "memory-when-traced" in {note.key for note in result.notes}


@pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch has no oneDNN")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_memory_in_the_layout_of_onednn_is_named() -> None:
    class OneDnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = mkldnn.to_mkldnn(nn.Sequential(nn.Conv2d(3, 4, 3)).eval())  # type: ignore[no-untyped-call]

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layers(x.to_mkldnn()).to_dense()
            return out

    result = summary_of(OneDnn(), SHAPE)
    assert result.macs == 2 * 36 * 4 * 27
    assert {"onednn-weights", "memory-of-onednn"} <= {note.key for note in result.notes}
