"""Weights from files of all kinds."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.weights.key_matching import describe_mismatch, match_keys, mismatch_error
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.network.resnet import build


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(t.shape) for key, t in build_on_meta(lambda: build(ARCHITECTURES[name])).state_dict().items()}


def test_counters_may_be_missing() -> None:
    state = build_on_meta(lambda: build("resnet18")).state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert match_keys(old, shapes("resnet18")).exact
    assert match_keys(state, shapes("resnet18")).exact
    assert not match_keys({**state, "one.more": torch.ones(1)}, shapes("resnet18")).exact
    del state["tail.lin.bias"]
    assert not match_keys(state, shapes("resnet18")).exact


def test_a_wrong_shape_alone_does_not_fit() -> None:
    wanted = {"a": (3, 2), "b": (2,), "c": (5,)}
    match = match_keys({"a": torch.ones(2, 3), "b": torch.ones(2), "c": torch.ones(5)}, wanted)
    assert (match.exact, match.missing, match.unexpected) == (False, (), ())
    assert match.mismatched == (("a", (2, 3), (3, 2)),)
    assert match.matched == 3  # by their names
    assert mismatch_error(match) == "a is 2×3, not 3×2 (transposed)"


def test_the_closest_naming_is_reported() -> None:
    weights = {"a": torch.ones(1), "b": torch.ones(2), "c": torch.ones(3)}
    candidates = {
        "one's names": {"a": (5,), "b": (5,), "c": (3,)},
        "another's names": {"a": (5,), "b": (2,), "c": (3,)},
        "a third's names": {"a": (1,), "b": (2,), "z": (3,)},
    }
    error = describe_mismatch(
        "x.pth", weights, {name: match_keys(weights, wanted) for name, wanted in candidates.items()}
    )
    assert error.message == "x.pth does not fit (another's names): a is 1, not 5"
    assert error.hint is None


@pytest.mark.parametrize(("left_out", "classes"), [((), 1000), (("fc.weight", "fc.bias"), 1000), ((), 10)])
def test_the_hint_names_the_classes_if_unusual(left_out: tuple[str, ...], classes: int) -> None:
    with torch.device("meta"):
        state = torchvision.models.resnet34(num_classes=classes).state_dict()
        wanted = {name: tuple(tensor.shape) for name, tensor in torchvision.models.resnet18().state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if name not in left_out}
    hint = describe_mismatch("x.pth", state, {"torchvision's names": match_keys(state, wanted)}).hint
    assert hint == "it looks like resnet34: use `depth=34`" + (" and `num_classes=10`" if classes == 10 else "")


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_the_architecture_of_a_file_is_recognised(name: str) -> None:
    with torch.device("meta"):
        state: dict[str, Tensor] = getattr(torchvision.models, name)(num_classes=10).state_dict()
    expected = shapes("resnet18" if name != "resnet18" else "resnet34")
    error = describe_mismatch(
        "x.pth", state, {"torchvision's names": match_keys(state, expected), "resnet-cli": match_keys(state, expected)}
    )
    # None of these names is ours, so nothing matches: the guess is made where something does.
    assert "matches neither" in error.message
    with torch.device("meta"):
        reference = getattr(torchvision.models, "resnet18" if name != "resnet18" else "resnet34")().state_dict()
    match = match_keys(state, {key: tuple(value.shape) for key, value in reference.items()})
    error = describe_mismatch("x.pth", state, {"torchvision's names": match})
    assert f"looks like {name}:" in (error.hint or "")
    assert "num_classes=10" in (error.hint or "")
