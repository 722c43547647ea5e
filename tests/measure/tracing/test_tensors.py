"""Tensors in outputs of every kind, and why an output cannot be differentiated."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from resnet_cli.measure.models.inputs.model_inputs import given
from resnet_cli.measure.tracing.tensors import map_leaves, tensors_in, why_no_gradient
from tests.helpers.models import summary_of
from tests.helpers.real_figures import real_figures


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Data:
    first: Any
    second: Any = None
    late: Any = field(init=False, default=None)


class Box:
    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second, self.again = first, second, self


class Registered:
    __slots__ = ("held",)

    def __init__(self, *held: Any) -> None:
        self.held = held


_pytree.register_pytree_node(Registered, lambda value: (list(value.held), None), lambda held, _: Registered(*held))

KINDS: dict[str, Callable[[Any, Any], Any]] = {
    "tuple": lambda a, b: (a, b),
    "list in a dictionary": lambda a, b: {"x": [a, {"y": (b, None, 3)}]},
    "ordered dictionary": lambda a, b: OrderedDict(x=a, y=b),
    "named tuple": Pair,
    "dataclass": Data,
    "object": Box,
    "class known to pytree": Registered,
    "deque": lambda a, b: deque([a, b]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_found_in_order(kind: str) -> None:
    a, b = torch.zeros(2), torch.zeros(3)
    assert [tuple(tensor.shape) for tensor in tensors_in(KINDS[kind](a, b))][:2] == [(2,), (3,)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "object"])
def test_leaves_are_replaced_and_the_rest_is_kept(kind: str) -> None:
    value = KINDS[kind](torch.zeros(2), torch.zeros(3))
    doubled = map_leaves(value, lambda leaf: leaf + 1 if isinstance(leaf, Tensor) else leaf)
    assert type(doubled) is type(value)
    assert [tensor.tolist() for tensor in tensors_in(doubled)] == [[1, 1], [1, 1, 1]]
    assert all(not tensor.any() for tensor in tensors_in(value))


class Linked:
    """An object that leads back to itself."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.itself, self.others = self, [{"back": self}]


def test_objects_that_refer_to_themselves_are_looked_into_once() -> None:
    value = Linked(torch.zeros(2))
    assert len(tensors_in([value])) == 1
    twin = map_leaves(value, lambda leaf: leaf + 1 if isinstance(leaf, Tensor) else leaf)
    assert twin.tensor.tolist() == [1, 1]
    assert twin.itself is twin is twin.others[0]["back"]
    assert value.others[0]["back"] is value
    assert list(given((value,), "x.pt").tensors) == ["0.tensor"]


def test_the_tensors_of_a_set_have_an_order_of_their_own() -> None:
    tensors = [torch.zeros(size) for size in (4, 2, 3)]
    assert [len(tensor) for tensor in tensors_in(set(tensors))] == [2, 3, 4]


def test_modules_functions_and_iterators_are_not_looked_into() -> None:
    layer = nn.Linear(2, 2)
    assert not tensors_in([layer, layer.forward, iter([torch.zeros(1)]), Data, "text", torch.float32])


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, "NoneType"),
        (iter([torch.zeros(1)]), "list_iterator"),
        (3.0, "float"),
        (torch.zeros(2, dtype=torch.int64), "int64"),
        ([torch.zeros(2)], "trainable parameter"),
    ],
)
def test_the_reason_why_nothing_is_differentiated_is_true(output: Any, reason: str) -> None:
    assert reason in why_no_gradient(output)


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.fc = kind, nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Any:
        y = self.conv(x)
        return KINDS[self.kind](y, self.fc(y.mean((2, 3))))


class Around(nn.Module):
    """Reads an attribute of what its part returns."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.head = Net("object"), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.part(x).second)


@pytest.mark.parametrize(
    "kind", [*(kind for kind in KINDS if kind not in ("class known to pytree", "deque")), "around"]
)
def test_a_network_with_such_an_output_is_trained(kind: str) -> None:
    def make() -> nn.Module:
        return Around() if kind == "around" else Net(kind)

    summary = summary_of(make(), (2, 3, 6, 6))
    assert summary.notes == ()
    x = torch.randn(2, 3, 6, 6)
    if kind == "object":

        class Opened(Net):
            def forward(self, x: Tensor) -> Any:
                box = super().forward(x)
                return box.first, box.second

        real = real_figures(lambda: Opened(kind), x)
    else:
        real = real_figures(make, x)
    assert summary.macs == real.macs
    assert summary.root.backward_macs == real.backward_macs
    assert summary.memory.saved_for_backward_bytes == real.saved
