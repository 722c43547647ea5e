"""What the checks without arithmetic say of settings, and of the weights that a network starts with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.parity.checks import static
from resnet_cli.measure.parity.setup import ParityRun
from resnet_cli.results.compare import BITWISE, DIFFERENT, Check
from tests.helpers.models import make, only_check
from tests.measure.parity.checks.test_static import comparison, network, renamed, sound


def settled(ours: nn.Module, theirs: nn.Module) -> Check:
    made = comparison(ours, theirs)
    make(made, "settings")
    return only_check(made)


def test_settings_are_counted_by_kind() -> None:
    check = settled(*sound())
    assert (check.verdict, check.text) == (BITWISE, "5 operators with the same settings and the same inputs")
    eps = nn.BatchNorm2d(4, eps=1e-3)
    check = settled(network(norm=eps), network())
    assert (check.verdict, check.text) == (DIFFERENT, "4 of 5 operators are the same; 1 setting differs")
    behind = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Dropout(), nn.Dropout())
    check = settled(network(norm=eps, two=behind, fc=nn.Linear(4, 5, bias=False)), network())
    assert check.text == "3 of 7 operators are the same; 2 settings differ, 2 extra"


class Adding(nn.Module):
    """Adds the image, or what the first convolution gives."""

    def __init__(self, *, image: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.image = image

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        out: Tensor = self.two(one) + (x if self.image else one)
        return out


def test_wiring_is_counted_as_connections() -> None:
    check = settled(Adding(image=True), Adding(image=False))
    assert check.text == "2 of 3 operators are the same; 1 connection differs"


def spread_of(weight: Tensor, deviation: float) -> None:
    """Give a weight this standard deviation."""
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
        weight.mul_(deviation / weight.std())


def initialised(*deviations: float) -> tuple[ParityRun, dict[str, float]]:
    """Two convolutions of these standard deviations; Kaiming's rule is sqrt(2 / (9 x 4)) = 0.2357 for both."""
    model = network()
    for name, deviation in zip(("conv", "two"), deviations, strict=True):
        spread_of(model.get_parameter(f"{name}.weight"), deviation)
    made = comparison(model, renamed(network()))
    spread = static.weight_stds(model)
    static.initialization(spread, made)
    return made, spread


def test_spreads_are_those_of_convolutions_of_some_size() -> None:
    _, spread = initialised(0.2, 0.3)
    assert spread == pytest.approx({"conv.weight": 0.2, "two.weight": 0.3})
    assert static.weight_stds(nn.Sequential(nn.Conv2d(1, 11, 3), nn.Linear(100, 100))) == {}  # 99 values
    assert list(static.weight_stds(nn.Conv2d(1, 100, 1))) == ["weight"]
    assert list(static.weight_stds(nn.Conv1d(10, 10, 3))) == ["weight"]
    assert static.weight_stds(nn.Conv2d(3, 8, 3).to("meta")) == {}


@pytest.mark.parametrize(("shares", "unusual"), [((1.0, 1.0), 0), ((0.91, 1.09), 0), ((0.5, 1.0), 1), ((1.2, 0.8), 2)])
def test_another_initialization_is_a_note(shares: Sequence[float], unusual: int) -> None:
    made, _ = initialised(*(share * (2 / 36) ** 0.5 for share in shares))
    assert [note.key for note in made.notes] == ["initialization-differs"] * bool(unusual)
    assert all(f"{unusual} of 2 convolutions" in note.text for note in made.notes)


class Dynamic(nn.Module):
    """A convolution whose weight is computed from the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        return nn.functional.conv2d(made[:, :3], made[:, 3:].mean((2, 3), keepdim=True))


def test_a_weight_that_is_computed_from_the_image_has_no_spread() -> None:
    model = Dynamic()
    spread_of(model.conv.weight, 1.0)
    made = comparison(model, Dynamic())
    static.initialization(static.weight_stds(model), made)
    (note,) = made.notes
    assert note.text.startswith("initialization: 1 of 1 convolutions")


def test_loaded_weights_have_no_spread_to_speak_of() -> None:
    made = comparison(*sound())
    static.initialization({}, made)
    assert not made.notes
