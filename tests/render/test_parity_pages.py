"""What is drawn of a comparison: a verdict that reads without colour, a diff that hides nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ENVIRONMENT, HOSTILE, NETWORK

from resnet_cli.errors import ResnetCliError
from resnet_cli.parity_results import (
    BITWISE,
    CHECKS,
    DIFFERENT,
    NOT_COMPARABLE,
    ROUNDING,
    SKIPPED,
    Check,
    Diagnosis,
    FamilyResult,
    Finding,
    Line,
    Mapping,
    Member,
    ParityResult,
    Planted,
    Prediction,
    Probe,
    SelfTestResult,
)
from resnet_cli.quantities import width
from resnet_cli.render.hunks import hunks
from resnet_cli.render.page import Table, View
from resnet_cli.render.pages import Result, page, parity_sections, validate_view
from resnet_cli.render.to_json import from_json, to_json
from resnet_cli.render.to_terminal import to_text
from resnet_cli.render.write import Format, render
from resnet_cli.results import Note

CPU = replace(ENVIRONMENT, device="cpu", device_name="", device_memory_bytes=None)
RESNET18 = replace(NETWORK, name="resnet18", repeat=(2, 2, 2, 2), stem="imagenet", num_classes=1000)
TITLES = dict(
    zip(
        CHECKS,
        ("parameters", "settings", "forward, eval mode", "forward, train mode", "running statistics", "gradients",
         "optimizer step", "other shapes"),
        strict=True,
    )
)  # fmt: skip


# Results, built by hand


def equal(ours: str, theirs: str, operator: str, text: str = "") -> Line:
    return Line(ours, theirs, operator, operator, text, text, "equal", 0.0, 0.0)


def block_lines(ours: str, theirs: str, channels: int, opening: int = 0, bottleneck: bool = False) -> list[Line]:
    """The operators of a block; `opening` channels make it the one that opens a stage."""
    inner = channels // 4 if bottleneck else channels
    stride = 2 if opening else 1
    kernels = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
    widths = [opening or channels, *[inner] * (len(kernels) - 1), channels]
    lines = []
    for i, (kernel, step) in enumerate(kernels, 1):
        text = f"{widths[i - 1]}→{widths[i]} {kernel}×{kernel} stride {step} padding {kernel // 2}"
        lines.append(equal(f"{ours}.conv{i}", f"{theirs}.conv{i}", "conv", text))
        lines.append(equal(f"{ours}.bn{i}", f"{theirs}.bn{i}", "batch_norm", f"{widths[i]} eps 1e-05 momentum 0.1"))
        if i < len(kernels):
            lines.append(equal(f"{ours}.relu", f"{theirs}.relu", "relu"))
    if opening:
        text = f"{opening}→{channels} 1×1 stride 2 padding 0"
        lines.append(equal(f"{ours}.skip_conv1", f"{theirs}.downsample.0", "conv", text))
        text = f"{channels} eps 1e-05 momentum 0.1"
        lines.append(equal(f"{ours}.skip_bn1", f"{theirs}.downsample.1", "batch_norm", text))
    return [*lines, equal(ours, theirs, "add"), equal(f"{ours}.relu", f"{theirs}.relu", "relu")]


def network_lines(repeat: tuple[int, ...] = (2, 2, 2, 2), bottleneck: bool = False) -> tuple[Line, ...]:
    kind = "Bottleneck" if bottleneck else "Res"
    lines = [
        equal("head.conv", "conv1", "conv", "3→64 7×7 stride 2 padding 3"),
        equal("head.bn", "bn1", "batch_norm", "64 eps 1e-05 momentum 0.1"),
        equal("head.relu", "relu", "relu"),
        equal("head.maxpool", "maxpool", "max_pool", "3×3 stride 2 padding 1"),
    ]
    last = 64
    for stage, blocks in enumerate(repeat):
        channels = (64 << stage) * (4 if bottleneck else 1)
        opens = channels != last
        for index in range(blocks):
            name = f"{kind}Skip" if opens and not index else f"{kind}Identity{index - opens}"
            ours, theirs = f"l{stage}.block.{name}", f"layer{stage + 1}.{index}"
            lines += block_lines(ours, theirs, channels, last if opens and not index else 0, bottleneck)
        last = channels
    return (
        *lines,
        equal("tail.avg", "avgpool", "mean"),
        equal("tail", "", "flatten", "1"),
        equal("tail.lin", "fc", "linear", f"{last}→1000 bias"),
    )


def checks(**verdicts: tuple[str, float | None, str]) -> tuple[Check, ...]:
    found = []
    for key in CHECKS:
        verdict, error, text = verdicts.get(key, (BITWISE, 0.0, "62 of 62 tensors are equal bit for bit"))
        measured = key not in ("parameters", "settings")
        limit = None if not measured or verdict == SKIPPED else 4.7e-06
        found.append(Check(key, TITLES[key], verdict, error if measured else None, limit, text))
    return tuple(found)


def names(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"l0.block.{i}.weight", f"layer1.{i}.weight") for i in range(count))


def same() -> ParityResult:
    return ParityResult(
        network=RESNET18,
        reference="torchvision resnet18",
        reference_version="0.29.2",
        verdict=BITWISE,
        same=True,
        checks=checks(),
        diagnoses=(),
        findings=(),
        lines=network_lines(),
        mapping=Mapping("alignment", names(62), 62, 62, 62, (), ()),
        probe=Probe(0, "randomised", (2, 3, 224, 224), (4, 3, 112, 112), ((1, 3, 97, 129),), None),
        image=None,
        predictions=(),
        environment=CPU,
        notes=(),
    )


def setting(result: ParityResult, path: str, ours: str, theirs: str) -> ParityResult:
    """The same result with a setting of one of our operators changed."""
    name, _, our_value = ours.rpartition(" ")
    _, _, their_value = theirs.rpartition(" ")
    index = next(i for i, line in enumerate(result.lines) if line.ours == path)
    line = result.lines[index]
    text = line.their_text.replace(theirs, ours)
    changed = replace(line, our_text=text, status="setting", isolated=0.2)
    finding = Finding("settings", "setting", f"{line.our_operator}.{name}", path, line.theirs, our_value, their_value,
                      f"{path}: {ours}, torchvision has {their_value}")  # fmt: skip
    lines = (*result.lines[:index], changed, *result.lines[index + 1 :])
    return replace(result, lines=lines, findings=(*result.findings, finding))


def spread(result: ParityResult, error: float = 0.31) -> ParityResult:
    """With errors that grow from the first difference on, which is marked."""
    first = next(i for i, line in enumerate(result.lines) if line.status != "equal")
    lines = [
        line if i < first else replace(line, cumulative=error * (1 + i / 100), here=i == first)
        for i, line in enumerate(result.lines)
    ]
    return replace(result, lines=tuple(lines))


def stride() -> ParityResult:
    """ResNet-50 of the paper against torchvision's."""
    lines = network_lines((3, 4, 6, 3), bottleneck=True)
    result = replace(same(), lines=lines, network=replace(RESNET18, name="resnet50", block="bottleneck",
                     repeat=(3, 4, 6, 3)), reference="torchvision resnet50", verdict=DIFFERENT, same=False)  # fmt: skip
    for stage in (1, 2, 3):
        result = setting(result, f"l{stage}.block.BottleneckSkip.conv1", "stride 2", "stride 1")
        result = setting(result, f"l{stage}.block.BottleneckSkip.conv2", "stride 1", "stride 2")
    wrong = (DIFFERENT, 0.31, "the logits differ in the first digit")
    text = (
        "this is ResNet v1: the stride stands in the first 1×1 convolution; torchvision puts it in the 3×3 (v1.5), "
        "which is a little more work and a little more accurate"
    )
    return replace(
        spread(result),
        checks=checks(settings=(DIFFERENT, None, "6 settings differ"), eval=wrong, train=wrong,
                      statistics=(DIFFERENT, 0.11, "106 of 106 differ"), gradients=(DIFFERENT, 2.0, "all differ"),
                      step=(SKIPPED, None, "left out: --skip step"),
                      shapes=(NOT_COMPARABLE, None, "a stage would be empty at 1×3×8×8")),
        diagnoses=(Diagnosis("resnet-v1", text, tuple(range(6))),),
        mapping=Mapping("alignment", names(161), 161, 161, 161, (), ()),
        probe=replace(same().probe, noise_floor=4.7e-07),
    )  # fmt: skip


def missing() -> ParityResult:
    """A skip block without its batch norm, an activation of another kind, a module that nothing reads."""
    result = same()
    lines = list(result.lines)
    at = next(i for i, line in enumerate(lines) if line.ours == "l2.block.ResSkip.skip_bn1")
    lines[at] = replace(lines[at], ours=None, our_operator=None, our_text="", status="missing", cumulative=None,
                        isolated=None)  # fmt: skip
    relu = next(i for i, line in enumerate(lines) if line.ours == "l3.block.ResIdentity0.relu")
    lines[relu] = replace(lines[relu], our_operator="gelu", our_text="tanh", status="replaced")
    lines.insert(len(lines) - 1, Line("tail.drop", None, "dropout", None, "p 0.5", "", "extra", None, None))
    findings = (
        Finding("settings", "missing", "batch_norm", None, "layer3.0.downsample.1", None, "256",
                "layer3.0.downsample.1: torchvision has a batch_norm here, ours has none"),
        Finding("settings", "replaced", "relu", "l3.block.ResIdentity0.relu", "layer4.1.relu", "gelu", "relu",
                "l3.block.ResIdentity0.relu: gelu, torchvision has relu"),
        Finding("settings", "extra", "dropout", "tail.drop", None, "p 0.5", None,
                "tail.drop: a dropout that torchvision has not", expected=True),
    )  # fmt: skip
    gone = tuple(f"layer3.0.downsample.1.{name}" for name in ("weight", "bias"))
    return replace(
        spread(replace(result, lines=tuple(lines))),
        verdict=DIFFERENT,
        same=False,
        findings=findings,
        checks=checks(parameters=(DIFFERENT, None, "60 of 62 mapped"), eval=(DIFFERENT, 0.08, "the logits differ")),
        mapping=Mapping("alignment", names(60), 60, 60, 62, (), gone, tuple(f"spare.{i}.weight" for i in range(7))),
        image="cat.jpg",
        predictions=(
            Prediction(1, "tabby", 0.61, "tabby", 0.59),
            Prediction(2, "tiger cat", 0.2, "Egyptian cat", 0.00001),
        ),
        notes=(Note("warning", "the reference was in train mode"),),
    )


def epsilon() -> ParityResult:
    """Another epsilon in every batch norm, as expected."""
    result = same()
    for line in network_lines():
        if line.our_operator == "batch_norm" and line.ours is not None:
            result = setting(result, line.ours, "eps 0.001", "eps 1e-05")
    findings = tuple(replace(one, expected=True) for one in result.findings)
    return replace(spread(result, 1e-3), findings=findings, verdict=DIFFERENT, same=True)


def rounding() -> ParityResult:
    """A hand-written batch norm: nothing but the last bits."""
    lines = tuple(
        line if i == 0 else replace(line, cumulative=3.1e-07 + i * 1e-09, isolated=2e-07, rounding=True)
        for i, line in enumerate(network_lines())
    )
    near = (ROUNDING, 3.5e-07, "within 10 × the noise floor of float32")
    return replace(
        same(), lines=lines, verdict=ROUNDING, checks=checks(eval=near, train=near, gradients=near),
        probe=replace(same().probe, noise_floor=4.7e-07),
    )  # fmt: skip


def nan() -> ParityResult:
    """A weight that is no number: equal by its settings, and nothing can be said behind it."""
    lines = tuple(
        line if i < 9 else replace(line, cumulative=None, isolated=None if i == 9 else 0.0, here=i == 9)
        for i, line in enumerate(network_lines())
    )
    finding = Finding("parameters", "value", "weight", "l0.block.ResIdentity0.bn2.weight", "layer1.0.bn2.weight",
                      "nan", "0.93", "l0.block.ResIdentity0.bn2.weight: 1 of 64 values is not finite")  # fmt: skip
    broken = (DIFFERENT, None, "the logits are not finite (NaN)")
    return replace(same(), lines=lines, verdict=DIFFERENT, same=False, findings=(finding,), checks=checks(eval=broken))


def many() -> ParityResult:
    """A thousand operators, each of them different, with names that nobody would want."""
    path = f"{HOSTILE}.{'deep.' * 12}名前"
    lines = tuple(
        Line(f"{path}.{i}", f"x.{i}", "conv", "conv", f"groups {i}", "groups 0", "setting", 0.5, 0.5, here=i == 0)
        for i in range(1000)
    )
    findings = tuple(
        Finding("settings", "setting", f"conv.groups{HOSTILE}", f"{path}.{i}", f"x.{i}", str(i), "0",
                f"{path}.{i}: groups {i}, torchvision has 0") for i in range(1000)
    )  # fmt: skip
    return replace(same(), lines=lines, findings=findings, verdict=DIFFERENT, same=False)


def unable() -> ParityResult:
    """A network that takes another input."""
    why = (NOT_COMPARABLE, None, "ours takes 1 channel, torchvision takes 3")
    return replace(
        same(), verdict=NOT_COMPARABLE, same=False, lines=(), checks=checks(**dict.fromkeys(CHECKS, why)),
        mapping=Mapping("alignment", (), 0, 62, 62, (), ()),
    )  # fmt: skip


RESULTS = {make.__name__: make for make in (same, stride, missing, epsilon, rounding, nan, many, unable)}


def family() -> FamilyResult:
    good, bad, left = same().checks, stride().checks, checks(**dict.fromkeys(CHECKS[3:], (SKIPPED, None, "left out")))
    return FamilyResult(
        reference_version="0.29.2",
        same=False,
        members=(
            Member("resnet18", BITWISE, True, 11_689_512, 62, 62, good, 0, None),
            Member("resnet34", ROUNDING, True, 21_797_672, 110, 110, rounding().checks, 0, None),
            Member("resnet50", DIFFERENT, False, 25_557_032, 161, 161, bad, 6, stride().diagnoses[0].text),
            Member("resnext101_64x4d", SKIPPED, True, 83_455_272, 314, 314, left, 0, None),
            Member("wide_resnet101_2", DIFFERENT, False, 126_886_696, 300, 314, good, 1, f"l0: no {HOSTILE}"),
        ),
        environment=CPU,
        notes=(),
    )


def self_test() -> SelfTestResult:
    shapes, blocks = "convolution and pooling", "blocks"
    rows = (
        Planted("stride-in-1x1", shapes, "ResNet v1: the stride in the first 1×1 convolution", True, True, True,
                ("settings", "eval", "train", "gradients"), "this is ResNet v1: the stride stands in the first 1×1"),
        Planted("ceil-mode", shapes, "max_pool rounds up", True, True, False, ("settings",), ""),
        Planted("groups", shapes, "groups in the 3×3", False, False, False, (), "a basic block has no groups"),
        Planted("missing-bn", blocks, "one batch norm missing", True, True, True, ("parameters", "settings", "eval"),
                "a batch_norm is missing"),
        Planted("relu-before-add", blocks, HOSTILE, True, False, False, (), ""),
    )  # fmt: skip
    return SelfTestResult(RESNET18, "torchvision resnet18", rows, 4, 3, 2, False, CPU, ())


EVERY: dict[str, Callable[[], Result]] = {**RESULTS, "family": family, "self_test": self_test}
