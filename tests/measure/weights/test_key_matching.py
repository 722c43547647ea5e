"""Weights from files of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.weights.key_matching import describe_mismatch, load_weights, match_keys, mismatch_error
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.network.resnet import build

STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


class Dangerous:
    def __reduce__(self) -> Any:
        return (print, ("this must not run",))


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": {"module." + key: value for key, value in STATE.items()}},
        {"module._orig_mod." + key: value for key, value in STATE.items()},
        {**STATE, "note": "text", "epoch": 1},
    ],
)
def test_containers_and_prefixes_are_taken_off(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "weights of ünïcode.pth"
    torch.save(content, path)
    found = load_weights(str(path))
    assert list(found) == list(STATE)
    assert all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty|not a checkpoint"),
        (b"some text", "is empty|not a checkpoint"),
        (b"PK\x03\x04 broken", "is empty|not a checkpoint"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ResnetCliError, match=message) as caught:
        load_weights(str(path))
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


def test_half_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ResnetCliError, match="not a checkpoint"):
        load_weights(str(path))


def test_nothing_in_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pth"
    torch.save({"state_dict": STATE, "optimizer": Dangerous()}, path)
    with pytest.raises(ResnetCliError, match="would run code") as caught:
        load_weights(str(path))
    assert "state_dict" in (caught.value.hint or "")
    assert capsys.readouterr().out == ""


def test_what_is_no_file_or_holds_no_tensor(tmp_path: Path) -> None:
    with pytest.raises(ResnetCliError, match="does not exist"):
        load_weights(str(tmp_path / "x.pth"))
    with pytest.raises(ResnetCliError, match="not a regular file"):
        load_weights(str(tmp_path))
    path = tmp_path / "x.pth"
    for content in ({}, [1, 2], {"epoch": 1}, torch.ones(3)):
        torch.save(content, path)
        with pytest.raises(ResnetCliError, match="holds no named tensors"):
            load_weights(str(path))


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
    found = match_keys({"a": torch.ones(2, 3), "b": torch.ones(2), "c": torch.ones(5)}, wanted)
    assert (found.exact, found.missing, found.unexpected) == (False, (), ())
    assert found.mismatched == (("a", (2, 3), (3, 2)),)
    assert found.matched == 3  # by their names
    assert mismatch_error(found) == "a is 2×3, not 3×2 (transposed)"


def test_how_many_tensors_of_each_kind_do_not_fit() -> None:
    wanted = {"a": (3,), "b": (3,), "c": (3,), "d": (3,), "e": (3,)}
    found = match_keys({"a": torch.ones(2), "b": torch.ones(()), "f": torch.ones(1)}, wanted)
    assert found.matched == 2
    assert mismatch_error(found) == (
        "a is 2, not 3 and 1 more; 3 tensors are missing (c, …); 1 tensor is unexpected (f)"
    )
    found = match_keys({name: torch.ones(2) for name in wanted}, wanted)
    assert mismatch_error(found) == "a is 2, not 3 and 4 more"
    found = match_keys({name: torch.ones(3) for name in ("a", "b", "c", "x", "y")}, wanted)
    assert mismatch_error(found) == "2 tensors are missing (d, …); 2 tensors are unexpected (x, …)"


def test_of_two_namings_the_one_with_more_names_and_then_with_fewer_wrong_shapes_is_told() -> None:
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
def test_what_to_ask_for_says_the_classes_only_where_they_are_not_the_usual(
    left_out: tuple[str, ...], classes: int
) -> None:
    with torch.device("meta"):
        state = torchvision.models.resnet34(num_classes=classes).state_dict()
        wanted = {name: tuple(one.shape) for name, one in torchvision.models.resnet18().state_dict().items()}
    state = {name: one for name, one in state.items() if name not in left_out}
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
        theirs = getattr(torchvision.models, "resnet18" if name != "resnet18" else "resnet34")().state_dict()
    found = match_keys(state, {key: tuple(value.shape) for key, value in theirs.items()})
    error = describe_mismatch("x.pth", state, {"torchvision's names": found})
    assert f"looks like {name}:" in (error.hint or "")
    assert "num_classes=10" in (error.hint or "")


def test_another_number_of_classes_is_said() -> None:
    with torch.device("meta"):
        state = torchvision.models.resnet18(num_classes=10).state_dict()
        theirs = torchvision.models.resnet18().state_dict()
    found = match_keys(state, {key: tuple(value.shape) for key, value in theirs.items()})
    error = describe_mismatch("x.pth", state, {"torchvision's names": found})
    assert "fc.weight is 10 × 512, not 1000 × 512" in error.message.replace("×", " × ").replace("  ", " ")
    assert "num_classes=10" in (error.hint or "")
