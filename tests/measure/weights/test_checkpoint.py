"""The weights in a checkpoint, out of what training scripts put around them."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.weights.checkpoint import Checkpoint, read_checkpoint, strip_wrapper_field

STATE = {"conv1.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2), "bn1.num_batches_tracked": torch.tensor(3)}
AVERAGED = {name: tensor + 5 for name, tensor in STATE.items()}
OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """What is found in a checkpoint of that content."""

    def through(content: Any, *, averaged: bool = False) -> Checkpoint:
        path = tmp_path / "x.pth"
        torch.save(content, path)
        return read_checkpoint(str(path), averaged=averaged)

    return through


def same(checkpoint: Checkpoint, state: dict[str, Tensor] = STATE) -> bool:
    return list(checkpoint.tensors) == list(state) and all(
        torch.equal(checkpoint.tensors[key], state[key]) for key in state
    )


@pytest.mark.parametrize(
    ("content", "container", "dropped"),
    [
        (STATE, (), ()),
        (OrderedDict(STATE), (), ()),
        ({"state_dict": STATE, "epoch": 3, "optimizer": OPTIMIZER}, ("state_dict",), ("epoch", "optimizer")),
        ({"model": STATE, "lr_scheduler": {"last_epoch": 3}}, ("model",), ("lr_scheduler",)),
        ({"model": {"state_dict": STATE, "arch": "x"}, "acc": 1.0}, ("model", "state_dict"), ("acc", "arch")),
        ({"best_acc1": torch.tensor(76.1), "state_dict": STATE}, ("state_dict",), ("best_acc1",)),
        ({"backbone": STATE, "optimizer": OPTIMIZER}, ("backbone",), ("optimizer",)),
        ({**STATE, "note": "text"}, (), ("note",)),
        ({"module": STATE}, ("module",), ()),
        ({"backbone": {**STATE, "note": "text"}}, ("backbone",), ("note",)),
        ({"params": {"lr": 0.1}, "weights": STATE}, ("weights",), ("params",)),
    ],
)
def test_containers(read: Any, content: Any, container: tuple[str, ...], dropped: tuple[str, ...]) -> None:
    checkpoint = read(content)
    assert same(checkpoint)
    assert checkpoint.key_path == container
    assert checkpoint.ignored_entries == dropped
    assert not checkpoint.is_ema
    assert checkpoint.other is None


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.encoder.", "module.module."],
)
def test_prefixes(read: Any, prefix: str) -> None:
    checkpoint = read({"state_dict": prefixed(STATE, prefix)})
    assert same(checkpoint)
    assert checkpoint.prefix == prefix


def test_the_names_of_our_own_network_are_no_prefix(read: Any) -> None:
    ours = {"head.conv.weight": torch.ones(1), "head.bn.weight": torch.ones(1)}
    assert same(read(ours), ours)
    assert same(read(prefixed(ours, "module.")), ours)


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["module.weight", "module.bias"], "module."),
        (["module.fc.weight", "module.bias"], "module."),
        (["module.bias", "module.fc.weight"], "module."),
        (["stem.module.weight", "tail.module.weight"], ""),
        (["model.fc.weight", "model.fc.bias"], ""),
        (["module", "module.fc.weight"], ""),
    ],
)
def test_a_prefix_is_what_all_names_begin_with(read: Any, names: list[str], prefix: str) -> None:
    checkpoint = read({name: torch.ones(1) for name in names})
    assert checkpoint.prefix == prefix
    assert list(checkpoint.tensors) == [name.removeprefix(prefix) for name in names]


def test_field_names_of_other_networks_are_kept(read: Any) -> None:
    """A class that keeps its layers in `self.net` has that name in every key."""
    state = {"net.0.weight": torch.ones(2), "net.1.weight": torch.ones(3)}
    checkpoint = read(prefixed(state, "module."))
    assert same(checkpoint, state)
    assert list(strip_wrapper_field(checkpoint.tensors)) == ["0.weight", "1.weight"]
    assert strip_wrapper_field(STATE) == STATE


def test_the_mark_of_compiled_parts_is_taken_off_in_the_middle(read: Any) -> None:
    state = {"conv1.weight": torch.ones(1), "layer1._orig_mod.0.conv1.weight": torch.ones(2)}
    assert list(read(state).tensors) == ["conv1.weight", "layer1.0.conv1.weight"]


def test_marks_of_real_wrappers(read: Any) -> None:
    network = nn.Sequential(OrderedDict(conv1=nn.Conv2d(1, 1, 1), bn1=nn.BatchNorm2d(1)))
    state = network.state_dict()
    averaged = torch.optim.swa_utils.AveragedModel(network, use_buffers=True).state_dict()
    parallel = nn.DataParallel(network).state_dict()
    assert any(name.startswith("module.") for name in parallel)
    assert "n_averaged" in averaged
    assert same(read({"model": parallel}), state)
    checkpoint = read({"model_ema": averaged})
    assert same(checkpoint, state)
    assert checkpoint.is_ema
    assert checkpoint.ignored_entries == ("n_averaged",)


@pytest.mark.parametrize("key", ["model_ema", "ema", "state_dict_ema"])
def test_plain_weights_are_taken_and_the_averaged_ones_on_request(read: Any, key: str) -> None:
    content = {"model": STATE, key: prefixed(AVERAGED, "module."), "optimizer": OPTIMIZER}
    plain = read(content)
    assert same(plain)
    assert (plain.is_ema, plain.other) == (False, key)
    averaged = read(content, averaged=True)
    assert same(averaged, AVERAGED)
    assert (averaged.is_ema, averaged.other, averaged.key_path) == (True, "model", (key,))
    assert same(read({key: {"module": AVERAGED, "decay": 0.9}}), AVERAGED)


def test_averaged_weights_that_are_not_there(read: Any) -> None:
    with pytest.raises(ResnetCliError, match="has no EMA weights"):
        read({"model": STATE}, averaged=True)


def test_more_than_one_set_of_weights(read: Any) -> None:
    with pytest.raises(ResnetCliError, match=r"several sets of weights: generator, critic") as caught:
        read({"generator": STATE, "critic": STATE})
    assert "checkpoint[KEY]" in (caught.value.hint or "")


def test_more_than_one_set_of_weights_beside_a_figure(read: Any) -> None:
    """The best accuracy, which is a tensor too, says nothing about which of them is meant."""
    with pytest.raises(ResnetCliError, match=r"several sets of weights: generator, critic"):
        read({"generator": STATE, "critic": STATE, "best_acc1": torch.tensor(76.1)})
    assert read({"model": STATE, "critic": STATE, "best_acc1": torch.tensor(76.1)}).key_path == ("model",)


@pytest.mark.parametrize(
    "content", [{}, [1, 2], {"epoch": 1}, torch.ones(3), "text", {"model": {"epoch": 1}}, {1: torch.ones(1)}]
)
def test_no_tensors(read: Any, content: Any) -> None:
    with pytest.raises(ResnetCliError, match="holds no named tensors"):
        read(content)


def test_counters_that_tools_leave_behind(read: Any) -> None:
    checkpoint = read(prefixed({**STATE, "conv1.total_ops": torch.ones(1), "total_params": torch.ones(1)}, "module."))
    assert same(checkpoint)
    assert checkpoint.ignored_entries == ("module.conv1.total_ops", "module.total_params")


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.ones(3, 3).to_sparse(), "sparse_coo, not dense"),
        (torch.empty(3, device="meta"), "no values"),
        (torch.zeros(1).expand(64, 10**9), "expanded view"),
    ],
)
def test_tensors_that_are_not_plain_numbers(read: Any, tensor: Tensor, why: str) -> None:
    with pytest.raises(ResnetCliError, match=why):
        read({"state_dict": {"conv\x1b[2J.weight": tensor}})


@pytest.mark.parametrize("levels", [9, 100_000])
def test_containers_in_containers_without_end(levels: int, tmp_path: Path) -> None:
    """Nested deeper than Python could save it: the pickle is written by hand."""
    opened = b"}X\x0a\x00\x00\x00state_dict"
    pickled = b"\x80\x02" + opened * levels + b"}" + b"s" * levels + b"."
    plain, bomb = tmp_path / "plain.pth", tmp_path / "bomb.pth"
    torch.save({}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(bomb, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, pickled if entry.filename.endswith("data.pkl") else old.read(entry))
    with pytest.raises(ResnetCliError, match="more than 8 deep"):
        read_checkpoint(str(bomb))
