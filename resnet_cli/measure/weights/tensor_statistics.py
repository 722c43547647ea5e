"""Statistics of every tensor of a checkpoint, and the network that it fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.tracing.tensors import is_lazy
from resnet_cli.measure.weights.architecture_detection import NAMING_TITLES, Naming, detect_architecture
from resnet_cli.measure.weights.checkpoint import Checkpoint, read_checkpoint
from resnet_cli.measure.weights.key_matching import describe_mismatch, match_keys, mismatch_error
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.results.checkpoint import CheckpointResult, TensorStatistics
from resnet_cli.results.common import Note, Shape

_CHUNK = 2**18  # values at a time: 2 MB in double precision
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def view_weights(
    path: str, named: ModelUnderTest | None = None, *, progress: Callable[[str], None] = lambda _: None
) -> tuple[CheckpointResult, ModelUnderTest | None]:
    """Describe a checkpoint. At most one tensor of a large file is in memory at a time.

    Args:
        path: a safetensors file, or one that `torch.load` reads with `weights_only`.
        named: the network that it must fit; None to find the architecture from names and shapes.
        progress: called with a short text before each step.

    Returns:
        The statistics, and the network that the checkpoint fits: `named`, a detected one, or None.

    Raises:
        ResnetCliError: the file cannot be read, or does not fit `named`.
    """
    progress("opening the weights")
    checkpoint = read_checkpoint(path, mapped=True)
    fitting = _detect(checkpoint) if named is None else _match_model(named, path, checkpoint)
    rows = []
    # safetensors sorts by name; the order of the network reads better.
    order = [name for name in fitting.names if name in checkpoint.tensors]
    for name, tensor in _stream_tensors(path, checkpoint, order or list(checkpoint.tensors)):
        progress(f"reading {name}")
        rows.append(_statistics(name, tensor, is_batch_norm=_is_batch_norm(name, checkpoint.tensors)))
    result = CheckpointResult(
        path=path,
        format=checkpoint.format,
        file_bytes=checkpoint.bytes,
        key_path=checkpoint.key_path,
        prefix=checkpoint.prefix,
        is_ema=checkpoint.is_ema,
        ignored_entries=checkpoint.ignored_entries,
        network=None if fitting.subject is None else fitting.subject.description,
        naming=fitting.naming,
        parameters=sum(row.elements for row in rows if not row.is_buffer),
        buffers=sum(row.elements for row in rows if row.is_buffer),
        bytes=sum(row.bytes for row in rows),
        nan=sum(row.nan for row in rows),
        infinite=sum(row.infinite for row in rows),
        dead_channels=sum(row.dead_channels or 0 for row in rows),
        tensors=tuple(rows),
        summary=None,
        environment=environment(torch.device("cpu")),
        notes=fitting.notes,
    )
    return result, fitting.subject


@dataclass(frozen=True, slots=True)
class _FittingModel:
    """The network that the tensors fit, or why there is none."""

    subject: ModelUnderTest | None
    naming: Naming | None
    names: tuple[str, ...] = ()  # in the order of the state_dict
    notes: tuple[Note, ...] = ()


def _detect(checkpoint: Checkpoint) -> _FittingModel:
    """The architecture of these names and shapes, if all tensors fit it."""
    try:
        detected = detect_architecture(checkpoint.tensors)
    except ResnetCliError as error:
        return _FittingModel(
            None, None, notes=(Note("note", f"no layer tree: {error.message}", "unknown-architecture"),)
        )
    shapes = detected.shapes()
    match = match_keys(checkpoint.tensors, shapes)
    if not match.exact:
        text = f"no layer tree: the file looks like {detected.spec.name} but does not fit it: {mismatch_error(match)}"
        return _FittingModel(None, None, notes=(Note("warning", text, "architecture-mismatch"),))
    return _FittingModel(model_from_spec(detected.spec), detected.naming, tuple(shapes))


def _match_model(named: ModelUnderTest, path: str, checkpoint: Checkpoint) -> _FittingModel:
    """The network that the user named, if the tensors fit under one of its namings."""
    state = named.model.state_dict()
    # A lazy tensor takes the shape in the file, or any if it is missing.
    in_file = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    shapes = {name: in_file.get(name, ()) if is_lazy(tensor) else tuple(tensor.shape) for name, tensor in state.items()}
    expected: dict[Naming | None, dict[str, Shape]] = {"resnet-cli" if named.spec else None: shapes}
    if named.spec is not None:
        names = torchvision_names(named.spec)
        expected["torchvision"] = {names[name]: shape for name, shape in shapes.items()}
    matches = {naming: match_keys(checkpoint.tensors, shapes) for naming, shapes in expected.items()}
    for naming, match in matches.items():
        if match.exact:
            return _FittingModel(named, naming, tuple(expected[naming]))
    titles = {NAMING_TITLES[naming] if naming else f"names of {named.name}": match for naming, match in matches.items()}
    raise describe_mismatch(path, checkpoint.tensors, titles)


def _stream_tensors(path: str, checkpoint: Checkpoint, order: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, memory-mapped. A safetensors file is reopened for each, which unmaps the previous one."""
    for name in order:
        tensor = checkpoint.tensors[name]
        if checkpoint.format != "safetensors":
            yield name, tensor
            continue
        with safe_open(path, framework="pt") as opened:
            original = f"{checkpoint.prefix}{name}"
            yield name, opened.get_tensor(original) if original in opened.keys() else tensor  # noqa: SIM118


def _is_batch_norm(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether this is the weight of a batch norm: it has running statistics beside it."""
    module, _, last = name.rpartition(".")
    return last == "weight" and f"{module}.running_var" in tensors


def _statistics(name: str, tensor: Tensor, *, is_batch_norm: bool) -> TensorStatistics:
    moments = RunningMoments()
    dead = 0
    if _has_numbers(tensor):
        for values in _chunks(tensor.detach()):
            moments.add(values)
            dead += int((values == 0).sum()) if is_batch_norm else 0
    return TensorStatistics(
        name=name,
        shape=Shape(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        is_buffer=name.rpartition(".")[2] in _BUFFERS,
        elements=tensor.numel(),
        bytes=tensor.numel() * tensor.element_size(),
        minimum=_finite(moments.minimum),
        maximum=_finite(moments.maximum),
        mean=_finite(moments.mean) if moments.count else None,
        standard_deviation=_finite(math.sqrt(moments.squares / moments.count)) if moments.count else None,
        nan=moments.nan,
        infinite=moments.infinite,
        dead_channels=dead if is_batch_norm else None,
    )


def _has_numbers(tensor: Tensor) -> bool:
    """Whether the tensor is dense, real and not quantized."""
    return tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_complex()


def _chunks(tensor: Tensor) -> Iterator[Tensor]:
    """The values in double precision, in chunks."""
    flat = tensor.reshape(-1)  # a view, unless the tensor was saved transposed
    for start in range(0, flat.numel(), _CHUNK):
        yield flat[start : start + _CHUNK].to(torch.float64)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class RunningMoments:
    """Mean, variance and extremes of values that arrive in chunks.

    Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances".
    """

    def __init__(self) -> None:
        self.count = self.nan = self.infinite = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.mean = self.squares = 0.0

    def add(self, values: Tensor) -> None:
        """Update with more values."""
        is_finite = values.isfinite()
        if not bool(is_finite.all()):
            self.nan += int(values.isnan().sum())
            self.infinite += int(values.isinf().sum())
            values = values[is_finite]
        if not values.numel():
            return
        lowest, highest = values.aminmax()
        self.minimum, self.maximum = min(self.minimum, lowest.item()), max(self.maximum, highest.item())
        mean, count = values.mean().item(), values.numel()
        difference, total = mean - self.mean, self.count + count
        self.squares += (values - mean).square().sum().item() + difference**2 * self.count * count / total
        self.mean += difference * count / total
        self.count = total
