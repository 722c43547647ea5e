"""A file of weights, looked at tensor by tensor: what each holds, and which network they fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.measure.ops.fast_meta import is_lazy
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.weights.architecture_detection import NAMINGS, Naming, detect_architecture
from resnet_cli.measure.weights.checkpoint import Checkpoint, read_checkpoint
from resnet_cli.measure.weights.key_matching import describe_mismatch, match_keys, mismatch_error
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.results.checkpoint import CheckpointResult, TensorStatistics
from resnet_cli.results.common import Note, Shape

_CHUNK = 2**18  # values that are looked at together: as double precision, 2 MB
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def view_weights(
    path: str, named: ModelUnderTest | None = None, *, progress: Callable[[str], None] = lambda _: None
) -> tuple[CheckpointResult, ModelUnderTest | None]:
    """Look at a file of weights. Of a large file no more than one tensor is in memory at once.

    Args:
        path: a safetensors file, or one that `torch.load` reads with `weights_only`.
        named: the network that they have to fit; None to find it by their names and shapes.
        progress: told what is going on.

    Returns:
        What the file holds, and the network that it fits: `named`, the one that was found, or None.

    Raises:
        ResnetCliError: the file cannot be read, or does not fit the network that was named.
    """
    progress("opening the weights")
    checkpoint = read_checkpoint(path, mapped=True)
    found = _recognised(checkpoint) if named is None else _held_against(named, path, checkpoint)
    rows = []
    # A safetensors file has its tensors by name; the network's own order reads better.
    order = [name for name in found.names if name in checkpoint.tensors]
    for name, tensor in _streamed(path, checkpoint, order or list(checkpoint.tensors)):
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
        network=None if found.subject is None else found.subject.description,
        naming=found.naming,
        parameters=sum(row.elements for row in rows if not row.is_buffer),
        buffers=sum(row.elements for row in rows if row.is_buffer),
        bytes=sum(row.bytes for row in rows),
        nan=sum(row.nan for row in rows),
        infinite=sum(row.infinite for row in rows),
        dead_channels=sum(row.dead_channels or 0 for row in rows),
        tensors=tuple(rows),
        summary=None,
        environment=environment(torch.device("cpu")),
        notes=found.notes,
    )
    return result, found.subject


@dataclass(frozen=True, slots=True)
class _Found:
    """The network that tensors fit."""

    subject: ModelUnderTest | None
    naming: Naming | None
    names: tuple[str, ...] = ()  # in the order of its state dict
    notes: tuple[Note, ...] = ()


def _recognised(checkpoint: Checkpoint) -> _Found:
    """The network of these names and shapes, where they are those of a network whole."""
    try:
        found = detect_architecture(checkpoint.tensors)
    except ResnetCliError as error:
        return _Found(None, None, notes=(Note("note", f"no layer tree: {error.message}"),))
    shapes = found.shapes()
    how = match_keys(checkpoint.tensors, shapes)
    if not how.exact:
        text = f"no layer tree: it looks like {found.spec.name}, but does not fit it: {mismatch_error(how)}"
        return _Found(None, None, notes=(Note("warning", text),))
    return _Found(model_from_spec(found.spec), found.naming, tuple(shapes))


def _held_against(named: ModelUnderTest, path: str, checkpoint: Checkpoint) -> _Found:
    """The network that the user named, if the tensors fit it under one of its namings."""
    state = named.model.state_dict()
    # A lazy tensor takes the shape that it is given; where it is missing, any will do.
    given = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    shapes = {name: given.get(name, ()) if is_lazy(tensor) else tuple(tensor.shape) for name, tensor in state.items()}
    expected: dict[Naming | None, dict[str, Shape]] = {"ours" if named.spec else None: shapes}
    if named.spec is not None:
        names = torchvision_names(named.spec)
        expected["torchvision"] = {names[name]: shape for name, shape in shapes.items()}
    fits = {naming: match_keys(checkpoint.tensors, wanted) for naming, wanted in expected.items()}
    for naming, how in fits.items():
        if how.exact:
            return _Found(named, naming, tuple(expected[naming]))
    words = {NAMINGS[naming] if naming else f"{named.name}'s names": how for naming, how in fits.items()}
    raise describe_mismatch(path, checkpoint.tensors, words)


def _streamed(path: str, checkpoint: Checkpoint, order: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, mapped from the file. A safetensors file is opened anew for each, which lets go of the last."""
    for name in order:
        tensor = checkpoint.tensors[name]
        if checkpoint.format != "safetensors":
            yield name, tensor
            continue
        with safe_open(path, framework="pt") as opened:
            original = f"{checkpoint.prefix}{name}"
            yield name, opened.get_tensor(original) if original in opened.keys() else tensor  # noqa: SIM118


def _is_batch_norm(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether this is what a batch norm multiplies by: it has running statistics beside it."""
    module, _, last = name.rpartition(".")
    return last == "weight" and f"{module}.running_var" in tensors


def _statistics(name: str, tensor: Tensor, *, is_batch_norm: bool) -> TensorStatistics:
    spread = RunningMoments()
    dead = 0
    if _has_numbers(tensor):
        for values in _chunks(tensor.detach()):
            spread.add(values)
            dead += int((values == 0).sum()) if is_batch_norm else 0
    return TensorStatistics(
        name=name,
        shape=Shape(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        is_buffer=name.rpartition(".")[2] in _BUFFERS,
        elements=tensor.numel(),
        bytes=tensor.numel() * tensor.element_size(),
        minimum=_finite(spread.minimum),
        maximum=_finite(spread.maximum),
        mean=_finite(spread.mean) if spread.count else None,
        standard_deviation=_finite(math.sqrt(spread.squares / spread.count)) if spread.count else None,
        nan=spread.nan,
        infinite=spread.infinite,
        dead_channels=dead if is_batch_norm else None,
    )


def _has_numbers(tensor: Tensor) -> bool:
    """Whether it is dense and real, which a sparse, quantized or complex one is not."""
    return tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_complex()


def _chunks(tensor: Tensor) -> Iterator[Tensor]:
    """The values, some at a time, in double precision."""
    flat = tensor.reshape(-1)  # a view, unless the tensor was saved transposed
    for start in range(0, flat.numel(), _CHUNK):
        yield flat[start : start + _CHUNK].to(torch.float64)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class RunningMoments:
    """Mean and variance piece by piece.

    Chan, Golub, LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances".
    """

    def __init__(self) -> None:
        self.count = self.nan = self.infinite = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.mean = self.squares = 0.0

    def add(self, values: Tensor) -> None:
        """More values."""
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
        apart, together = mean - self.mean, self.count + count
        self.squares += (values - mean).square().sum().item() + apart * apart * self.count * count / together
        self.mean += apart * count / together
        self.count = together
