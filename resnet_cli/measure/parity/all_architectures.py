"""`compare-torchvision --all`: every built-in architecture against torchvision's, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resnet_cli import signals
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.parity.compare import architecture_result, compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.model_pair import model_pair
from resnet_cli.measure.parity.train_step import trim_malloc
from resnet_cli.measure.system.environment import environment
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.results.compare import ArchitectureResult, CompareAllResult


def compare_all_architectures(
    config: ParityConfig, num_classes: int = 1000, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> CompareAllResult:
    """Compare all architectures; one pair of networks is in memory at a time.

    Args:
        config: how each is compared.
        num_classes: of the classifiers.
        progress: called with the stage, the number of architectures done, and the number of all.

    Raises:
        ResnetCliError: no working torchvision.
        KeyboardInterrupt: before the first was compared; later the result has those that were.
    """
    rows: list[ArchitectureResult] = []
    interrupted = False
    for done, spec in enumerate(ARCHITECTURES.values()):

        def update(stage: str, done: int = done, name: str = spec.name) -> None:
            progress(f"{name}: {stage}", done, len(ARCHITECTURES))

        try:
            rows.append(_compare(replace(spec, num_classes=num_classes), replace(config, keep=False), update))
        except KeyboardInterrupt:
            if not rows:
                raise
            signals.acknowledge()
            interrupted = True
            break
    return CompareAllResult(
        reference_version=torchvision_models.version(),
        same=all(row.same for row in rows) and not interrupted,
        architectures=tuple(rows),
        environment=environment(config.device),
        notes=(),
        interrupted=interrupted,
    )


def _compare(spec: ModelSpec, config: ParityConfig, progress: Callable[[str], None]) -> ArchitectureResult:
    progress("building both networks")
    pair = model_pair(spec, seed=config.seed)
    trim_malloc(pair.model.model)  # what the previous pair has freed
    parameters = sum(parameter.numel() for parameter in pair.model.model.parameters())
    result = compare(pair.model, pair.reference, config, progress=progress)
    if result.interrupted:  # an unfinished comparison is not a row
        raise KeyboardInterrupt
    return architecture_result(result, spec.name, parameters)
