"""`compare-torchvision`: whether two networks are the same, check by check, and every place where they are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import nn

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import write_file
from resnet_cli.measure.graph.difference_lines import with_first_line, with_lines
from resnet_cli.measure.models import random_init, torchvision_models
from resnet_cli.measure.models.inputs.fitting import called_with_image, fitted
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.substitutes import on_device
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.parity import map_files
from resnet_cli.measure.parity.checks import SPECS, CheckSpec, static
from resnet_cli.measure.parity.checks.forward import side_by_side
from resnet_cli.measure.parity.config import TORCHVISION, ParityConfig
from resnet_cli.measure.parity.diagnosis import diagnose
from resnet_cli.measure.parity.diagnosis.blocks import OTHER_ARCHITECTURE
from resnet_cli.measure.parity.nearest import nearest_network
from resnet_cli.measure.parity.placement import CPU, placed, placement_note
from resnet_cli.measure.parity.rewriting import rewritten
from resnet_cli.measure.parity.setup import ParityRun, prepare
from resnet_cli.measure.system.devices.loss import DeviceLostError, loss_of, require_device
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.system.precision import full_precision
from resnet_cli.results.common import Note, Shape
from resnet_cli.results.compare import (
    BITWISE,
    DIFFERENT,
    NOT_COMPARABLE,
    REWRITTEN,
    ROUNDING,
    SKIPPED,
    ArchitectureResult,
    Check,
    CompareInputs,
    CompareResult,
    Difference,
    Mapping,
    Prediction,
)

_SHORT = 40  # characters of a reason that may be repeated


@prints_to_stderr()
def compare(
    model: ModelUnderTest,
    reference: ModelUnderTest,
    config: ParityConfig = ParityConfig(),  # noqa: B008  # frozen
    *,
    expected: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> CompareResult:
    """Compare a network with a reference.

    Args:
        model: with real tensors; left unchanged where the configuration says so.
        reference: gets random weights unless the configuration says that weights were loaded.
        config: how they are compared.
        expected: keys of the differences that are intended (`difference_key`).
        progress: called with the name of each stage.

    Raises:
        ResnetCliError: a forward fails, or no parameter of the model has a counterpart in the reference.
        KeyboardInterrupt: before the first check was made; later the result has the checks that were made.
    """
    require_device(device_backend(config.device), "does not work")
    unchanged = on_device(model.model) if config.keep else nullcontext()
    inputs = fitted(config.inputs or images(config.shape), model.model)
    others = nullcontext() if config.inputs is None else called_with_image(model.model, inputs, config.seed)
    quiet = warnings.catch_warnings()
    with quiet, random_init.seeded(config.seed), full_precision(config.device), unchanged, others:
        warnings.simplefilter("ignore")  # of libraries, about what the user cannot change here
        stds = static.weight_stds(model.model) if config.weights is None else {}
        run = prepare(model.model, reference.model, config, names=(model.name, reference.name), progress=progress)
        static.initialization(stds, run)
        interrupted = not make_checks(run)
        return _result(model, reference, run, expected, interrupted=interrupted)


def make_checks(run: ParityRun) -> bool:
    """Make the configured checks; False where Ctrl-C ended it after the first.

    Raises:
        DeviceLostError: the device stopped working.
    """
    backend = device_backend(run.config.device)
    try:
        for spec in SPECS:
            if spec.key in run.config.checks:
                check = _made(spec, run)
                require_device(backend)  # on one that has failed any network fails
                run.checks.append(check)
    except KeyboardInterrupt:
        if not run.checks:
            raise
        signals.acknowledge()
        return False
    except Exception as error:
        if not isinstance(error, DeviceLostError) and (loss := loss_of(backend)) is not None:
            raise loss from error
        raise
    return True


def _made(spec: CheckSpec, run: ParityRun) -> Check:
    """One check; where the model's forward fails in it, a check that says so, so that the others are still made."""
    try:
        return spec.make(run)
    except ResnetCliError as error:
        return Check(spec.key, spec.title, NOT_COMPARABLE, None, None, error.message)


def difference_key(difference: Difference) -> str:
    """The name of a difference in a list of intended changes: stable from run to run, another for any other change."""
    path = difference.model_path if difference.model_path is not None else f"({difference.reference_path})"
    value = "" if difference.model_value is None else f" = {difference.model_value}"
    return f"{difference.category} {difference.subject} {path}{value}"


def write_files(
    result: CompareResult, names: tuple[str, str], map_path: str | None, expectations_path: str | None
) -> None:
    """Write the parameter name map and the differences of a comparison.

    Args:
        result: the comparison.
        names: of model and reference.
        map_path: of the file for the map; None: none.
        expectations_path: of the file for the differences, which are intended from then on; None: none.
    """
    if map_path is not None:
        write_file(map_path, map_files.map_text(dict(result.mapping.pairs), *names).encode())
    if expectations_path is not None:
        keys = [difference_key(difference) for difference in result.differences]
        write_file(expectations_path, map_files.expectations_text(keys, *names).encode())


def _result(
    model: ModelUnderTest,
    reference: ModelUnderTest,
    run: ParityRun,
    expected: Sequence[str] | None,
    *,
    interrupted: bool,
) -> CompareResult:
    wanted = set(expected or ())
    differences = tuple(
        replace(difference, expected=difference_key(difference) in wanted)
        for difference in with_lines(run.findings, run.structure, run.model, run.reference)
    )
    notes = list(run.notes)
    for key in sorted(wanted - {difference_key(difference) for difference in differences}):
        notes.append(Note("warning", f"expected but not present: {key}", "expected-not-present"))
    diagnosed = diagnose(run.structure, run.findings, run.biased_variances)
    diagnoses = tuple(with_first_line(diagnosis, differences) for diagnosis in diagnosed)
    is_torchvision = run.config.reference == TORCHVISION
    if is_torchvision and any(diagnosis.key == OTHER_ARCHITECTURE for diagnosis in diagnoses):
        run.progress("looking for the nearest network of torchvision")
        notes.append(Note("note", nearest_network(run.model), "nearest-reference"))
    checks = _all_checks(run)
    verdict = _worst(checks)
    is_intended = bool(differences) and all(difference.expected for difference in differences)
    return CompareResult(
        network=model.description,
        reference=reference.name,
        reference_version=torchvision_models.version() if is_torchvision else None,
        verdict=verdict,
        same=(verdict in (BITWISE, ROUNDING, REWRITTEN) or is_intended) and not interrupted,
        checks=checks,
        diagnoses=diagnoses,
        differences=differences,
        rewritings=tuple(rewritten.describe(*region) for region in run.rewritings),
        aligned_ops=tuple(side_by_side(run)),
        mapping=_mapping(run),
        test_inputs=CompareInputs(
            seed=run.config.seed,
            weights="random" if run.config.weights is None else run.config.weights,
            shape=run.config.shape,
            training_shape=_training_shape(run),
            other_shapes=run.config.other_shapes,
            inputs=None
            if run.config.inputs is None
            else fitted(run.config.inputs, model.model).describe(torch.float32),
            noise_floor=None if run.forward is None else run.forward.floor,
        ),
        image=None,
        predictions=(),
        environment=environment(run.config.device),
        notes=(
            *(() if run.config.inputs is None else run.config.inputs.notes),
            *placement_note(run.config.device),
            *notes,
        ),
        interrupted=interrupted,
    )


def _training_shape(run: ParityRun) -> Shape:
    """Shape of the images of the training step; of the first try where none was made."""
    step = run.training_step
    return run.config.training_shapes[0] if step is None or step.shape is None else step.shape


def _all_checks(run: ParityRun) -> tuple[Check, ...]:
    """The checks that were made, and a skipped one in place of each other; a reason is given once."""
    made = {check.key: check for check in run.checks}
    reasons = {spec.key: "interrupted" if spec.key in run.config.checks else "not selected" for spec in SPECS}
    checks: list[Check] = []
    for spec in SPECS:
        check = made.get(spec.key, Check(spec.key, spec.title, SKIPPED, None, None, reasons[spec.key]))
        same = next((row for row in checks if row.text == check.text and len(row.text) > _SHORT), None)
        checks.append(check if same is None else replace(check, text=f'see "{same.title}"'))
    return tuple(checks)


def _mapping(run: ParityRun) -> Mapping:
    unmatched_model, unmatched_reference = run.unmapped
    return Mapping(
        source=run.config.map_source,
        pairs=tuple(run.pairs.items()),
        mapped_tensors=sum(name in run.pairs for name in run.used[0]),
        model_tensors=len(run.used[0]),
        reference_tensors=len(run.used[1]),
        unmatched_model=unmatched_model,
        unmatched_reference=unmatched_reference,
        unused_model=run.unused,
        reordered=tuple(run.layouts.items()),
    )


def _worst(checks: Sequence[Check]) -> str:
    verdicts = {check.verdict for check in checks}
    ranked = (DIFFERENT, NOT_COMPARABLE, REWRITTEN, ROUNDING, BITWISE)
    return next((verdict for verdict in ranked if verdict in verdicts), NOT_COMPARABLE)


@prints_to_stderr()
def predict(
    model: nn.Module, reference: nn.Module, path: str, name: str, device: torch.device = CPU
) -> tuple[Prediction, ...]:
    """The five most likely classes of an image by either network, with torchvision's own preprocessing.

    Args:
        model: with trained weights.
        reference: with trained weights.
        path: of the image file.
        name: torchvision's name of the architecture, which decides the preprocessing.
        device: where the networks run.

    Raises:
        ResnetCliError: the image cannot be read.
    """
    image, labels = torchvision_models.prepared_image(path, name)
    rows = []
    for network in (model, reference):
        with torch.no_grad(), full_precision(device), placed(network, device):
            rows.append(torch.softmax(network(image.to(device))[0].cpu().double(), 0).topk(5))

    def label(index: int) -> str:
        return labels[index] if index < len(labels) else str(index)

    (values, indices), (reference_values, reference_indices) = rows
    return tuple(
        Prediction(
            rank + 1,
            label(int(indices[rank])),
            float(values[rank]),
            label(int(reference_indices[rank])),
            float(reference_values[rank]),
        )
        for rank in range(len(values))
    )


def architecture_result(result: CompareResult, name: str, parameters: int) -> ArchitectureResult:
    """A comparison as one row of the table of all architectures."""
    texts = [diagnosis.text for diagnosis in result.diagnoses]
    texts += [difference.text for difference in result.differences]
    return ArchitectureResult(
        name=name,
        verdict=result.verdict,
        same=result.same,
        parameters=parameters,
        mapped=result.mapping.mapped_tensors,
        tensors=result.mapping.model_tensors,
        checks=result.checks,
        differences=len(result.differences),
        first_difference=texts[0] if texts else None,
    )
