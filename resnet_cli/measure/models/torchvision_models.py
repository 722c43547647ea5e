"""Torchvision's networks, and what to do where torchvision does not work. The only module that imports it."""

# Importing it takes twice as long as importing torch, and fails where its binary does not fit.
# ruff: noqa: PLC0415

from __future__ import annotations

import difflib
import importlib.metadata
import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.system.silence import silenced
from resnet_cli.network.architectures import FAMILY, ModelSpec
from resnet_cli.user_files import read_bytes

if TYPE_CHECKING:
    import PIL.Image

_LARGEST_PHOTOGRAPH = 256 * 10**6


def _torchvision() -> Any:
    """The package, working.

    Raises:
        ResnetCliError: it is missing, or does not fit the torch that is installed.
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
            "pip install torchvision takes the release that fits the torch that is installed, or names the pair",
        ) from error
    except Exception as error:
        raise _broken(error) from error
    return torchvision


def _broken(error: Exception) -> ResnetCliError:
    said = printable(" ".join(str(error).split()))[:200]
    installed = version() or "of unknown version"
    if torch.version.cuda is None and "torchvision::" in said:
        why = "this torch is a build for the CPU only, and torchvision's own operators were built for another one"
    else:
        why = "the two were not built for each other"
    return ResnetCliError(
        f"torchvision {installed} does not work with torch {torch.__version__}: {said} ({why})",
        "install a pair from one place: pip install --force-reinstall torch torchvision, or for the CPU only the same "
        "with --index-url https://download.pytorch.org/whl/cpu",
    )


def version() -> str | None:
    """Of the torchvision that is installed."""
    try:
        return importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return None


def names() -> list[str]:
    """Every classification network of torchvision.

    Raises:
        ResnetCliError: no working torchvision.
    """
    models = _torchvision().models
    found: list[str] = models.list_models(module=models)
    return found


def build_member(spec: ModelSpec) -> nn.Module:
    """Torchvision's network of a spec of ours, without weights.

    Its class is asked, not its function of that name, so that other repeats than the published ones work too.

    Raises:
        ResnetCliError: no working torchvision, or it has no such network.
    """
    if (spec.stem, spec.in_channels) != ("imagenet", 3):
        raise ResnetCliError("torchvision's networks have the imagenet stem and 3 channels", "leave --stem out")
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
        return made

    return _materialised(build)


def build_named(name: str, num_classes: int) -> nn.Module:
    """Any classification network of torchvision, without weights.

    Raises:
        ResnetCliError: no working torchvision, or none of that name.
    """
    known = names()
    plain = name.strip().lower()
    if plain not in known:
        near = difflib.get_close_matches(plain, known, n=1)
        raise ResnetCliError(
            f"torchvision has no classification network {printable(name)!r}",
            f"did you mean {near[0]}?" if near else f"it has {', '.join(known[:6])} and {len(known) - 6} more",
        )
    if plain in FAMILY:
        return _materialised(lambda: _named(plain, num_classes))
    return _named(plain, num_classes)


def _named(name: str, num_classes: int) -> nn.Module:
    with silenced():  # of initialisations that will change
        made: nn.Module = _torchvision().models.get_model(name, weights=None, num_classes=num_classes)
    return made


def _materialised(build: Callable[[], nn.Module]) -> nn.Module:
    """Built without its random initialisation, which the probe replaces; buffers as a fresh network has them."""
    with torch.device("meta"):
        model = build()
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    return model


def prepared_image(path: str, name: str) -> tuple[torch.Tensor, Sequence[str]]:
    """A photograph as torchvision prepares it for a network, (1, 3, H, W), and the names of the classes.

    Args:
        path: of a file that Pillow reads.
        name: of the network; one without published weights is served as ResNet-50 is.

    Raises:
        ResnetCliError: no working torchvision, no such file, or no image in it.
    """
    models = _torchvision().models
    try:
        weights = models.get_model_weights(name).DEFAULT
    except ValueError:
        weights = models.get_model_weights("resnet50").DEFAULT
    return weights.transforms()(_picture(path)).unsqueeze(0), weights.meta["categories"]


def _picture(path: str) -> PIL.Image.Image:
    """A photograph in RGB.

    Raises:
        ResnetCliError: no such file, or no image in it.
    """
    import PIL.Image

    try:
        content = read_bytes(path, _LARGEST_PHOTOGRAPH)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            # A few bytes can claim to be any number of pixels.
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(content)) as photograph:
                return photograph.convert("RGB")
    except FileNotFoundError:
        raise ResnetCliError(f"--image {printable(path)}: there is no such file") from None
    except PIL.UnidentifiedImageError:
        said = "it is of no format that Pillow knows"
    except Exception as error:  # Pillow's decoders raise a dozen kinds on damaged files
        said = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    raise ResnetCliError(f"--image {printable(path)} cannot be read as an image: {printable(said[:200])}")


def published_weights(name: str) -> dict[str, str]:
    """Torchvision's weights of a network: their names, IMAGENET1K_V1 and on, and where they are published.

    DEFAULT is the best of them under another name. A network that torchvision publishes none for has none.

    Raises:
        ResnetCliError: no working torchvision.
    """
    models = _torchvision().models
    try:
        # The members of the enumeration with its aliases, which iterating over it leaves out.
        return {key: str(one.url) for key, one in models.get_model_weights(name).__members__.items()}
    except ValueError:
        return {}
