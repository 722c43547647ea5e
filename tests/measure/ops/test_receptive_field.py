"""What a pixel has seen, held against the gradient of one output pixel towards the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.ops.receptive_field import Field
from resnet_cli.measure.tracing import tracer
from tests.helpers.models import meta_copy, on_meta

CHAINS: dict[str, list[nn.Module]] = {
    "windows of unequal sides": [nn.Conv2d(1, 1, (3, 5), (2, 1)), nn.Conv2d(1, 1, (4, 2), (1, 3), dilation=(1, 2))],
    "pools of unequal sides": [nn.AvgPool2d((2, 3), (1, 2)), nn.MaxPool2d((3, 2), (2, 1), dilation=(1, 2))],
    "mixed": [nn.Conv2d(1, 1, 3, 2, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(1, 1, (1, 3), dilation=2)],
    "pixel by pixel": [nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Hardswish(), nn.Conv2d(1, 1, 1, 2)],
}


def seen(chain: nn.Module, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first pixel that an output pixel depends on, and how many along each side."""
    x = torch.ones(1, 1, 60, 60, dtype=torch.float64, requires_grad=True)
    out: Tensor = chain(x)
    out[0, 0, row, column].backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    rows, columns = x.grad[0, 0].nonzero().unbind(1)
    first = int(rows.min()), int(columns.min())
    return first, (int(rows.max()) - first[0] + 1, int(columns.max()) - first[1] + 1)


def smooth(module: nn.Module) -> nn.Module:
    """Everything that is in a window passes a gradient: an average for a maximum, which has only one of it."""
    if isinstance(module, nn.MaxPool2d):
        weight = torch.ones(1, 1, *module.kernel_size)  # type: ignore[misc]
        conv = nn.Conv2d(1, 1, module.kernel_size, module.stride, dilation=module.dilation, bias=False)
        conv.weight = nn.Parameter(weight)
        return conv
    if isinstance(module, nn.Conv2d):
        nn.init.ones_(module.weight)
    return module


@pytest.mark.parametrize("case", CHAINS)
def test_a_field_is_what_the_gradient_reaches(case: str) -> None:
    chain = CHAINS[case]
    found = tracer.run(meta_copy(nn.Sequential(*chain)), (on_meta(1, 1, 60, 60),)).operators[-1].receptive
    passing = nn.Sequential(*map(smooth, chain)).double().eval()
    (top, left), size = seen(passing, 3, 3)
    (lower, _), _ = seen(passing, 4, 3)
    (_, further), _ = seen(passing, 3, 4)
    assert found == Field(size, (lower - top, further - left))
