"""Weights that are carried between names, formats and dtypes: what comes out is what went in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.weights.architecture_detection import Naming
from resnet_cli.measure.weights.checkpoint import read_checkpoint
from resnet_cli.measure.weights.conversion import convert, save
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.results.convert import ConvertResult

SMALL = ModelSpec("small", "basic", (1, 1, 1, 1), num_classes=10)
GROUPED = ModelSpec("grouped", "bottleneck", (1, 1, 1, 1), groups=32, width_per_group=4, num_classes=3)


def any_bits(spec: ModelSpec, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Weights under torchvision's names with every kind of value in them: NaNs of all patterns, -0, denormals."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.int16 if dtype.itemsize == 2 else torch.int32
    state: dict[str, Tensor] = {}
    with torch.device("meta"):
        shapes = build(spec).state_dict()
    for name, other in torchvision_names(spec).items():
        shape = shapes[name].shape
        if name.endswith("num_batches_tracked"):
            state[other] = torch.tensor(2**40 + len(state))
        else:
            low, high = torch.iinfo(bits).min, torch.iinfo(bits).max
            state[other] = torch.randint(low, high, shape, dtype=bits, generator=generator).view(dtype)
    return state


def content(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(state) == list(other) and all(
        state[name].dtype == other[name].dtype
        and state[name].shape == other[name].shape
        and content(state[name]) == content(other[name])
        for name in state
    )


def converted(source: Path, target: Path, to: Naming | None = None, **options: Any) -> ConvertResult:
    kind: Any = "safetensors" if target.suffix == ".safetensors" else "torch"
    conversion = convert(str(source), str(target), to=to, format=kind, **options)
    save(conversion, str(target))
    return conversion.result


@pytest.mark.parametrize(
    ("spec", "dtype"), [(SMALL, torch.float32), (GROUPED, torch.bfloat16)], ids=["float32", "bfloat16"]
)
def test_there_and_back_is_bit_for_bit(spec: ModelSpec, dtype: torch.dtype, tmp_path: Path) -> None:
    first, ours, back = tmp_path / "a.pth", tmp_path / "b.safetensors", tmp_path / "c.pth"
    state = any_bits(spec, dtype)
    torch.save(state, first)
    result = converted(first, ours, "resnet-cli")
    assert (result.source.naming, result.target.naming) == ("torchvision", "resnet-cli")
    assert result.renamed == len(result.tensors) == len(state)
    assert (result.cast, result.overflowed) == (0, 0)
    assert (result.network.block, result.network.repeat) == (spec.block, spec.repeat)
    assert (result.network.groups, result.network.num_classes) == (spec.groups, spec.num_classes)
    written = read_checkpoint(str(ours)).tensors
    assert set(written) == set(torchvision_names(spec))
    again = converted(ours, back, "torchvision")
    assert (again.source.naming, again.target.naming) == ("resnet-cli", "torchvision")
    assert same(torch.load(back, weights_only=True), state)


def test_the_order_is_that_of_the_network(tmp_path: Path) -> None:
    shuffled = dict(sorted(any_bits(SMALL).items(), key=lambda item: item[0][::-1]))
    source, target = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save(shuffled, source)
    for to, expected in (("resnet-cli", list(torchvision_names(SMALL))), ("torchvision", list(any_bits(SMALL)))):
        converted(source, target, to)  # type: ignore[arg-type]
        assert list(torch.load(target, weights_only=True)) == expected


def test_without_a_naming_the_names_stay(tmp_path: Path) -> None:
    source, target = tmp_path / "a.pth", tmp_path / "b.safetensors"
    torch.save(any_bits(SMALL), source)
    result = converted(source, target)
    assert (result.source.bytes, result.target.bytes) == (source.stat().st_size, 0)  # nothing is written yet
    with safetensors.safe_open(target, framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}  # transformers reads no file without it
    assert result.renamed == 0
    assert result.target.naming == "torchvision"
    assert set(read_checkpoint(str(target)).tensors) == set(any_bits(SMALL))


def test_logits_are_torchvisions_bit_for_bit(tmp_path: Path) -> None:
    name = "resnet18"
    import torchvision

    with torch.device("meta"):  # its initialisation would take longer than all that is tested here
        theirs = torchvision.models.get_model(name, num_classes=10).eval()
        ours = build(name, num_classes=10).eval()
    theirs.to_empty(device="cpu")
    torch.manual_seed(0)
    for tensor in theirs.state_dict().values():
        if tensor.dim() == 1:  # of batch norm, and the bias
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.uniform_(-0.05, 0.05)
        else:
            tensor.fill_(5)
    source, target = tmp_path / "a.pth", tmp_path / "b.safetensors"
    torch.save(theirs.state_dict(), source)
    result = converted(source, target, "resnet-cli")
    assert result.network.name == name
    assert result.network.num_classes == 10
    assert result.parameters == sum(parameter.numel() for parameter in theirs.parameters())
    ours.load_state_dict(safetensors.torch.load_file(target), strict=True, assign=True)
    images = torch.randn(2, 3, 40, 40)
    with torch.inference_mode():
        logits = theirs(images)
        assert logits.isfinite().all()
        assert torch.equal(ours(images), logits)


def test_old_checkpoints_without_counters(tmp_path: Path) -> None:
    import torchvision

    old = {key: value for key, value in any_bits(SMALL).items() if not key.endswith("num_batches_tracked")}
    source, target, back = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth"
    torch.save(old, source)
    result = converted(source, target, "resnet-cli")
    assert len(result.tensors) == len(old)
    build(SMALL).load_state_dict(torch.load(target, weights_only=True), strict=True)
    converted(target, back, "torchvision")
    assert same(torch.load(back, weights_only=True), old)
    block = torchvision.models.resnet.BasicBlock
    torchvision.models.ResNet(block, [1, 1, 1, 1], num_classes=10).load_state_dict(
        torch.load(back, weights_only=True), strict=True
    )


@cache
def built(spec: ModelSpec) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return build(spec).state_dict()


def ordinary(spec: ModelSpec = SMALL) -> dict[str, Tensor]:
    """Weights as a new network has them, under torchvision's names."""
    names = torchvision_names(spec)
    return {names[name]: tensor.clone() for name, tensor in built(spec).items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_another_dtype(dtype: torch.dtype, tmp_path: Path) -> None:
    state = ordinary()
    state["fc.bias"][:3] = torch.tensor([1e30, -1e30, float("nan")])
    state["bn1.num_batches_tracked"].fill_(2**40 + 1)
    source, target = tmp_path / "a.pth", tmp_path / "b.safetensors"
    torch.save(state, source)
    result = converted(source, target, dtype=dtype)
    written = read_checkpoint(str(target)).tensors
    for name, tensor in state.items():
        expected = tensor if name.endswith("num_batches_tracked") else tensor.to(dtype)
        assert content(written[name]) == content(expected)
        assert written[name].dtype == expected.dtype
    assert result.cast == sum(tensor.is_floating_point() for tensor in state.values())
    assert result.not_finite == 1
    assert result.overflowed == (2 if dtype == torch.float16 else 0)
    notes = " ".join(note.text for note in result.notes)
    assert "1 values of the input" in notes
    assert ("2 values overflowed to infinity in float16" in notes) == (dtype == torch.float16)
    assert converted(source, target, dtype=torch.float32).cast == 0


def test_views_are_written_without_what_they_look_into(tmp_path: Path) -> None:
    state = ordinary()
    state["fc.weight"] = torch.randn(10, 512 * 400)[:, :512]
    state["fc.bias"] = torch.randn(10**6)[5:15]
    state["conv1.weight"] = state["conv1.weight"].to(memory_format=torch.channels_last)
    state["bn1.weight"] = state["bn1.bias"] = torch.ones(64)  # one storage for both
    source, target = tmp_path / "a.pth", tmp_path / "b.safetensors"
    torch.save(state, source)
    converted(source, target)
    assert all(content(tensor) == content(state[name]) for name, tensor in read_checkpoint(str(target)).tensors.items())
    other = tmp_path / "c.pth"
    converted(source, other)
    left_behind = 4 * (10 * 512 * 399 + 10**6 - 10)
    assert other.stat().st_size < source.stat().st_size - left_behind + 10_000


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}


def test_the_notes_say_which_weights_were_taken(tmp_path: Path) -> None:
    state = ordinary()
    source, target = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"model": renamed(state), "ema": {k: v * 0 for k, v in state.items()}, "optimizer": {}}, source)
    result = converted(source, target)
    assert result.key_path == ("model",)
    assert result.prefix == "module._orig_mod."
    assert result.ignored_entries == ("ema", "optimizer")
    assert "EMA weights under ema" in result.notes[0].text
    assert same(torch.load(target, weights_only=True), state)
    result = converted(source, target, averaged=True)
    assert result.is_ema
    assert "EMA weights, under ema; the plain weights under model" in result.notes[0].text
    assert not torch.load(target, weights_only=True)["fc.weight"].any()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (replace(SMALL, stem="cifar"), "the cifar stem"),
        (replace(SMALL, in_channels=2, stem="cifar"), "an input of 2 channels and the cifar stem:"),
        (SMALL, ""),
    ],
)
def test_networks_that_torchvision_does_not_build_have_a_note(spec: ModelSpec, text: str, tmp_path: Path) -> None:
    source, target = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save(ordinary(spec), source)
    notes = converted(source, target, "torchvision").notes
    assert bool(notes) == bool(text)
    assert text in " ".join(note.text for note in notes)
    assert converted(source, target, "resnet-cli").notes == ()


def without(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.__delitem__(name)


def with_one(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.__setitem__(name, tensor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer2.0.bn1.weight"), "1 tensor is missing (layer2.0.bn1.weight)"),
        (with_one("more.weight\x1b[2J", torch.ones(1)), "1 tensor is unexpected (more.weight\x1b[2J)"),
        (with_one("layer1.0.conv2.weight", torch.ones(3, 3, 64, 64)), "is 3×3×64×64, not 64×64×3×3 (transposed)"),
        (with_one("conv1.weight", torch.ones(64)), "conv1.weight is 64, not 64×3×7×7"),
        (with_one("bn1.weight", torch.ones(())), "bn1.weight is a scalar, not 64"),
        (with_one("bn1.weight", torch.ones(64, dtype=torch.int8)), "bn1.weight is int8, not floating point"),
    ],
)
def test_weights_that_fit_no_network(change: Callable[[dict[str, Tensor]], None], message: str, tmp_path: Path) -> None:
    state = ordinary()
    change(state)
    source = tmp_path / "a.pth"
    torch.save(state, source)
    with pytest.raises(ResnetCliError) as caught:
        convert(str(source), "b.pth", format="torch")
    assert message in caught.value.message
    assert str(source) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_full_disk_is_an_error_of_the_operating_system(kind: Any, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    source, target = tmp_path / "a.pth", tmp_path / "b"
    torch.save(ordinary(), source)
    steps: list[str] = []
    conversion = convert(str(source), str(target), format=kind, progress=steps.append)
    assert steps == ["reading the weights", "converting"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            save(conversion, str(target))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
