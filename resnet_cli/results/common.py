"""What a measurement found: plain numbers in SI units, strings and tuples, with no word on how they look.

Counts are for the whole batch. Sizes in bytes are decimal (1 MB = 10**6 bytes). A figure that is not known
is None, never 0. Everything here survives a round trip through JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the reader that belongs to the figures."""

    level: str  # "note" or "warning"
    text: str


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the figures come from. Holds nothing that changes between two equal runs (no clock, no load)."""

    resnet_cli: str
    python: str
    torch: str
    platform: str
    device: str  # "cpu", "cuda:0"
    device_name: str
    device_memory_bytes: int | None  # all of it, not what happens to be free
    threads: int


@dataclass(frozen=True, slots=True)
class Network:
    """The network that was looked at."""

    name: str
    block: str | None  # "basic" or "bottleneck"; None for a network that is not ours
    repeat: tuple[int, ...] | None
    groups: int | None
    width_per_group: int | None
    stem: str | None
    in_channels: int | None
    num_classes: int | None


@dataclass(frozen=True, slots=True)
class Input:
    """What went in."""

    shape: Shape  # (N, C, H, W)
    dtype: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a module, or one operator that a forward runs outside any leaf module (a residual add).

    Every figure covers the layer and all that is below it, so the children (and what they leave to their
    parent's own operators, which are children too) add up to the parent; `peak_bytes` alone is a maximum.
    """

    path: str  # "l1.block.ResSkip.conv1"; "" is the network itself
    name: str  # last part of the path; for the network its name
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
    trainable_parameters: int
    frozen_parameters: int
    buffers: int  # elements
    parameter_bytes: int
    buffer_bytes: int
    macs: int  # multiply-accumulates of convolutions and matrix products
    flops: int  # 2 x macs, torch's own convention
    ops: int  # every arithmetic operation, elementwise ones and pooling included
    backward_macs: int | None  # None where the backward pass was not counted
    activation_bytes: int  # newly allocated by its operators; an in-place operator allocates nothing
    saved_for_backward_bytes: int | None  # kept by autograd for the backward pass, each storage counted once
    peak_bytes: int  # most activation memory alive at once while it ran, inference, the input not counted
    bytes_moved: int  # read (inputs, parameters) and written (outputs) by its operators
    receptive_field: tuple[int, int] | None  # in input pixels (height, width), where it is defined
    total_stride: tuple[int, int] | None  # input pixels per output pixel
    children: tuple[Layer, ...]
    # What it reads: the indices of its siblings (its parent's other children), and -1 for its parent's own input.
    # None: not known, as for what no forward calls.
    sources: tuple[int, ...] | None = None

    @property
    def parameters(self) -> int:
        """Trainable and frozen parameters together."""
        return self.trainable_parameters + self.frozen_parameters


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
    """What another tool says of the same network, held against ours."""

    tool: str  # "torchinfo"
    version: str | None
    quantity: str  # "parameters"
    value: int
    tool_value: int | None  # None: the tool gave no figure, and `note` says why
    agrees: bool | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Assertion:
    """A budget that the user set, such as macs <= 4.2e9, and what was found."""

    quantity: str
    operator: str  # "<=", "<", ">=", ">", "=="
    limit: float
    value: float
    holds: bool


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


@dataclass(frozen=True, slots=True)
class Operator:
    """All calls of one operator, forward or backward."""

    name: str  # "convolution", without aten::
    phase: str  # "forward" or "backward"
    calls: int
    term: str | None  # symbol of the part that it makes ("C"); None where no formula knows it
    elements: int  # output elements
    macs: int
    flops: int
    ops: int
    torch_flops: int | None  # FlopCounterMode
    fvcore: int | None  # forward only; "flops" in fvcore's words, which are MACs for convolutions
    counted: bool  # False: no arithmetic is counted for it, and it is named as such


@dataclass(frozen=True, slots=True)
class ModuleFlops:
    """One module of the tree in `flops`, with what each counter says of it."""

    path: str
    name: str
    layer_type: str
    depth: int
    macs: int
    flops: int
    ops: int
    backward_macs: int | None
    torch_flops: int | None
    fvcore: int | None
    children: tuple[ModuleFlops, ...]


@dataclass(frozen=True, slots=True)
class FlopTerm:
    """One counted quantity that the conventions are made of."""

    symbol: str  # "C"
    meaning: str  # "multiply-accumulates of the convolutions"
    value: int


@dataclass(frozen=True, slots=True)
class Convention:
    """How one tool or publication counts, as a formula over the parts."""

    key: str  # "fvcore", a name for the command line
    name: str  # "fvcore, eval mode"
    unit: str  # "MAC" or "FLOP": what the figure is, whatever its maker calls it
    formula: str  # "C + L + 2B + G"
    coefficients: tuple[tuple[str, float], ...]  # symbol and coefficient
    predicted: int | None  # the formula on this network
    measured: int | None  # the tool's own figure, where it was run or published
    rounding: float | None  # a published figure is rounded to this
    verdict: str  # "exact", "rounded", "differs", "formula" (not run), "unavailable"
    source: str
    note: str | None
    version: str | None = None  # of the tool, where it ran


@dataclass(frozen=True, slots=True)
class ReconciliationStep:
    """One step of the walk from a figure to another: a part that the two count differently."""

    symbol: str
    meaning: str
    operators: tuple[str, ...]
    value: int
    from_coefficient: float
    to_coefficient: float
    difference: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The whole difference between two figures, operator by operator; the steps add up to it."""

    start: str  # key of a Convention
    end: str
    start_value: int
    end_value: int
    steps: tuple[ReconciliationStep, ...]


@dataclass(frozen=True, slots=True)
class FlopsResult:
    """FLOPs by operator and by module, and the reconciliation of every convention."""

    network: Network
    input: Input
    macs: int
    flops: int
    ops: int
    backward_macs: int | None
    backward_flops: int | None
    operators: tuple[Operator, ...]
    root: ModuleFlops
    terms: tuple[FlopTerm, ...]
    conventions: tuple[Convention, ...]
    reconciliations: tuple[Reconciliation, ...]
    uncounted: tuple[str, ...]  # operators for which no arithmetic is counted
    assertions: tuple[Assertion, ...]
    environment: Environment
    notes: tuple[Note, ...]
