"""An input that does not get through: how far it came, and which image would."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs import errors as input_errors
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, images
from resnet_cli.measure.tracing import tracer
from resnet_cli.results.common import Shape

DEEP = nn.Sequential(
    nn.Conv2d(3, 4, 3),
    nn.Sequential(nn.MaxPool2d(2), nn.ReLU()),
    nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()),
)


def flat(size: int) -> nn.Module:
    """Takes one size of images alone."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 5))


class Own(nn.Module):
    """Fails in its own forward, behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        if x.shape[-1] != 2:
            raise ValueError("not\n4  pixels")
        return x


def told(network: nn.Module, shape: Shape, *, users: bool = False) -> ResnetCliError:
    network = network.to("meta")

    def passes(inputs: ModelInputs) -> bool:
        try:
            tracer.run(network, *inputs.on_meta(torch.float32))
        except tracer.ForwardFailedError:
            return False
        return True

    with pytest.raises(tracer.ForwardFailedError) as caught:
        tracer.run(network, *images(shape).on_meta(torch.float32))
    explain = input_errors.user_shape_error if users else input_errors.shape_error
    return explain(caught.value, images(shape), "net", passes)


def test_the_way_to_the_failure_is_shown() -> None:
    """The pool halves 3×4 to 1×2, and no 3×3 fits into that; what stands behind the failure is left out."""
    error = told(DEEP, (2, 3, 5, 6))
    assert error.message.startswith("an input of 2×3×5×6 fails at 2.0: ")
    assert told(DEEP, (2, 3, 5, 6), users=True).message.startswith(
        "the forward of net with an input of 2×3×5×6, at 2.0,"
    )
    assert error.detail is not None
    assert [line.split() for line in error.detail.splitlines()] == [
        ["net", "Sequential", "2×3×5×6", "→", "fails"],
        ["0", "Conv2d", "2×3×5×6", "→", "2×4×3×4"],
        ["1", "Sequential", "2×4×3×4", "→", "2×4×1×2"],
        ["2", "Sequential", "2×4×1×2", "→", "fails"],
        ["✗", "0", "Conv2d", "2×4×1×2", "→", "fails"],
    ]
    indents = [len(line.replace("✗", " ")) - len(line.replace("✗", " ").lstrip()) for line in error.detail.splitlines()]
    assert [indent - indents[0] for indent in indents] == [0, 2, 2, 2, 4]


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.parametrize(
    ("network", "shape", "size"),
    [
        (DEEP, (1, 3, 5, 40), 8),  # (8 - 2) / 2 is a 3×3
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), (1, 3, 2, 2), 5),
        (DEEP, (1, 4, 40, 40), None),
        (flat(1), (1, 3, 20, 20), 1),
        (flat(16), (1, 3, 16, 20), 16),
        (flat(16), (1, 3, 4, 20), 16),
        (flat(28), (1, 3, 32, 32), 28),
        (flat(224), (1, 3, 32, 32), 224),
        (flat(300), (1, 3, 32, 32), None),
    ],
)
def test_a_size_that_works_is_named(network: nn.Module, shape: Shape, size: int | None, users: bool) -> None:
    named = re.search(r"image_size=(\d+)", told(network, shape, users=users).hint or "")
    assert (None if named is None else int(named[1])) == size


def test_a_failure_of_the_users_own_lines_is_told_in_them() -> None:
    error = told(Own(), (1, 3, 8, 8), users=True)
    assert error.message.startswith("the forward of net with an input of 1×3×8×8 failed: ")
    assert "test_errors.py" in error.message
    assert error.message.endswith("ValueError: not 4 pixels")
    assert error.detail is not None
    assert "raise ValueError" in error.detail  # their line
    assert error.detail.splitlines()[-1].split() == ["net", "Own", "1×3×8×8", "→", "fails"]
    inside = told(nn.Sequential(nn.Identity(), Own()), (1, 3, 8, 8), users=True)
    assert inside.message.startswith("the forward of net with an input of 1×3×8×8, at 1, failed: ")


def test_a_failure_of_the_network_itself_has_its_name() -> None:
    error = told(Own(), (1, 3, 8, 8))
    assert error.message == "an input of 1×3×8×8 fails at net: not 4 pixels"


def test_operators_on_the_way_are_shown_beside_modules() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.two(self.one(x).relu())
            return out

    detail = told(Twice(), (1, 3, 8, 8)).detail or ""
    assert [line.split()[0] for line in detail.splitlines()] == ["net", "one", "relu", "✗"]
    assert detail.splitlines()[2].split()[1:] == ["1×4×6×6", "→", "1×4×6×6"]


class Lacking(nn.Module):
    """Needs a package that is not there, for images of more than so many pixels."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > self.pixels:
            raise ModuleNotFoundError("No module named 'nothing'", name="nothing")
        return x


@pytest.mark.parametrize("pixels", [0, 4])
def test_a_package_that_is_missing_is_better_advice_than_another_size(pixels: int) -> None:
    assert (told(Lacking(pixels), (1, 3, 8, 8), users=True).hint or "").startswith("install nothing ")
