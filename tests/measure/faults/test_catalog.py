"""Every fault, injected: the network runs, behaves otherwise, and the original stays as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.measure.faults.catalog import FAULTS, NotApplicableError
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build
from tests.helpers.equivalent_resnets import HARMLESS, narrow, randomise
from tests.helpers.models import torchvision_models


def bottlenecks(**options: int) -> nn.Module:
    """A network of torchvision with fewer blocks than ResNet-50, and by default fewer channels."""
    resnet = torchvision_models().resnet
    network: nn.Module = resnet.ResNet(resnet.Bottleneck, [1, 2, 1, 1], num_classes=10, **options)
    return network if options else narrow(network)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ours": lambda: narrow(build(ModelSpec("resnet12", "basic", (1, 2, 1, 1)))),
    "torchvision": bottlenecks,
}
NO_PLACE = {("ours", "stride-in-1x1"), ("torchvision", "stride-moved")}
BY_KEY = {fault.key: fault for fault in FAULTS}
# What shows a fault, where the logits in eval mode do not.
SHOWN_BY = {
    "momentum": "running statistics",
    "biased-running-variance": "running statistics",
    "eps-1.001e-5": "settings",
    "dropout": "training",
    "frozen-parameter": "requires_grad",
    # In eval mode their channels may end in a ReLU that lets nothing through.
    "one-weight": "training",
    "one-buffer": "running statistics",
}


pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def original(name: str) -> nn.Module:
    torch.manual_seed(0)
    return randomise(NETWORKS[name]())


@cache
def images(size: int = 48) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def evaluated(network: nn.Module) -> Tensor:
    with torch.no_grad():
        out: Tensor = network.eval()(images())
    network.train()
    return out


def trained(network: nn.Module) -> dict[str, Tensor]:
    """Logits in train mode, gradients and running statistics; the network's own statistics move on."""
    torch.manual_seed(0)
    out = network(images())
    out.square().sum().backward()
    gradients = {f"gradient {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return {"out": out.detach(), **gradients, **{f"running {name}": b for name, b in network.named_buffers()}}


@cache
def behaviour(name: str) -> tuple[Tensor, dict[str, Tensor]]:
    return evaluated(original(name)), trained(copy.deepcopy(original(name)))


def shown(network: nn.Module, now_logits: Tensor, name: str) -> set[str]:
    """Where a network differs from its original."""
    logits, training = behaviour(name)
    now = trained(network)
    running = {key for key in now if key.startswith("running") and "num_batches" not in key}
    frozen = {key for key, p in network.named_parameters() if not p.requires_grad}
    return {
        aspect
        for aspect, differs in {
            "logits": not torch.equal(now_logits, logits),
            "training": not torch.equal(now["out"], training["out"]),
            "running statistics": any(
                key not in training or not torch.equal(now[key], training[key]) for key in running
            ),
            "settings": repr(network) != repr(original(name)),
            "requires_grad": bool(frozen),
        }.items()
        if differs
    }


def has_state(network: nn.Module, expected: dict[str, Tensor]) -> bool:
    state = network.state_dict()
    return list(state) == list(expected) and all(torch.equal(state[key], expected[key]) for key in state)


def test_keys_and_titles_are_unique() -> None:
    assert len(BY_KEY) == len(FAULTS) == len({fault.title for fault in FAULTS})
    assert list(dict.fromkeys(fault.group for fault in FAULTS)) == [
        "convolution and pooling", "batch norm", "wiring", "weights",
    ]  # fmt: skip


# In bottlenecks only what has to know how a block is made.
OF_BOTTLENECKS = ("stride-in-1x1", "stride-moved", "missing-bn", "bn-relu-swapped", "pre-activation", "block-more")


@pytest.mark.parametrize(
    ("name", "key"), [("ours", key) for key in BY_KEY] + [("torchvision", key) for key in OF_BOTTLENECKS]
)
def test_a_fault_is_injected_and_shows(name: str, key: str) -> None:
    before = {key: tensor.clone() for key, tensor in original(name).state_dict().items()}
    network = copy.deepcopy(original(name))
    if (name, key) in NO_PLACE:
        with pytest.raises(NotApplicableError, match="no "):
            BY_KEY[key].apply(network)
        return
    faulty = BY_KEY[key].apply(network)
    assert has_state(original(name), before)
    assert all(module.training for module in faulty.modules())
    logits = evaluated(faulty)
    twin = copy.deepcopy(faulty)
    assert torch.equal(evaluated(twin).nan_to_num(), logits.nan_to_num())
    assert {t.data_ptr() for t in twin.state_dict().values()}.isdisjoint(
        t.data_ptr() for t in faulty.state_dict().values()
    )
    assert SHOWN_BY.get(key, "logits") in shown(twin, logits, name)
    assert torch.equal(evaluated(original(name)), behaviour(name)[0])
    on_meta = twin.to("meta")(images().to("meta"))
    assert on_meta.is_meta
    assert on_meta.shape == logits.shape


# Networks of other authors, and what they have no place for.
FUNCTIONAL = {
    "reflect", "kernel", "groups", "conv-bias", "affine-off", "no-running-statistics", "biased-running-variance",
    "pre-activation",
}  # fmt: skip


def written(name: str) -> Callable[[], nn.Module]:
    return lambda: narrow(HARMLESS[name](12))


OTHER_NETWORKS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "resnext": (partial(bottlenecks, groups=32, width_per_group=4), {"stride-moved"}),
    "timm": (written("timm"), {"stride-in-1x1"}),
    "functional": (written("functional"), {"stride-in-1x1", *FUNCTIONAL}),
    "own-norm": (
        written("own-norm"),
        {
            "stride-in-1x1", "missing-bn", "missing-projection-bn", "eps-1e-3", "eps-1e-6", "eps-1.001e-5", "momentum",
            "affine-off", "no-running-statistics", "biased-running-variance", "bn-relu-swapped", "pre-activation",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_faults_in_networks_of_other_authors(name: str) -> None:
    make, expected = OTHER_NETWORKS[name]
    network = make()
    refused: dict[str, str] = {}
    for fault in FAULTS:
        try:
            fault.apply(copy.deepcopy(network))
        except NotApplicableError as error:
            refused[fault.key] = str(error)
    assert set(refused) == expected
    assert all(refused.values())


@pytest.mark.parametrize("network", [nn.Linear(3, 3), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Identity()])
def test_no_resnet_has_no_place(network: nn.Module) -> None:
    for key in ("missing-bn", "dropped-identity", "block-more", "one-weight", "stem-padding", "no-head-bias"):
        with pytest.raises(NotApplicableError):
            BY_KEY[key].apply(copy.deepcopy(network))


def test_a_fault_that_is_there_already_is_refused() -> None:
    network = copy.deepcopy(original("ours"))
    for key in ("eps-1e-3", "momentum", "frozen-parameter", "no-head-bias"):
        network = BY_KEY[key].apply(network)
        with pytest.raises(NotApplicableError):
            BY_KEY[key].apply(network)


def block_of(network: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """The block in the middle of our ResNet-18 that keeps its shape, and what its layers gave on our images."""
    seen: dict[str, Tensor] = {}

    def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            seen[f"{name} in"], seen[name] = given[0].clone(), out.clone()

        return hook

    block = network.get_submodule("l1.block.ResIdentity0")
    for name, layer in (("block", block), *block.named_children()):
        if name != "relu":
            layer.register_forward_hook(look(name))
    with torch.no_grad():
        network.eval()(images())
    return block, seen


def test_dropped_and_scaled_identity_are_what_they_say() -> None:
    for key, share in (("dropped-identity", 0.0), ("scaled-identity", 0.5)):
        _, seen = block_of(BY_KEY[key].apply(copy.deepcopy(original("ours"))))
        assert torch.equal(seen["block"], functional.relu(seen["bn2"] + share * seen["block in"]))


def test_pre_activation_is_that_of_the_paper() -> None:
    block, seen = block_of(BY_KEY["pre-activation"].apply(copy.deepcopy(original("ours"))))
    with torch.no_grad():
        x = seen["block in"]
        conv1, bn1, conv2, bn2 = (block.get_submodule(name) for name in ("conv1", "bn1", "conv2", "bn2"))
        expected = x + conv2(functional.relu(bn1(conv1(functional.relu(bn2(x))))))
    assert torch.allclose(seen["block"], expected, atol=1e-5)


def test_two_faults_can_share_a_network() -> None:
    once = BY_KEY["missing-stem-relu"].apply(copy.deepcopy(original("ours")))
    twice = BY_KEY["dropped-identity"].apply(copy.deepcopy(once))
    assert not torch.equal(evaluated(twice), evaluated(once))
    assert type(twice).__mro__[1:3] == type(once).__mro__[1:3]
