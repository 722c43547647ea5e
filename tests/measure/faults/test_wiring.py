"""Faults in the wiring are those of a network that is written with them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.measure.faults import wiring
from resnet_cli.measure.faults.op_capture import NotApplicableError
from tests.measure.faults.test_layers import Plant, original, randomised
from tests.measure.parity.test_diagnosis import IDENTITY, Block, basic, network

IMAGE = torch.randn(2, 3, 18, 18, generator=torch.Generator().manual_seed(1))


def written(change: Callable[[nn.Sequential], object]) -> nn.Module:
    """The original with other layers, their weights its own."""
    model = copy.deepcopy(original())
    assert isinstance(model, nn.Sequential)
    change(model)
    return model


def block(model: nn.Module, name: str = "more0") -> Block:
    found = model.get_submodule(name)
    assert isinstance(found, Block)
    return found


def joined(join: Callable[[Tensor, Tensor], Tensor], *, last: bool = True) -> nn.Module:
    def change(model: nn.Sequential) -> None:
        block(model).join = join
        if not last:
            block(model).last = IDENTITY  # type: ignore[assignment]

    return written(change)


def without(path: str) -> nn.Module:
    return written(lambda model: model.set_submodule(path, IDENTITY))


def swapped(model: nn.Sequential) -> None:
    conv1, norm1, relu, conv2, norm2 = block(model).body.children()
    block(model).body = nn.Sequential(conv1, relu, norm1, conv2, norm2)


def preactivated(model: nn.Sequential, blocks: Sequence[str] = ("two", "more0", "more1")) -> None:
    for name in blocks:
        conv1, norm1, relu, conv2, norm2 = block(model, name).body.children()
        block(model, name).body = nn.Sequential(norm2, nn.ReLU(), conv1, norm1, relu, conv2)
        block(model, name).last = IDENTITY  # type: ignore[assignment]


def gelus(model: nn.Sequential) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU):
            model.set_submodule(name, nn.GELU())


def resnet_d(model: nn.Sequential) -> None:
    conv, norm = block(model, "one").skip.children()
    assert isinstance(conv, nn.Conv2d)
    conv.stride = (1, 1)
    block(model, "one").skip = nn.Sequential(nn.AvgPool2d(2, 2, 0, True, False), conv, norm)


class Standardised(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (x - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (wiring.bn_relu_swapped, lambda: written(swapped)),
        (wiring.relu_before_add, lambda: joined(lambda learned, x: learned.relu() + x, last=False)),
        (wiring.missing_last_relu, lambda: without("more0.last")),
        (wiring.missing_stem_relu, lambda: without("relu")),
        (wiring.missing_inner_relu, lambda: without("more0.body.2")),
        (wiring.gelu, lambda: written(gelus)),
        (wiring.dropped_identity, lambda: joined(lambda learned, x: learned)),
        (wiring.scaled_identity, lambda: joined(lambda learned, x: learned + 0.5 * x)),
        (wiring.resnet_d, lambda: written(resnet_d)),
        (wiring.pre_activation, lambda: written(preactivated)),
        (wiring.average_pool_stem, lambda: written(lambda m: m.set_submodule("pool", nn.AvgPool2d(3, 2, 1)))),
        (wiring.input_normalization, lambda: nn.Sequential(Standardised(), original())),
    ],
)
def test_a_faulty_network_equals_one_written_with_the_fault(plant: Plant, expected: Callable[[], nn.Module]) -> None:
    faulty, other, sound = plant(copy.deepcopy(original())), copy.deepcopy(expected()), copy.deepcopy(original())
    for is_training in (False, True):
        with torch.no_grad():
            ours, theirs, before = (model.train(is_training)(IMAGE) for model in (faulty, other, sound))
        assert torch.allclose(ours, theirs, rtol=1e-4)
        assert not torch.allclose(ours, before, rtol=1e-4)


def test_pre_activation_is_planted_where_it_fits_and_learns_the_same_statistics() -> None:
    def change(model: nn.Sequential) -> None:
        block(model, "two").last = IDENTITY  # type: ignore[assignment]
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.3

    model = written(change)
    faulty, other = wiring.pre_activation(copy.deepcopy(model)), copy.deepcopy(model)
    preactivated(other, ("more0", "more1"))  # type: ignore[arg-type]
    with torch.no_grad():
        assert torch.allclose(faulty.train()(IMAGE), other.train()(IMAGE), rtol=1e-4)
    moved, expected = (one.state_dict() for one in (faulty, other))
    for name in ("running_mean", "running_var"):
        assert torch.allclose(moved[f"more0.body.4.{name}"], expected[f"more0.body.0.{name}"], rtol=1e-4)


def test_squeeze_and_excitation_scales_what_the_block_learned() -> None:
    faulty = wiring.squeeze_excite(copy.deepcopy(original())).eval()
    gate = faulty.get_submodule("more0.injected_squeeze_excite")
    other = joined(lambda learned, x: learned * gate(learned) + x).eval()
    with torch.no_grad():
        assert torch.allclose(faulty(IMAGE), other(IMAGE))
    assert [tuple(one.shape) for one in gate.parameters()] == [(1, 8, 1, 1), (1,), (8, 1, 1, 1), (8,)]
    state = torch.random.get_rng_state()
    again = wiring.squeeze_excite(copy.deepcopy(original()).double().eval())
    assert torch.equal(torch.random.get_rng_state(), state)
    twin = again.get_submodule("more0.injected_squeeze_excite")
    assert not twin.training
    assert all(torch.equal(a.double(), b) for a, b in zip(gate.parameters(), twin.parameters(), strict=True))


def test_dropout_is_one_half_in_train_mode_alone() -> None:
    faulty = wiring.dropout(copy.deepcopy(original()))
    with torch.no_grad():
        assert torch.equal(faulty.eval()(IMAGE), copy.deepcopy(original()).eval()(IMAGE))
        seen: list[Tensor] = []
        faulty.train().get_submodule("flat").register_forward_hook(lambda module, given, out: seen.append(out))
        torch.manual_seed(0)
        out = faulty(IMAGE)
        torch.manual_seed(0)
        dropped = functional.dropout(seen[0], 0.5)
        assert torch.equal(out, faulty.get_submodule("fc").forward(dropped))


def test_images_of_other_channels_are_normalized_by_the_same_figures_again() -> None:
    model = randomised(nn.Sequential(nn.Conv2d(4, 3, 1), *list(network().children())))
    faulty = wiring.input_normalization(model)
    assert faulty.get_buffer("injected_mean").flatten().tolist() == pytest.approx([0.485, 0.456, 0.406, 0.485])
    assert faulty.get_buffer("injected_std").flatten().tolist() == pytest.approx([0.229, 0.224, 0.225, 0.229])
    assert "injected_mean" not in faulty.state_dict()


class Rows(nn.Module):
    """Blocks in a list of the user's, which its forward goes through, or one by one."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 3, padding=1), blocks
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for one in self.blocks.children():
            x = one(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


def names(model: nn.Module, path: str = "blocks") -> list[str]:
    return [name for name, _ in model.get_submodule(path).named_children()]


def four() -> list[Block]:
    return [basic(8, 8) for _ in range(4)]


def test_blocks_are_left_out_and_doubled_in_their_row() -> None:
    """Of four, the third is in the middle."""
    for blocks in (nn.Sequential(*four()), nn.ModuleList(four())):
        model = randomised(Rows(blocks))
        kept = [id(one) for one in blocks.children()]
        fewer = wiring.block_fewer(copy.deepcopy(model))
        assert names(fewer) == ["0", "1", "2"]
        expected = Rows(nn.Sequential(*(one for place, one in enumerate(blocks.children()) if place != 2)))
        expected.stem, expected.fc = model.stem, model.fc  # type: ignore[assignment]
        with torch.no_grad():
            assert torch.equal(fewer.eval()(IMAGE), expected.eval()(IMAGE))
        more = wiring.block_more(model)
        assert names(more) == ["0", "1", "2", "3", "4"]
        assert [id(one) for place, one in enumerate(blocks.children()) if place != 3] == kept
        one, twin = more.get_submodule("blocks.2"), more.get_submodule("blocks.3")
        assert repr(one) == repr(twin)
        assert all(torch.equal(a, b) and a is not b for a, b in zip(one.parameters(), twin.parameters(), strict=True))


class Holder(nn.Module):
    """Blocks in fields, of which it runs one after the other."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        for name, one in zip("ab", blocks, strict=False):
            self.add_module(name, one)

    def forward(self, x: Tensor) -> Tensor:
        for one in self.children():
            x = one(x)
        return x


def test_a_container_of_several_blocks_is_no_block() -> None:
    pairs = nn.Sequential(*(nn.Sequential(basic(8, 8), basic(8, 8)) for _ in range(2)))
    fewer = wiring.block_fewer(randomised(Rows(pairs)))
    assert names(fewer) == ["0", "1"]
    assert sorted(len(names(fewer, f"blocks.{row}")) for row in (0, 1)) == [1, 2]

    class Fields(Rows):
        def __init__(self) -> None:
            super().__init__(nn.Module())
            for name, one in zip("abcd", four(), strict=True):
                self.blocks.add_module(name, one)

    two_and_two = Rows(nn.Sequential(Holder(*four()[:2]), Holder(*four()[:2])))
    for model in (Fields(), two_and_two):
        with pytest.raises(NotApplicableError, match=r"nn\.Sequential or an nn\.ModuleList"):
            wiring.block_fewer(randomised(model))
    alone = Rows(nn.Sequential(*(Holder(one) for one in four())))
    assert names(wiring.block_fewer(randomised(alone))) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("plant", "path", "layer"),
    [
        (wiring.missing_stem_relu, "relu", IDENTITY), (wiring.average_pool_stem, "pool", nn.AvgPool2d(2)),
        (wiring.resnet_d, "one", nn.Sequential(nn.Conv2d(4, 8, 2, 2), nn.BatchNorm2d(8))),
    ],
)  # fmt: skip
def test_a_network_without_a_place_for_a_fault_says_so(plant: Plant, path: str, layer: nn.Module) -> None:
    with pytest.raises(NotApplicableError, match=r"^no "):
        plant(written(lambda model: model.set_submodule(path, layer)))


def test_blocks_without_relus_have_no_place_for_faults_in_them() -> None:
    def change(model: nn.Sequential) -> None:
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.ReLU):
                model.set_submodule(name, nn.Tanh())

    model = written(change)
    for plant in (
        wiring.bn_relu_swapped, wiring.relu_before_add, wiring.missing_last_relu,
        wiring.missing_inner_relu, wiring.gelu, wiring.pre_activation,
    ):  # fmt: skip
        with pytest.raises(NotApplicableError, match=r"^no "):
            plant(copy.deepcopy(model))
    only = network(basic(4, 8, 2))
    only.set_submodule("two", IDENTITY)
    for plant in (wiring.dropped_identity, wiring.scaled_identity, wiring.block_more):
        with pytest.raises(NotApplicableError, match=r"^no block "):
            plant(copy.deepcopy(only))
