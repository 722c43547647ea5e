"""One training step of both networks, as four checks: output, running statistics, gradients, parameters after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.parity import train_step
from resnet_cli.measure.parity.checks.static import not_comparable
from resnet_cli.measure.parity.config import REFERENCE, ParityRun, graph_of
from resnet_cli.measure.parity.tensor_error import error_verdict, finite, relative_error
from resnet_cli.measure.parity.train_step import FLOAT32_TOLERANCE, FLOAT64_TOLERANCE, TensorError, Trained
from resnet_cli.results.common import Shape
from resnet_cli.results.compare import DIFFERENT, NOT_COMPARABLE, Check, Diagnosis, Difference

TITLES = {
    "train": "forward, train mode",
    "statistics": "running statistics",
    "gradients": "gradients",
    "step": "a step of SGD",
}


def train(comparison: ParityRun, progress: Callable[[str], None]) -> None:
    """Make the step, and the checks that were asked for."""
    wanted = [key for key in TITLES if key in comparison.question.checks]
    if not wanted:
        return
    progress("training one step in float64")
    try:
        ours, theirs, gradients, shape = _steps(comparison)
    except _ReferenceFailedError as error:
        for key in wanted:
            said = f"{REFERENCE}'s network cannot be trained on such a batch: {error}"
            comparison.checks.append(Check(key, TITLES[key], NOT_COMPARABLE, None, None, said))
        return
    why = not_comparable(comparison)
    output = _outputs(ours, theirs)
    limit = _limit(comparison)
    if (
        why is None
        and limit < output <= FLOAT32_TOLERANCE
        and train_step.computes_in_float32(comparison.ours, random_init.image(shape, 0))
    ):
        why = "ours works in single precision whatever it is given: a step cannot tell its rounding from a fault"
    if "train" in wanted:
        words = "output in train mode, float64"
        _add(comparison, "train", output, [output], words, why)
        if output > limit and why is None and not comparison.findings:
            text = "the forward differs in train mode only"
            comparison.findings.append(Difference("train", "train", "output", None, None, None, None, text))
    groups = {
        "statistics": (train_step.buffer_errors(ours, theirs, comparison.pairs), "buffers after the forward"),
        "gradients": (gradients.gradients, "gradients, float64"),
        "step": (gradients.parameters, "parameters after the step"),
    }
    for key, (deviations, words) in groups.items():
        if key not in wanted:
            continue
        errors = [one.error for one in deviations]
        _add(comparison, key, max(errors, default=0.0), errors, words, why)
        if output <= limit and why is None:
            _accuse(comparison, key, [one for one in deviations if one.error > limit])
    if "statistics" in wanted and output <= limit:
        _name_variance(comparison, ours, theirs, shape)


class _ReferenceFailedError(Exception):
    """The reference cannot be trained like this; the text says why."""


def _steps(comparison: ParityRun) -> tuple[Trained, Trained, train_step.Gradients, Shape]:
    question = comparison.question
    shape = question.training_shape
    train_step.trim_malloc(comparison.theirs)
    try:
        theirs = train_step.run(comparison.theirs, random_init.image(shape, question.seed + 2), question.seed)
    except Exception:
        shape = (2, *question.shape[1:])
        try:
            theirs = train_step.run(comparison.theirs, random_init.image(shape, question.seed + 2), question.seed)
        except Exception as error:
            raise _ReferenceFailedError(" ".join(str(error).split())) from error
    train_step.trim_malloc(comparison.theirs)
    gradients = train_step.Gradients(theirs, comparison.theirs, comparison.pairs)
    image = random_init.image(shape, question.seed + 2)
    try:
        ours = train_step.run(comparison.ours, image, question.seed, gradients.arrived)
    except Exception as error:
        raise user_error(error, f"a training step of {comparison.name}") from error
    gradients.finish(ours, comparison.ours)
    return ours, theirs, gradients, shape


def _limit(comparison: ParityRun) -> float:
    return FLOAT64_TOLERANCE if comparison.question.rtol is None else comparison.question.rtol


def _outputs(ours: Trained, theirs: Trained) -> float:
    if len(ours.outputs) != len(theirs.outputs):
        return math.inf
    pairs = zip(ours.outputs, theirs.outputs, strict=True)
    return max((relative_error(a, b) if a.shape == b.shape else math.inf for a, b in pairs), default=0.0)


def _add(comparison: ParityRun, key: str, worst: float, errors: Sequence[float], words: str, why: str | None) -> None:
    limit = _limit(comparison)
    found = error_verdict(worst, limit)
    if found == DIFFERENT and why is not None:
        comparison.checks.append(Check(key, TITLES[key], NOT_COMPARABLE, finite(worst), limit, why))
        return
    equal, far = sum(error == 0 for error in errors), sum(error > limit for error in errors)
    if key == "train":
        said = (
            {0: "output equal bit for bit"}.get(far, "output differs")
            if not worst or far
            else "output apart by rounding"
        )
        said += ", float64"
    elif equal == len(errors):
        said = f"all {len(errors)} {words} are equal bit for bit"
    elif not far:
        said = f"{len(errors)} {words}: {equal} equal bit for bit, the others apart by rounding"
    else:
        said = f"{far} of {len(errors)} {words} differ"
    comparison.checks.append(Check(key, TITLES[key], found, finite(worst), None if not worst else limit, said))


def _accuse(comparison: ParityRun, key: str, apart: list[TensorError]) -> None:
    """A finding for each tensor that differs although the outputs agree, and that no other finding explains."""
    explained = {one.model_path for one in comparison.findings if one.category in ("frozen", "value")}
    owners = {
        one.model_path
        for one in comparison.findings
        if one.category == "setting" and one.subject in ("batch_norm.momentum", "batch_norm.track_running_stats")
    }
    words = {"statistics": "running statistics", "gradients": "gradient", "step": "value after the step"}
    for one in apart:
        if one.ours in explained or one.ours.rpartition(".")[0] in owners:
            continue
        if key == "step" and any(
            found.category == "gradients" and found.model_path == one.ours for found in comparison.findings
        ):
            continue
        far = f"relative error {one.error:.1e}" if math.isfinite(one.error) else "one of the two has none"
        text = f"{one.ours}: its {words[key]} differs although the outputs agree ({far})"
        subject = one.ours.rpartition(".")[2]
        comparison.findings.append(Difference(key, key, subject, one.ours, one.theirs, None, None, text))


def _name_variance(comparison: ParityRun, ours: Trained, theirs: Trained, shape: Shape) -> None:
    """Running variances that took the biased variance of the batch have a name."""
    if not any(one.category == "statistics" for one in comparison.findings):
        return
    graph = graph_of(comparison.ours, shape, training=True, name=comparison.name)
    norms = {
        leaf.name: math.prod(node.shape) // node.shape[1]
        for node in graph.nodes
        if node.operator == "batch_norm" and len(node.shape) > 1
        for role, leaf in node.leaves.items()
        if role == "running_var"
    }
    biased = []
    for index, one in enumerate(comparison.findings):
        if one.category != "statistics" or one.model_path not in norms or one.reference_path is None:
            continue
        if train_step.is_biased_variance(ours, theirs, one.model_path, one.reference_path, norms[one.model_path]):
            biased.append(index)
    if biased:
        first = comparison.findings[biased[0]].model_path
        text = f"{first} is kept from the biased variance (divided by n); torch keeps the unbiased one (n − 1)"
        comparison.diagnoses.append(Diagnosis("biased-running-variance", text, tuple(biased)))
