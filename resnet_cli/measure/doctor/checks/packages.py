"""torch, torchvision, and the other packages that commands import."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.doctor.evidence import WITHOUT_TORCH, Evidence, no, not_tried, yes
from resnet_cli.measure.doctor.torchvision_match import mismatch, parse_version
from resnet_cli.results.doctor import Capability

_PAIR = (
    "install both from one index: pip install --force-reinstall torch torchvision, or for the CPU only the same with "
    "--index-url https://download.pytorch.org/whl/cpu"
)


def check_packages(evidence: Evidence) -> Iterator[Capability]:
    """Packages that must be importable; commands do not work without the first three."""
    yield _torch(evidence)
    yield _torchvision(evidence)
    yield _safetensors(evidence)
    for name in ("torchinfo", "fvcore"):
        yield _other_counter(evidence, name)


def _torch(evidence: Evidence) -> Capability:
    key = name = "torch"
    failure = evidence.failure("torch")
    if failure is not None:
        if evidence.torch.version is None and evidence.torch.folder is None:
            return no(key, name, "not installed", "pip install torch torchvision", required=True)
        where = "" if evidence.torch.folder is None else f" (found as {evidence.torch.folder})"
        fix = "rename or remove it: Python finds it before the installed torch" if evidence.torch.is_shadowed else _PAIR
        return no(key, name, f"{failure}{where}", fix, required=True)
    if "torch" not in evidence.answers:
        return not_tried(key, name, "not probed", required=True)
    version = str(evidence.fact("torch", "version"))
    oldest, parsed = evidence.oldest_torch, parse_version(version)
    if oldest is not None and parsed is not None and parsed.release < oldest.release:
        reason = f"{version} is older than {oldest}, the oldest supported release"
        return no(key, name, reason, "pip install --upgrade torch torchvision", required=True)
    return yes(key, name, f"{version}, {_build(evidence)}", required=True)


def _build(evidence: Evidence) -> str:
    cuda, hip = evidence.fact("torch", "cuda"), evidence.fact("torch", "hip")
    if hip is not None:
        return f"built for ROCm {hip}"
    return "built without CUDA" if cuda is None else f"built for CUDA {cuda}"


def _torchvision(evidence: Evidence) -> Capability:
    key = name = "torchvision"
    failure, conflict = evidence.failure("torchvision"), mismatch(evidence.torch, evidence.torchvision)
    if evidence.torchvision.version is None and evidence.torchvision.folder is None:
        fix = "pip install torchvision"
        return no(key, name, "not installed; compare-torchvision needs it", fix, required=True)
    if failure is not None:
        if evidence.torchvision.is_shadowed:
            reason = f"{failure} (found as {evidence.torchvision.folder})"
            fix = "rename or remove it: Python finds it before the installed torchvision"
            return no(key, name, reason, fix, required=True)
        return no(key, name, failure if conflict is None else f"{conflict}: {failure}", _PAIR, required=True)
    if "torchvision" not in evidence.answers:
        if conflict is not None:
            return no(key, name, conflict, _PAIR, required=True)
        return not_tried(key, name, WITHOUT_TORCH, required=True)
    version = evidence.fact("torchvision", "version") or evidence.torchvision.version
    reason = f"{version}, matches torch" if conflict is None else f"can be imported, although {conflict}"
    return yes(key, name, reason, required=True)


def _safetensors(evidence: Evidence) -> Capability:
    key = name = "safetensors"
    if key not in evidence.answers:
        return not_tried(key, name, "not probed", required=True)
    failure = evidence.failure("safetensors")
    if failure is not None:
        fix = "pip install --force-reinstall safetensors"
        return no(key, name, f"needed to read and write .safetensors: {failure}", fix, required=True)
    return yes(key, name, _version(evidence, name), required=True)


def _other_counter(evidence: Evidence, name: str) -> Capability:
    """A FLOP counter that `flops` compares with; `flops` works without it."""
    failure = evidence.failure(name)
    if name not in evidence.answers:
        return not_tried(name, name, WITHOUT_TORCH)
    if failure is not None:
        return no(name, name, f"flops runs without it: {failure}", f"pip install --force-reinstall {name}")
    return yes(name, name, _version(evidence, name))


def _version(evidence: Evidence, name: str) -> str:
    """Version of a package that was imported."""
    return str(evidence.versions.get(name) or evidence.fact(name, "version") or "unknown version")
