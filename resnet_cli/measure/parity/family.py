"""`compare-torchvision --all`: every member of the family against torchvision's, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnet_cli import signals
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.parity.compare import compare, member
from resnet_cli.measure.parity.config import Question
from resnet_cli.measure.parity.model_pair import contenders
from resnet_cli.measure.parity.train_step import give_back
from resnet_cli.measure.system.environment import environment
from resnet_cli.network.architectures import FAMILY, ModelSpec
from resnet_cli.results.compare import FamilyResult, Member


def compare_family(
    question: Question, num_classes: int = 1000, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> FamilyResult:
    """Compare all members; one pair of networks is in memory at a time.

    Args:
        question: what is asked of each.
        num_classes: of the classifiers.
        progress: told what is going on, how many members are done, and of how many.

    Raises:
        ResnetCliError: no working torchvision.
        KeyboardInterrupt: before a member was compared; later it ends the comparison with what there is.
    """
    members: list[Member] = []
    interrupted = False
    for done, spec in enumerate(FAMILY.values()):

        def told(text: str, done: int = done, name: str = spec.name) -> None:
            progress(f"{name}: {text}", done, len(FAMILY))

        try:
            members.append(_member(replace(spec, num_classes=num_classes), replace(question, keep=False), told))
        except KeyboardInterrupt:
            if not members:
                raise
            signals.heard()
            interrupted = True
            break
    return FamilyResult(
        reference_version=torchvision_models.version(),
        same=all(one.same for one in members) and not interrupted,
        members=tuple(members),
        environment=environment(question.device),
        notes=(),
        interrupted=interrupted,
    )


def _member(spec: ModelSpec, question: Question, progress: Callable[[str], None]) -> Member:
    progress("building both networks")
    pair = contenders(spec, seed=question.seed)
    give_back(pair.ours.model)  # what the last member had
    parameters = sum(parameter.numel() for parameter in pair.ours.model.parameters())
    result = compare(pair.ours, pair.theirs, question, progress=progress)
    if result.interrupted:  # a part of a member is no row
        raise KeyboardInterrupt
    return member(result, spec.name, parameters)
