"""Small results, built by hand, that have all that a drawing may meet."""

from __future__ import annotations

from dataclasses import replace

from resnet_cli.results.common import Assertion, Environment, Input, Network, Note
from resnet_cli.results.flops import (
    Convention,
    FlopsResult,
    FlopTerm,
    ModuleFlops,
    Operator,
    Reconciliation,
    ReconciliationStep,
)
from resnet_cli.results.summary import CrossCheck, Layer, Memory, SummaryResult

ENVIRONMENT = Environment("0.1.0", "3.11.7", "2.15.0", "Linux x86_64", "cuda:0", "GPU [bold]X[/bold]", 16 * 10**9, 8)
NETWORK = Network("résnet[red]tiny", "basic", (3, 1), 1, 64, "cifar", 3, 10)
INPUT = Input((2, 3, 32, 32), "float32", 24_576)
HOSTILE = "evil\x1b[2J|<b>[/x]:x:\u202e"


def leaf(
    path: str,
    kind: str,
    *,
    parameters: int = 0,
    macs: int = 0,
    operations: int = 0,
    channels: int = 16,
    field: int = 3,
    **settings: object,
) -> Layer:
    layer = Layer(
        path=path,
        name=path.rpartition(".")[2].rpartition(":")[2],
        layer_type=kind,
        is_operator=False,
        call=1,
        kernel_size=None,
        stride=None,
        padding=None,
        dilation=None,
        groups=None,
        input_shape=(2, channels, 32, 32),
        output_shape=(2, channels, 32, 32),
        trainable_parameters=parameters,
        frozen_parameters=0,
        buffers=33 if kind == "BatchNorm2d" else 0,
        parameter_bytes=4 * parameters,
        buffer_bytes=136 if kind == "BatchNorm2d" else 0,
        macs=macs,
        flops=2 * macs,
        ops=operations,
        backward_macs=2 * macs,
        activation_bytes=0 if kind in ("ReLU", "add") else 8192 * channels,
        saved_for_backward_bytes=8192 * channels,
        peak_bytes=16384 * channels + field,
        bytes_moved=16384 * channels + 4 * parameters,
        receptive_field=(field, field),
        total_stride=(1, 1),
        children=(),
    )
    return replace(layer, **settings)  # type: ignore[arg-type]


def container(path: str, kind: str, *children: Layer) -> Layer:
    def total(name: str) -> int:
        return sum(getattr(child, name) for child in children)

    def optional(name: str) -> int | None:
        return None if any(getattr(child, name) is None for child in children) else total(name)

    last = children[-1]
    return replace(
        last,
        path=path,
        name=path.rpartition(".")[2],
        layer_type=kind,
        is_operator=False,
        call=1,
        kernel_size=None,
        stride=None,
        padding=None,
        dilation=None,
        groups=None,
        input_shape=children[0].input_shape,
        trainable_parameters=total("trainable_parameters"),
        frozen_parameters=total("frozen_parameters"),
        buffers=total("buffers"),
        parameter_bytes=total("parameter_bytes"),
        buffer_bytes=total("buffer_bytes"),
        macs=total("macs"),
        flops=total("flops"),
        ops=total("ops"),
        backward_macs=optional("backward_macs"),
        activation_bytes=total("activation_bytes"),
        saved_for_backward_bytes=optional("saved_for_backward_bytes"),
        peak_bytes=max(child.peak_bytes for child in children),
        bytes_moved=total("bytes_moved"),
        children=children,
    )


def block(path: str, field: int) -> Layer:
    """A residual block; its ReLU is called twice, its addition has no module."""
    conv = {"parameters": 2304, "macs": 4_718_592, "operations": 9_437_184, "kernel_size": (3, 3), "stride": (1, 1)}
    return container(
        path,
        "ResIdentity",
        leaf(f"{path}.conv1", "Conv2d", field=field, groups=1, **conv),  # type: ignore[arg-type]
        leaf(f"{path}.bn1", "BatchNorm2d", parameters=32, operations=65_536, field=field),
        leaf(f"{path}.relu", "ReLU", operations=32_768, field=field),
        leaf(f"{path}.conv2", "Conv2d", field=field + 2, groups=1, **conv),  # type: ignore[arg-type]
        leaf(f"{path}:add", "add", operations=32_768, field=field + 2, is_operator=True),
        leaf(f"{path}.relu", "ReLU", operations=32_768, field=field + 2, call=2),
    )


def tree() -> Layer:
    head = leaf(
        "head",
        "Conv2d",
        parameters=432,
        macs=884_736,
        operations=1_769_472,
        kernel_size=(3, 5),
        stride=(2, 1),
        dilation=(2, 2),
        groups=4,
        input_shape=(2, 3, 32, 32),
    )
    blocks = (block(f"l0.block.ResIdentity{i}", 5 + 4 * i) for i in range(3))
    stage = container("l0", "NIdentityBlocks", container("l0.block", "Sequential", *blocks))
    frozen = leaf("frozen", "Linear", macs=163_840, operations=327_680)
    frozen = replace(frozen, frozen_parameters=163_850, parameter_bytes=655_400, receptive_field=None)
    hostile = leaf(HOSTILE, "=cmd|' /C calc'!A0", operations=7, input_shape=None, output_shape=None)
    odd = container(
        "odd", "Odd", replace(frozen, path="odd.frozen"), replace(hostile, path=f"odd.{HOSTILE}", name=HOSTILE)
    )
    # A parameter of the module itself, below none of its children.
    odd = replace(odd, trainable_parameters=odd.trainable_parameters + 17, parameter_bytes=odd.parameter_bytes + 68)
    return replace(container("", "ResNet", head, stage, odd), name="tiny")


def summary_result() -> SummaryResult:
    root = tree()
    return SummaryResult(
        network=NETWORK,
        input=INPUT,
        root=root,
        parameters=root.parameters,
        trainable_parameters=root.trainable_parameters,
        frozen_parameters=root.frozen_parameters,
        buffers=root.buffers,
        macs=root.macs,
        flops=root.flops,
        ops=root.ops,
        memory=Memory(
            parameter_bytes=root.parameter_bytes,
            buffer_bytes=root.buffer_bytes,
            input_bytes=24_576,
            inference_peak_bytes=root.peak_bytes,
            inference_peak_at="l0.block.ResIdentity2.conv2",
            inference_bytes=root.parameter_bytes + root.buffer_bytes + 24_576 + root.peak_bytes,
            saved_for_backward_bytes=root.saved_for_backward_bytes,
            training_peak_bytes=3 * root.peak_bytes,
            training_peak_at="l1.block.ResSkip.conv1",
            training_bytes=root.parameter_bytes
            + root.buffer_bytes
            + 24_576
            + 3 * root.peak_bytes
            + 4 * root.trainable_parameters,
            gradient_bytes=4 * root.trainable_parameters,
            optimizer_bytes=4 * root.trainable_parameters,
            largest_batch_inference=60_000,
            largest_batch_training=None,
        ),
        cross_checks=(
            CrossCheck("torchinfo", "1.8.0", "parameters", root.parameters, root.parameters, True, None),
            CrossCheck("fvcore", None, "MACs", root.macs, None, None, "it cannot trace <this>"),
            CrossCheck("other", "2", "MACs", root.macs, 12, False, None),
        ),
        assertions=(
            Assertion("macs", "<=", 4.2e9, root.macs, True),
            Assertion("parameters", "<", 1000, root.parameters, False),
        ),
        environment=ENVIRONMENT,
        notes=(
            Note("note", "a sentence [/x] | of *some* length", "a-note"),
            Note("warning", f"beware of {HOSTILE}", "hostile"),
        ),
    )


def module(path: str, kind: str, macs: int, other: int, *children: ModuleFlops) -> ModuleFlops:
    return ModuleFlops(
        path=path,
        name=path.rpartition(".")[2],
        layer_type=kind,
        depth=path.count(".") + 1,
        macs=macs,
        flops=2 * macs,
        ops=2 * macs + other,
        backward_macs=None,
        torch_flops=2 * macs,
        fvcore=None if other == 13 else macs,
        children=children,
    )


def flops_result() -> FlopsResult:
    blocks = tuple(
        module(
            f"l0.block.{i}",
            "Block",
            400_000,
            500,
            module(f"l0.block.{i}.conv", "Conv2d", 400_000, 0),
            module(f"l0.block.{i}.relu", "ReLU", 0, 400),
        )
        for i in range(3)
    )
    sequential = module("l0.block", "Sequential", 1_200_000, 1500, *blocks)
    stage = module("l0", "NIdentityBlocks", 1_200_000, 1500, sequential)
    root = module("", "ResNet", 1_700_000, 1513, stage, module("lin", HOSTILE, 500_000, 13))
    forward = {"phase": "forward", "counted": True}
    return FlopsResult(
        network=NETWORK,
        input=INPUT,
        macs=root.macs,
        flops=root.flops,
        ops=root.ops,
        backward_macs=3_400_000,
        backward_flops=6_800_000,
        operators=(
            Operator("convolution", calls=3, term="C", elements=9, macs=1_200_000, flops=2_400_000,
                     ops=2_400_000, torch_flops=2_400_000, fvcore=1_200_000, **forward),  # type: ignore[arg-type]
            Operator("addmm", calls=1, term="L", elements=9, macs=500_000, flops=1_000_000, ops=1_000_013,
                     torch_flops=1_000_000, fvcore=None, **forward),  # type: ignore[arg-type]
            Operator("relu", calls=3, term="R", elements=1500, macs=0, flops=0, ops=1500, torch_flops=0,
                     fvcore=0, **forward),  # type: ignore[arg-type]
            Operator("convolution_backward", "backward", 3, "C", 9, 3_400_000, 6_800_000, 6_800_000, 6_800_000,
                     None, True),
            Operator("sort", "backward", 1, None, 9, 0, 0, 0, None, None, False),
        ),
        root=root,
        terms=(
            FlopTerm("C", "multiply-accumulates of the convolutions", 1_200_000),
            FlopTerm("L", "multiply-accumulates of the linear layers", 500_000),
            FlopTerm("R", "elements through ReLU", 1500),
        ),
        conventions=(
            Convention("ours", "resnet-cli", "MAC", "C + L", (("C", 1.0), ("L", 1.0)), 1_700_000, 1_700_000, None,
                       "exact", "counted", None),
            Convention("odd", "odd one", "FLOP", "2C + 2L + R/2", (("C", 2.0), ("L", 2.0), ("R", 0.5)), 3_400_750,
                       3_400_001, None, "differs", "run", "counts <half> a ReLU"),
            Convention("paper", "the paper", "MAC", "C + L", (("C", 1.0), ("L", 1.0)), 1_700_000, 2_000_000, 1e6,
                       "rounded", "published", None),
            Convention("old", "not run here", "MAC", "C", (("C", 1.0),), 1_200_000, None, None, "not_run", "", None),
            Convention("gone", "cannot run", "MAC", "C", (), None, None, None, "unavailable", "", None),
        ),
        reconciliations=(
            Reconciliation("odd", "ours", 3_400_750, 1_700_000, (
                ReconciliationStep("C", "multiply-accumulates of convolutions", ("convolution",), 1_200_000, 2.0, 1.0, -1_200_000),
                ReconciliationStep("L", "multiply-accumulates of the linear layers", ("addmm", "mm"), 500_000, 2.0, 1.0, -500_000),
                ReconciliationStep("R", "elements through ReLU", ("relu",), 1500, 0.5, 0.0, -750),
            )),
        ),
        uncounted=("sort",),
        assertions=(Assertion("flops", ">=", 1.5, root.flops, True),),
        environment=replace(ENVIRONMENT, device="cpu", device_name="", device_memory_bytes=None),
        notes=(Note("warning", "the arithmetic of sort is not counted", "uncounted", lower_bounds=("ops",)),),
    )  # fmt: skip
