"""Rows of the layer tree that only odd networks have, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.results.summary import Layer, SummaryResult
from tests.helpers.models import row, rows, summary_of


def shown(result: SummaryResult) -> list[tuple[str, str, int, int]]:
    return [(layer.path, layer.layer_type, layer.call, layer.parameters) for layer in rows(result.root)]


SETTINGS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "torch's": ({}, ((3, 3), (1, 1), (1, 1), (1, 1), 1)),
    "one figure": ({"kernel_size": 5, "stride": 2}, ((5, 5), (2, 2), (1, 1), (1, 1), 1)),
    "a word": ({"padding": "same"}, ((3, 3), (1, 1), None, (1, 1), 1)),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_are_shown_where_they_are_whole_numbers(case: str) -> None:
    said, expected = SETTINGS[case]

    class Saying(nn.ReLU):
        kernel_size, stride, padding, dilation, groups = (3, 3), (1, 1), (1, 1), (1, 1), 1

    module = Saying()
    for name, value in said.items():
        setattr(module, name, value)
    (layer,) = summary_of(nn.Sequential(module)).root.children
    assert (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups) == expected


def test_an_operator_that_nobody_counts_has_a_row_even_where_it_allocates_nothing() -> None:
    class Limiting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).renorm_(2, 0, 1.0).flatten(1)  # type: ignore[no-any-return]

    result = summary_of(Limiting())
    assert [layer.path for layer in result.root.children] == ["conv", ":renorm"]
    (note,) = result.notes
    assert (note.key, result.uncounted, result.uncounted_macs) == ("uncounted-operators", ("renorm",), ())


class Borrowing(nn.Module):
    """Calls a module that it only borrowed."""

    def __init__(self, lent: nn.Module) -> None:
        super().__init__()
        self.lent = [lent]  # a list hides it

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lent[0](x)
        return out


class WithSpare(nn.Module):
    """A module with one below that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Conv2d(3, 3, 1, bias=False)
        self.spare = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.Linear(3, 4, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


class Odd(nn.Module):
    """Modules that are called by others than their holders, twice, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = nn.ModuleDict({"one": WithSpare(), "dusty": nn.Linear(5, 1, bias=False)})
        self.borrower = Borrowing(self.shelf["one"])
        self.own = WithSpare()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.own(self.own(self.borrower(x)))
        return out


def test_what_is_never_called_is_shown_once_beside_what_holds_it() -> None:
    assert shown(summary_of(Odd())) == [
        ("", "Odd", 1, 9 + 18 + 5 + 9 + 18),
        ("borrower", "Borrowing", 1, 9 + 18),
        ("shelf.one", "WithSpare", 1, 9 + 18),
        ("shelf.one.used", "Conv2d", 1, 9),
        ("shelf.one.spare", "Sequential (not called)", 0, 18),
        ("own", "WithSpare", 1, 9 + 18),
        ("own.used", "Conv2d", 1, 9),
        ("own.spare", "Sequential (not called)", 0, 18),
        ("own", "WithSpare", 2, 0),
        ("own.used", "Conv2d", 2, 0),
        ("shelf", "ModuleDict (not called)", 0, 5),
    ]
    idle = [layer for layer in rows(summary_of(Odd()).root) if layer.call == 0]
    assert {(layer.is_operator, layer.peak_bytes, layer.macs) for layer in idle} == {(False, 0, 0)}
    names = {layer.path: layer.name for layer in rows(summary_of(Odd()).root)}
    assert names["own.spare"] == "spare"
    assert names["shelf.one"] == "shelf.one"


class Bare(nn.Module):
    """Takes the weight of a module that it does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.lin.weight)


def test_weights_of_modules_that_are_used_by_hand_are_those_of_who_uses_them() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bare = Bare()

        def forward(self, x: Tensor) -> Tensor:
            return self.bare(x) + self.bare(x)  # type: ignore[no-any-return]

    assert shown(summary_of(Twice(), (2, 3, 4, 4))) == [
        ("", "Twice", 1, 20),
        ("bare", "Bare", 1, 20),
        ("bare", "Bare", 2, 0),
        (":add", "add", 1, 0),
    ]


def test_buffers_and_moves_of_a_container_have_rows() -> None:
    class Doubling(nn.Module):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()
            self.register_buffer("mean", torch.ones(3, 1, 1, dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.relu(x), x - self.mean.to(x.dtype)], 1)

    result = summary_of(Doubling(), (2, 3, 4, 4))
    own, cat = row(result, ":own"), row(result, ":cat")
    assert (own.buffers, own.buffer_bytes, own.parameters, own.peak_bytes, own.is_operator) == (3, 24, 0, 0, True)
    assert (result.buffers, result.memory.buffer_bytes) == (3, 24)
    assert (cat.ops, cat.activation_bytes, cat.output_shape) == (0, 4 * 2 * 6 * 16, (2, 6, 4, 4))
    assert cat.input_shape == (2, 3, 4, 4)


class Second(nn.Module):
    """A head of train mode with a weight of its own, and a module."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.lin = nn.Parameter(torch.ones(4)), nn.Linear(4, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lin(x.mean((2, 3)) * self.scale)
        return out


class Trained(nn.Module):
    """A second head in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 5, bias=False), Second()

    def forward(self, x: Tensor) -> Any:
        x = self.body(x)
        out = self.head(x.mean((2, 3)))
        return (out, self.aux(x)) if self.training else out


def test_a_head_of_train_mode_has_rows_for_all_that_it_holds() -> None:
    result = summary_of(Trained(), (2, 3, 4, 4))
    aux = row(result, "aux")
    assert (aux.layer_type, aux.name, aux.call) == ("Second (train mode only)", "aux", 0)
    assert aux.is_operator is False
    assert (aux.input_shape, aux.output_shape) == ((2, 4, 4, 4), (2, 7))
    assert [(layer.path, layer.name, layer.parameters) for layer in aux.children] == [
        ("aux.lin", "lin", 28),
        ("aux:own", "own", 4),
    ]
    assert aux.parameters == 32
    # It keeps the means for the scale's gradient, and the scaled means for the weight's.
    assert [layer.saved_for_backward_bytes for layer in aux.children] == [4 * 2 * 4, 4 * 2 * 4]
    assert row(result, "aux.lin").backward_macs == aux.backward_macs == 2 * 2 * 28
    assert (aux.macs, aux.activation_bytes, aux.peak_bytes, aux.bytes_moved) == (0, 0, 0, 0)
    assert result.parameters == 12 + 20 + 32


def test_what_a_forward_keeps_and_computes_itself_stands_at_its_first_operator() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return self.a(x).t() @ self.b(x)  # type: ignore[no-any-return]

    result = summary_of(Product(), (2, 1, 2, 2))
    product = row(result, ":mm")
    assert product.macs == 3 * 2 * 3
    assert product.backward_macs == 2 * product.macs  # towards both
    assert product.saved_for_backward_bytes == 2 * (4 * 2 * 3)
    assert result.root.backward_macs == 2 * product.macs + 2 * (2 * 4 * 3)


def test_without_a_training_step_there_are_no_training_figures() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    result = summary_of(model, (1, 3, 4, 4))
    assert {(layer.saved_for_backward_bytes, layer.backward_macs) for layer in rows(result.root)} == {(None, None)}
    assert "no-training" in {note.key for note in result.notes}


def test_the_receptive_field_of_a_container_is_that_of_what_it_ends_with() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), nn.Flatten())
    result = summary_of(model, (1, 3, 8, 8))
    container: Layer = row(result, "0")
    assert (container.receptive_field, container.total_stride) == ((4, 4), (2, 2))
    assert (result.root.receptive_field, result.root.total_stride) == (None, None)
