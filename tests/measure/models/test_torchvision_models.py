"""Torchvision's networks by name and by spec, photographs as it prepares them, and what is said where it does not."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
import torchvision
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import torchvision_models
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build

TINY = ModelSpec("tiny", "bottleneck", (1, 1, 1, 1), groups=4, width_per_group=2, num_classes=3)


def sizes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in model.state_dict().items()}


def fresh(model: nn.Module) -> bool:
    """Whether its norms are as a new network has them, and all of it is real."""
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    assert norms
    assert not any(one.is_meta for one in model.state_dict().values())
    return all(
        bool((one.running_mean == 0).all()) and bool((one.running_var == 1).all()) and one.num_batches_tracked == 0  # type: ignore[union-attr]
        for one in norms
    )


def test_a_network_of_a_spec_is_torchvisions_class() -> None:
    resnet = torchvision.models.resnet
    made = torchvision_models.build_member(TINY)
    expected = resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], groups=4, width_per_group=2, num_classes=3)
    assert sizes(made) == sizes(expected)
    assert type(made) is resnet.ResNet
    assert fresh(made)
    basic = torchvision_models.build_member(ModelSpec("basic", "basic", (1, 1, 2, 1), num_classes=2))
    assert sizes(basic) == sizes(resnet.ResNet(resnet.BasicBlock, [1, 1, 2, 1], num_classes=2))


@pytest.mark.parametrize("changes", [{"stem": "cifar"}, {"in_channels": 1}, {"stem": "cifar", "in_channels": 5}])
def test_another_stem_and_other_channels_take_the_place_of_its_own(changes: dict[str, Any]) -> None:
    spec = replace(TINY, **changes)
    made = torchvision_models.build_member(spec)
    assert sorted(sizes(made).values()) == sorted(sizes(build(spec)).values())
    assert fresh(made)
    images = torch.zeros(1, spec.in_channels, 32, 32)
    assert made.eval()(images).shape == (1, 3)
    assert made.get_submodule("conv1")(images).shape[-1] == (32 if spec.stem == "cifar" else 16)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_any_network_reads_images_of_other_channels(name: str) -> None:
    first = next(iter(torchvision_models.build_named(name, 7, 2).parameters()))
    assert first.shape[:2] == (64, 2)
    assert not first.is_meta


def test_any_network_by_its_name() -> None:
    made = torchvision_models.build_named(" ShuffleNet_v2_x0_5 ", 7)
    assert sizes(made)["fc.weight"] == (7, 1024)
    assert not any(one.is_meta for one in made.parameters())
    bound = (3 * 3 * 3) ** -0.5  # as it initialises itself: uniform to either side
    first = next(made.parameters()).detach()
    assert 0.9 * bound < float(first.abs().max()) <= bound
    assert 0.9 * bound < float(first.std()) * 3**0.5 < 1.1 * bound


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet19", "did you mean resnet1"), ("alexnt", "did you mean alexnet?"), ("zzzz", "it has alexnet, ")],
)
def test_a_name_that_torchvision_has_not(name: str, hint: str) -> None:
    with pytest.raises(ResnetCliError, match=f"no classification network '{name}'") as caught:
        torchvision_models.build_named(name, 3)
    assert (caught.value.hint or "").startswith(hint)
    if name == "zzzz":
        known = torchvision.models.list_models(module=torchvision.models)
        assert (caught.value.hint or "").endswith(f", {known[5]} and {len(known) - 6} more")


def test_names_are_of_classification_networks_alone() -> None:
    known = torchvision_models.names()
    assert {"resnet18", "vgg11_bn", "vit_b_16"} <= set(known)
    assert not {"fcn_resnet50", "r3d_18", "quantized_resnet18"} & set(known)
    assert (torchvision_models.version() or "").startswith(torchvision.__version__.partition("+")[0])


def drawn(path: Path, mode: str = "RGB") -> str:
    """320×256 pixels: three quarters of them dark, the rest light."""
    image = PIL.Image.new("L", (320, 256), 51)
    image.paste(204, (0, 0, 320, 64))
    image.convert(mode).save(path)
    return str(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_a_photograph_is_prepared_as_torchvision_does(mode: str, tmp_path: Path) -> None:
    path = drawn(tmp_path / "image.png", mode)
    weights = torchvision.models.ResNet50_Weights.DEFAULT
    for name in ("resnet50", "a-network-without-weights"):
        image, labels = torchvision_models.prepared_image(path, name)
        assert torch.equal(image[0], weights.transforms()(PIL.Image.open(path).convert("RGB")))
        assert image.shape == (1, 3, 224, 224)
        assert list(labels) == weights.meta["categories"]
    image, _ = torchvision_models.prepared_image(path, "vgg11")
    assert torch.equal(image[0], torchvision.models.VGG11_Weights.DEFAULT.transforms()(
        PIL.Image.open(path).convert("RGB")
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b""), "unknown image format"),
        (lambda path: path.write_text("hello"), "unknown image format"),
        (lambda path: path.mkdir(), "not a regular file"),
    ],
)
def test_what_is_no_photograph(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    make(path)
    with pytest.raises(ResnetCliError, match=said) as caught:
        torchvision_models.prepared_image(str(path), "resnet18")
    assert "image" in caught.value.message
    assert str(path) in caught.value.message


def test_a_photograph_of_more_pixels_than_it_should_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drawn(tmp_path / "image.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 320 * 256 - 1)
    with pytest.raises(ResnetCliError, match=r"cannot be read: .*81920 pixels"):
        torchvision_models.prepared_image(path, "resnet18")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 320 * 256)
    assert torchvision_models.prepared_image(path, "resnet18")[0].shape == (1, 3, 224, 224)


def test_weights_are_published_under_their_names() -> None:
    found = torchvision_models.published_weights("resnet50")
    assert list(found) == ["IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT"]
    assert found["DEFAULT"] == found["IMAGENET1K_V2"] != found["IMAGENET1K_V1"]
    assert found["IMAGENET1K_V1"] == torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url
    assert torchvision_models.published_weights("no-such-network") == {}


@pytest.mark.parametrize(
    ("error", "cuda", "said", "hint"),
    [
        (ModuleNotFoundError("no", name="torchvision"), None, "which is not installed", "pip install torchvision"),
        (ModuleNotFoundError("No module named 'x'", name="x"), "13", "No module named 'x' (they were not", "index"),
        (RuntimeError("torchvision::nms\ndoes not exist"), None, "CPU-only build", "--index-url https://download.pytorch.org/whl/cpu"),
        (RuntimeError("torchvision::nms does not exist"), "13", "(they were not built for each other)", "index"),
        (OSError("x" * 500), None, f": {'x' * 200} (", "index"),
    ],
)  # fmt: skip
def test_a_torchvision_that_does_not_work(
    error: Exception, cuda: str | None, said: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("torchvision"):
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ResnetCliError) as caught:
        torchvision_models.names()
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")
