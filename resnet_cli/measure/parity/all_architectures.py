"""`compare-torchvision --all`: every member of the family against torchvision's, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnet_cli import signals
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.parity.compare import compare, member
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.model_pair import model_pair
from resnet_cli.measure.parity.train_step import trim_malloc
from resnet_cli.measure.system.environment import environment
from resnet_cli.network.architectures import FAMILY, ModelSpec
from resnet_cli.results.compare import ArchitectureResult, CompareAllResult


def compare_family(
    question: ParityConfig, num_classes: int = 1000, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> CompareAllResult:
    """Compare all members; one pair of networks is in memory at a time.

    Args:
        question: what is asked of each.
        num_classes: of the classifiers.
        progress: told what is going on, how many members are done, and of how many.

    Raises:
        ResnetCliError: no working torchvision.
        KeyboardInterrupt: before a member was compared; later it ends the comparison with what there is.
    """
    members: list[ArchitectureResult] = []
    interrupted = False
    for done, spec in enumerate(FAMILY.values()):

        def told(text: str, done: int = done, name: str = spec.name) -> None:
            progress(f"{name}: {text}", done, len(FAMILY))

        try:
            members.append(_member(replace(spec, num_classes=num_classes), replace(question, keep=False), told))
        except KeyboardInterrupt:
            if not members:
                raise
            signals.acknowledge()
            interrupted = True
            break
    return CompareAllResult(
        reference_version=torchvision_models.version(),
        same=all(one.same for one in members) and not interrupted,
        architectures=tuple(members),
        environment=environment(question.device),
        notes=(),
        interrupted=interrupted,
    )


def _member(spec: ModelSpec, question: ParityConfig, progress: Callable[[str], None]) -> ArchitectureResult:
    progress("building both networks")
    pair = model_pair(spec, seed=question.seed)
    trim_malloc(pair.ours.model)  # what the last member had
    parameters = sum(parameter.numel() for parameter in pair.ours.model.parameters())
    result = compare(pair.ours, pair.theirs, question, progress=progress)
    if result.interrupted:  # a part of a member is no row
        raise KeyboardInterrupt
    return member(result, spec.name, parameters)
