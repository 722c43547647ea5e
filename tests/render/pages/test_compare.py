"""What is drawn of a comparison: a verdict that reads without colour, a diff that hides nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import width
from resnet_cli.render.document import Cell, Column, Document, Row, Table, ViewOptions
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.output import render
from resnet_cli.render.pages import PAGES, page, validate_view
from resnet_cli.render.pages.compare.diff_hunks import hunks
from resnet_cli.results.common import Note
from resnet_cli.results.compare import (
    BITWISE,
    CHECKS,
    DIFFERENT,
    NOT_COMPARABLE,
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
    SelfTestResult,
)
from resnet_cli.results.serialization import from_json, to_json
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


# Results, built by hand


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
    found = []
    for key in CHECKS:
        verdict, error, text = verdicts.get(key, (BITWISE, 0.0, "62 of 62 tensors are equal bit for bit"))
        measured = key not in ("parameters", "settings")
        limit = None if not measured or verdict == SKIPPED else 4.7e-06
        found.append(Check(key, TITLES[key], verdict, error if measured else None, limit, text))
    return tuple(found)


def names(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"l0.block.{i}.weight", f"layer1.{i}.weight") for i in range(count))


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
        checks=checks(parameters=(DIFFERENT, None, "60 of 62 mapped"), eval=(DIFFERENT, 0.08, "the logits differ")),
        mapping=Mapping("alignment", names(60), 60, 60, 62, (), gone, tuple(f"spare.{i}.weight" for i in range(7))),
        image="cat.jpg",
        predictions=(
            Prediction(1, "tabby", 0.61, "tabby", 0.59),
            Prediction(2, "tiger cat", 0.2, "Egyptian cat", 0.00001),
        ),
        notes=(Note("warning", "the reference was in train mode"),),
    )


def epsilon() -> CompareResult:
    """Another epsilon in every batch norm, as expected."""
    result = same()
    for line in network_lines():
        if line.model_op == "batch_norm" and line.model_path is not None:
            result = setting(result, line.model_path, "eps 0.001", "eps 1e-05")
    findings = tuple(replace(one, expected=True) for one in result.differences)
    return replace(spread(result, 1e-3), differences=findings, verdict=DIFFERENT, same=True)


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


def unable() -> CompareResult:
    """A network that takes another input."""
    why = (NOT_COMPARABLE, None, "ours takes 1 channel, torchvision takes 3")
    return replace(
        same(), verdict=NOT_COMPARABLE, same=False, aligned_ops=(), checks=checks(**dict.fromkeys(CHECKS, why)),
        mapping=Mapping("alignment", (), 0, 62, 62, (), ()),
    )  # fmt: skip


RESULTS = {make.__name__: make for make in (same, stride, missing, epsilon, rounding, nan, many, unable)}


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


VIEW = ViewOptions()


def drawn(name: str, room: int, view: ViewOptions = VIEW) -> str:
    return to_text(page(EVERY[name](), view), room)


def tables(result: Result, view: ViewOptions = VIEW) -> dict[str, Table]:
    return {part.key: part for part in page(result, view).elements if isinstance(part, Table)}


def texts(table: Table, key: str) -> list[str]:
    return [row.cells[key].text if key in row.cells else "" for row in table.rows]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# Golden files


@pytest.mark.parametrize("room", [80, 120])
@pytest.mark.parametrize("name", ["same", "stride", "missing", "rounding", "nan", "family", "self_test"])
def test_golden_text(name: str, room: int, golden: Callable[[str, str], None]) -> None:
    golden(f"parity-{name}-{room}.txt", drawn(name, room))


@pytest.mark.parametrize("name", ["stride", "missing", "family", "self_test"])
def test_golden_markdown(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"parity-{name}.md", render(EVERY[name](), "markdown"))


# Every medium


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("name", EVERY)
def test_no_line_is_wider_than_the_terminal(name: str, encoding: str) -> None:
    document = page(EVERY[name](), ViewOptions())
    for room in (20, 33, 40, 59, 60, 80, 100, 120, 200):
        text = to_text(document, room, encoding)
        assert max(map(width, text.splitlines())) <= room
        text.encode(encoding)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_cut_where_there_is_room(name: str) -> None:
    text = to_text(page(EVERY[name](), ViewOptions()))
    assert "hidden at this width" not in text
    for line in tables(EVERY[name]()).values():
        for row in line.rows:
            for column in line.columns:
                assert row.cells[column.key].text in text if column.key in row.cells else True


@pytest.mark.parametrize("medium", RESULT_FORMATS)
@pytest.mark.parametrize("name", EVERY)
def test_nothing_from_outside_is_obeyed(name: str, medium: str) -> None:
    if (name, medium) != ("unable", "csv"):  # it has no operators
        assert all(character.isprintable() or character == "\n" for character in render(EVERY[name](), medium))


@pytest.mark.parametrize("name", EVERY)
def test_json_reads_back_as_it_was(name: str) -> None:
    result = EVERY[name]()
    assert from_json(to_json(result)) == result


def test_the_schemas() -> None:
    for result, schema in (
        (same(), "resnet-cli/compare-torchvision/2"),
        (family(), "resnet-cli/compare-torchvision-all/2"),
        (self_test(), "resnet-cli/self-test/2"),
    ):
        assert f'"schema": "{schema}"' in to_json(result)


# The verdict


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (same(), "✓ the same network, bit for bit"),
        (replace(same(), checks=checks(step=(SKIPPED, None, "")), verdict=SKIPPED),
         "✓ the same network, bit for bit; 1 check skipped"),
        (rounding(), "✓ the same network; differences are rounding"),
        (stride(), "✗ not the same network: 6 differences of 2 kinds; 1 check skipped"),
        (missing(), "✗ not the same network: 2 differences"),
        (nan(), "✗ not the same network: 1 difference"),
        (epsilon(), "✓ the same but for 20 expected changes"),
        (unable(), "? cannot be compared: ours takes 1 channel, torchvision takes 3"),
        (replace(same(), checks=checks(eval=(DIFFERENT, 1.0, "the logits differ")), verdict=DIFFERENT, same=False),
         "✗ not the same network: the logits differ"),
        (replace(same(), checks=checks(**dict.fromkeys(CHECKS, (SKIPPED, None, ""))), verdict=SKIPPED),
         "? nothing was compared: every check was skipped"),
        (replace(same(), same=False), "✗ not the same network"),
    ],
)  # fmt: skip
def test_the_verdict_reads_without_colour(result: CompareResult, said: str) -> None:
    assert said in to_text(page(result, ViewOptions())).splitlines()[:5]


def test_the_diagnosis_stands_before_the_checks() -> None:
    text = drawn("stride", 80)
    assert 0 < text.index("✗ not the same") < text.index("this is ResNet v1") < text.index("forward, eval mode")
    assert tables(stride())["diagnoses"].rows[0].cells["findings"].value == 6


def test_checks_say_their_verdict_in_words() -> None:
    assert texts(tables(stride())["checks"], "verdict") == [
        "✓ bitwise", "✗ different", "✗ different", "✗ different", "✗ different", "✗ different", "– skipped",
        "? not comparable",
    ]  # fmt: skip
    assert "✓ rounding (≈)" in texts(tables(rounding())["checks"], "verdict")
    assert texts(tables(nan())["checks"], "error")[2] == "–"
    assert texts(tables(same())["checks"], "error")[2] == "0"
    assert texts(tables(stride())["checks"], "error")[2] == "3.1e-01"


# Findings


def test_equal_findings_are_one_row() -> None:
    found = tables(stride())["findings"]
    assert texts(found, "times") == ["×3", "×3"]
    assert texts(found, "text")[0].endswith("; the same in 2 more, the last l3.block.BottleneckSkip.conv1")
    assert texts(tables(missing())["findings"], "sign") == ["✗", "✗", "✓"]
    assert texts(tables(missing())["findings"], "text")[-1].startswith("expected · tail.drop: ")


def test_figures_that_differ_from_place_to_place_are_one_kind() -> None:
    found = tuple(
        Difference(
            "gradients", "gradient", "weight", f"l{i}.weight", f"layer{i}.weight", f"0.{i}", "0.9", f"l{i}: 0.{i}"
        )
        for i in range(62)
    )
    result = replace(same(), differences=found, same=False, verdict=DIFFERENT)
    assert texts(tables(result)["findings"], "text") == ["l0: 0.0; a difference too in 61 more, the last l61.weight"]
    assert "✗ not the same network: 62 differences of 1 kind\n" in to_text(page(result, ViewOptions()))


def test_of_many_findings_twenty_are_drawn() -> None:
    assert len(tables(many())["findings"].rows) == 20
    assert "980 more findings not drawn: --format json has them all" in drawn("many", 80)
    assert len(tables(many(), ViewOptions(collapse=False))["findings"].rows) == 1000


# The two trees

FLAT = ViewOptions(collapse=False)


@pytest.mark.parametrize("room", [80, 120, None])
@pytest.mark.parametrize("name", RESULTS)
def test_the_first_divergence_is_marked_once(name: str, room: int | None) -> None:
    marked = any(line.is_first_difference for line in RESULTS[name]().aligned_ops)
    for view in (ViewOptions(), ViewOptions(levels=4), FLAT):
        assert to_text(page(RESULTS[name](), view), room).count("◀ HERE") == marked


def test_what_is_equal_is_a_row_for_each_part() -> None:
    tree = tables(same())["tree"]
    assert texts(tree, "ours") == ["head", "l0.block", "l1.block", "l2.block", "l3.block", "tail"]
    assert texts(tree, "theirs") == ["conv1…maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool…fc"]
    assert texts(tree, "their_layer")[1] == "14 operators"


def test_levels_draw_equal_parts_deeper() -> None:
    tree = tables(same(), ViewOptions(levels=2))["tree"]
    assert texts(tree, "ours")[:6] == [
        "head.conv", "head.bn", "head.relu", "head.maxpool", "l0.block.ResIdentity0", "l0.block.ResIdentity1",
    ]  # fmt: skip
    assert texts(tree, "our_layer")[0] == "conv 3→64 7×7 stride 2 padding 3"
    assert len(tables(same(), ViewOptions(levels=99))["tree"].rows) > len(tree.rows)


def test_a_block_with_a_difference_is_opened_and_its_neighbours_are_not() -> None:
    tree = tables(stride())["tree"]
    ours = texts(tree, "ours")
    at = ours.index("l1.block.BottleneckSkip")
    assert texts(tree, "status")[at : at + 9] == ["", "~", "=", "=", "~", "=", "=", "=", "="]
    assert ours[at + 1 : at + 9] == [
        ".conv1", ".bn1", ".relu", ".conv2", ".bn2", ".relu", ".conv3…relu", "l1.block.BottleneckIdentity0…2",
    ]  # fmt: skip
    assert texts(tree, "theirs")[at + 8] == "layer2.1…3"
    assert texts(tree, "our_layer")[at + 1] == "stride 2, conv 256→128 1×1 padding 0"
    assert texts(tree, "their_layer")[at + 1] == "stride 1"


def test_what_one_network_lacks_is_empty_there() -> None:
    tree = tables(missing())["tree"]
    at = texts(tree, "status").index("-")
    assert [texts(tree, key)[at] for key in ("ours", "our_layer", "theirs")] == ["", "", ".downsample.1"]
    at = texts(tree, "status").index("+")
    assert [texts(tree, key)[at] for key in ("ours", "theirs", "their_layer")] == [".drop", "", ""]
    assert "- missing in ours, + only in ours" in drawn("missing", 120)


@pytest.mark.parametrize("room", [80, 120])
def test_the_setting_that_differs_is_never_cut(room: int) -> None:
    for value, other in (("stride 1", "stride 2"), ("eps 0.001", "eps 1e-05"), ("momentum 0.01", "momentum 0.1")):
        path = "l1.block.ResSkip.conv1" if "stride" in value else "l1.block.ResSkip.bn1"
        result = spread(setting(same(), path, value, other))
        (line,) = (line for line in to_text(page(result, ViewOptions()), room).splitlines() if "HERE" in line)
        assert f" {value}," in line
        assert f" {other} " in line


@pytest.mark.parametrize(
    ("ours", "theirs", "drawn_as"),
    [
        ("64→64 bias", "64→64", ("bias, conv 64→64", "without bias")),
        ("64→64", "64→64 bias", ("without bias, conv 64→64", "bias")),
        (
            "8 eps 0.1 momentum 0.2",
            "8 eps 0.3 momentum 0.4",
            ("eps 0.1, momentum 0.2, conv 8", "eps 0.3, momentum 0.4"),
        ),
        ("padding_mode reflect", "padding_mode zeros", ("padding_mode reflect, conv", "padding_mode zeros")),
        ("ceil_mode True", "ceil_mode False", ("ceil_mode True, conv", "ceil_mode False")),
        ("1 2", "2 1", ("conv 1 2", "2 1")),
        ("", "groups 2", ("without groups 2, conv", "groups 2")),
    ],
)
def test_what_differs_between_two_settings_stands_first(ours: str, theirs: str, drawn_as: tuple[str, str]) -> None:
    line = AlignedOp("a", "b", "conv", "conv", ours, theirs, "setting", is_first_difference=True)
    tree = tables(replace(same(), aligned_ops=(line,)))["tree"]
    assert (texts(tree, "our_layer")[0], texts(tree, "their_layer")[0]) == drawn_as


def test_an_operator_that_gives_something_else_is_no_equal_one() -> None:
    lines = [replace(line, isolated=1e-3) if i == 20 else line for i, line in enumerate(same().aligned_ops)]
    tree = tables(replace(same(), aligned_ops=tuple(lines)))["tree"]
    assert texts(tree, "status").count("!") == 1
    lines[20] = replace(lines[20], rounding=True)
    assert "!" not in texts(tables(replace(same(), aligned_ops=tuple(lines)))["tree"], "status")


def test_rounding_is_marked() -> None:
    tree = tables(rounding())["tree"]
    assert all(text.startswith("≈") for text in texts(tree, "cumulative"))
    assert texts(tables(nan())["tree"], "cumulative")[-1] == "–"


STATUSES = st.sampled_from(["equal"] * 6 + ["setting", "replaced", "missing", "extra", "moved", "new to us"])
PARTS = st.sampled_from(["a", "b", "b.c", "b.c.0", "b.c.1", "b.c.1.x", "", "b.c.1.y.z", "d0", "d1", "d2", "\x1b[2J"])


@given(st.lists(st.tuples(STATUSES, PARTS, PARTS, st.sampled_from([None, 0.0, 0.5])), max_size=60), st.integers(1, 5))
def test_folding_hides_nothing(given_lines: list[tuple[str, str, str, float | None]], levels: int) -> None:
    lines = tuple(
        AlignedOp(
            None if status == "missing" else ours, None if status == "extra" else theirs, "conv", "conv", f"n {i}", "",
            status, None, error,
        )
        for i, (status, ours, theirs, error) in enumerate(given_lines)
    )  # fmt: skip
    found = list(hunks(lines, levels, lambda line: line.status != "equal"))
    assert tuple(line for hunk in found for line in hunk.lines) == lines
    assert all(line.status == "equal" for hunk in found if len(hunk.lines) > 1 for line in hunk.lines)
    tree = tables(replace(same(), aligned_ops=lines), ViewOptions(levels=levels)).get("tree")
    signs = [] if tree is None else [sign for sign in texts(tree, "status") if sign not in ("", "=")]
    assert len(signs) >= sum(line.status != "equal" for line in lines)
    drawn_text = to_text(page(replace(same(), aligned_ops=lines), ViewOptions(levels=levels)), 80)
    assert max(map(width, drawn_text.splitlines())) <= 80


# Mapping, predictions, sections


def test_tensors_without_a_counterpart_are_named() -> None:
    text = drawn("missing", 120)
    assert "60 of 60 parameters mapped (by alignment); the reference has 62" in text
    assert "spare.0.weight, spare.1.weight, spare.2.weight, spare.3.weight and 3 more" in text
    assert "mapping" not in tables(same())
    assert "62 of 62 parameters mapped (by alignment)" in drawn("same", 80)


@pytest.mark.parametrize("section", PAGES["compare-torchvision"].sections)
def test_sections_are_a_choice(section: str) -> None:
    found = set(tables(missing(), ViewOptions(sections=(section,))))
    assert found == {section}
    assert "✗ not the same network" in to_text(page(missing(), ViewOptions(sections=(section,))))


def test_a_choice_that_there_is_not() -> None:
    with pytest.raises(ResnetCliError, match="there is no section trees"):
        validate_view("compare-torchvision", ViewOptions(sections=("trees",)))
    for kind in ("compare-torchvision-all", "self-test"):
        with pytest.raises(ResnetCliError, match="no choice of sections"):
            validate_view(kind, ViewOptions(sections=("tree",)))


# The family and the self-test


def test_a_member_is_judged_by_the_checks_that_were_made() -> None:
    assert texts(tables(family())["members"], "verdict") == ["✓", "≈", "✗", "✓", "✗"]
    assert "✗ 2 of 5 members are not the same: resnet50, wide_resnet101_2" in drawn("family", 80)
    good = replace(family(), architectures=family().architectures[:1], same=True)
    assert "✓ it is the same network as torchvision's, bit for bit" in to_text(page(good, ViewOptions()))
    expected = replace(family().architectures[2], same=True, checks=epsilon().checks)
    assert texts(tables(replace(good, architectures=(expected,)))["members"], "verdict") == ["✓"]
    assert "? nothing was compared" in to_text(page(replace(good, architectures=()), ViewOptions()))


def test_faults_that_were_missed_are_named() -> None:
    text = drawn("self_test", 120)
    assert "✗ of 4 planted faults, 3 found and 2 named; to look at: ceil-mode, relu-before-add" in text
    assert "1 fault without a place in this network: groups in the 3×3" in text
    good = replace(self_test(), injected=1, detected=1, diagnosed=1, same=True, faults=self_test().faults[:1])
    assert "✓ all planted faults found and named: 1 of 1" in to_text(page(good, ViewOptions()))
    assert "? nothing was planted" in to_text(page(replace(good, injected=0, faults=()), ViewOptions()))


# Texts that are wider than their cell


@given(st.lists(st.text("ab 名", max_size=60), min_size=1, max_size=4), st.integers(20, 60))
def test_a_sentence_goes_on_in_the_next_line(sentences: list[str], room: int) -> None:
    columns = (Column("a", "a", numeric=False), Column("b", "b", numeric=False, minimum=6, wrap=True))
    table = Table("t", "", columns, tuple(Row({"a": Cell("x"), "b": Cell(text)}) for text in sentences))
    lines = to_text(Document("", (table,)), room).splitlines()[4:]  # title, space, head, rule
    assert all(width(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join("x" + "".join(text.split()) for text in sentences)


def test_a_head_runs_on_into_the_empty_cell_beside_it() -> None:
    columns = tuple(Column(key, key, numeric=False, minimum=4) for key in "abc")
    head = Row({"a": Cell("a-long-head"), "c": Cell("c-head")}, spill=True)
    table = Table("t", "", columns, (head, Row({"a": Cell("a"), "b": Cell("b" * 20), "c": Cell("c")})))
    assert "a-long-head" in to_text(Document("", (table,)), 24)
    assert "a-long-head" not in to_text(
        Document("", (replace(table, rows=(replace(head, spill=False), table.rows[1])),)), 24
    )
