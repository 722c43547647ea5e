"""Comparisons of a network that takes more than an image with one that takes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, images
from resnet_cli.measure.models.inputs.specs import parse_arguments
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.results.compare import BITWISE, DIFFERENT, CompareResult


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def body(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc(self.norm(self.conv(x)).relu().mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Named(Plain):
    def forward(self, ids: Tensor | None = None, *, pixels: Tensor) -> Tensor:  # type: ignore[override]
        return self.body(pixels)


class Scaled(Plain):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]
        return self.body(x) * scale


class NoTensor(Plain):
    def forward(self, x: Tensor) -> Any:
        return iter([self.body(x)])


def compared(model: Callable[[], nn.Module], *texts: str) -> CompareResult:
    config = ParityConfig().for_inputs(ModelInputs(*parse_arguments(texts)) if texts else images((2, 3, 8, 8)))
    network = model()
    result = compare(ModelUnderTest(network, "model"), ModelUnderTest(Plain(), "reference"), config)
    assert not network._forward_pre_hooks
    return result


def test_an_image_under_a_name_is_compared() -> None:
    result = compared(Named, "pixels=float32[2,3,8,8]", "int64[2,5]")
    assert result.verdict == BITWISE
    assert result.test_inputs.inputs is not None
    assert [row.name for row in result.test_inputs.inputs.tensors] == ["ids", "pixels"]
    assert result.test_inputs.other_shapes == ((1, 3, 8, 8),)


def test_what_another_input_does_is_a_difference() -> None:
    result = compared(Scaled, "float32[2,3,8,8]", "float32[2,5]")
    assert result.verdict == DIFFERENT
    assert any("mul" in difference.text for difference in result.differences)


def test_without_an_image_or_an_output_there_is_no_comparison() -> None:
    with pytest.raises(ResnetCliError, match="none of the inputs is one"):
        compared(Named, "int64[2,5]")
    with pytest.raises(ResnetCliError, match="missing a required argument: 'scale'") as raised:
        compared(Scaled)
    assert "one float image" in (raised.value.hint or "")
    with pytest.raises(ResnetCliError, match="list_iterator, in which no tensor was found"):
        compared(NoTensor)
