"""What `summary` measures: the layer tree of a network, its totals and its memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnet_cli.results.common import ADDITIVE, POSITIONAL, Assertion, Environment, Input, Network, Note, Shape


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a module, or one operator that a forward runs outside any leaf module (a residual add).

    Every figure covers the layer and all that is below it, so the children (and what they leave to their
    parent's own operators, which are children too) add up to the parent; `peak_bytes` alone is a maximum.
    """

    path: str = field(metadata=POSITIONAL)  # "l1.block.ResSkip.conv1"; "" is the network itself
    name: str = field(metadata=POSITIONAL)  # last part of the path; for the network its name
    layer_type: str  # class of the module ("Conv2d"), or the operator's name ("add")
    is_operator: bool  # an operator that stands in a forward without a module of its own
    call: int  # 1 for the first call of this module; parameters are counted with the first call only
    kernel_size: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    padding: tuple[int, ...] | None
    dilation: tuple[int, ...] | None
    groups: int | None
    input_shape: Shape | None
    output_shape: Shape | None
    trainable_parameters: int = field(metadata=ADDITIVE)
    frozen_parameters: int = field(metadata=ADDITIVE)
    buffers: int = field(metadata=ADDITIVE)  # elements
    parameter_bytes: int = field(metadata=ADDITIVE)
    buffer_bytes: int = field(metadata=ADDITIVE)
    macs: int = field(metadata=ADDITIVE)  # multiply-accumulates of convolutions and matrix products
    flops: int = field(metadata=ADDITIVE)  # 2 x macs, torch's own convention
    ops: int = field(metadata=ADDITIVE)  # every arithmetic operation, elementwise ones and pooling included
    backward_macs: int | None = field(metadata=ADDITIVE)  # None where the backward pass was not counted
    activation_bytes: int = field(
        metadata=ADDITIVE
    )  # newly allocated by its operators; an in-place operator allocates nothing
    saved_for_backward_bytes: int | None = field(
        metadata=ADDITIVE | POSITIONAL
    )  # kept by autograd for the backward pass, each storage counted once
    peak_bytes: int = field(
        metadata=POSITIONAL
    )  # most activation memory alive at once while it ran, inference, the input not counted
    bytes_moved: int = field(metadata=ADDITIVE)  # read (inputs, parameters) and written (outputs) by its operators
    receptive_field: tuple[int, int] | None = field(
        metadata=POSITIONAL
    )  # in input pixels (height, width), where it is defined
    total_stride: tuple[int, int] | None = field(metadata=POSITIONAL)  # input pixels per output pixel
    children: tuple[Layer, ...] = field(metadata=POSITIONAL)
    # What it reads: the indices of its siblings (its parent's other children), and -1 for its parent's own input.
    # None: not known, as for what no forward calls.
    sources: tuple[int, ...] | None = field(default=None, metadata=POSITIONAL)

    @property
    def parameters(self) -> int:
        """Trainable and frozen parameters together."""
        return self.trainable_parameters + self.frozen_parameters

    @property
    def arithmetic_intensity(self) -> float | None:
        """Arithmetic ops per byte read or written."""
        return self.ops / self.bytes_moved if self.bytes_moved else None


# Figures that depend on the memory of a phase.
INFERENCE_MEMORY = ("inference_peak_bytes", "inference_bytes", "largest_batch_inference")
TRAINING_MEMORY = ("saved_for_backward_bytes", "training_peak_bytes", "training_bytes", "largest_batch_training")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory by phase, in bytes, found without allocating it.

    Not in it: the workspaces of convolution libraries, the allocator's rounding, the CUDA context.
    """

    parameter_bytes: int
    buffer_bytes: int
    input_bytes: int
    inference_peak_bytes: int  # activations alive at once, the input not counted
    inference_peak_at: str  # path of the layer that ran then
    inference_bytes: int  # all of it: weights, input, activations
    saved_for_backward_bytes: (
        int | None
    )  # kept by autograd after the forward, parameters, buffers and input not counted
    training_peak_bytes: int | None  # activations and all gradients alive at once, forward and backward
    training_peak_at: str | None  # path of the layer whose forward or backward ran then
    training_bytes: int | None  # all of it: weights, input, activations, gradients, the optimizer's state
    gradient_bytes: int  # one per trainable parameter
    optimizer_bytes: int  # SGD with momentum: one more per trainable parameter
    largest_batch_inference: int | None  # that fits device_memory_bytes
    largest_batch_training: int | None


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """A value of another tool for the same network, compared with resnet-cli's."""

    tool: str  # "torchinfo"
    version: str | None
    quantity: str  # "parameters"
    value: int
    tool_value: int | None  # None: the tool gave no figure, and `note` says why
    agrees: bool | None
    note: str | None


@dataclass(frozen=True, slots=True)
class SummaryResult:
    """The layer tree of a network and its totals."""

    network: Network
    input: Input
    root: Layer
    # The totals, as fields so that a saved result can be checked by re-adding its rows.
    parameters: int
    trainable_parameters: int
    frozen_parameters: int
    buffers: int
    macs: int
    flops: int
    ops: int
    memory: Memory
    cross_checks: tuple[CrossCheck, ...]
    assertions: tuple[Assertion, ...]
    environment: Environment
    notes: tuple[Note, ...]
    uncounted: tuple[str, ...] = ()  # operators whose arithmetic is not counted: with any, `ops` is a lower bound
    # Those of them that may multiply matrices: with any, `macs` and `flops` are lower bounds.
    uncounted_macs: tuple[str, ...] = ()
    backward_uncounted_macs: tuple[str, ...] = ()  # the same of the backward pass
