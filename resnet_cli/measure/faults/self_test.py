"""Injects faults one by one into a network that is in parity: which are detected, and which diagnosed rightly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.faults.catalog import FAULTS, Fault, NotApplicableError
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.substitutes import on_device
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import prepare
from resnet_cli.measure.system.environment import environment
from resnet_cli.results.common import Note
from resnet_cli.results.compare import BITWISE, REWRITTEN, ROUNDING, SKIPPED, CompareResult, FaultResult, SelfTestResult

_MAX_SIDE = 112  # pixels: a fault shows at any size


@prints_to_stderr()
def self_test(
    model: ModelUnderTest,
    reference: ModelUnderTest,
    config: ParityConfig,
    *,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> SelfTestResult:
    """Inject every fault of the catalog and compare the faulty network with the reference.

    Where the network is not in parity to begin with, it is compared with itself.

    Args:
        model: left unchanged.
        reference: gets random weights unless the configuration says that weights were loaded.
        config: how they are compared; images are at most 112 pixels wide.
        progress: called with the title of a fault, the number of faults done, and the number of all.

    Raises:
        ResnetCliError: the network cannot be compared at all.
        KeyboardInterrupt: before the first fault was injected; later the result has those that were.
    """
    with on_device(model.model):
        return _self_test(model, reference, config, progress)


def _self_test(
    model: ModelUnderTest, reference: ModelUnderTest, config: ParityConfig, progress: Callable[[str, int, int], None]
) -> SelfTestResult:
    height, width = (min(side, _MAX_SIDE) for side in config.shape[2:])
    config = replace(config, shape=(*config.shape[:2], height, width), keep=True)
    prepared = prepare(model.model, reference.model, config, names=(model.name, reference.name))
    sound = replace(model, model=prepared.model)
    config = replace(config, transfer="none")
    notes: list[Note] = []
    baseline, baseline_name = reference, reference.name
    if not _completed(compare(sound, reference, config)).same:
        baseline, baseline_name = ModelUnderTest(sound.duplicate(), reference.name), model.name
        text = f"{model.name} is not in parity with {reference.name}: faults are injected relative to {model.name}"
        notes.append(Note("warning", text, "compared-with-itself"))
    rows: list[FaultResult] = []
    interrupted = False
    for done, fault in enumerate(FAULTS):
        progress(fault.title, done, len(FAULTS))
        try:
            rows.append(_test_fault(fault, sound, baseline, config))
        except KeyboardInterrupt:
            if not rows:
                raise
            signals.acknowledge()
            interrupted = True
            break
    injected = [row for row in rows if row.injected]
    detected, diagnosed = sum(row.detected for row in injected), sum(row.diagnosed for row in injected)
    return SelfTestResult(
        network=model.description,
        reference=baseline_name,
        faults=tuple(rows),
        injected=len(injected),
        detected=detected,
        diagnosed=diagnosed,
        same=detected == diagnosed == len(injected) and not interrupted,
        environment=environment(config.device),
        notes=tuple(notes),
        interrupted=interrupted,
    )


def _test_fault(fault: Fault, sound: ModelUnderTest, baseline: ModelUnderTest, config: ParityConfig) -> FaultResult:
    row = FaultResult(
        key=fault.key,
        group=fault.group,
        title=fault.title,
        injected=False,
        detected=False,
        diagnosed=False,
        checks=(),
        text="",
    )
    try:
        faulty = fault.apply(sound.duplicate())
    except NotApplicableError as error:
        return replace(row, text=str(error))
    try:
        # A comparison changes flags and buffers of the reference on copies only, so it can be used again.
        result = _completed(compare(ModelUnderTest(faulty, sound.name), baseline, config))
    except ResnetCliError as error:
        return replace(row, injected=True, text=error.message)
    texts = [diagnosis.text for diagnosis in result.diagnoses]
    texts += [difference.text for difference in result.differences]
    return replace(
        row,
        injected=True,
        detected=not result.same,
        diagnosed=is_diagnosed(fault, result),
        checks=tuple(
            check.key for check in result.checks if check.verdict not in (BITWISE, ROUNDING, REWRITTEN, SKIPPED)
        ),
        text=texts[0] if texts else "",
    )


def _completed(result: CompareResult) -> CompareResult:
    """The result, unless Ctrl-C ended the comparison: an unfinished one does not tell whether a fault is detected."""
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def is_diagnosed(fault: Fault, result: CompareResult) -> bool:
    """Whether a comparison has the right diagnosis of a fault, or a difference that says what it is."""
    reported = {diagnosis.key for diagnosis in result.diagnoses}
    reported |= {f"{difference.category} {difference.subject}" for difference in result.differences}
    return not fault.expected.isdisjoint(reported)
