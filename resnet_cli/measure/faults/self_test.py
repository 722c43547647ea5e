"""Faults planted one by one in a network that is in parity: which are detected, and which are called by their name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.faults.catalog import MUTATIONS, Fault, NotApplicableError
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig, prepare
from resnet_cli.measure.system.environment import environment
from resnet_cli.results.common import Note
from resnet_cli.results.compare import BITWISE, ROUNDING, SKIPPED, CompareResult, FaultResult, SelfTestResult

# A fault is named by a diagnosis, or by a finding whose kind and subject say it: any of these will do.
NAMES: dict[str, frozenset[str]] = {
    "stride-in-1x1": frozenset({"resnet-v1"}),
    "stride-moved": frozenset({"stride-moved"}),
    "stem-padding": frozenset({"setting conv.padding"}),
    "pool-padding": frozenset({"caffe-pool"}),
    "conv-padding": frozenset({"setting conv.padding"}),
    "ceil-mode": frozenset({"setting max_pool.ceil_mode"}),
    "reflect": frozenset({"padding-mode"}),
    "kernel": frozenset({"setting conv.kernel"}),
    "dilation": frozenset({"setting conv.dilation"}),
    "groups": frozenset({"setting conv.groups"}),
    "average-pool-stem": frozenset({"average-pool-stem"}),
    "missing-bn": frozenset({"missing-bn"}),
    "missing-projection-bn": frozenset({"missing-projection-bn"}),
    "eps-1e-3": frozenset({"keras-eps"}),
    "eps-1e-6": frozenset({"setting batch_norm.eps"}),
    "eps-1.001e-5": frozenset({"keras-eps"}),
    "momentum": frozenset({"setting batch_norm.momentum"}),
    "affine-off": frozenset({"setting batch_norm.affine"}),
    "no-running-statistics": frozenset({"setting batch_norm.track_running_stats"}),
    "biased-running-variance": frozenset({"biased-running-variance"}),
    "bn-relu-swapped": frozenset({"bn-relu-swapped"}),
    "relu-before-add": frozenset({"relu-before-add"}),
    "missing-last-relu": frozenset({"missing-relu", "missing-last-relu"}),
    "missing-stem-relu": frozenset({"missing-stem-relu"}),
    "missing-inner-relu": frozenset({"missing-inner-relu"}),
    "gelu": frozenset({"activation-gelu"}),
    "resnet-d": frozenset({"resnet-d"}),
    "squeeze-excite": frozenset({"squeeze-excite"}),
    "pre-activation": frozenset({"pre-activation"}),
    "block-fewer": frozenset({"block-fewer"}),
    "block-more": frozenset({"block-more"}),
    "dropped-identity": frozenset({"dropped-identity"}),
    "scaled-identity": frozenset({"scaled-identity"}),
    "dropout": frozenset({"dropout"}),
    "input-normalisation": frozenset({"input-normalisation"}),
    "conv-bias": frozenset({"conv-bias"}),
    "no-head-bias": frozenset({"no-head-bias"}),
    "one-weight": frozenset({"weight-values"}),
    "one-buffer": frozenset({"buffer-values"}),
    "swapped-convs": frozenset({"swapped-weights"}),
    "frozen-parameter": frozenset({"frozen-parameter"}),
    "nan": frozenset({"nan"}),
}

_SMALL = 112  # pixels at most: a fault shows at any size


def self_test(
    ours: ModelUnderTest,
    theirs: ModelUnderTest,
    question: ParityConfig,
    *,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> SelfTestResult:
    """Plant every fault.

    Where the network is not in parity to begin with, the faults are looked for against the network itself.

    Args:
        ours: left as it is.
        theirs: the reference.
        question: what is asked; small images are used whatever it says.
        progress: told the fault, how many are done, and of how many.

    Raises:
        ResnetCliError: the network cannot be compared at all.
        KeyboardInterrupt: before a fault was planted; later it ends the self-test with what there is.
    """
    height, width = (min(side, _SMALL) for side in question.shape[2:])
    question = replace(question, shape=(*question.shape[:2], height, width), keep=True)
    made = prepare(ours.model, theirs.model, question, names=(ours.name, theirs.name))
    sound = ModelUnderTest(made.ours, ours.name, ours.spec)
    question = replace(question, transfer="none")
    notes: list[Note] = []
    against = theirs
    if not _whole(compare(sound, theirs, question)).same:
        against = ModelUnderTest(copy.deepcopy(made.ours), theirs.name)
        notes.append(
            Note("warning", f"{ours.name} is not {theirs.name} to begin with: the faults are looked for against itself")
        )
    rows: list[FaultResult] = []
    interrupted = False
    for done, mutation in enumerate(MUTATIONS):
        progress(mutation.title, done, len(MUTATIONS))
        try:
            rows.append(_plant(mutation, sound, against, question))
        except KeyboardInterrupt:
            if not rows:
                raise
            signals.acknowledge()
            interrupted = True
            break
    planted = [row for row in rows if row.injected]
    detected, named = sum(row.detected for row in planted), sum(row.diagnosed for row in planted)
    return SelfTestResult(
        network=ours.description,
        reference=against.name if against is theirs else ours.name,
        faults=tuple(rows),
        injected=len(planted),
        detected=detected,
        diagnosed=named,
        same=detected == named == len(planted) and not interrupted,
        environment=environment(question.device),
        notes=tuple(notes),
        interrupted=interrupted,
    )


def _plant(mutation: Fault, sound: ModelUnderTest, against: ModelUnderTest, question: ParityConfig) -> FaultResult:
    def row(*, planted: bool, text: str, result: CompareResult | None = None) -> FaultResult:
        seen = (
            ()
            if result is None
            else tuple(check.key for check in result.checks if check.verdict not in (BITWISE, ROUNDING, SKIPPED))
        )
        return FaultResult(
            key=mutation.key,
            group=mutation.group,
            title=mutation.title,
            injected=planted,
            detected=result is not None and not result.same,
            diagnosed=result is not None and is_named(mutation.key, result),
            checks=seen,
            text=text,
        )

    try:
        faulty = mutation.plant(copy.deepcopy(sound.model))
    except NotApplicableError as error:
        return row(planted=False, text=str(error))
    try:
        # The alignment changes the reference's training flags and buffers on copies only: it can be used again.
        result = _whole(compare(ModelUnderTest(faulty, sound.name), against, question))
    except ResnetCliError as error:
        return row(planted=True, text=error.message)
    first = [one.text for one in result.diagnoses] or [one.text for one in result.differences]
    return row(planted=True, text=first[0] if first else "", result=result)


def _whole(result: CompareResult) -> CompareResult:
    """A part of a comparison says nothing here."""
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def is_named(key: str, result: CompareResult) -> bool:
    """Whether a comparison called a fault by its name."""
    said = {one.key for one in result.diagnoses} | {f"{one.category} {one.subject}" for one in result.differences}
    return bool(NAMES[key] & said)
