"""Both networks run in eval mode, operator by operator, and at other image sizes."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from resnet_cli.measure.graph import alignment
from resnet_cli.measure.graph.diff import lines, where
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.copies import independent_copy
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.parity import paired_forward
from resnet_cli.measure.parity.checks import CheckOutcome
from resnet_cli.measure.parity.checks.eval_settings import dtype_differences, eval_differences
from resnet_cli.measure.parity.checks.static import not_comparable_in_eval
from resnet_cli.measure.parity.float64 import CastsToFloat64
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.measure.parity.placement import device_for, placed
from resnet_cli.measure.parity.rewriting import rewritten
from resnet_cli.measure.parity.setup import ParityRun
from resnet_cli.measure.parity.tensor_error import error_verdict, finite
from resnet_cli.measure.parity.train_step import FLOAT64_TOLERANCE
from resnet_cli.results.common import Shape
from resnet_cli.results.compare import (
    BITWISE,
    DIFFERENT,
    NOT_COMPARABLE,
    ROUNDING,
    AlignedOp,
    Difference,
)

NOISE = 10.0  # differences up to so many times the noise floor are rounding


@dataclass(slots=True)
class Forward:
    """The forward in eval mode, operator by operator."""

    verdict: str
    steps: dict[int, paired_forward.Step]  # by number of the model's operator in eval mode
    exact: dict[int, paired_forward.Step]  # the same in float64; empty where all was equal
    pairs: list[alignment.Pair]  # in eval mode
    floor: float | None  # relative error of float32 against float64 in the reference


def eval_mode(run: ParityRun) -> CheckOutcome:
    """Outputs of every operator and of the network, in eval mode."""
    try:
        graphs, pairs = _eval_graphs(run, real=False)
        single = _run(run, graphs, pairs, torch.float32)
    except paired_forward.GraphMismatchError:
        try:
            graphs, pairs = _eval_graphs(run, real=True)
            single = _run(run, graphs, pairs, torch.float32)
        except paired_forward.GraphMismatchError as error:
            return CheckOutcome(NOT_COMPARABLE, f"two forwards do not run the same operators: {error}")
    run.findings += eval_differences(pairs, run.config.reference)
    size = size_text(run.config.shape)
    worst = max((s.cumulative for s in single.steps.values() if s.cumulative is not None), default=0.0)
    if single.output == 0 and worst == 0:
        run.forward = Forward(BITWISE, single.steps, {}, pairs, None)
        return CheckOutcome(BITWISE, f"{len(single.steps)} operators and the output of {size} are bitwise equal", 0.0)
    floor = _noise_floor(run, graphs[1])
    limit = _limit(run, floor, single.reference_output)
    double = _run(run, graphs, pairs, torch.float64)
    verdict = _judge(run, single.output, double.output, limit)
    dtypes = dtype_differences(pairs, single.steps, run.config.reference) if single.output > limit else []
    if verdict == ROUNDING and dtypes:  # which a forward in float64 does not have
        run.findings += dtypes
        verdict = DIFFERENT
        text = f"output of {size} differs; {len(dtypes)} of {len(double.steps)} operators run in another dtype"
    elif verdict == ROUNDING:
        text = f"output of {size} differs by rounding; in float64 by {double.output:.1g}"
    else:
        cumulative = sum((s.cumulative or 0.0) > FLOAT64_TOLERANCE for s in double.steps.values())
        isolated = sum((s.isolated or 0.0) > FLOAT64_TOLERANCE for s in double.steps.values())
        text = (
            f"output of {size} differs; {cumulative} of {len(double.steps)} operators differ, {isolated} in isolation"
        )
        if (reason := not_comparable_in_eval(run)) is not None:
            verdict, text = NOT_COMPARABLE, reason
    run.forward = Forward(verdict, single.steps, double.steps, pairs, floor)
    if verdict == DIFFERENT:
        _add_differences(run, run.forward)
    return CheckOutcome(verdict, text, single.output, limit)


def size_text(shape: Shape) -> str:
    """A shape as text: 2 × 3 × 64 × 64."""
    return " × ".join(map(str, shape))


def _eval_graphs(run: ParityRun, *, real: bool) -> tuple[tuple[Graph, Graph], list[alignment.Pair]]:
    shape = run.config.shape
    model = graph_of(run.model, shape, training=False, name=run.model_name, real=real)
    reference = graph_of(run.reference, shape, training=False, name=run.reference_name, real=real)
    pairs = alignment.align_graphs(model, reference, run.pairs)
    return (model, reference), rewritten.without_rewritten(run.structure, run.rewritings, (model, reference), pairs)


def _run(
    run: ParityRun,
    graphs: tuple[Graph, Graph],
    pairs: list[alignment.Pair],
    dtype: torch.dtype,
) -> paired_forward.Run:
    config = run.config
    device = device_for(config.device, dtype)
    partner = {a.number: b.number for a, b in pairs if a and b}
    image = random_init.image(config.shape, config.seed).to(device).to(dtype)
    try:
        with (
            CastsToFloat64() if dtype == torch.float64 else nullcontext(),
            placed(run.model, device, dtype) as model,
            placed(run.reference, device, dtype) as reference,
        ):
            return paired_forward.run(model, reference, graphs, partner, (image, image))
    except (paired_forward.GraphMismatchError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise user_error(error, f"the forward of {run.model_name}") from error


def _noise_floor(run: ParityRun, graph: Graph) -> float:
    """Relative error of float32 against float64 in the reference, at its worst operator."""
    config = run.config
    device = device_for(config.device, torch.float64)
    image = random_init.image(config.shape, config.seed).to(device)
    single, double = run.reference, independent_copy(run.reference)
    partner = {node.number: node.number for node in graph.nodes}
    with placed(single, device, torch.float32) as a, placed(double, device, torch.float64) as b:
        paired = paired_forward.run(a, b, (graph, graph), partner, (image, image.double()))
    return max([paired.output, *(s.cumulative for s in paired.steps.values() if s.cumulative is not None)])


def _limit(run: ParityRun, floor: float, output: Tensor) -> float:
    config = run.config
    if config.rtol is None and config.atol is None:
        return NOISE * floor
    largest = float(output.abs().max()) or 1.0
    return (config.rtol or 0.0) + (config.atol or 0.0) / largest


def _judge(run: ParityRun, error: float, exact: float, limit: float) -> str:
    """Float64 decides, unless the user set a tolerance.

    Args:
        run: the comparison.
        error: relative error of the output in float32.
        exact: the same in float64.
        limit: up to here the error in float32 is rounding.
    """
    if run.config.rtol is not None or run.config.atol is not None:
        return error_verdict(error, limit) if error else ROUNDING
    return ROUNDING if exact <= FLOAT64_TOLERANCE else DIFFERENT


def _add_differences(run: ParityRun, forward: Forward) -> None:
    """A difference for each operator that differs in isolation and that no other difference is about.

    Where there is none, the output differs by the wiring.
    """
    explained = {row.model_node.label for row in run.structure.differences if row.model_node is not None}
    for difference in run.findings:
        if difference.category == "eval mode" and difference.model_path:
            explained.add(difference.model_path)
        if difference.category == "value" and difference.model_path:
            explained |= {difference.model_path, difference.model_path.rpartition(".")[0]}
    has_wrong_operator = False
    for model_node, reference_node in forward.pairs:
        if model_node is None or reference_node is None or model_node.number not in forward.exact:
            continue
        error = forward.exact[model_node.number].isolated
        if error is None or error <= FLOAT64_TOLERANCE:
            continue
        has_wrong_operator = True
        if model_node.label in explained:
            continue
        size = f"{error:.1e}" if math.isfinite(error) else "not finite"
        text = f"{where(model_node)}: differs on the same inputs (relative error {size})"
        paths = model_node.label, reference_node.label
        run.findings.append(Difference("eval", "operator", model_node.operator, *paths, None, None, text))
    if not has_wrong_operator and not run.findings:
        first = next((a for a, b in forward.pairs if a and _differs(forward, a.number)), None)
        place = f", starting at {where(first)} ({first.operator})" if first else ""
        alone = sum(None in pair for pair in forward.pairs)
        text = f"each operator is right in isolation, so the wiring differs{place}"
        if alone:  # what was not compared may be what is wrong
            text = f"the output differs{place}; {alone} operators have no counterpart in eval mode"
        path = None if first is None else first.label
        category = "operator" if alone else "wiring"
        run.findings.append(Difference("eval", category, "output", path, None, None, None, text))


def _differs(forward: Forward, number: int) -> bool:
    step = forward.exact.get(number)
    return step is not None and (step.cumulative or 0.0) > FLOAT64_TOLERANCE


def side_by_side(run: ParityRun) -> list[AlignedOp]:
    """The aligned operators with their errors in eval mode; the first that differs is marked."""
    forward = run.forward
    errors: dict[tuple[str, str, str, int], tuple[paired_forward.Step, bool]] = {}
    if forward is not None:
        count: Counter[tuple[str, str, str]] = Counter()
        for model_node, reference_node in forward.pairs:
            if model_node is None or reference_node is None or model_node.number not in forward.steps:
                continue
            key = (model_node.label, reference_node.label, model_node.operator)
            count[key] += 1
            rounding = forward.verdict == ROUNDING or not _differs(forward, model_node.number)
            errors[*key, count[key]] = forward.steps[model_node.number], rounding
    rows = []
    count = Counter()
    is_behind_first = False
    for line in lines(run.structure):
        key = (line.model_path or "", line.reference_path or "", line.model_op or "")
        count[key] += 1
        step, rounding = errors.get((*key, count[key]), (paired_forward.Step(), True))
        differs = line.status not in ("equal", "rewritten") or not rounding
        rows.append(
            replace(
                line,
                cumulative=None if step.cumulative is None else finite(step.cumulative),
                isolated=None if step.isolated is None else finite(step.isolated),
                rounding=rounding,
                is_first_difference=differs and not is_behind_first,
            )
        )
        is_behind_first |= differs
    return rows
