"""What a comparison with a reference network found; plain data, as in `results`.

Errors are relative: the largest |difference| over the largest |reference|. One that is not finite (a NaN on one
side) is None, and the text beside it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.results.common import Environment, Input, Network, Note, Shape

# The verdicts, best first. "rewritten": other operators that compute the same. "skipped": the user left the check out.
BITWISE, ROUNDING, REWRITTEN, DIFFERENT = "bitwise", "rounding", "rewritten", "different"
NOT_COMPARABLE, SKIPPED = "not comparable", "skipped"
VERDICTS = (BITWISE, ROUNDING, REWRITTEN, DIFFERENT, NOT_COMPARABLE, SKIPPED)


@dataclass(frozen=True, slots=True)
class Check:
    """One question that was asked of both networks."""

    key: str  # name of the check, such as "gradients"
    title: str  # "forward, eval mode"
    verdict: str  # one of VERDICTS
    error: float | None  # the largest relative error, where the check measures one
    limit: float | None  # up to here a difference is rounding
    text: str  # "all 62 gradients are bitwise equal"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the networks are not the same."""

    check: str  # the check that found it
    category: (
        str  # "setting", "missing", "extra", "moved", "replaced", "parameter", "value", "operator", "statistics", …
    )
    subject: str  # what is not the same: "conv.stride", "batch_norm", "relu", "weight"
    model_path: str | None  # path in our network, None where there is no counterpart
    reference_path: str | None  # path in the reference
    model_value: str | None
    reference_value: str | None
    text: str  # "l2.block.ResSkip.conv1: stride 1, torchvision has 2"
    expected: bool = False  # on the list of intended changes
    # Where it is written in the user's files, None in those of libraries: "net.py:41", "net.py:41@HEAD~1". It is the
    # constructor call of a module that was built otherwise (where the calls of both are the same, the innermost call
    # around them that is not), or the statement in `forward` that runs an operator.
    # Where a network lacks the operator: the statement behind which the other one has it.
    model_line: str | None = None
    reference_line: str | None = None


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Operators that compute the same as other operators of the reference: no difference.

    It was measured in float64 on inputs of several magnitudes, with gradients, in train and eval mode.
    """

    model_path: str | None  # path of the last of them, None where the model needs none
    reference_path: str | None
    model_ops: tuple[str, ...]  # "maximum"
    reference_ops: tuple[str, ...]  # "relu"
    text: str  # "layer1.0.relu: maximum in place of ReLU"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A pattern of findings that has a name."""

    key: str  # "resnet-v1"
    text: str  # "this is ResNet v1: the stride is in the first 1×1 convolution; torchvision has it in the 3×3 (v1.5)"
    differences: tuple[int, ...]  # indices into the result's findings
    line: str | None = None  # `model_line` of the first of them that has one


@dataclass(frozen=True, slots=True)
class AlignedOp:
    """One operator of each network, side by side; one side is empty where the other has no counterpart."""

    model_path: str | None  # path of the module (or of the forward) that runs it; "" is the network itself
    reference_path: str | None
    model_op: str | None  # "conv", "batch_norm", "relu", "add", "max_pool", …
    reference_op: str | None
    model_settings: str  # "64→128 3×3 stride 2 padding 1"
    reference_settings: str
    status: str  # "equal", "setting", "replaced", "missing", "extra", "moved", "rewritten"
    cumulative: float | None = None  # relative error of what the networks give here, eval mode
    isolated: float | None = None  # relative error of our operator on the reference's own inputs
    rounding: bool = False  # both errors are within the noise floor
    is_first_difference: bool = False  # the first place where the networks differ


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which parameter or buffer is which."""

    source: str  # "alignment", or the file that overruled it
    pairs: tuple[tuple[str, str], ...]  # our name, the reference's name
    mapped_tensors: int  # tensors of the model that have a counterpart
    model_tensors: int  # tensors of the model that the forward reads
    reference_tensors: int
    unmatched_model: tuple[str, ...]
    unmatched_reference: tuple[str, ...]
    unused_model: tuple[str, ...] = ()  # no forward reads them
    reordered: tuple[tuple[str, tuple[int, ...]], ...] = ()  # the model's name, order of the reference's axes in it


@dataclass(frozen=True, slots=True)
class CompareInputs:
    """What the networks were given, so that nothing hides behind a fresh initialisation."""

    seed: int
    weights: str  # "random", or the file that both sides loaded
    shape: Shape  # of the forward in eval mode
    training_shape: Shape
    other_shapes: tuple[Shape, ...]
    noise_floor: float | None  # float32 against float64 on the reference itself; None: all was equal, none was needed
    inputs: Input | None = None  # of the model, where it takes more than the image of this shape


@dataclass(frozen=True, slots=True)
class Prediction:
    """One of the most likely classes of an image."""

    rank: int
    model_label: str
    model_probability: float
    reference_label: str
    reference_probability: float


@dataclass(frozen=True, slots=True)
class CompareResult:
    """Whether two networks are the same, check by check, and every place where they are not."""

    network: Network
    reference: str  # "torchvision resnet18"
    reference_version: str | None
    verdict: str  # one of VERDICTS: the worst of the checks
    same: bool  # nothing differs that was not expected
    checks: tuple[Check, ...]
    diagnoses: tuple[Diagnosis, ...]
    differences: tuple[Difference, ...]
    aligned_ops: tuple[AlignedOp, ...]
    mapping: Mapping
    test_inputs: CompareInputs
    image: str | None
    predictions: tuple[Prediction, ...]
    environment: Environment
    notes: tuple[Note, ...]
    interrupted: bool = False  # there would have been more
    rewritings: tuple[Rewriting, ...] = ()  # where the networks are written otherwise and compute the same


@dataclass(frozen=True, slots=True)
class Change:
    """What is not the same in the reference and the model, or is, in one line."""

    key: str  # "structure", "parameters", "macs", "inference_peak", "training_peak", "numbers"
    title: str  # "parameters"
    unit: str  # "parameters", "MACs", "bytes"; "" where there are no values
    reference_value: int | None  # None where it is not known
    model_value: int | None
    text: str  # a sentence where values do not say it all


@dataclass(frozen=True, slots=True)
class ComparisonResult(CompareResult):
    """A comparison of any two networks."""

    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class ArchitectureResult:
    """One network of the family in `--all`."""

    name: str
    verdict: str
    same: bool
    parameters: int
    mapped: int
    tensors: int  # parameters that could be mapped
    checks: tuple[Check, ...]
    differences: int
    first_difference: str | None  # the first diagnosis, or the first finding


@dataclass(frozen=True, slots=True)
class CompareAllResult:
    """`--all`: a row for each member."""

    reference_version: str | None
    same: bool
    architectures: tuple[ArchitectureResult, ...]
    environment: Environment
    notes: tuple[Note, ...]
    interrupted: bool = False  # there would have been more


@dataclass(frozen=True, slots=True)
class FaultResult:
    """One fault that the self-test injected into the network."""

    key: str  # "stride-in-1x1"
    group: str  # "convolution and pooling"
    title: str  # "ResNet v1: the stride in the first 1×1 convolution"
    injected: bool  # False: this network has no place for it, and `text` says why
    detected: bool
    diagnosed: bool
    checks: tuple[str, ...]  # the checks that saw it
    text: str  # the first diagnosis or difference, or why the fault was not injected


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """Every fault, and whether it was detected and diagnosed."""

    network: Network
    reference: str
    faults: tuple[FaultResult, ...]
    injected: int
    detected: int
    diagnosed: int
    same: bool  # every injected fault was detected and diagnosed
    environment: Environment
    notes: tuple[Note, ...]
    interrupted: bool = False  # there would have been more
