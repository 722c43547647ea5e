"""A network runs with other tensors, and afterwards holds what it held before."""

from __future__ import annotations

import copy
import functools
import io
import threading
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.copies import independent_copy, lazy_names
from resnet_cli.measure.models.substitutes import on_device, on_meta, with_zeros
from resnet_cli.measure.tracing.tensors import is_lazy
from tests.helpers.models import flops_of, summary_of


class Pair(NamedTuple):
    name: str
    scale: Tensor


class Cache:
    """An object of a class of one's own."""

    def __init__(self) -> None:
        self.last: Any = None


class Settings(dict[str, Any]):
    """A dictionary that refuses what is not a string, and one of its methods."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError("settings are read only")

    def clear(self) -> None:
        raise TypeError("settings are read only")


@dataclass(slots=True)
class Slotted:
    width: int = 3


class Full(nn.Module):
    """Holds what has no copy, and tensors in every place that a module may keep them in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.lazy = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LazyConv2d(4, 1)
        self.tied = nn.Conv2d(3, 4, 1)
        self.tied.weight = self.conv.weight
        self.frozen = nn.Linear(4, 5).requires_grad_(False)
        self.lock, self.file, self.rows = threading.Lock(), io.StringIO("text"), iter(range(3))
        self.attribute, self.computed = torch.ones(4, 1, 1), self.conv.weight * 2
        self.seen: list[Any] = [self.conv.weight.sum()]
        self.cache, self.ordered = {"scale": torch.ones(())}, OrderedDict(first=torch.ones(2))
        self.recent, self.unique, self.counts = deque([torch.ones(1)]), {torch.ones(3)}, Counter(calls=0)
        self.pair, self.object = Pair("pair", torch.ones(4, 1, 1)), Cache()
        self.hidden = [nn.Linear(5, 6)]  # not registered
        self.settings, self.slotted = Settings(scale=torch.ones(4, 1, 1)), Slotted()
        self.array, self.itself = np.ones(3), (weakref.proxy(self),)
        outside, scale = nn.Linear(6, 6), torch.ones(6)
        plain = self.forward
        self.forward = lambda x: outside(self.hidden[0](plain(x))) * scale  # type: ignore[method-assign]
        self.outside, self.scale = [outside], [scale]
        self.conv.register_forward_hook(lambda module, args, output: self.seen.append(output))
        self.conv.forward = functools.partial(type(self.conv).forward, self.conv)  # type: ignore[method-assign]
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x) + self.tied(x)) * self.attribute * self.pair.scale * self.settings["scale"]
        x = self.frozen(self.lazy(x).mean((2, 3)))
        self.counts["calls"] += 1
        self.cache["output"] = self.object.last = x
        self.recent.append(x)
        self.unique.add(x)
        self.made = x
        return x


OUTSIDE = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.LazyConv2d(4, 1))
SCALES = (torch.ones(4, 1, 1),)
CALLS: dict[str, Any] = {}


def scaled(x: Tensor) -> Tensor:
    CALLS["last"] = x
    return x * SCALES[0]


class Outside(nn.Module):
    """Its weights are variables of this file, and attributes of its class."""

    shared = nn.Linear(4, 5)
    offset = torch.ones(5)
    calls = 0

    @property
    def features(self) -> nn.Sequential:
        return OUTSIDE

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        type(self).latest = x  # type: ignore[attr-defined]
        features: Tensor = self.features(x)
        logits: Tensor = self.shared(scaled(features).mean((2, 3))) + self.offset
        return logits


Fingerprint = list[tuple[Any, ...]]


def fingerprint(value: Any, place: str = "", seen: set[int] | None = None) -> Iterator[tuple[Any, ...]]:
    """Everything below a value with its identity, class, flags and values."""
    seen = set() if seen is None else seen
    facts: tuple[Any, ...] = (place, id(value), type(value))
    if isinstance(value, Tensor) and not is_lazy(value):
        grad = (id(value.grad), value.grad.tolist()) if value.is_leaf and value.grad is not None else None
        yield (*facts, value.data_ptr(), value.tolist(), value.requires_grad, grad, value._version)
        return
    yield facts
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from fingerprint(item, f"{place}[{key}]", seen)
    elif isinstance(value, list | tuple | set | deque):
        for index, item in enumerate(value):
            yield from fingerprint(item, f"{place}[{index}]", seen)
    elif isinstance(value, nn.Module | Cache):
        yield from fingerprint(vars(value), place, seen)


def outside() -> Iterator[tuple[Any, ...]]:
    yield tuple(vars(Outside))
    for value in (OUTSIDE, SCALES, CALLS, *vars(Outside).values()):
        yield from fingerprint(value)


SHAPE = (2, 3, 4, 4)


@pytest.mark.parametrize("raised", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("substitute", [on_meta, on_device, functools.partial(on_device, dtype=torch.float64)])
def test_everything_is_put_back(
    substitute: Callable[[nn.Module], AbstractContextManager[nn.Module]], raised: type[BaseException] | None
) -> None:
    model = Full()
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    before = list(fingerprint(model))

    def use() -> None:
        with substitute(model):
            sample = model.conv.weight
            model(torch.ones(SHAPE, dtype=sample.dtype, device=sample.device)).sum().backward()
            assert not lazy_names(model)
            model.train()
            model.register_buffer("more", torch.ones(1))
            model.conv.register_forward_pre_hook(lambda module, args: None)
            with torch.no_grad():
                model.conv.weight.fill_(2)
            if raised is not None:
                raise raised

    with nullcontext() if raised is None else pytest.raises(raised):
        use()
    assert list(fingerprint(model)) == before
    assert lazy_names(model) == ["lazy.weight", "lazy.bias"]


def test_nothing_is_on_another_device_inside() -> None:
    model = Full()
    with on_meta(model, torch.float64):
        output = model(torch.empty(SHAPE, device="meta", dtype=torch.float64))
    assert (output.device.type, output.dtype, output.shape) == ("meta", torch.float64, (2, 6))


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_fractions_take_a_dtype(dtype: torch.dtype) -> None:
    for context in (on_meta, functools.partial(on_device, dtype=dtype)):
        model = plain()
        with context(model, dtype=dtype):
            assert {key: value.dtype for key, value in model.state_dict().items() if "tracked" in key} == {
                "1.num_batches_tracked": torch.int64
            }
            assert {value.dtype for key, value in model.state_dict().items() if "tracked" not in key} == {dtype}


def test_copies_have_the_values() -> None:
    model = plain()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with on_device(model, dtype=torch.float64):
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key].to(value.dtype))
            assert value.device.type == "cpu"


def test_what_is_on_meta_gets_small_values_the_same_ones_every_time() -> None:
    model = plain().to("meta")
    states = []
    for _ in range(2):
        with on_device(model):
            states.append(model.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    drawn = torch.cat([value.flatten() for value in states[0].values() if value.is_floating_point()])
    assert 0 <= float(drawn.min()) < float(drawn.max()) < 0.1  # a variance is never negative, and nothing overflows
    # Half of a normal distribution has a mean of sqrt(2 / pi) standard deviations.
    assert float(drawn.mean()) == pytest.approx(0.01 * (2 / torch.pi) ** 0.5, rel=0.3)
    assert int(states[0]["1.num_batches_tracked"]) == 0
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_is_shared_stays_shared() -> None:
    """Tensors that have two names, and different tensors in one storage."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[2].weight = nn.Parameter(model[0].get_parameter("weight").detach().t())
    model[2].bias = nn.Parameter(torch.ones(1).expand(4), requires_grad=False)
    for context in (on_meta, on_device):
        with context(model):
            assert model[0].weight is model[1].weight
            assert model[2].weight is not model[0].weight
            assert (
                model[2].get_parameter("weight").untyped_storage()._cdata
                == model[0].get_parameter("weight").untyped_storage()._cdata
            )
            assert model[2].get_parameter("weight").stride() == (1, 4)
            assert model[2].get_parameter("bias").untyped_storage().nbytes() == 4


def test_zeros_take_no_memory() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).half().to(memory_format=torch.channels_last).to("meta")
    with with_zeros(model):
        tensors = [*model.parameters(), *model.buffers()]
        assert [tuple(tensor.shape) for tensor in tensors] == [(4, 3, 1, 1), *[(4,)] * 5, ()]
        assert {tensor.dtype for tensor in tensors} == {torch.float32, torch.int64}
        assert all(tensor.untyped_storage().nbytes() <= 8 and not tensor.any() for tensor in tensors)


class Held(nn.Module):
    """A convolution of 12 x 4 multiplications for each pixel, called in a way that a deep copy does not follow."""

    def __init__(self, hold: Callable[[Any], None]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, 4, 1)
        hold(self)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def wrapped(model: Any) -> None:
    plain = model.forward

    @functools.wraps(plain)
    def forward(*args: Any) -> Any:
        return plain(*args)

    model.forward = forward


def by_lambda(model: Any) -> None:
    plain = model.forward
    model.forward = lambda x: plain(x)


def patched_part(model: Any) -> None:
    plain = model.conv.forward
    model.conv.forward = lambda x: plain(x)


def steps(model: Any) -> None:
    model.steps = [lambda x: model.conv(x), torch.relu]
    model.forward = lambda x: functools.reduce(lambda value, step: step(value), model.steps, x)


def under_autocast(model: Any) -> None:
    model.forward = torch.autocast("cpu", enabled=False)(model.forward)


def earlier_features(model: Any) -> None:
    model.features = []
    model.conv.register_forward_hook(lambda module, args, output: model.features.append(output))
    model(torch.ones(1, 12, 2, 2))


def lock(model: Any) -> None:
    model.lock = threading.Lock()


def stream(model: Any) -> None:
    model.file, model.numbers = io.TextIOWrapper(io.BytesIO()), (number for number in range(3))


HOLDS = (wrapped, by_lambda, patched_part, steps, under_autocast, earlier_features, lock, stream)


@pytest.mark.parametrize("hold", HOLDS)
def test_what_cannot_be_copied_is_measured(hold: Callable[[Any], None]) -> None:
    model = Held(hold)
    before = list(fingerprint(model))
    result = summary_of(model, (2, 12, 8, 8))
    assert (result.parameters, result.macs) == (48 + 4, 2 * 64 * 48)
    assert [row.name for row in result.root.children][:1] in ([], ["conv"])
    assert result.memory.training_bytes is not None
    counted = flops_of(model, (2, 12, 8, 8), backward=True)
    assert counted.macs == counted.backward_macs == 2 * 64 * 48  # of the weight alone: the input needs no gradient
    assert list(fingerprint(model)) == before


@pytest.mark.parametrize("hold", HOLDS)
def test_a_copy_that_is_none_is_refused(hold: Callable[[Any], None]) -> None:
    with pytest.raises(ResnetCliError, match="Held cannot be copied") as raised:
        independent_copy(Held(hold))
    assert "a class or a function" in (raised.value.hint or "")


def test_a_plain_copy_is_a_copy() -> None:
    model = plain()
    duplicate = independent_copy(model)
    assert {id(tensor) for tensor in duplicate.parameters()}.isdisjoint(id(tensor) for tensor in model.parameters())
    assert copy.deepcopy(model).state_dict().keys() == duplicate.state_dict().keys()


class Reading(nn.Module):
    """A forward that looks at values, which tensors on `meta` have none of."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.abs().sum().item() > 0 else x


def test_a_lazy_network_that_needs_values_is_measured() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LazyConv2d(5, 3), nn.LazyBatchNorm2d(), Reading())
    names = ["1.weight", "1.bias", "2.weight", "2.bias", "2.running_mean", "2.running_var"]
    assert lazy_names(model) == names
    model[1].weight.requires_grad = False
    with on_meta(model, torch.float64):
        tensors = [*model.parameters(), *model.buffers()]
        assert {tensor.dtype for tensor in tensors} == {torch.float64, torch.int64}
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert not model[1].weight.requires_grad
        assert lazy_names(model) == names
    result = summary_of(model, (2, 3, 8, 8))
    assert (result.parameters, result.frozen_parameters) == ((12 + 4) + (4 * 5 * 9 + 5) + 2 * 5, 4 * 5 * 9)
    assert result.macs == 2 * (64 * 12 + 36 * 180)
    assert lazy_names(model) == names


def test_objects_without_attributes_of_their_own_are_left_alone() -> None:
    class Slotted:
        __slots__ = ("size",)

    network = nn.Linear(2, 2)
    network.extra = Slotted()  # type: ignore[assignment]
    with on_meta(network):
        assert network.weight.is_meta
    assert not network.weight.is_meta


def test_variables_of_the_file_and_attributes_of_classes_are_replaced_and_put_back() -> None:
    model = Outside()
    before = list(outside())
    with on_meta(model):
        output = model(torch.ones(SHAPE, device="meta"))
        output.sum().backward()
        assert output.is_meta
        assert Outside.calls == 1
    assert list(outside()) == before


def test_what_is_not_registered_is_counted_in_products_and_named() -> None:
    result = summary_of(Outside(), SHAPE)
    assert result.macs == 2 * (16 * (12 + 16) + 20)
    assert result.parameters == 0
    (note,) = (note for note in result.notes if note.key == "unregistered-weights")
    assert note.text.startswith("4 modules with weights are held")
    assert "ran-with-real-tensors" not in [note.key for note in result.notes]
    assert CALLS == {}
    assert lazy_names(OUTSIDE) == ["2.weight", "2.bias"]
    assert OUTSIDE.get_buffer("1.num_batches_tracked") == 0
    assert "unregistered-weights" not in [note.key for note in summary_of(plain(), (1, 3, 8, 8)).notes]
