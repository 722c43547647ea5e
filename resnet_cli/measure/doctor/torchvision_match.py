"""Whether torchvision fits the torch beside it, told from files alone: neither is imported.

torchvision's own metadata names the torch that it was built for. On top of that, its binary needs the CUDA libraries
that it was built with: PyPI's torchvision beside a torch for the CPU fails, though the releases fit. Metadata hides
the build; the package's own version.py has it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Installed:
    """A package as its files tell it.

    Args:
        version: with the build where it names one: "0.29.1+cu130".
        cuda: that it was built for, as torch's version.py says: "13.0".
        requires: what its metadata asks for.
        folder: where Python finds it.
        tells_build: its version.py could be read, so that a cuda of None means none.
        shadow: this is not the installed package but something else of its name, which stands before it.
    """

    version: str | None = None
    cuda: str | None = None
    requires: tuple[str, ...] = ()
    folder: Path | None = None
    tells_build: bool = False
    shadow: bool = False


def installed(name: str) -> Installed:
    """What the files of a package say; nothing where there is none."""
    distribution = _distribution(name)
    folder = _folder(name)
    text = ""
    if folder is not None:
        try:
            text = (folder / "version.py").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
    expected = None if distribution is None else Path(str(distribution.locate_file(name)))
    return Installed(
        version=_assigned("__version__", text) or recorded_version(name),
        cuda=_assigned("cuda", text),
        requires=tuple((distribution.requires if distribution is not None else None) or ()),
        folder=folder,
        tells_build=bool(text),
        # An editable build lies elsewhere too, but it has a version.py.
        shadow=folder is not None and not text and (expected is None or folder.resolve() != expected.resolve()),
    )


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def recorded_version(name: str) -> str | None:
    """Version of a package as its metadata has it; None where it is not installed, or half of it is gone."""
    distribution = _distribution(name)
    if distribution is None:
        return None
    try:
        record = distribution.metadata
        return str(record["Version"]) if "Version" in record else None
    except OSError:  # what newer Pythons say where the file is gone
        return None


def _folder(name: str) -> Path | None:
    """Where Python would import a package or module from."""
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


def mismatch(torch: Installed, torchvision: Installed) -> str | None:
    """Why these two cannot work together; None where nothing speaks against it."""
    if torch.version is None or torchvision.version is None:
        return None
    wanted = next((found for one in torchvision.requires if (found := _wanted(one))), None)
    if wanted is not None and not _satisfies(torch.version, wanted):
        said = ", ".join(f"{sign}{number}" for sign, number in wanted).removeprefix("==")
        return f"torchvision {torchvision.version} needs torch {said}, and torch {torch.version} is installed"
    build = re.search(r"\+cu(\d+)(\d)$", torchvision.version)
    if build is None or not torch.tells_build:
        return None
    built = f"torchvision {torchvision.version} was built for CUDA {build[1]}.{build[2]}"
    if torch.cuda is None:
        return f"{built}, and torch {torch.version} without CUDA"
    if torch.cuda.partition(".")[0] != build[1]:  # releases of one major version serve each other
        return f"{built}, and torch for CUDA {torch.cuda}"
    return None


def _wanted(requirement: str) -> list[tuple[str, str]] | None:
    """Of "torch (>=2.14.0)" [(">=", "2.14.0")]; None for another package."""
    match = re.match(r"torch\s*\(?\s*([=<>!~][^;)]*)", requirement)
    return re.findall(r"(==|>=|<=|!=|<|>|~=)\s*([\w.+]+)", match[1]) if match else None


_HOLDS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "==": lambda have, want: have[: len(want)] == want,
    "!=": lambda have, want: have[: len(want)] != want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
}


def _satisfies(version: str, wanted: Sequence[tuple[str, str]]) -> bool:
    have = release(version)
    return all(_HOLDS[sign](have, release(number)) for sign, number in wanted if sign in _HOLDS)


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without what follows them: "2.14.1+cu130" -> (2, 14, 1)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def floor(name: str) -> str | None:
    """The oldest release of a package that resnet-cli takes, as its own metadata says."""
    try:
        required = importlib.metadata.requires("resnet-cli") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for one in required:
        match = re.match(rf"{re.escape(name)}\s*\(?\s*>=\s*([\w.]+)", one)
        if match and "extra" not in one:
            return match[1]
    return None
