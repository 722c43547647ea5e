"""Whether torchvision fits the installed torch, told from their files: neither is imported.

The metadata of torchvision names the torch releases that it works with. On top of that, its binary needs the CUDA
libraries that it was built with: a torchvision built for CUDA fails beside a torch for the CPU even where the releases
fit. The metadata does not name the build; `version.py` of the package does.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A package as described by its files.

    Args:
        version: with the build, if it names one: "0.29.1+cu130".
        cuda: CUDA version of the build, from version.py: "13.0".
        requires: requirements in its metadata.
        folder: where Python finds it.
        tells_build: version.py could be read, so that `cuda=None` means a build without CUDA.
        is_shadowed: Python finds something else of this name before the installed package.
    """

    version: str | None = None
    cuda: str | None = None
    requires: tuple[str, ...] = ()
    folder: Path | None = None
    tells_build: bool = False
    is_shadowed: bool = False


def installed(name: str) -> InstalledPackage:
    """A package as described by its files; all fields are None if it is not installed."""
    distribution = _distribution(name)
    folder = _folder(name)
    text = ""
    if folder is not None:
        try:
            text = (folder / "version.py").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
    expected = None if distribution is None else Path(str(distribution.locate_file(name)))
    return InstalledPackage(
        version=_assigned("__version__", text) or metadata_version(name),
        cuda=_assigned("cuda", text),
        requires=tuple((distribution.requires if distribution is not None else None) or ()),
        folder=folder,
        tells_build=bool(text),
        # An editable build lies elsewhere too, but it has a version.py.
        is_shadowed=folder is not None and not text and (expected is None or folder.resolve() != expected.resolve()),
    )


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def metadata_version(name: str) -> str | None:
    """Version in the metadata of a package, or None if it is not installed or its metadata is damaged."""
    distribution = _distribution(name)
    if distribution is None:
        return None
    try:
        record = distribution.metadata
        return str(record["Version"]) if "Version" in record else None
    except OSError:  # newer Pythons raise it if the file is missing
        return None


def _folder(name: str) -> Path | None:
    """Where Python would import this package or module from."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def _assigned(name: str, text: str) -> str | None:
    match = re.search(rf"""^{name}(?:\s*:[^=\n]*)?\s*=\s*["']([^"'\n]+)["']""", text, re.MULTILINE)
    return match[1] if match else None


def mismatch(torch: InstalledPackage, torchvision: InstalledPackage) -> str | None:
    """Why these two releases do not work together, or None if nothing is known against it."""
    if torch.version is None or torchvision.version is None:
        return None
    required = next((one.specifier for one in _parsed(torchvision.requires) if one.name == "torch"), None)
    torch_version = parse_version(torch.version)
    if required is not None and torch_version is not None and not required.contains(torch_version, prereleases=True):
        wanted = str(required).removeprefix("==")
        return f"torchvision {torchvision.version} needs torch {wanted}, and torch {torch.version} is installed"
    build = re.search(r"\+cu(\d+)(\d)$", torchvision.version)
    if build is None or not torch.tells_build:
        return None
    built = f"torchvision {torchvision.version} was built for CUDA {build[1]}.{build[2]}"
    if torch.cuda is None:
        return f"{built}, and torch {torch.version} has no CUDA"
    if torch.cuda.partition(".")[0] != build[1]:  # minor releases of one CUDA version are compatible
        return f"{built}, and torch was built for CUDA {torch.cuda}"
    return None


def _parsed(requirements: Iterable[str]) -> Iterator[Requirement]:
    for text in requirements:
        with contextlib.suppress(InvalidRequirement):
            yield Requirement(text)


def parse_version(text: str) -> Version | None:
    """A version as PEP 440 defines it, or None for anything else."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def minimum_version(name: str) -> Version | None:
    """The oldest release of a package that resnet-cli allows, according to its own metadata."""
    try:
        requirements = importlib.metadata.requires("resnet-cli") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for one in _parsed(requirements):
        if canonicalize_name(one.name) == canonicalize_name(name) and one.marker is None:
            return next((Version(part.version) for part in one.specifier if part.operator == ">="), None)
    return None
