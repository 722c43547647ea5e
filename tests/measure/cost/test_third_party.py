"""Networks that are not ours, as their makers wrote them: they are measured whole, and torch counts the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.common import Shape
from resnet_cli.results.flops import FlopsResult, ModuleFlops
from resnet_cli.results.summary import SummaryResult
from tests.helpers.models import flops_of, inception, mobilenet, row, rows, summary_of, torchvision_models

SHAPE: Shape = (2, 3, 32, 32)


def of_timm(name: str, **options: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    made: nn.Module = timm.create_model(name, **options)
    return made


def mixer() -> nn.Module:
    """Linear layers across the tokens, and across their channels."""
    networks = pytest.importorskip("timm.models.mlp_mixer")
    made: nn.Module = networks.MlpMixer(num_classes=5, img_size=32, patch_size=8, num_blocks=2, embed_dim=48)
    return made


def video() -> nn.Module:
    """R(2+1)D: each convolution over space and time is one over space and one over time."""
    import torchvision.models.video.resnet as networks

    makers = [networks.Conv2Plus1D] * 4
    return networks.VideoResNet(networks.BasicBlock, makers, [1, 1, 1, 1], networks.R2Plus1dStem, num_classes=5)  # type: ignore[no-any-return]


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "mobilenet": mobilenet,
    "inception": inception,
    "vit": lambda: torchvision_models().VisionTransformer(32, 16, 2, 4, 32, 64),
    "timm mixer": mixer,
    "video": video,
    "swin": lambda: torchvision_models().SwinTransformer([4, 4], 24, [2, 2], [2, 4], [7, 7]),
    "timm resnet18d": lambda: of_timm("resnet18d", layers=[1, 1, 1, 1]),
    "timm seresnet50": lambda: of_timm("seresnet50", layers=[1, 1, 1, 1]),
    "timm resnetv2_50": lambda: of_timm("resnetv2_50", layers=[1, 1, 1, 1]),
}
SHAPES: dict[str, Shape] = {"video": (2, 3, 4, 16, 16)}  # of others than SHAPE
FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
CASES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name == "vit" and FUSED not in flop_registry, reason="this torch counts no attention on the CPU"
        ),
    )
    for name in MAKERS
]


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Torchs:
    """What FlopCounterMode says of a network with real tensors."""

    evaluated: int
    trained: int  # the forward in train mode
    step: int  # that, and the backward pass


def torchs(model: nn.Module, shape: Shape = SHAPE) -> Torchs:
    real, image = copy.deepcopy(model), torch.randn(shape)
    shortcut = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator of which the counter knows nothing
    try:
        with FlopCounterMode(display=False) as evaluated, torch.no_grad():
            real.eval()(image)
        real.train()
        with FlopCounterMode(display=False) as step:
            output = real(image)
            trained = step.get_total_flops()
            torch.stack([tensor.sum() for tensor in tensors_in(output)]).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        torch.backends.mha.set_fastpath_enabled(shortcut)
    return Torchs(evaluated.get_total_flops(), trained, step.get_total_flops())


@cache
def network(name: str) -> nn.Module:
    return MAKERS[name]()


@cache
def measured(name: str) -> tuple[SummaryResult, FlopsResult]:
    shape = SHAPES.get(name, SHAPE)
    return summary_of(network(name), shape), flops_of(network(name), shape, backward=True)


@pytest.mark.parametrize("name", CASES)
def test_flops_are_what_torch_counts_with_real_tensors(name: str) -> None:
    (summary, flops), theirs = measured(name), torchs(network(name), SHAPES.get(name, SHAPE))
    assert summary.flops == flops.flops == theirs.evaluated > 0
    back = [op for op in flops.operators if op.phase == "backward"]
    assert sum(op.torch_flops or 0 for op in back) == theirs.step - theirs.trained
    assert flops.backward_flops is not None
    if is_grouped(network(name)):
        # Torch takes a grouped weight's gradient for a dense one's; that is said, with both figures.
        assert flops.backward_flops < theirs.step - theirs.trained
        assert f"{theirs.step - theirs.trained:,}" in " ".join(note.text for note in flops.notes)
    else:
        assert flops.backward_flops == theirs.step - theirs.trained


def is_grouped(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules())


@pytest.mark.parametrize("name", MAKERS)
def test_the_tree_adds_up(name: str) -> None:
    summary, flops = measured(name)
    assert summary.parameters == sum(parameter.numel() for parameter in network(name).parameters())
    assert summary.buffers == sum(buffer.numel() for buffer in network(name).buffers())
    assert not flops.uncounted
    for layer in rows(summary.root):
        if layer.children:
            for figure in ("parameters", "buffers", "macs", "ops", "backward_macs", "saved_for_backward_bytes"):
                assert getattr(layer, figure) == sum(getattr(child, figure) or 0 for child in layer.children)
    assert summary.root.backward_macs == flops.backward_macs == flops.root.backward_macs
    assert summary.memory.saved_for_backward_bytes == summary.root.saved_for_backward_bytes


class Auxiliary(nn.Module):
    """A second head in train mode, as many a network of the time of GoogLeNet has."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 5, bias=False)
        self.aux = nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.Flatten(), nn.Linear(6 * 36, 7, bias=False))

    def forward(self, x: Tensor) -> Any:
        x = self.body(x)
        out = self.head(x.mean((2, 3)))
        return (out, self.aux(x)) if self.training else out


def test_a_head_of_train_mode_has_its_rows_and_its_note() -> None:
    shape = (2, 3, 8, 8)
    summary, flops = summary_of(Auxiliary(), shape), flops_of(Auxiliary(), shape, backward=True)
    theirs = torchs(Auxiliary(), shape)
    assert flops.flops == theirs.evaluated
    assert flops.backward_flops == theirs.step - theirs.trained
    aux = row(summary, "aux")
    assert (aux.macs, aux.parameters, aux.call) == (0, 6 * 4 + 6 * 36 * 7, 0)
    # Both directions of both layers; towards `body` too, which is trained.
    assert aux.backward_macs == 2 * 2 * (36 * 24 + 6 * 36 * 7)
    assert summary.root.backward_macs == sum(child.backward_macs or 0 for child in summary.root.children)
    (module,) = (child for child in flops.root.children if child.path == "aux")
    assert module.backward_macs == aux.backward_macs
    assert backward_of(flops.root) == flops.backward_macs
    for result in (summary, flops):
        (note,) = (note.text for note in result.notes if "train mode" in note.text)
        assert "aux" in note
        assert f"{theirs.trained // 2:,} MACs" in note


def backward_of(module: ModuleFlops) -> int:
    assert module.backward_macs is not None
    inside = sum(child.backward_macs or 0 for child in module.children)
    assert inside <= module.backward_macs
    return module.backward_macs


def lazy() -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(8, 3, padding=1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
    )


def usual(size: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * size**2, 10),
    )


@pytest.mark.parametrize("size", [8, 16])
def test_lazy_modules_are_what_they_become(size: int) -> None:
    model = lazy()
    summary, expected = summary_of(model, (2, 3, size, size)), summary_of(usual(size), (2, 3, size, size))
    assert summary.root == expected.root
    assert summary.memory == expected.memory
    assert isinstance(model[0], nn.LazyConv2d)  # the user's own is as it was


class Reading(nn.Module):
    """A forward that looks at values, which tensors on `meta` have none of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out * 2 if out.abs().sum().item() > 0 else out


class Constants(Reading):
    """A forward that makes a tensor on the device of the weights that it thinks it has."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out * torch.ones(4, 1, 1, device="cpu")


@pytest.mark.parametrize("make", [Reading, Constants])
def test_a_forward_that_needs_values_gets_them(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    summary, flops = summary_of(make()), flops_of(make(), backward=True)
    macs = 2 * 16 * 16 * 3 * 4
    assert summary.macs == flops.macs == flops.backward_macs == macs
    for result in (summary, flops):
        assert "ran-with-real-tensors" in {note.key for note in result.notes}


def test_a_forward_that_needs_values_in_train_mode_alone_is_counted_once() -> None:
    class Dropping(Reading):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x) if self.training else self.conv(x)
            return out

    summary = summary_of(Dropping())
    assert summary.parameters == 16
    assert summary.memory.training_bytes is not None
    assert "ran-with-real-tensors" in {note.key for note in summary.notes}


def test_a_step_that_is_refused_leaves_the_rest_on_meta() -> None:
    summary = summary_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4)), (1, 3, 8, 8))
    assert "no-training" in {note.key for note in summary.notes}
    assert "ran-with-real-tensors" not in {note.key for note in summary.notes}


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return grads[0] @ weight.t(), x.t() @ grads[0]


def test_functions_with_their_own_backward_are_followed() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(48, 5))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": Product.apply(x.flatten(1), self.weight)}

    shape = (2, 3, 4, 4)
    flops, theirs = flops_of(Own(), shape, backward=True), torchs(Own(), shape)
    assert flops.flops == theirs.evaluated == 2 * 2 * 48 * 5
    assert flops.backward_flops == theirs.step - theirs.trained


def test_attention_keeps_no_matrix_of_scores() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.reshape(len(x), -1, 8)
            out: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
            return out

    shape, tokens = (1, 1, 32, 32), 128
    flops = flops_of(Attending(), shape, backward=True)
    assert "_scaled_dot_product_flash_attention_for_cpu" in {op.name for op in flops.operators}
    scores = 4 * 2 * tokens**2  # bytes of one such matrix
    saved = summary_of(Attending(), shape).memory.saved_for_backward_bytes
    assert saved is not None
    assert saved < scores
    assert nn.functional.scaled_dot_product_attention.__module__ != "resnet_cli.measure.ops.device_kernels"


def test_a_network_without_anything_to_train_has_no_training_figures() -> None:
    result = summary_of(nn.Sequential(nn.ReLU()))
    assert result.memory.training_bytes is None
    assert "none of its outputs depends on a trainable parameter" in result.notes[0].text
