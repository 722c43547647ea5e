"""torchvision's published weights by name, in the cache that torchvision uses."""

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
from resnet_cli.measure.models import torchvision_models
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec

_NAME = re.compile(r"IMAGENET\w*|DEFAULT", re.ASCII)
_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # file names end in the first digits of their SHA-256
_TIMEOUT_S = 30.0  # of inactivity
_CHUNK = 2**20


def resolve_weights(
    text: str, spec: ModelSpec | str, *, show_bar: bool = False, progress: Callable[[str], None] = lambda _: None
) -> str:
    """Path of a weights file given by path or by torchvision's name; a local file takes precedence.

    Args:
        text: a path, or IMAGENET1K_V1, IMAGENET1K_V2 or DEFAULT in any case.
        spec: the network, or torchvision's name of it.
        show_bar: show torch's progress bar on standard error while downloading.
        progress: called with a short text before each step.

    Returns:
        A path; that of a local file is not checked here.

    Raises:
        ResnetCliError: torchvision publishes no such weights, or they are not cached and cannot be downloaded.
    """
    name = text.strip().upper()
    if not _NAME.fullmatch(name) or Path(text).exists():
        return text
    architecture = spec if isinstance(spec, str) else _architecture_with_weights(text, spec)
    known = torchvision_models.published_weights(architecture)
    if name not in known:
        hint = f"available: {', '.join(known)}" if known else "use a file"
        raise ResnetCliError(f"torchvision publishes no weights {text} for {architecture}", hint)
    url = known[name]
    path = _folder() / Path(urlsplit(url).path).name
    title = f"{architecture} {name}"
    if not path.exists():
        progress(f"downloading {title}")
        _download(title, url, path, show_bar)
    else:
        progress(f"checking {title}")
        _check_hash(title, url, path)
    return str(path)


def _architecture_with_weights(text: str, spec: ModelSpec) -> str:
    """torchvision's name of a network that it publishes weights for.

    Raises:
        ResnetCliError: the network was changed, so that they do not fit.
    """
    original = ARCHITECTURES.get(spec.name)
    if original is None or (spec.repeat, spec.stem, spec.in_channels) != (
        original.repeat,
        original.stem,
        original.in_channels,
    ):
        raise ResnetCliError(
            f"torchvision publishes weights {text} only for its own architectures",
            "leave out `repeat`, `stem` and `in_channels`, or use a file",
        )
    if spec.num_classes != original.num_classes:
        raise ResnetCliError(
            f"torchvision's weights {text} are for {original.num_classes} classes, not {spec.num_classes}",
            "leave out `num_classes`, or use a file",
        )
    return spec.name


def _folder() -> Path:
    """The cache of torchvision, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir()).expanduser() / "checkpoints"


def _download(title: str, url: str, path: Path, show_bar: bool) -> None:
    """Download a file into the cache, atomically and with its checksum verified."""
    digest = _HASH.search(path.name)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), None if digest is None else digest[1], progress=show_bar)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        # Network errors are OSErrors, a wrong checksum is a RuntimeError.
        reason = (" ".join(str(getattr(error, "reason", None) or error).split()))[:160]
        raise ResnetCliError(
            f"the weights {title} are not cached and cannot be downloaded: {reason or type(error).__name__}",
            f"download {url} elsewhere and save it as {path}; TORCH_HOME moves the cache",
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _check_hash(title: str, url: str, path: Path) -> None:
    """Verify the SHA-256 of a cached file, whose first digits are in its name.

    Raises:
        ResnetCliError: it is another file, or cannot be read.
    """
    expected = _HASH.search(path.name)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ResnetCliError(
            f"the weights {title} cannot be read from {path}: {(error.strerror or str(error)).lower()}",
            "check its permissions",
        ) from None
    if expected is not None and not digest.hexdigest().startswith(expected[1]):
        raise ResnetCliError(
            f"{path} is not {title} as published: its SHA-256 begins with "
            f"{digest.hexdigest()[: len(expected[1])]}, not {expected[1]}",
            f"delete it; it is then downloaded again from {url}",
        )
