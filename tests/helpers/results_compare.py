"""Results of comparisons that are built by hand: cases that no small network shows all at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.results.common import Note
from resnet_cli.results.compare import (
    BITWISE,
    DIFFERENT,
    NOT_COMPARABLE,
    REWRITTEN,
    ROUNDING,
    SKIPPED,
    AlignedOp,
    ArchitectureResult,
    Check,
    CompareAllResult,
    CompareInputs,
    CompareResult,
    Diagnosis,
    Difference,
    FaultResult,
    Mapping,
    Prediction,
    Rewriting,
    SelfTestResult,
)
from tests.helpers.results_summary_flops import ENVIRONMENT, HOSTILE, NETWORK

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

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


def equal(ours: str, theirs: str, operator: str, text: str = "") -> AlignedOp:
    return AlignedOp(ours, theirs, operator, operator, text, text, "equal", 0.0, 0.0)


def block_lines(ours: str, theirs: str, channels: int, opening: int = 0, bottleneck: bool = False) -> list[AlignedOp]:
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


def network_lines(repeat: tuple[int, ...] = (2, 2, 2, 2), bottleneck: bool = False) -> tuple[AlignedOp, ...]:
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
    made = []
    for key in CHECKS:
        verdict, error, text = verdicts.get(key, (BITWISE, 0.0, "62 of 62 tensors are equal bit for bit"))
        measured = key not in ("parameters", "settings")
        limit = None if not measured or verdict == SKIPPED else 4.7e-06
        made.append(Check(key, TITLES[key], verdict, error if measured else None, limit, text))
    return tuple(made)


def names(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"l0.block.{i}.weight", f"layer1.{i}.weight") for i in range(count))


@functools.cache
def same() -> CompareResult:
    return CompareResult(
        network=RESNET18,
        reference="torchvision resnet18",
        reference_version="0.29.2",
        verdict=BITWISE,
        same=True,
        checks=checks(),
        diagnoses=(),
        differences=(),
        aligned_ops=network_lines(),
        mapping=Mapping("alignment", names(62), 62, 62, 62, (), ()),
        test_inputs=CompareInputs(0, "randomised", (2, 3, 224, 224), (4, 3, 112, 112), ((1, 3, 97, 129),), None),
        image=None,
        predictions=(),
        environment=CPU,
        notes=(),
    )


def setting(result: CompareResult, path: str, ours: str, theirs: str) -> CompareResult:
    """The same result with a setting of one of our operators changed."""
    name, _, our_value = ours.rpartition(" ")
    _, _, their_value = theirs.rpartition(" ")
    index = next(i for i, line in enumerate(result.aligned_ops) if line.model_path == path)
    line = result.aligned_ops[index]
    text = line.reference_settings.replace(theirs, ours)
    changed = replace(line, model_settings=text, status="setting", isolated=0.2)
    finding = Difference("settings", "setting", f"{line.model_op}.{name}", path, line.reference_path, our_value, their_value,
                      f"{path}: {ours}, torchvision has {their_value}")  # fmt: skip
    lines = (*result.aligned_ops[:index], changed, *result.aligned_ops[index + 1 :])
    return replace(result, aligned_ops=lines, differences=(*result.differences, finding))


def spread(result: CompareResult, error: float = 0.31) -> CompareResult:
    """With errors that grow from the first difference on, which is marked."""
    first = next(i for i, line in enumerate(result.aligned_ops) if line.status != "equal")
    lines = [
        line if i < first else replace(line, cumulative=error * (1 + i / 100), is_first_difference=i == first)
        for i, line in enumerate(result.aligned_ops)
    ]
    return replace(result, aligned_ops=tuple(lines))


@functools.cache
def stride() -> CompareResult:
    """ResNet-50 of the paper against torchvision's."""
    lines = network_lines((3, 4, 6, 3), bottleneck=True)
    result = replace(same(), aligned_ops=lines, network=replace(RESNET18, name="resnet50", block="bottleneck",
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
        test_inputs=replace(same().test_inputs, noise_floor=4.7e-07),
    )  # fmt: skip


def maximum(path: str, reference_path: str) -> Rewriting:
    """A ReLU that is written as a maximum."""
    return Rewriting(path, reference_path, ("maximum",), ("relu",), f"{path}: maximum in place of ReLU")


@functools.cache
def rewritten() -> CompareResult:
    """The same function in other operators: two ReLUs and the classifier."""
    result = same()
    lines = [
        replace(line, status="rewritten", model_op="maximum", cumulative=None, isolated=None)
        if line.model_path in ("head.relu", "tail.relu")
        else line
        for line in result.aligned_ops
    ]
    product = Rewriting("tail.fc", "fc", ("linear", "add"), ("linear",), "tail.fc: linear, add in place of linear")
    return replace(
        result,
        aligned_ops=tuple(lines),
        verdict=REWRITTEN,
        checks=checks(settings=(REWRITTEN, None, "written otherwise in 3 places, with the same function")),
        rewritings=(maximum("head.relu", "relu"), product, maximum("layer.relu", "layer1.0.relu")),
    )


@functools.cache
def missing() -> CompareResult:
    """A skip block without its batch norm, an activation of another kind, a module that nothing reads."""
    result = same()
    lines = list(result.aligned_ops)
    at = next(i for i, line in enumerate(lines) if line.model_path == "l2.block.ResSkip.skip_bn1")
    lines[at] = replace(lines[at], model_path=None, model_op=None, model_settings="", status="missing", cumulative=None,
                        isolated=None)  # fmt: skip
    relu = next(i for i, line in enumerate(lines) if line.model_path == "l3.block.ResIdentity0.relu")
    lines[relu] = replace(lines[relu], model_op="gelu", model_settings="tanh", status="replaced")
    lines.insert(len(lines) - 1, AlignedOp("tail.drop", None, "dropout", None, "p 0.5", "", "extra", None, None))
    findings = (
        Difference("settings", "missing", "batch_norm", None, "layer3.0.downsample.1", None, "256",
                "layer3.0.downsample.1: torchvision has a batch_norm here, ours has none"),
        Difference("settings", "replaced", "relu", "l3.block.ResIdentity0.relu", "layer4.1.relu", "gelu", "relu",
                "l3.block.ResIdentity0.relu: gelu, torchvision has relu"),
        Difference("settings", "extra", "dropout", "tail.drop", None, "p 0.5", None,
                "tail.drop: a dropout that torchvision has not", expected=True),
    )  # fmt: skip
    gone = tuple(f"layer3.0.downsample.1.{name}" for name in ("weight", "bias"))
    return replace(
        spread(replace(result, aligned_ops=tuple(lines))),
        verdict=DIFFERENT,
        same=False,
        differences=findings,
        rewritings=(maximum("head.relu", "relu"),),
        checks=checks(parameters=(DIFFERENT, None, "60 of 62 mapped"), eval=(DIFFERENT, 0.08, "the logits differ")),
        mapping=Mapping("alignment", names(60), 60, 60, 62, (), gone, tuple(f"spare.{i}.weight" for i in range(7))),
        image="cat.jpg",
        predictions=(
            Prediction(1, "tabby", 0.61, "tabby", 0.59),
            Prediction(2, "tiger cat", 0.2, "Egyptian cat", 0.00001),
        ),
        notes=(Note("warning", "the reference was in train mode", "train-mode-differs"),),
    )


@functools.cache
def epsilon() -> CompareResult:
    """Another epsilon in every batch norm, as expected."""
    result = same()
    for line in network_lines():
        if line.model_op == "batch_norm" and line.model_path is not None:
            result = setting(result, line.model_path, "eps 0.001", "eps 1e-05")
    findings = tuple(replace(difference, expected=True) for difference in result.differences)
    return replace(spread(result, 1e-3), differences=findings, verdict=DIFFERENT, same=True)


@functools.cache
def rounding() -> CompareResult:
    """A hand-written batch norm: nothing but the last bits."""
    lines = tuple(
        line if i == 0 else replace(line, cumulative=3.1e-07 + i * 1e-09, isolated=2e-07, rounding=True)
        for i, line in enumerate(network_lines())
    )
    near = (ROUNDING, 3.5e-07, "within 10 × the noise floor of float32")
    return replace(
        same(), aligned_ops=lines, verdict=ROUNDING, checks=checks(eval=near, train=near, gradients=near),
        test_inputs=replace(same().test_inputs, noise_floor=4.7e-07),
    )  # fmt: skip


@functools.cache
def nan() -> CompareResult:
    """A weight that is no number: equal by its settings, and nothing can be said behind it."""
    lines = tuple(
        line if i < 9 else replace(line, cumulative=None, isolated=None if i == 9 else 0.0, is_first_difference=i == 9)
        for i, line in enumerate(network_lines())
    )
    finding = Difference("parameters", "value", "weight", "l0.block.ResIdentity0.bn2.weight", "layer1.0.bn2.weight",
                      "nan", "0.93", "l0.block.ResIdentity0.bn2.weight: 1 of 64 values is not finite")  # fmt: skip
    broken = (DIFFERENT, None, "the logits are not finite (NaN)")
    return replace(
        same(), aligned_ops=lines, verdict=DIFFERENT, same=False, differences=(finding,), checks=checks(eval=broken)
    )


@functools.cache
def many() -> CompareResult:
    """A thousand operators, each of them different, with names that nobody would want."""
    path = f"{HOSTILE}.{'deep.' * 12}名前"
    lines = tuple(
        AlignedOp(
            f"{path}.{i}",
            f"x.{i}",
            "conv",
            "conv",
            f"groups {i}",
            "groups 0",
            "setting",
            0.5,
            0.5,
            is_first_difference=i == 0,
        )
        for i in range(1000)
    )
    findings = tuple(
        Difference("settings", "setting", f"conv.groups{HOSTILE}", f"{path}.{i}", f"x.{i}", str(i), "0",
                f"{path}.{i}: groups {i}, torchvision has 0") for i in range(1000)
    )  # fmt: skip
    return replace(same(), aligned_ops=lines, differences=findings, verdict=DIFFERENT, same=False)


@functools.cache
def unable() -> CompareResult:
    """A network that takes another input."""
    why = (NOT_COMPARABLE, None, "ours takes 1 channel, torchvision takes 3")
    return replace(
        same(), verdict=NOT_COMPARABLE, same=False, aligned_ops=(), checks=checks(**dict.fromkeys(CHECKS, why)),
        mapping=Mapping("alignment", (), 0, 62, 62, (), ()),
    )  # fmt: skip


RESULTS = {make.__name__: make for make in (same, stride, missing, epsilon, rounding, rewritten, nan, many, unable)}


@functools.cache
def family() -> CompareAllResult:
    good, bad, left = same().checks, stride().checks, checks(**dict.fromkeys(CHECKS[3:], (SKIPPED, None, "left out")))
    return CompareAllResult(
        reference_version="0.29.2",
        same=False,
        architectures=(
            ArchitectureResult("resnet18", BITWISE, True, 11_689_512, 62, 62, good, 0, None),
            ArchitectureResult("resnet34", ROUNDING, True, 21_797_672, 110, 110, rounding().checks, 0, None),
            ArchitectureResult("resnet50", DIFFERENT, False, 25_557_032, 161, 161, bad, 6, stride().diagnoses[0].text),
            ArchitectureResult("resnext101_64x4d", SKIPPED, True, 83_455_272, 314, 314, left, 0, None),
            ArchitectureResult(
                "wide_resnet101_2", DIFFERENT, False, 126_886_696, 300, 314, good, 1, f"l0: no {HOSTILE}"
            ),
        ),
        environment=CPU,
        notes=(),
    )


@functools.cache
def self_test() -> SelfTestResult:
    shapes, blocks = "convolution and pooling", "blocks"
    rows = (
        FaultResult("stride-in-1x1", shapes, "ResNet v1: the stride in the first 1×1 convolution", True, True, True,
                ("settings", "eval", "train", "gradients"), "this is ResNet v1: the stride stands in the first 1×1"),
        FaultResult("ceil-mode", shapes, "max_pool rounds up", True, True, False, ("settings",), ""),
        FaultResult("groups", shapes, "groups in the 3×3", False, False, False, (), "a basic block has no groups"),
        FaultResult("missing-bn", blocks, "one batch norm missing", True, True, True, ("parameters", "settings", "eval"),
                "a batch_norm is missing"),
        FaultResult("relu-before-add", blocks, HOSTILE, True, False, False, (), ""),
    )  # fmt: skip
    return SelfTestResult(RESNET18, "torchvision resnet18", rows, 4, 3, 2, False, CPU, ())


EVERY: dict[str, Callable[[], Result]] = {**RESULTS, "family": family, "self_test": self_test}
