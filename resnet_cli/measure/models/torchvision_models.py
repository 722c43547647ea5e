"""torchvision's networks. This is the only module that imports torchvision."""

# Importing it takes twice as long as importing torch, and fails if its binary does not match torch.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import read_bytes
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.system.silence import silenced
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.suggest import nearest

if TYPE_CHECKING:
    import PIL.Image

_MAX_IMAGE_BYTES = 256 * 10**6


def _torchvision() -> Any:
    """Import torchvision.

    Raises:
        ResnetCliError: it is not installed, or does not match the installed torch.
    """
    try:
        with silenced():  # about image codecs, which are not needed
            import torchvision
            import torchvision.models
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise _broken(error) from error
        raise ResnetCliError(
            "the comparison needs torchvision, which is not installed",
            "pip install torchvision",
        ) from error
    except Exception as error:
        raise _broken(error) from error
    return torchvision


def _broken(error: Exception) -> ResnetCliError:
    message = " ".join(str(error).split())[:200]
    installed = version() or "(unknown version)"
    if torch.version.cuda is None and "torchvision::" in message:
        cause = "torch is a CPU-only build, and torchvision was built for another one"
    else:
        cause = "they were not built for each other"
    return ResnetCliError(
        f"torchvision {installed} does not work with torch {torch.__version__}: {message} ({cause})",
        "install both from one index: pip install --force-reinstall torch torchvision, or for the CPU only the same "
        "with --index-url https://download.pytorch.org/whl/cpu",
    )


def version() -> str | None:
    """Version of the installed torchvision, or None."""
    try:
        return importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return None


def names() -> list[str]:
    """Names of torchvision's classification networks.

    Raises:
        ResnetCliError: torchvision does not work.
    """
    models = _torchvision().models
    return list(models.list_models(module=models))


def build_member(spec: ModelSpec) -> nn.Module:
    """torchvision's network for a built-in architecture, without weights.

    It is built from torchvision's class, so that any `repeat` works; another stem takes the place of its own.

    Raises:
        ResnetCliError: torchvision does not work.
    """
    module = _torchvision().models.resnet
    block = module.BasicBlock if spec.block == "basic" else module.Bottleneck

    def build() -> nn.Module:
        made: nn.Module = module.ResNet(
            block,
            list(spec.repeat),
            groups=spec.groups,
            width_per_group=spec.width_per_group,
            num_classes=spec.num_classes,
        )
        if spec.stem == "cifar":
            made.conv1, made.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        _take_channels(made, spec.in_channels)
        return made

    return _materialised(build)


def _take_channels(model: nn.Module, in_channels: int) -> None:
    """Replace the first convolution of images, if they have another number of channels than it reads."""
    convs = ((path, module) for path, module in model.named_modules() if isinstance(module, nn.Conv2d))
    path, conv = next(convs)
    if conv.in_channels != in_channels:
        names = ("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        settings: dict[str, Any] = {name: getattr(conv, name) for name in names}
        model.set_submodule(path, nn.Conv2d(in_channels, bias=conv.bias is not None, **settings))


def build_named(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    options: Mapping[str, Any] = {},
    *,
    initialized: bool = False,
) -> nn.Module:
    """A classification network of torchvision by name, without trained weights.

    Args:
        name: as torchvision has it.
        num_classes: of its classifier.
        in_channels: of its images.
        options: of torchvision's function of that name.
        initialized: with random weights as torchvision draws them; False: weights that will be set afterwards.

    Raises:
        ResnetCliError: torchvision does not work, has none of that name, or none with these options.
    """
    known = names()
    plain = name.strip().lower()
    if plain not in known:
        near = nearest(plain, known)
        raise ResnetCliError(
            f"torchvision has no classification network {name!r}",
            f"did you mean {near}?" if near else f"it has {', '.join(known[:6])} and {len(known) - 6} more",
        )
    if plain in ARCHITECTURES and not initialized:
        return _materialised(lambda: _named(plain, num_classes, in_channels, options))
    return _named(plain, num_classes, in_channels, options)


def _named(name: str, num_classes: int, in_channels: int, options: Mapping[str, Any] = {}) -> nn.Module:
    make = _torchvision().models.get_model
    try:
        with silenced():  # of initialisations that will change
            made: nn.Module = make(name, weights=None, num_classes=num_classes, **options)
    except (TypeError, ValueError) as error:
        if not options:
            raise
        raise ResnetCliError(f"torchvision cannot build {name} with {', '.join(options)}: {error}") from error
    _take_channels(made, in_channels)
    return made


def published_sizes() -> dict[str, int]:
    """Number of parameters of each classification network, of those with published weights.

    Raises:
        ResnetCliError: torchvision does not work.
    """
    models = _torchvision().models
    sizes = {}
    for name in names():
        with contextlib.suppress(ValueError, KeyError):  # no weights, or none with this figure
            sizes[name] = int(models.get_model_weights(name).DEFAULT.meta["num_params"])
    return sizes


def without_values(name: str) -> nn.Module:
    """A classification network on the meta device, for its shapes alone; a real one where its code needs values."""
    try:
        return build_on_meta(lambda: _named(name, 1000, 3))
    except (NotImplementedError, RuntimeError):
        return _named(name, 1000, 3)


def _materialised(build: Callable[[], nn.Module]) -> nn.Module:
    """Build without random initialisation, since weights are set afterwards; buffers are as in a new network."""
    with torch.device("meta"):
        model = build()
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    return model


def prepared_image(path: str, name: str) -> tuple[torch.Tensor, Sequence[str]]:
    """An image with torchvision's preprocessing for a network, (1, 3, H, W), and the names of the classes.

    Args:
        path: of a file that Pillow reads.
        name: of the network; without published weights, ResNet-50's preprocessing is used.

    Raises:
        ResnetCliError: torchvision does not work, no such file, or it is not an image.
    """
    models = _torchvision().models
    try:
        weights = models.get_model_weights(name).DEFAULT
    except ValueError:
        weights = models.get_model_weights("resnet50").DEFAULT
    return weights.transforms()(_picture(path)).unsqueeze(0), weights.meta["categories"]


def _picture(path: str) -> PIL.Image.Image:
    """An image file in RGB.

    Raises:
        ResnetCliError: no such file, or it is not an image.
    """
    import PIL.Image

    try:
        content = read_bytes(path, _MAX_IMAGE_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual metadata
            # A few bytes can claim to be any number of pixels.
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(content)) as opened:
                return opened.convert("RGB")
    except FileNotFoundError:
        raise ResnetCliError(f"image {path} does not exist") from None
    except PIL.UnidentifiedImageError:
        raise ResnetCliError(f"image {path} cannot be read: unknown image format") from None
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ResnetCliError(f"image {path} cannot be read: {reason[:200]}") from error


def published_weights(name: str) -> dict[str, str]:
    """Names (IMAGENET1K_V1, …, DEFAULT) and URLs of the weights that torchvision publishes for a network.

    Raises:
        ResnetCliError: torchvision does not work.
    """
    models = _torchvision().models
    try:
        # __members__ includes aliases such as DEFAULT, which iteration leaves out.
        return {key: str(one.url) for key, one in models.get_model_weights(name).__members__.items()}
    except ValueError:
        return {}
