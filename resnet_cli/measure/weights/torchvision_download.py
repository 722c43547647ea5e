"""Torchvision's own weights by their names, through the cache that torchvision itself uses."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.models import torchvision_models
from resnet_cli.network.architectures import FAMILY, ModelSpec

_NAME = re.compile(r"IMAGENET\w*|DEFAULT", re.ASCII)
_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # the file's name ends in the start of its SHA-256
_PATIENCE_S = 30.0  # without an answer from the server
_CHUNK = 2**20


def resolve_weights(
    text: str, spec: ModelSpec | str, *, show_bar: bool = False, progress: Callable[[str], None] = lambda _: None
) -> str:
    """The file that `--weights` means; a local file goes before a name.

    Args:
        text: a path, or the name of torchvision's weights: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, in whatever case.
        spec: the network that they are for, or torchvision's name of it.
        show_bar: draw torch's bar on standard error while it downloads.
        progress: told what is going on.

    Returns:
        A path. That of a local file is not looked at: what reads it says what is wrong with it.

    Raises:
        ResnetCliError: torchvision publishes no such weights of that network, or they can be had neither from the
            cache nor from the network.
    """
    name = text.strip().upper()
    if not _NAME.fullmatch(name) or Path(text).exists():
        return text
    architecture = spec if isinstance(spec, str) else _published_as(text, spec)
    known = torchvision_models.published_weights(architecture)
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "give a file"
        raise ResnetCliError(
            f"--weights {printable(text)}: torchvision publishes no such weights of {printable(architecture)}", there
        )
    url = known[name]
    path = _folder() / Path(urlsplit(url).path).name
    called = f"{architecture} {name}"
    if not path.exists():
        progress(f"downloading {called}")
        _download(called, url, path, show_bar)
    else:
        progress(f"checking {called}")
        _check(called, url, path)
    return str(path)


def _published_as(text: str, spec: ModelSpec) -> str:
    """Torchvision's name of a network that it has weights for.

    Raises:
        ResnetCliError: the spec changes the network, so that they do not fit.
    """
    usual = FAMILY.get(spec.name)
    if usual is None or (spec.repeat, spec.stem, spec.in_channels) != (usual.repeat, usual.stem, usual.in_channels):
        raise ResnetCliError(
            f"--weights {printable(text)}: torchvision publishes weights of its own networks alone",
            "leave --repeat, --stem and --in-channels out, or give a file",
        )
    if spec.num_classes != usual.num_classes:
        raise ResnetCliError(
            f"--weights {printable(text)}: torchvision's weights are for {usual.num_classes} classes, "
            f"not {spec.num_classes}",
            "leave --num-classes out, or give a file",
        )
    return spec.name


def _folder() -> Path:
    """Where torchvision keeps what it has downloaded; TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()).expanduser() / "checkpoints"


def _download(called: str, url: str, path: Path, show_bar: bool) -> None:
    """Fetch a file; it is in the cache whole and checked, or not at all."""
    found = _HASH.search(path.name)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), None if found is None else found[1], progress=show_bar)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        # An error of the network is an OSError too, and a wrong checksum a RuntimeError.
        said = printable(" ".join(str(getattr(error, "reason", None) or error).split()))[:160]
        raise ResnetCliError(
            f"the weights {called} are not in torch's cache and cannot be downloaded: {said or type(error).__name__}",
            f"download {url} where you can and put it at {printable(str(path))}; TORCH_HOME moves the cache",
        ) from None
    finally:
        socket.setdefaulttimeout(patience)


def _check(called: str, url: str, path: Path) -> None:
    """See that what lies in the cache is what was published: the name of the file has the start of its SHA-256.

    Raises:
        ResnetCliError: it is not, or cannot be read.
    """
    shown, expected = printable(str(path)), _HASH.search(path.name)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ResnetCliError(
            f"the weights {called} cannot be read from {shown}: {(error.strerror or str(error)).lower()}",
            "see that it is a file that you may read",
        ) from None
    if expected is not None and not digest.hexdigest().startswith(expected[1]):
        raise ResnetCliError(
            f"{shown} is not what torchvision published as {called}: its SHA-256 begins "
            f"{digest.hexdigest()[: len(expected[1])]}, not {expected[1]}",
            f"remove it, and it is downloaded again from {url}",
        )
