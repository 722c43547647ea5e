"""Both networks run in eval mode, operator by operator, and at other sizes; what a difference means."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from resnet_cli.measure.graph import alignment
from resnet_cli.measure.graph.diff import lines, where
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.parity import paired_forward
from resnet_cli.measure.parity.checks.static import not_comparable
from resnet_cli.measure.parity.config import REFERENCE, ParityRun, graph_of
from resnet_cli.measure.parity.tensor_error import error_verdict, finite, relative_error
from resnet_cli.measure.parity.train_step import FLOAT64_TOLERANCE, computes_in_float32
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.common import Shape
from resnet_cli.results.compare import (
    BITWISE,
    DIFFERENT,
    NOT_COMPARABLE,
    ROUNDING,
    SKIPPED,
    AlignedOp,
    Check,
    Diagnosis,
    Difference,
)

NOISE = 10.0  # times the measured noise floor is still rounding


@dataclass(slots=True)
class Forward:
    """What the forward in eval mode showed."""

    verdict: str
    steps: dict[int, paired_forward.Step]  # by number of our operator in eval mode
    exact: dict[int, paired_forward.Step]  # the same in float64; empty where all was equal
    pairs: list[alignment.Pair]  # in eval mode
    floor: float | None


def evaluate(comparison: ParityRun, progress: Callable[[str], None]) -> Forward | None:
    """The forward in eval mode; None where it could not be followed."""
    question = comparison.question
    progress("comparing every operator")
    try:
        graphs, pairs = _eval_graphs(comparison, real=False)
        run = _run(comparison, graphs, pairs, torch.float32)
    except paired_forward.GraphMismatchError:
        try:
            graphs, pairs = _eval_graphs(comparison, real=True)
            run = _run(comparison, graphs, pairs, torch.float32)
        except paired_forward.GraphMismatchError as error:
            said = f"the forward does not run the same operators twice: {error}"
            comparison.checks.append(Check("eval", "forward, eval mode", NOT_COMPARABLE, None, None, said))
            return None
    worst = max((s.cumulative for s in run.steps.values() if s.cumulative is not None), default=0.0)
    if run.output == 0 and worst == 0:
        said = f"{len(run.steps)} operators and the output of {_size(question.shape)} are equal bit for bit"
        _add(comparison, BITWISE, 0.0, None, said)
        return Forward(BITWISE, run.steps, {}, pairs, None)
    floor = _noise_floor(comparison, graphs[1])
    limit = _limit(comparison, floor, run.reference_output)
    exact = _run(comparison, graphs, pairs, torch.float64)
    found = _judge(comparison, run.output, exact.output, limit)
    isolated = [s.isolated for s in exact.steps.values() if s.isolated is not None]
    apart = sum(one > FLOAT64_TOLERANCE for one in isolated)
    behind = sum((s.cumulative or 0.0) > FLOAT64_TOLERANCE for s in exact.steps.values())
    said = f"output of {_size(question.shape)}"
    if found == ROUNDING:
        said += f" apart by rounding; in float64 by {exact.output:.1g}"
    else:
        said += f" differs; {behind} of {len(exact.steps)} operators give something else, {apart} of them by themselves"
    if (why := not_comparable(comparison)) is not None and found == DIFFERENT:
        found, said = NOT_COMPARABLE, why
    _add(comparison, found, run.output, limit, said)
    forward = Forward(found, run.steps, exact.steps, pairs, floor)
    if found == DIFFERENT:
        _blame(comparison, forward)
    return forward


def _add(comparison: ParityRun, found: str, error: float, limit: float | None, said: str) -> None:
    comparison.checks.append(Check("eval", "forward, eval mode", found, finite(error), limit, said))


def _size(shape: Shape) -> str:
    return " × ".join(map(str, shape))


def _eval_graphs(comparison: ParityRun, *, real: bool) -> tuple[tuple[Graph, Graph], list[alignment.Pair]]:
    shape = comparison.question.shape
    ours = graph_of(comparison.ours, shape, training=False, name=comparison.name, real=real)
    theirs = graph_of(comparison.theirs, shape, training=False, name=comparison.reference, real=real)
    return (ours, theirs), alignment.align_graphs(ours, theirs, comparison.pairs)


def _ready(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """In eval mode, where and as precise as the run wants it; a copy wherever that changes anything."""
    sample = next(model.parameters(), None)
    if sample is not None and (sample.device != device or dtype == torch.float64):
        model = copy.deepcopy(model).to(device=device)
        model = model.double() if dtype == torch.float64 else model
    return model.eval()


def _run(
    comparison: ParityRun,
    graphs: tuple[Graph, Graph],
    pairs: list[alignment.Pair],
    dtype: torch.dtype,
) -> paired_forward.Run:
    question = comparison.question
    device = _device(question.device, dtype)
    partner = {a.number: b.number for a, b in pairs if a and b}
    image = random_init.image(question.shape, question.seed).to(device).to(dtype)
    try:
        return paired_forward.run(
            _ready(comparison.ours, device, dtype),
            _ready(comparison.theirs, device, dtype),
            graphs,
            partner,
            (image, image),
        )
    except (paired_forward.GraphMismatchError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise user_error(error, f"the forward of {comparison.name}") from error


def _device(device: torch.device, dtype: torch.dtype) -> torch.device:
    """Metal has no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def _noise_floor(comparison: ParityRun, graph: Graph) -> float:
    """How far float32 is from float64 in the reference itself, at its worst operator."""
    question = comparison.question
    device = _device(question.device, torch.float64)
    image = random_init.image(question.shape, question.seed).to(device)
    run = paired_forward.run(
        _ready(comparison.theirs, device, torch.float32),
        _ready(comparison.theirs, device, torch.float64),
        (graph, graph),
        {node.number: node.number for node in graph.nodes},
        (image, image.double()),
    )
    return max([run.output, *(s.cumulative for s in run.steps.values() if s.cumulative is not None)])


def _limit(comparison: ParityRun, floor: float, output: Tensor) -> float:
    question = comparison.question
    if question.rtol is None and question.atol is None:
        return NOISE * floor
    largest = float(output.abs().max()) or 1.0
    return (question.rtol or 0.0) + (question.atol or 0.0) / largest


def _judge(comparison: ParityRun, error: float, exact: float, limit: float) -> str:
    """Float64 decides, unless the user set a tolerance or our network works in float32 whatever it is given."""
    question = comparison.question
    if question.rtol is not None or question.atol is not None:
        return error_verdict(error, limit) if error else ROUNDING
    if exact <= FLOAT64_TOLERANCE:
        return ROUNDING
    small = exact <= limit and error <= limit
    return (
        ROUNDING
        if small and computes_in_float32(comparison.ours, random_init.image(question.training_shape, 0))
        else DIFFERENT
    )


def _blame(comparison: ParityRun, forward: Forward) -> None:
    """Operators that differ by themselves and that nothing has accused yet; or else the wiring."""
    accused = {one.mine.label for one in comparison.structure.differences if one.mine is not None}
    accused |= {
        one.model_path.rpartition(".")[0] for one in comparison.findings if one.category == "value" and one.model_path
    }
    accused |= {one.model_path for one in comparison.findings if one.category == "value" and one.model_path}
    apart = []
    for mine, other in forward.pairs:
        if mine is None or other is None or mine.number not in forward.exact:
            continue
        error = forward.exact[mine.number].isolated
        if error is not None and error > FLOAT64_TOLERANCE:
            apart.append((mine, other, error))
    found = [
        Difference(
            "eval",
            "operator",
            mine.operator,
            mine.label,
            other.label,
            None,
            None,
            f"{where(mine)}: on the reference's own inputs it gives something else (relative error {_figure(error)})",
        )
        for mine, other, error in apart
        if mine.label not in accused
    ]
    comparison.findings += found
    if not apart and not comparison.findings:
        first = next((a for a, b in forward.pairs if a and _is_apart(forward, a.number)), None)
        text = (
            f"each operator is right by itself and the output is wrong: it is the wiring, from {where(first)} on"
            f"{f' ({first.operator})' if first else ''}"
        )
        comparison.findings.append(
            Difference("eval", "wiring", "output", None if first is None else first.label, None, None, None, text)
        )
        comparison.diagnoses.append(Diagnosis("wiring", text, (len(comparison.findings) - 1,)))


def _figure(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) else "not finite"


def _is_apart(forward: Forward, number: int) -> bool:
    step = forward.exact.get(number)
    return step is not None and (step.cumulative or 0.0) > FLOAT64_TOLERANCE


def side_by_side(comparison: ParityRun, forward: Forward | None) -> list[AlignedOp]:
    """The two networks, with what each operator gave; the first difference says so."""
    found = lines(comparison.structure)
    steps: dict[tuple[str, str, str], tuple[paired_forward.Step, bool]] = {}
    if forward is not None:
        repeated: dict[tuple[str, str, str], int] = {}
        for mine, other in forward.pairs:
            if mine is None or other is None or mine.number not in forward.steps:
                continue
            key = (mine.label, other.label, mine.operator)
            repeated[key] = repeated.get(key, 0) + 1
            rounding = forward.verdict == ROUNDING or not _is_apart(forward, mine.number)
            steps[mine.label, other.label, f"{mine.operator}#{repeated[key]}"] = forward.steps[mine.number], rounding
    seen: dict[tuple[str, str, str], int] = {}
    done = False
    for place, line in enumerate(found):
        key = (line.model_path or "", line.reference_path or "", line.model_op or "")
        seen[key] = seen.get(key, 0) + 1
        step, rounding = steps.get((key[0], key[1], f"{key[2]}#{seen[key]}"), (None, True))
        here = not done and (line.status != "equal" or not rounding)
        done = done or here
        found[place] = replace(
            line,
            cumulative=None if step is None or step.cumulative is None else finite(step.cumulative),
            isolated=None if step is None or step.isolated is None else finite(step.isolated),
            rounding=rounding,
            is_first_difference=here,
        )
    return found


def shapes(comparison: ParityRun, forward: Forward | None, progress: Callable[[str], None]) -> None:
    """Outputs at an odd and oblong size and at a small one."""
    progress("trying other sizes")
    question = comparison.question
    errors: dict[Shape, float] = {}
    said = []
    wrong = False
    ours, theirs = comparison.ours.eval(), comparison.theirs.eval()
    for shape in question.other_shapes:
        image = random_init.image(shape, question.seed + 1)
        reference = _output(theirs, image)
        if isinstance(reference, str):
            said.append(f"{shape[2]} × {shape[3]}: {REFERENCE} itself does not take it")
            continue
        output = _output(ours, image)
        if isinstance(output, str):
            wrong = True
            said.append(f"{shape[2]} × {shape[3]}: ours fails ({output})")
        elif output.shape != reference.shape:
            wrong = True
            said.append(
                f"{shape[2]} × {shape[3]}: ours gives {_size(tuple(output.shape))}, not {_size(tuple(reference.shape))}"
            )
        else:
            errors[shape] = relative_error(output, reference)
    if not errors and not wrong:  # nothing was compared
        comparison.checks.append(Check("shapes", "other sizes", SKIPPED, None, None, "; ".join(said)))
        return
    worst = max(errors.values(), default=0.0)
    limit = None
    if worst or wrong:
        limit = NOISE * (forward.floor if forward is not None and forward.floor is not None else 1e-6)
        if question.rtol is not None:
            limit = question.rtol
    found = DIFFERENT if wrong else error_verdict(worst, limit or 0.0)
    if found == ROUNDING and forward is not None and forward.verdict == DIFFERENT:
        found = DIFFERENT  # small, and yet float64 has shown that it is no rounding
    if found == DIFFERENT and (why := not_comparable(comparison)) is not None:
        found = NOT_COMPARABLE
        said = [why]
    sizes = " and ".join(f"{shape[2]} × {shape[3]}" for shape in errors)
    if not said:
        words = {BITWISE: "are equal bit for bit", ROUNDING: "are apart by rounding", DIFFERENT: "differ"}
        said = [f"outputs at {sizes} {words[found]}"]
    comparison.checks.append(Check("shapes", "other sizes", found, finite(worst), limit, "; ".join(said)))
    if found == DIFFERENT and not comparison.findings:
        text = f"the outputs differ at other sizes of the image only: {'; '.join(said)}"
        comparison.findings.append(Difference("shapes", "shape", "output", None, None, None, None, text))


def _output(model: nn.Module, image: Tensor) -> Tensor | str:
    try:
        with torch.no_grad():
            return next(tensors_in(model(image)))
    except Exception as error:
        return " ".join(str(error).split())[:120]
