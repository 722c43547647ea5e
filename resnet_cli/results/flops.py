"""What `flops` measures: FLOPs by operator and by module, and what other counters report for the same network."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnet_cli.results.common import ADDITIVE, POSITIONAL, Assertion, Environment, Input, Network, Note


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

    path: str = field(metadata=POSITIONAL)
    name: str = field(metadata=POSITIONAL)
    layer_type: str
    depth: int = field(metadata=POSITIONAL)
    macs: int = field(metadata=ADDITIVE)
    flops: int = field(metadata=ADDITIVE)
    ops: int = field(metadata=ADDITIVE)
    backward_macs: int | None = field(metadata=ADDITIVE)
    torch_flops: int | None = field(metadata=ADDITIVE)
    fvcore: int | None = field(metadata=ADDITIVE)
    children: tuple[ModuleFlops, ...] = field(metadata=POSITIONAL)


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
    verdict: str  # "exact", "rounded", "differs", "lower_bound" (not all is counted), "not_run", "unavailable"
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
    uncounted: tuple[str, ...]  # operators whose arithmetic is not counted: with any, `ops` is a lower bound
    assertions: tuple[Assertion, ...]
    environment: Environment
    notes: tuple[Note, ...]
    # Those of them that may multiply matrices: with any, `macs` and `flops` are lower bounds.
    uncounted_macs: tuple[str, ...] = ()
    backward_uncounted_macs: tuple[str, ...] = ()  # the same of the backward pass
