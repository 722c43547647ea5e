"""`flops`: what the operators and modules cost, and why every counter says something else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from resnet_cli.architectures import FAMILY
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure import conventions, networks, witnesses
from resnet_cli.measure.conventions import SAVED_BY_PAPER, Figure
from resnet_cli.measure.counting import PARTS
from resnet_cli.measure.environment import environment
from resnet_cli.measure.layers import plain_name
from resnet_cli.measure.networks import Passes, Subject, describe_input
from resnet_cli.measure.published import UnpublishedError, torchvision_figures
from resnet_cli.measure.trace import ModuleCall, OperatorCall, Tally, Trace
from resnet_cli.quantities import dimensions
from resnet_cli.results import (
    Convention,
    FlopsResult,
    ModuleFlops,
    Note,
    Operator,
    Part,
    Shape,
    Walk,
    Witness,
)

# fvcore's names of the operators that the dispatcher calls otherwise.
_FVCORE_NAMES = {
    "conv": "convolution",
    "linear": "addmm",
    "addmm": "addmm",
    "batch_norm": "native_batch_norm",
    "adaptive_avg_pool2d": "mean",
    "matmul": "bmm",
}
_DEFAULT_WALKS = (("torch", "macs"), ("torchinfo", "macs"), ("fvcore", "macs"), ("paper", "macs"))


def count_flops(
    subject: Subject,
    *,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    backward: bool = False,
    walks: Sequence[tuple[str, str]] = (),
) -> FlopsResult:
    """Everything that `flops` shows. Our count on `meta` is the truth; the others are held against it.

    Args:
        subject: the network.
        shape: of the input, (N, C, H, W).
        dtype: of weights and input.
        device: named in the environment; counts do not depend on it.
        backward: count the backward pass of a training step too.
        walks: pairs of convention keys to walk between; none means the usual ones.

    Raises:
        ResnetCliError: the input does not get through the network, or cannot be trained at this batch.
    """
    passes = Passes(subject, shape, dtype)
    tally, tally_failure = witnesses.torch_tally()
    inference = passes.inference(tally)
    training = _training(passes, tally) if backward else None
    fvcore = witnesses.fvcore(
        passes.copy,
        (passes.make(shape),),
        batch=shape[0],
        macs=_macs(inference.operators),
        bytes_alive=inference.peak,
    )
    torchinfo = witnesses.torchinfo(passes.copy, (passes.make(shape),))
    backwards = [op for op in training.operators if op.backward] if training else []
    macs = _macs(inference.operators)
    parts = _parts(inference.operators)
    values = {part.symbol: part.value for part in parts} | _paper_savings(subject, shape, dtype, inference)
    parts = _with_savings(parts, values)
    torch_total = sum(op.tallied or 0 for op in inference.operators) if tally else None
    figures = {
        "macs": Figure(macs),
        "operations": Figure(sum(op.counted.operations for op in inference.operators)),
        "torch": Figure(torch_total, reason=tally_failure),
        "torchinfo": Figure(torchinfo.multiply_adds, reason=torchinfo.failure),
        "fvcore": Figure(fvcore.total, reason=fvcore.failure),
        "torchvision": _torchvision(subject, shape),
        "paper": _paper(subject, shape),
    }
    found = {
        rule.key: conventions.apply(rule, values, figures.get(rule.key))
        for rule in conventions.rules(_comparisons(inference.operators))
        if rule.key != "paper" or SAVED_BY_PAPER in values
    }
    makers = _makers(inference.operators)
    return FlopsResult(
        network=subject.described,
        input=describe_input(shape, dtype),
        macs=macs,
        flops=2 * macs,
        operations=sum(op.counted.operations for op in inference.operators),
        backward_macs=_macs(backwards) if training else None,
        backward_flops=2 * _macs(backwards) if training else None,
        operators=_operators(inference.operators, backwards, fvcore.by_operator),
        root=_Modules(fvcore.by_module, training).row(inference.root, subject.name, 0),
        parts=parts,
        conventions=tuple(found.values()),
        walks=_walks(found, parts, makers, walks),
        witnesses=tuple(_witnesses(found, torchinfo.version, fvcore.version)),
        uncounted=tuple(sorted({op.name for op in inference.operators if not op.counted.counted})),
        assertions=(),
        environment=environment(device),
        notes=tuple(_notes(found, torchinfo.failure, fvcore.failure)),
    )


def _training(passes: Passes, tally: Tally | None) -> Trace:
    step = passes.training(passes.shape[0], tally)
    if isinstance(step, str):
        raise ResnetCliError(
            f"--backward: this network cannot be trained on {dimensions(passes.shape)}: {step}",
            "batch norm needs more than one value per channel: take a larger --batch-size or --image-size",
        )
    return step


def _macs(operators: Iterable[OperatorCall]) -> int:
    return sum(op.counted.macs for op in operators)


def _parts(operators: Sequence[OperatorCall]) -> tuple[Part, ...]:
    totals: dict[str, int] = defaultdict(int)
    for op in operators:
        for symbol, amount in op.counted.parts.items():
            totals[symbol] += amount
    return tuple(Part(symbol, meaning, totals.get(symbol, 0)) for symbol, meaning in PARTS.items())


def _makers(operators: Sequence[OperatorCall]) -> Mapping[str, set[str]]:
    """Which operators make which part."""
    makers: dict[str, set[str]] = defaultdict(set)
    for op in operators:
        for symbol in op.counted.parts:
            makers[symbol].add(plain_name(op.name))
    makers[SAVED_BY_PAPER] = {"conv"}
    return makers


def _comparisons(operators: Sequence[OperatorCall]) -> float:
    """Comparisons per output of the network's max-pools."""
    pools = [op.counted for op in operators if "m" in op.counted.parts]
    outputs = sum(pool.parts["m"] for pool in pools)
    return sum(pool.operations for pool in pools) / outputs if outputs else 8


def _paper_savings(subject: Subject, shape: Shape, dtype: torch.dtype, inference: Trace) -> dict[str, int]:
    """Multiply-accumulates that the paper's network does without, where ours has a twin in the paper.

    Of basic blocks the paper's table has the variant whose shortcuts pad with zeros instead of projecting
    (option A); of bottlenecks, the one that strides in the first 1x1 (v1), which is built and counted here.
    """
    spec = subject.spec
    if spec is None:
        return {}
    if spec.block == "basic":
        projections = (op for op in inference.operators if op.module.path.endswith("skip_conv1"))
        return {SAVED_BY_PAPER: _macs(projections)}
    if spec.groups > 1:
        return {SAVED_BY_PAPER: 0}  # ResNeXt's paper strides in the 3x3
    twin = Passes(networks.subject(replace(spec, stride_in_1x1=True)), shape, dtype).inference()
    return {SAVED_BY_PAPER: _macs(inference.operators) - _macs(twin.operators)}


def _with_savings(parts: tuple[Part, ...], values: Mapping[str, int]) -> tuple[Part, ...]:
    if SAVED_BY_PAPER not in values:
        return parts
    meaning = "multiply-accumulates that the paper's network does without"
    return (*parts, Part(SAVED_BY_PAPER, meaning, values[SAVED_BY_PAPER]))


def _is_published(subject: Subject, shape: Shape) -> bool:
    """Whether publications speak of this network: a member of the family, unchanged, at their input."""
    spec = subject.spec
    if spec is None or spec.name not in FAMILY or shape[1:] != (3, 224, 224):
        return False
    member = FAMILY[spec.name]
    same = replace(spec, initialization=member.initialization, zero_init_residual=member.zero_init_residual)
    return same == member


_NOT_PUBLISHED = "published for 3×224×224 and 1000 classes, and for unchanged networks, only"


def _torchvision(subject: Subject, shape: Shape) -> Figure:
    if not _is_published(subject, shape):
        return Figure(None, reason=_NOT_PUBLISHED)
    try:
        giga_macs = torchvision_figures(subject.name).giga_macs
    except UnpublishedError as error:
        return Figure(None, reason=str(error))
    # Three decimals of 10**9, for one image.
    return Figure(round(giga_macs * 1000) * 10**6 * shape[0], rounding=1e6 * shape[0])


def _paper(subject: Subject, shape: Shape) -> Figure:
    published = conventions.PUBLISHED_IN_PAPERS.get(subject.name)
    if published is None or not _is_published(subject, shape):
        return Figure(None, reason=_NOT_PUBLISHED)
    return Figure(published * 10**8 * shape[0], rounding=1e8 * shape[0])


def _operators(
    forward: Sequence[OperatorCall], backward: Sequence[OperatorCall], fvcore: Mapping[str, int] | None
) -> tuple[Operator, ...]:
    """A row per operator, the dearest first; what fvcore counts elsewhere has a row of its own."""
    theirs: dict[str, int] = defaultdict(int)
    names = {op.name for op in forward}
    for name, figure in (fvcore or {}).items():
        target = _FVCORE_NAMES.get(name, name)
        theirs[target if target in names else name] += figure
    rows = [
        _operator(name, calls, theirs.get(name, 0) if fvcore is not None else None)
        for name, calls in _by_name(forward).items()
    ]
    rows += [
        Operator(name, "forward", 0, None, 0, 0, 0, 0, None, figure, True)
        for name, figure in theirs.items()
        if name not in names and figure
    ]
    rows += [_operator(name, calls, None) for name, calls in _by_name(backward).items()]
    return tuple(sorted(rows, key=lambda row: (row.phase != "forward", -row.macs, -row.operations, row.name)))


def _by_name(operators: Sequence[OperatorCall]) -> Mapping[str, list[OperatorCall]]:
    found: dict[str, list[OperatorCall]] = defaultdict(list)
    for op in operators:
        if op.counted.operations or not op.counted.counted:
            found[op.name].append(op)
    return found


def _operator(name: str, calls: Sequence[OperatorCall], fvcore: int | None) -> Operator:
    tallies = [op.tallied for op in calls]
    return Operator(
        name=name,
        phase="backward" if calls[0].backward else "forward",
        calls=len(calls),
        part=calls[0].counted.part,
        elements=sum(op.output_elements for op in calls),
        macs=_macs(calls),
        flops=2 * _macs(calls),
        operations=sum(op.counted.operations for op in calls),
        torch_flops=None if None in tallies else sum(tally or 0 for tally in tallies),
        fvcore=fvcore,
        counted=calls[0].counted.counted,
    )


class _Modules:
    """The module tree with every counter's figure."""

    def __init__(self, fvcore: Mapping[str, int] | None, training: Trace | None) -> None:
        self.fvcore = fvcore
        self.trained = {(call.path, call.call): call for call in training.root.modules()} if training else None

    def row(self, call: ModuleCall, name: str, depth: int) -> ModuleFlops:
        operators = [child for child in call.children if isinstance(child, OperatorCall)]
        inner = [child for child in call.children if isinstance(child, ModuleCall)]
        rows = [self.row(child, child.path[len(call.path) :].lstrip("."), depth + 1) for child in inner]
        own_tallies = [op.tallied for op in operators] + [row.torch_flops for row in rows]
        macs = _macs(operators) + sum(row.macs for row in rows)
        fvcore = None
        if self.fvcore is not None and call.call == 1:
            fvcore = self.fvcore.get(call.path, 0)
        backward = None
        if self.trained is not None:
            twin = self.trained.get((call.path, call.call))
            backward = (twin.backward_macs if twin else 0) + sum(row.backward_macs or 0 for row in rows)
        return ModuleFlops(
            path=call.path,
            name=name,
            kind=type(call.module).__name__,
            depth=depth,
            macs=macs,
            flops=2 * macs,
            operations=sum(op.counted.operations for op in operators) + sum(row.operations for row in rows),
            backward_macs=backward,
            torch_flops=None if None in own_tallies else sum(tally or 0 for tally in own_tallies),
            fvcore=fvcore,
            children=tuple(rows),
        )


def _walks(
    found: Mapping[str, Convention],
    parts: Sequence[Part],
    makers: Mapping[str, Iterable[str]],
    wanted: Sequence[tuple[str, str]],
) -> tuple[Walk, ...]:
    for name in {name for pair in wanted for name in pair} - found.keys():
        raise ResnetCliError(
            f"--walk: there is no figure of {name!r} for this network", "it is not in a paper's family"
        )
    pairs = wanted or [pair for pair in _DEFAULT_WALKS if pair[0] in found]
    return tuple(conventions.walk(found[start], found[end], parts, makers) for start, end in pairs)


def _witnesses(found: Mapping[str, Convention], torchinfo: str | None, fvcore: str | None) -> Iterable[Witness]:
    releases = {"torch": str(torch.__version__), "torchinfo": torchinfo, "fvcore": fvcore}
    for key, release in releases.items():
        row = found[key]
        agrees = None if row.measured is None else row.predicted == row.measured
        yield Witness(key, release, row.formula, row.predicted or 0, row.measured, agrees, row.note)


def _notes(
    found: Mapping[str, Convention], torchinfo_failure: str | None, fvcore_failure: str | None
) -> Iterable[Note]:
    for tool, failure in (("torchinfo", torchinfo_failure), ("fvcore", fvcore_failure)):
        if failure:
            yield Note("note", f"{tool} gave no figure: {failure}")
    for row in found.values():
        if row.verdict == "differs":
            yield Note("warning", f"{row.name} says {row.measured:,} where its formula gives {row.predicted:,}")
