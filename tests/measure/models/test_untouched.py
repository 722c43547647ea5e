"""A network that was looked at is left exactly as it was."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.network.resnet import build
from tests.helpers.models import flops_of, summary_of


def lived_in() -> nn.Module:
    """A network with a past: frozen parts, mixed modes, gradients, hooks, another memory format."""
    torch.manual_seed(0)
    net = build("resnet18", repeat=(1, 1, 1, 1), num_classes=10).to(memory_format=torch.channels_last)
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    net.head.bn.eval()
    net.l1.requires_grad_(False)
    net.l2.eval()
    net.tail.register_forward_hook(lambda module, given, output: None)
    return net


def state(net: nn.Module) -> dict[str, Any]:
    return {
        "weights": {
            key: hashlib.sha256(value.numpy().tobytes()).hexdigest() for key, value in net.state_dict().items()
        },
        "identities": [id(value) for value in (*net.parameters(), *net.buffers())],
        "modes": [module.training for module in net.modules()],
        "frozen": [value.requires_grad for value in net.parameters()],
        "gradients": [None if value.grad is None else value.grad.sum().item() for value in net.parameters()],
        "devices": {value.device for value in (*net.parameters(), *net.buffers())},
        "strides": [value.stride() for value in net.parameters()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in net.modules()],
        "attributes": [sorted(vars(module)) for module in net.modules()],
        "random": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "settings": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()),
    }


@pytest.mark.parametrize(
    "command",
    [
        lambda net: summary_of(net, (2, 3, 32, 32)),
        lambda net: flops_of(net, (2, 3, 32, 32)),
        lambda net: flops_of(net, (2, 3, 32, 32), backward=True),
    ],
    ids=["summary", "flops", "flops --backward"],
)
def test_a_command_leaves_the_network_as_it_was(command: Callable[[nn.Module], object]) -> None:
    net = lived_in()
    before = state(net)
    command(net)
    assert state(net) == before


class Narrow(nn.Module):
    """Two convolutions that eat into the image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 5)
        self.inner = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.inner(self.first(x))
        return out


def test_an_input_that_does_not_fit_is_told_with_the_tree_and_the_size_that_does() -> None:
    with pytest.raises(ResnetCliError) as raised:
        summary_of(Narrow(), (1, 3, 8, 8))
    error = raised.value
    assert "inner.1" in error.message
    assert "1×3×8×8" in error.message
    assert "image_size=11" in (error.hint or "")  # 11 - 4 - 6 = 1
    lines = (error.detail or "").splitlines()
    assert [line.split()[-1] for line in lines if "✗" in line] == ["fails"]
    assert any("first" in line and "1×4×4×4" in line for line in lines)
    assert summary_of(Narrow(), (1, 3, 11, 11)).root.output_shape == (1, 4, 1, 1)


def test_a_pass_leaves_no_hook_even_when_it_fails() -> None:
    model = Narrow()
    runner = ForwardRunner(ModelUnderTest(model, "narrow"), images((1, 3, 8, 8)), torch.float32)
    with pytest.raises(ResnetCliError), runner as passes:
        passes.inference()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
