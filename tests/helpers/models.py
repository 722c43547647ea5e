"""What the measurement wing is tested on: the family, torchvision's networks, and figures from outside."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.cost.flops import count_flops
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.graph import diff
from resnet_cli.measure.graph.alignment import align_graphs
from resnet_cli.measure.graph.diff import GraphDiff
from resnet_cli.measure.models import model
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.checks import SPECS
from resnet_cli.measure.parity.diagnosis import diagnose
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.measure.parity.setup import ParityRun
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.results.common import Shape
from resnet_cli.results.compare import Check, Diagnosis
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import Layer, SummaryResult

CPU = torch.device("cpu")
IMAGE: Shape = (1, 3, 224, 224)
MEMBERS = tuple(ARCHITECTURES)
DEPTHS = ("resnet18", "resnet50")
SAMPLE = ("resnet18", "resnet50", "resnext50_32x4d")  # a member of each kind


def summary_of(
    network: nn.Module | ModelSpec, shape: Shape = (2, 3, 16, 16), dtype: torch.dtype | None = None
) -> SummaryResult:
    return summarize(subject(network), inputs=images(shape), dtype=dtype, device=CPU)


def flops_of(
    network: nn.Module | ModelSpec,
    shape: Shape = (2, 3, 16, 16),
    *,
    dtype: torch.dtype | None = None,
    backward: bool = False,
    reconciliations: tuple[tuple[str, str], ...] = (),
) -> FlopsResult:
    return count_flops(
        subject(network),
        inputs=images(shape),
        dtype=dtype,
        device=CPU,
        backward=backward,
        reconciliations=reconciliations,
    )


def structure_of(ours: nn.Module, theirs: nn.Module, shape: Shape = (2, 3, 16, 16)) -> GraphDiff:
    """Two networks aligned, and what is not the same in them."""
    mine, other = (graph_of(network, shape, training=True, name="net") for network in (ours, theirs))
    return diff.diff_graphs(mine, other, align_graphs(mine, other), "torchvision")


def meta_copy(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network).to("meta")
    for module in network.modules():  # tensors that are plain attributes too
        vars(module).update({key: value.to("meta") for key, value in vars(module).items() if isinstance(value, Tensor)})
    return network


def subject(network: nn.Module | ModelSpec) -> ModelUnderTest:
    return model.model_from_spec(network) if isinstance(network, ModelSpec) else ModelUnderTest(network, "net")


@cache
def summary_of_member(name: str) -> SummaryResult:
    return summary_of(ARCHITECTURES[name], IMAGE)


@cache
def flops_of_member(name: str) -> FlopsResult:
    return flops_of(ARCHITECTURES[name], IMAGE, backward=True)


def rows(layer: Layer) -> Iterator[Layer]:
    """A layer and everything below it."""
    yield layer
    for child in layer.children:
        yield from rows(child)


def row(result: SummaryResult, path: str) -> Layer:
    """The one row of a path."""
    (match,) = (layer for layer in rows(result.root) if layer.path == path)
    return match


def on_meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@cache
def torchvision_models() -> Any:
    import torchvision

    return torchvision.models


def mobilenet() -> nn.Module:
    """Two blocks of MobileNetV3: grouped convolutions, squeeze and excitation, hard swish."""
    block = torchvision_models().mobilenetv3.InvertedResidualConfig
    blocks = [block(16, 3, 16, 16, True, "RE", 2, 1, 1), block(16, 5, 48, 24, True, "HS", 2, 1, 1)]
    made: nn.Module = torchvision_models().MobileNetV3(blocks, 64)
    return made


def inception() -> nn.Module:
    """Branches that are concatenated, as in GoogLeNet."""
    from torchvision.models.googlenet import BasicConv2d, Inception

    stem = BasicConv2d(3, 16, kernel_size=3, stride=2)
    return nn.Sequential(stem, Inception(16, 8, 8, 16, 4, 8, 8), nn.MaxPool2d(2), nn.Flatten())


@cache
def torchvision_network(name: str) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = torchvision_models().get_model(name)
    return network.eval()


@cache
def torchvision_forward(name: str) -> tuple[int, dict[str, Shape], dict[str, int]]:
    """Torch's own meta kernels and FLOP counter on torchvision's network: total, output shapes, FLOPs by module."""
    network, shapes = torchvision_network(name), {}
    counter = FlopCounterMode(display=False)

    def looking(path: str) -> Any:
        def look(module: nn.Module, given: Any, output: Tensor) -> None:
            shapes[path] = tuple(output.shape)

        return look

    hooks = [module.register_forward_hook(looking(path)) for path, module in network.named_modules()]
    with torch.no_grad(), counter:
        network(on_meta(*IMAGE))
    for hook in hooks:
        hook.remove()
    flops = {path: sum(by.values()) for path, by in counter.get_flop_counts().items()}
    return counter.get_total_flops(), shapes, flops


class Residual(nn.Module):
    """relu(x + conv(x)), in place or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.relu = nn.ReLU(in_place)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        out = out.add_(x) if self.in_place else out + x
        result: Tensor = self.relu(out)
        return result


class Functional(nn.Module):
    """A convolution by function, with a weight of its own, between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.relu(nn.functional.conv2d(x, self.weight, padding=1)))
        return out


class Holder(nn.Module):
    """Calls the module that it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


class Shared(nn.Module):
    """One convolution in two holders, and called a third time directly."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 3, 1)
        self.the_first_holder = Holder(conv)
        self.twin = Holder(conv)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.twin.inner(self.twin(self.the_first_holder(x)))
        return out


class SqueezeExcite(nn.Module):
    """Channels scaled by what the whole image says (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.excite(self.squeeze(x)).sigmoid()  # type: ignore[no-any-return]


class Uncalled(nn.Module):
    """Holds a list whose modules are called one by one, and modules that never are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1, bias=False) for _ in range(2))
        self.spare = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), nn.BatchNorm2d(5))
        self.statistics = nn.BatchNorm2d(7, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class WithoutModules(nn.Module):
    """All of its work is in functions, with parameters of its own; it may hold layers that it does not call."""

    def __init__(self, *idle: nn.Module) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.project = nn.Parameter(torch.randn(5, 4))
        self.idle = nn.ModuleList(idle)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(x, self.weight, padding=1).relu()
        x = x + x.sigmoid()
        return nn.functional.linear(x.mean((2, 3)), self.project)


class Auxiliary(nn.Module):
    """A second head in train mode, and a block whose forward calls no module beside the one that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Holder(WithoutModules())
        self.head, self.auxiliary = nn.Linear(5, 2), nn.Sequential(nn.Linear(5, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.body(x)
        logits: Tensor = self.head(x)
        return (logits, self.auxiliary(x)) if self.training else logits


ODD_NETWORKS = (
    lambda: Residual(in_place=True),
    lambda: Residual(in_place=False),
    Functional,
    Shared,
    SqueezeExcite,
    Uncalled,
    WithoutModules,
    lambda: WithoutModules(nn.Linear(3, 4), nn.BatchNorm2d(3)),
    Auxiliary,
    lambda: nn.Conv2d(3, 4, 3),
    lambda: nn.BatchNorm2d(3),
    nn.ReLU,
    nn.Identity,
    lambda: nn.Sequential(nn.Identity(), nn.Sequential()),
)


def network(**parts: nn.Module) -> nn.Sequential:
    """A small classifier, its layers by name: six parameters, two running statistics and a counter; more as given."""
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(),
        "average": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(4, 5),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers | parts))


def make(run: ParityRun, *keys: str) -> None:
    """Make some checks of a comparison."""
    run.checks += [spec.make(run) for spec in SPECS if spec.key in keys]


def diagnoses(run: ParityRun) -> list[Diagnosis]:
    """The diagnoses of what a comparison has found so far."""
    return diagnose(run.structure, run.findings, run.biased_variances)


def only_check(made: ParityRun) -> Check:
    """The one check that was made."""
    (check,) = made.checks
    return check


class Scale(nn.Module):
    """A single parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def written(content: dict[str, Any], path: Path) -> str:
    """The path of a file with these weights, of the kind that its name says."""
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return str(path)
