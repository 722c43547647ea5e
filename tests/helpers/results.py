"""A small result of each kind, built by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from resnet_cli.results.checkpoint import CheckpointResult, TensorStatistics
from resnet_cli.results.common import Note
from resnet_cli.results.compare import (
    BITWISE,
    DIFFERENT,
    SKIPPED,
    AlignedOp,
    ArchitectureResult,
    Change,
    Check,
    CompareAllResult,
    CompareInputs,
    CompareResult,
    ComparisonResult,
    Diagnosis,
    Difference,
    FaultResult,
    Mapping,
    Prediction,
    SelfTestResult,
)
from resnet_cli.results.convert import ConvertedTensor, ConvertResult, WeightsFile
from tests.helpers.results_bench import everything
from tests.helpers.results_doctor import broken_result
from tests.helpers.results_summary_flops import ENVIRONMENT, NETWORK, flops_result, summary_result

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

NOTES = (Note("warning", "a warning <b>", "a-warning"),)
CHECKS = (
    Check("settings", "settings", DIFFERENT, None, None, "1 setting differs"),
    Check("eval", "forward, eval mode", DIFFERENT, 0.31, 4.7e-06, "the logits differ"),
    Check("step", "optimizer step", SKIPPED, None, None, "skipped"),
)


def comparison_result() -> ComparisonResult:
    """The same of two networks, with what changed."""
    fields = {field.name: getattr(compare_result(), field.name) for field in dataclasses.fields(CompareResult)}
    rows = (
        Change("structure", "structure", "", None, None, "1 block more"),
        Change("macs", "MACs", "MACs", 1_814_073_344, 1_900_000_000, ""),
        Change("training_peak", "training step", "bytes", 21_000_000, None, ""),
    )
    return ComparisonResult(**fields, changes=rows)


def compare_result() -> CompareResult:
    """One setting differs, and one operator is missing."""
    return CompareResult(
        network=NETWORK,
        reference="torchvision resnet18",
        reference_version="0.29.2",
        verdict=DIFFERENT,
        same=False,
        checks=CHECKS,
        diagnoses=(Diagnosis("resnet-v1", "this is ResNet v1", (0,)),),
        differences=(
            Difference("settings", "setting", "conv.stride", "l1.conv1", "layer1.conv1", "2", "1", "stride 2, not 1"),
            Difference("settings", "missing", "batch_norm", None, "layer1.bn1", None, "64", "a batch norm is missing"),
        ),
        aligned_ops=(
            AlignedOp("l1.conv1", "layer1.conv1", "conv", "conv", "3→64 stride 2", "3→64 stride 1", "setting", 0.2, 0.2,
                      is_first_difference=True),
            AlignedOp(None, "layer1.bn1", None, "batch_norm", "", "64 eps 1e-05", "missing"),
            AlignedOp("l1.relu", "layer1.relu", "relu", "relu", "", "", "equal", 0.3, 0.0),
        ),
        mapping=Mapping("alignment", (("l1.conv1.weight", "layer1.conv1.weight"),), 1, 1, 3, (), ("layer1.bn1.weight",)),
        test_inputs=CompareInputs(0, "randomised", (2, 3, 8, 8), (4, 3, 8, 8), ((1, 3, 9, 7),), 4.7e-07),
        image="cat.jpg",
        predictions=(Prediction(1, "tabby", 0.61, "tabby", 0.04),),
        environment=ENVIRONMENT,
        notes=NOTES,
    )  # fmt: skip


def architectures_result() -> CompareAllResult:
    """Two architectures, one of which differs."""
    return CompareAllResult(
        reference_version="0.29.2",
        same=False,
        architectures=(
            ArchitectureResult("resnet18", BITWISE, True, 11_689_512, 62, 62, CHECKS[2:], 0, None),
            ArchitectureResult("resnet50", DIFFERENT, False, 25_557_032, 161, 161, CHECKS, 6, "this is ResNet v1"),
        ),
        environment=ENVIRONMENT,
        notes=NOTES,
    )


def self_test_result() -> SelfTestResult:
    """One fault that was diagnosed, one that was not detected, one that could not be injected."""
    faults = (
        FaultResult("stride", "convolution", "stride in the 1×1", True, True, True, ("settings", "eval"), "ResNet v1"),
        FaultResult("relu", "blocks", "ReLU before the add", True, False, False, (), ""),
        FaultResult("groups", "convolution", "groups in the 3×3", False, False, False, (), "a basic block has none"),
    )
    return SelfTestResult(NETWORK, "torchvision resnet18", faults, 2, 1, 1, False, ENVIRONMENT, NOTES)


def convert_result() -> ConvertResult:
    """Two tensors under other names, one of them with another dtype."""
    return ConvertResult(
        network=NETWORK,
        source=WeightsFile("run.pth", "torch", "torchvision", 46_830_000),
        target=WeightsFile("new.safetensors", "safetensors", "ours", 23_410_000),
        key_path=("model", "state_dict"),
        prefix="module.",
        is_ema=False,
        ignored_entries=("optimizer",),
        parameters=11_689_512,
        renamed=2,
        cast=1,
        overflowed=0,
        not_finite=0,
        tensors=(
            ConvertedTensor("head.conv.weight", "conv1.weight", (64, 3, 3, 3), "float16", "float32", 3456),
            ConvertedTensor("head.bn.num_batches_tracked", "bn1.num_batches_tracked", (), "int64", "int64", 8),
        ),
        environment=ENVIRONMENT,
        notes=NOTES,
    )


def checkpoint_result() -> CheckpointResult:
    """A file of two tensors with the summary of its network."""
    return CheckpointResult(
        path="run.pth",
        format="torch",
        file_bytes=46_830_000,
        key_path=("model",),
        prefix="module.",
        is_ema=True,
        ignored_entries=(),
        network=NETWORK,
        naming="torchvision",
        parameters=1_000_000,
        buffers=65,
        bytes=4_000_260,
        nan=1,
        infinite=0,
        dead_channels=2,
        tensors=(
            TensorStatistics("bn1.weight", (64,), "float32", False, 64, 256, -0.5, 1.5, 0.9, 0.1, 1, 0, 2),
            TensorStatistics("bn1.count", (), "int64", True, 1, 8, None, None, None, None, 0, 0, None),
        ),
        summary=summary_result(),
        environment=ENVIRONMENT,
        notes=NOTES,
    )


# By kind of result.
SAMPLES: dict[str, Callable[[], Result]] = {
    "summary": summary_result,
    "flops": flops_result,
    "compare": comparison_result,
    "compare-torchvision": compare_result,
    "compare-torchvision-all": architectures_result,
    "self-test": self_test_result,
    "bench": everything,
    "convert": convert_result,
    "checkpoint": checkpoint_result,
    "doctor": broken_result,
}
