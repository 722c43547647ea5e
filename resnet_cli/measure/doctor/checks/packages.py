"""torch, the torchvision beside it, and the other packages that commands import."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.doctor.evidence import WITHOUT_TORCH, Findings, no, not_tried, yes
from resnet_cli.measure.doctor.torchvision_match import mismatch, release
from resnet_cli.results.doctor import Capability

_PAIR = (
    "install a pair from one place: pip install --force-reinstall torch torchvision, or for the CPU only the same with "
    "--index-url https://download.pytorch.org/whl/cpu"
)


def packages(found: Findings) -> Iterator[Capability]:
    """What has to be importable: the first three for commands to work at all."""
    yield _torch(found)
    yield _torchvision(found)
    yield _safetensors(found)
    for name in ("torchinfo", "fvcore"):
        yield _witness(found, name)


def _torch(found: Findings) -> Capability:
    key = name = "torch"
    failure = found.failure("torch")
    if failure is not None:
        if found.torch.version is None and found.torch.folder is None:
            return no(key, name, "it is not installed", "pip install torch torchvision", needed=True)
        where = "" if found.torch.folder is None else f" (found as {found.torch.folder})"
        fix = "rename or remove it: it stands before the installed torch" if found.torch.shadow else _PAIR
        return no(key, name, f"{failure}{where}", fix, needed=True)
    if "torch" not in found.answers:
        return not_tried(key, name, "nothing was asked", needed=True)
    version = str(found.fact("torch", "version"))
    oldest = found.oldest_torch
    if oldest is not None and release(version) < release(oldest):
        said = f"{version} is older than {oldest}, the oldest that resnet-cli is made for"
        return no(key, name, said, "pip install --upgrade torch torchvision", needed=True)
    return yes(key, name, f"{version}, {_build(found)}", needed=True)


def _build(found: Findings) -> str:
    cuda, hip = found.fact("torch", "cuda"), found.fact("torch", "hip")
    if hip is not None:
        return f"built for ROCm {hip}"
    return "built without CUDA" if cuda is None else f"built for CUDA {cuda}"


def _torchvision(found: Findings) -> Capability:
    key = name = "torchvision"
    failure, amiss = found.failure("torchvision"), mismatch(found.torch, found.torchvision)
    if found.torchvision.version is None and found.torchvision.folder is None:
        fix = "pip install torchvision takes the release that fits the torch that is installed, or names the pair"
        return no(key, name, "compare-torchvision needs it, and it is not installed", fix, needed=True)
    if failure is not None:
        if found.torchvision.shadow:
            where = f"{failure} (found as {found.torchvision.folder})"
            return no(key, name, where, "rename or remove it: it stands before the installed torchvision", needed=True)
        return no(key, name, failure if amiss is None else f"{amiss}: {failure}", _PAIR, needed=True)
    if "torchvision" not in found.answers:
        if amiss is not None:
            return no(key, name, amiss, _PAIR, needed=True)
        return not_tried(key, name, WITHOUT_TORCH, needed=True)
    version = found.fact("torchvision", "version") or found.torchvision.version
    said = f"{version}, fits this torch" if amiss is None else f"it can be imported, though {amiss}"
    return yes(key, name, said, needed=True)


def _safetensors(found: Findings) -> Capability:
    key = name = "safetensors"
    if key not in found.answers:
        return not_tried(key, name, "nothing was asked", needed=True)
    failure = found.failure("safetensors")
    if failure is not None:
        fix = "pip install --force-reinstall safetensors"
        return no(key, name, f"convert and --weights need it: {failure}", fix, needed=True)
    return yes(key, name, _version(found, name), needed=True)


def _witness(found: Findings, name: str) -> Capability:
    """Of the other counters of `flops`, which says by itself where one is missing."""
    failure = found.failure(name)
    if name not in found.answers:
        return not_tried(name, name, WITHOUT_TORCH)
    if failure is not None:
        return no(name, name, f"flops goes without it: {failure}", f"pip install --force-reinstall {name}")
    return yes(name, name, _version(found, name))


def _version(found: Findings, name: str) -> str:
    """Of a package that was imported."""
    return str(found.versions.get(name) or found.fact(name, "version") or "of unknown version")
