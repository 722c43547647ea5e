"""Two networks made ready to be compared: who gets whose weights, and what is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import random_init
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.measure.parity.setup import ParityRun, counts, prepare

SHAPE = (2, 3, 16, 16)


class Net(nn.Module):
    """Convolution, norm, classifier, and what nobody reads."""

    def __init__(self, *, own: bool = False, spare: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self.own = nn.GroupNorm(1, 4) if own else nn.Identity()
        if spare:
            self.spare = nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.own(self.norm(self.conv(x))).mean((2, 3)))
        return out


READ = ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias", "norm.running_mean",
        "norm.running_var"]  # fmt: skip


def prepared(ours: nn.Module, theirs: nn.Module, **asked: Any) -> ParityRun:
    return prepare(ours, theirs, ParityConfig(shape=SHAPE, **asked), names=("ours", "theirs"))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in random_init.tensors(model).items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that hold the same."""
    return {name for name in one if torch.equal(one[name], other[name])}


def test_ours_gets_the_references_fresh_weights() -> None:
    ours, theirs = Net(), Net()
    before = state(ours), state(theirs)
    made = prepared(ours, theirs)
    assert (made.model, made.reference) == (ours, theirs)
    assert same(state(made.model), state(theirs)) == set(before[0])
    assert not same(state(theirs), before[1])
    again = Net()
    random_init.randomize_parameters(again, 0, (4, 3, 16, 16))
    assert same(state(again), state(theirs)) == set(before[0])
    prepared(Net(), theirs, seed=1)
    assert not same(state(again), state(theirs)) - {"norm.num_batches_tracked"}


def test_weights_of_a_file_go_either_way_and_are_not_drawn_anew() -> None:
    ours, theirs = Net(), Net()
    loaded = state(theirs)
    made = prepared(ours, theirs, weights="file", transfer="to model")
    assert same(state(theirs), loaded) == same(state(made.model), loaded) == set(loaded)
    ours, theirs = Net(), Net()
    loaded = state(ours)
    made = prepared(ours, theirs, weights="file", transfer="to reference")
    assert same(state(ours), loaded) == same(state(made.model), loaded) == same(state(theirs), loaded) == set(loaded)


def test_without_a_transfer_both_keep_their_own() -> None:
    ours, theirs = Net(own=True), Net()
    before = state(ours), state(theirs)
    made = prepared(ours, theirs, transfer="none")
    assert same(state(made.model), before[0]) == set(before[0])
    assert same(state(theirs), before[1]) == set(before[1])


def test_what_has_no_counterpart_is_no_identity() -> None:
    """A fresh norm would hide that it is there."""
    ours = Net(own=True)
    made = prepared(ours, Net())
    assert made.unmapped == (("own.weight", "own.bias"), ())
    assert not bool((made.model.get_parameter("own.weight") == 1).any())
    assert not bool((made.model.get_parameter("own.bias") == 0).any())
    assert all(torch.equal(state(made.model)[name], state(made.reference)[name]) for name in READ)
    loaded = prepared(ours, Net(), weights="file")
    assert same(state(loaded.model), state(ours)) >= {"own.weight", "own.bias"}
    assert prepared(Net(), ours).unmapped == ((), ("own.weight", "own.bias"))


def test_what_is_read_and_what_is_not() -> None:
    made = prepared(Net(spare=True), Net(), transfer="none")
    assert list(made.used[0]) == list(made.used[1]) == READ
    assert made.unused == (
        "spare.weight", "spare.bias", "spare.running_mean", "spare.running_var", "spare.num_batches_tracked",
    )  # fmt: skip
    assert counts(made.model, made.used[0]) == (108 + 4 + 8 + 25, 8)
    assert counts(made.model, ["conv.weight", "norm.num_batches_tracked", "nothing"]) == (108, 1)


def test_a_map_goes_before_what_looks_alike() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.a(x))
            return out

    made = prepared(Twins(), Twins(), transfer="none")
    assert made.pairs == {name: name for name in ("a.weight", "a.bias", "b.weight", "b.bias")}
    made = prepared(Twins(), Twins(), transfer="none", key_map={"a.bias": "b.bias", "b.bias": "a.bias"})
    assert made.pairs["a.bias"] == "b.bias"
    assert made.pairs["b.bias"] == "a.bias"
    assert len(set(made.pairs.values())) == len(made.pairs)
    made = prepared(Twins(), Twins(), key_map={"a.weight": "b.weight"})
    assert made.pairs["a.weight"] == "b.weight"
    assert list(made.pairs.values()).count("b.weight") == 1
    assert torch.equal(made.model.get_parameter("a.weight"), made.reference.get_parameter("b.weight"))
    made = prepared(Net(), Net(), key_map={"norm.weight": "norm.bias"})
    assert made.pairs["norm.weight"] == "norm.bias"
    assert made.pairs["conv.weight"] == "conv.weight"
    assert made.unmapped == (("norm.bias",), ("norm.weight",))


def test_networks_that_have_nothing_in_common_are_refused() -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    with pytest.raises(ResnetCliError, match="no parameter of ours has a counterpart in theirs") as caught:
        prepared(Flat(), Net())
    assert "map" in (caught.value.hint or "")


class Looking(Net):
    """Decides by a value."""

    def forward(self, x: Tensor) -> Tensor:
        assert bool((x == random_init.image(SHAPE, 0)).all())
        return super().forward(x)


class Elsewhere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid() if x.is_meta else x.tanh()


@pytest.mark.parametrize(("real", "operator"), [(False, "sigmoid"), (True, "tanh")])
def test_a_graph_is_made_without_values_unless_they_are_asked_for(real: bool, operator: str) -> None:
    graph = graph_of(Elsewhere(), SHAPE, training=False, name="net", real=real)
    assert [node.operator for node in graph.nodes] == [operator]


class Broken(Net):
    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:
            raise RuntimeError("not on meta")
        raise self.error()


@pytest.mark.parametrize("is_training", [True, False])
def test_a_graph_leaves_its_network_as_it_was(is_training: bool) -> None:
    for model, real in ((Net(), False), (Net(), True), (Looking(), False)):
        model.train(not is_training)
        before = state(model)
        graph = graph_of(model, SHAPE, training=is_training, name="net", real=real)
        assert [node.operator for node in graph.nodes] == ["conv", "batch_norm", "mean", "linear"]
        assert graph.nodes[1].settings["batch_statistics"] is is_training
        assert same(state(model), before) == set(before)
        assert model.training is not is_training
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_graph_draws_nothing_from_the_global_generator() -> None:
    model = nn.Sequential(Looking(), nn.Dropout())
    expected = torch.random.get_rng_state()
    graph_of(model, SHAPE, training=True, name="net")
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_a_forward_that_fails_is_told_by_its_name_and_our_own_errors_as_they_are() -> None:
    with pytest.raises(ResnetCliError, match=r"the forward of net failed: .*ValueError: no"):
        graph_of(Broken(lambda: ValueError("no")), SHAPE, training=True, name="net")
    with pytest.raises(ResnetCliError, match=r"^no$"):
        graph_of(Broken(lambda: ResnetCliError("no")), SHAPE, training=True, name="net")
    with pytest.raises(ResnetCliError, match="the forward of ours failed"):
        prepared(Broken(lambda: ValueError("no")), Net())
    with pytest.raises(ResnetCliError, match="the forward of theirs failed"):
        prepared(Net(), Broken(lambda: ValueError("no")))


@pytest.mark.parametrize(
    ("shape", "training", "others"),
    [
        ((2, 3, 224, 224), ((4, 3, 40, 40), (2, 3, 224, 224)), ((2, 3, 97, 161), (2, 3, 32, 32), (1, 3, 224, 224))),
        ((8, 1, 28, 64), ((4, 1, 28, 40), (2, 1, 28, 64)), ((8, 1, 97, 161), (8, 1, 32, 32), (1, 1, 28, 64))),
    ],
)
def test_shapes_of_the_other_checks(shape: Any, training: Any, others: Any) -> None:
    question = ParityConfig(shape=shape)
    assert question.training_shapes == training
    assert question.other_shapes == others


def test_another_name_of_what_is_read_is_not_unused() -> None:
    ours = Net(spare=True)
    ours.alias = ours.norm
    made = prepared(ours, Net())
    assert {name.partition(".")[0] for name in made.unused} == {"spare"}


@pytest.mark.parametrize(
    ("model", "shape", "hint"),
    [
        (nn.Conv2d(1, 4, 3), (2, 3, 16, 16), "`in_channels=1` works"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3600, 5)), (2, 3, 224, 224), "`image_size=32` works"),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(784, 5)), (2, 3, 224, 224),
         "`in_channels=1` with `image_size=28` works"),
        (Broken(lambda: ValueError("no")), SHAPE, None),
    ],
)  # fmt: skip
def test_an_image_that_works_is_a_hint(model: nn.Module, shape: Any, hint: str | None) -> None:
    with pytest.raises(ResnetCliError) as raised:
        graph_of(model, shape, training=True, name="net")
    assert raised.value.hint == hint
