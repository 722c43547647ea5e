"""FLOPs by operator and by module, and the reconciliation with other FLOP counters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.cost import conventions, other_counters
from resnet_cli.measure.cost.conventions import SAVED_BY_PAPER, ConventionRule, Figure
from resnet_cli.measure.cost.flops_tables import module_rows, op_rows, total_macs
from resnet_cli.measure.cost.uncounted import uncounted_macs, uncounted_notes, uncounted_ops
from resnet_cli.measure.models.inputs.errors import larger_input
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.measure.models.torchvision_figures import UnpublishedError, torchvision_figures
from resnet_cli.measure.models.user_errors import frames_of, user_error
from resnet_cli.measure.ops.names import title
from resnet_cli.measure.ops.op_cost import TERMS
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.tracing.trace import OperatorCall, Trace
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.results.common import Note
from resnet_cli.results.flops import Convention, FlopsResult, FlopTerm, Reconciliation


def count_flops(
    subject: ModelUnderTest,
    *,
    inputs: ModelInputs,
    dtype: torch.dtype | None = None,
    device: torch.device,
    backward: bool = False,
    reconciliations: Sequence[tuple[str, str]] = (),
) -> FlopsResult:
    """Count the FLOPs of a network from its shapes, and compare the count with those of other tools.

    Args:
        subject: the network.
        inputs: of its forward.
        dtype: of floating-point weights, and of inputs that have none of their own; None: the network's own.
        device: recorded in the environment; counts do not depend on it.
        backward: count the backward pass of a training step too.
        reconciliations: pairs of convention keys to reconcile; none means `DEFAULT_RECONCILIATIONS`.

    Raises:
        ResnetCliError: the input does not get through the network, or cannot be trained at this batch.
    """
    with ForwardRunner(subject, inputs, dtype) as passes:
        return _flops(passes, device, backward=backward, reconciliations=reconciliations)


def _flops(
    passes: ForwardRunner, device: torch.device, *, backward: bool, reconciliations: Sequence[tuple[str, str]]
) -> FlopsResult:
    subject, inputs, dtype = passes.subject, passes.inputs, passes.dtype
    tally, tally_failure = other_counters.count_with_torch()
    inference, step = passes.infer_and_train(tally) if backward else (passes.inference(tally), None)
    training = None if step is None else _trained(passes, step)
    fvcore = other_counters.fvcore(
        passes.model,
        passes.inputs,
        macs=total_macs(inference.operators),
        bytes_alive=inference.peak,
        output=inference.output,
    )
    torchinfo = other_counters.torchinfo(passes.model, passes.arguments())
    backwards = [op for op in training.operators if op.backward] if training else []
    macs = total_macs(inference.operators)
    uncounted, products = uncounted_ops(inference.operators), uncounted_macs(inference.operators)
    parts = _parts(inference.operators)
    saved = _saved_by_paper(subject, inference)
    if saved is not None:
        parts = (*parts, saved)
    values = {part.symbol: part.value for part in parts}
    torch_total = sum(op.tallied or 0 for op in inference.operators) if tally else None
    figures = {
        "resnet-cli": Figure(macs),
        "resnet-cli-ops": Figure(sum(op.counted.operations for op in inference.operators)),
        "torch": Figure(torch_total, reason=tally_failure, version=str(torch.__version__)),
        "torchinfo": Figure(torchinfo.multiply_adds, reason=torchinfo.failure, version=torchinfo.version),
        "fvcore": Figure(fvcore.total, reason=fvcore.failure, version=fvcore.version),
        "torchvision": _torchvision(subject, inputs),
        "paper": _paper(subject, inputs),
    }
    rows = {
        rule.key: conventions.apply(rule, values, figures.get(rule.key), _missing(rule, uncounted, products))
        for rule in conventions.conventions_for(_comparisons(inference.operators))
        if rule.key != "paper" or SAVED_BY_PAPER in values
    }
    contributing = _contributing_ops(inference.operators)
    return FlopsResult(
        network=subject.description,
        input=passes.inputs.describe(dtype),
        macs=macs,
        flops=2 * macs,
        ops=sum(op.counted.operations for op in inference.operators),
        backward_macs=total_macs(backwards) if training else None,
        backward_flops=2 * total_macs(backwards) if training else None,
        operators=op_rows(inference.operators, backwards, fvcore.by_operator),
        root=module_rows(inference.root, subject.name, fvcore.by_module, training),
        terms=parts,
        conventions=tuple(rows.values()),
        reconciliations=_reconciliations(rows, parts, contributing, reconciliations),
        uncounted=uncounted,
        uncounted_macs=products,
        backward_uncounted_macs=uncounted_macs(backwards),
        assertions=(),
        environment=environment(device),
        notes=(
            *passes.notes,
            *passes.path_notes(inference, training),
            *_grouped(backwards),
            *_fused_attention(backwards),
            *uncounted_notes(uncounted, products, uncounted_macs(backwards)),
            *_notes(rows, torchinfo.failure, fvcore.failure, _unknown_to_torch(inference.operators)),
        ),
    )


def _trained(passes: ForwardRunner, step: Trace | str) -> Trace:
    """The training step, whose backward pass is counted.

    Raises:
        ResnetCliError: it was impossible.
    """
    if passes.training_failure is not None and passes.subject.spec is None and frames_of(passes.training_failure.cause):
        raise user_error(passes.training_failure.cause, f"a training step of {passes.subject.name}")
    if isinstance(step, str):
        raise ResnetCliError(
            f"this network cannot be trained on {dimensions(passes.inputs.describe(passes.dtype).shape)}: {step}",
            larger_input(step),
        )
    return step


def _missing(rule: ConventionRule, ops: Sequence[str], products: Sequence[str]) -> Sequence[str]:
    """Operators that a convention would count, and for which there is no rule."""
    return ops if "E" in dict(rule.terms) else products


def _parts(operators: Sequence[OperatorCall]) -> tuple[FlopTerm, ...]:
    totals: dict[str, int] = defaultdict(int)
    for op in operators:
        for symbol, amount in op.counted.terms.items():
            totals[symbol] += amount
    return tuple(FlopTerm(symbol, meaning, totals.get(symbol, 0)) for symbol, meaning in TERMS.items())


def _contributing_ops(operators: Sequence[OperatorCall]) -> Mapping[str, set[str]]:
    """Titles of the operators that contribute to each term."""
    contributing: dict[str, set[str]] = defaultdict(set)
    for op in operators:
        for symbol in op.counted.terms:
            contributing[symbol].add(title(op.op))
    contributing[SAVED_BY_PAPER] = {"conv"}
    return contributing


def _comparisons(operators: Sequence[OperatorCall]) -> float:
    """Comparisons per output of the network's max-pools."""
    pools = [op.counted for op in operators if "m" in op.counted.terms]
    outputs = sum(pool.terms["m"] for pool in pools)
    return sum(pool.operations for pool in pools) / outputs if outputs else 8


def _saved_by_paper(subject: ModelUnderTest, inference: Trace) -> FlopTerm | None:
    """Multiply-accumulates that the network of the paper saves; None for a network that no paper describes.

    Of basic blocks the paper's table has the variant whose shortcuts pad with zeros instead of projecting
    (option A); of bottlenecks, the one that strides in the first 1x1 (v1).
    """
    spec = subject.spec
    if spec is None:
        return None
    if spec.block == "basic":
        saved = total_macs(op for op in inference.operators if op.module.path.endswith("skip_conv1"))
        meaning = "projected shortcuts, which the paper pads"
    elif spec.groups > 1:
        saved, meaning = 0, "nothing: the paper of ResNeXt strides where torchvision does"
    else:
        saved = sum(_saved_by_early_stride(inference.operators))
        meaning = "stride in the 3×3 (v1.5), not in the 1×1 (v1)"
    return FlopTerm(SAVED_BY_PAPER, meaning, saved)


def _saved_by_early_stride(operators: Sequence[OperatorCall]) -> Iterator[int]:
    """What each bottleneck saves where its first 1x1 makes no more pixels than its 3x3, as a stride there has it do."""
    outputs = {op.module.path: prod(op.output_shape[2:]) for op in operators if op.output_shape}
    for op in operators:
        path, _, layer = op.module.path.rpartition(".")
        if layer == "conv1" and path and op.counted.macs:
            pixels = outputs[f"{path}.conv1"]
            yield op.counted.macs * (pixels - outputs[f"{path}.conv2"]) // pixels


def _is_published(subject: ModelUnderTest, inputs: ModelInputs) -> bool:
    """Whether published counts apply: an unchanged member of the family at 3×224×224."""
    spec, shape = subject.spec, inputs.image_shape
    if spec is None or shape is None or spec.name not in ARCHITECTURES or shape[1:] != (3, 224, 224):
        return False
    member = ARCHITECTURES[spec.name]
    same = replace(spec, initialization=member.initialization, zero_init_residual=member.zero_init_residual)
    return same == member


_NOT_PUBLISHED = "only published for unchanged networks with 1000 classes at 3×224×224"


def _torchvision(subject: ModelUnderTest, inputs: ModelInputs) -> Figure:
    if not _is_published(subject, inputs):
        return Figure(None, reason=_NOT_PUBLISHED)
    try:
        giga_macs = torchvision_figures(subject.name).giga_macs
    except UnpublishedError as error:
        return Figure(None, reason=str(error))
    images = inputs.batch_size or 1
    # Three decimals of 10**9, for one image.
    return Figure(round(giga_macs * 1000) * 10**6 * images, rounding=1e6 * images)


def _paper(subject: ModelUnderTest, inputs: ModelInputs) -> Figure:
    published = conventions.PUBLISHED_IN_PAPERS.get(subject.name)
    if published is None or not _is_published(subject, inputs):
        return Figure(None, reason=_NOT_PUBLISHED)
    images = inputs.batch_size or 1
    return Figure(published * 10**8 * images, rounding=1e8 * images)


def _reconciliations(
    rows: Mapping[str, Convention],
    parts: Sequence[FlopTerm],
    contributing: Mapping[str, Iterable[str]],
    wanted: Sequence[tuple[str, str]],
) -> tuple[Reconciliation, ...]:
    for name in {name for pair in wanted for name in pair} - rows.keys():
        raise ResnetCliError(f"the convention {name!r} has no count for this network", "it is not a network of a paper")
    pairs = wanted or [pair for pair in conventions.DEFAULT_RECONCILIATIONS if pair[0] in rows]
    return tuple(conventions.reconcile(rows[start], rows[end], parts, contributing) for start, end in pairs)


def _grouped(back: Sequence[OperatorCall]) -> Iterable[Note]:
    """A note where torch's formula for the weight gradient of a grouped convolution ignores the groups."""
    if any(op.counted.term == "C" and (op.tallied or 0) > 2 * op.counted.macs for op in back):
        flops, torch_flops = 2 * total_macs(back), sum(op.tallied or 0 for op in back)
        yield Note(
            "note",
            f"backward: torch FlopCounterMode counts {torch_flops:,} FLOPs, resnet-cli {flops:,}; torch counts the "
            "weight gradient of a grouped convolution as if it had no groups",
            "torch-ignores-groups",
        )


def _fused_attention(back: Sequence[OperatorCall]) -> Iterable[Note]:
    """A note where a fused kernel of attention computes the scores again in the backward pass."""
    again = 0
    for op in back:
        if "_attention" in op.name and op.name.endswith("_backward"):
            _, query, key = op.input_shapes[:3]  # behind the gradient of the output
            again += prod(query) * key[-2]
    if again:
        macs = total_macs(back)
        yield Note(
            "note",
            f"backward: {macs:,} MACs with attention as its fused kernel runs it, which computes the scores again: "
            f"five products; {macs - again:,} by the plain formula, which has four",
            "fused-attention-backward",
        )


def _unknown_to_torch(operators: Sequence[OperatorCall]) -> str:
    """Operators whose products torch's counter has no formula for, after ": " where there are any."""
    names = sorted({op.name for op in operators if op.counted.macs and not op.tallied})
    return f": torch has no formula for {', '.join(names)}" if names else ""


def _notes(
    rows: Mapping[str, Convention], torchinfo_failure: str | None, fvcore_failure: str | None, unknown_to_torch: str
) -> Iterable[Note]:
    for tool, failure in (("torchinfo", torchinfo_failure), ("fvcore", fvcore_failure)):
        if failure:
            yield Note("note", f"no count by {tool}: {failure}", f"no-{tool}")
    for row in rows.values():
        if row.verdict == "differs":
            text = f"{row.name} counts {row.measured:,}, its formula gives {row.predicted:,}"
            text += unknown_to_torch if row.key == "torch" else ""
            yield Note("warning", text, f"{row.key}-differs-from-formula")
