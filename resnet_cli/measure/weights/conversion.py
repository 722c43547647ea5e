"""Weights under other names, in another format, of another dtype; what is not asked to change stays bit for bit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import exact, printable
from resnet_cli.measure.models.model import model_from_spec
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.weights.architecture_detection import NAMINGS, DetectedArchitecture, Naming, detect_architecture
from resnet_cli.measure.weights.checkpoint import Checkpoint, read_checkpoint
from resnet_cli.measure.weights.files import Format
from resnet_cli.measure.weights.key_matching import COUNTER, match_keys, mismatch_error
from resnet_cli.results.common import Note
from resnet_cli.results.convert import ConvertedTensor, ConvertResult, WeightsFile

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_STATISTICS = ("running_mean", "running_var", COUNTER)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Converted weights that are not written yet."""

    tensors: dict[str, Tensor]  # in the order of the network's state dict
    format: Format
    result: ConvertResult  # target.bytes is 0 until they are


def convert(
    path: str,
    target: str,
    *,
    to: Naming | None = None,
    format: Format,  # noqa: A002  # what it is called everywhere
    dtype: torch.dtype | None = None,
    averaged: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Conversion:
    """Read weights and make of them what is asked for; the network is found by their names and shapes.

    Args:
        path: of the file to read.
        target: of the file that is going to be written, for the result.
        to: whose names; None: those that they have.
        format: of the file that is going to be written.
        dtype: of all floating-point tensors; None: each its own. Counters of batches stay whole numbers.
        averaged: take the EMA weights.
        progress: told what is going on.

    Raises:
        ResnetCliError: it cannot be read, or these are not the weights of a network of the family.
    """
    progress("reading the weights")
    checkpoint = read_checkpoint(path, averaged=averaged)
    found = _recognised(path, checkpoint.tensors)
    naming = to or found.naming
    progress("converting")
    moved: dict[str, Tensor] = {}
    rows: list[ConvertedTensor] = []
    taken: set[int] = set()
    wrong = overflowed = 0  # values that are not finite before, and those that only are not so after
    for name, new_name in found.names(naming).items():
        tensor = checkpoint.tensors.get(name)
        if tensor is None:  # a counter of batches, which older checkpoints lack
            continue
        new = moved[new_name] = _own(tensor, None if name.endswith(COUNTER) else dtype, taken)
        before = _not_finite(tensor)
        wrong += before
        overflowed += _not_finite(new) - before
        rows.append(ConvertedTensor(new_name, name, tuple(new.shape), _name(new), _name(tensor), new.nbytes))
    result = ConvertResult(
        network=model_from_spec(found.spec).description,
        source=WeightsFile(path, checkpoint.format, found.naming, checkpoint.bytes),
        target=WeightsFile(target, format, naming, 0),
        key_path=checkpoint.key_path,
        prefix=checkpoint.prefix,
        is_ema=checkpoint.is_ema,
        ignored_entries=checkpoint.ignored_entries,
        parameters=sum(one.numel() for name, one in moved.items() if not name.endswith(_STATISTICS)),
        renamed=sum(row.name != row.source for row in rows),
        cast=sum(row.dtype != row.source_dtype for row in rows),
        overflowed=overflowed,
        not_finite=wrong,
        tensors=tuple(rows),
        environment=environment(torch.device("cpu")),
        notes=tuple(_notes(checkpoint, found, to=naming, wrong=wrong, overflowed=overflowed, dtype=dtype)),
    )
    return Conversion(moved, format, result)


def save(conversion: Conversion, path: str) -> None:
    """Write converted weights to a file of their own; what is there is overwritten.

    Raises:
        OSError: the disk is full, say.
    """
    try:
        if conversion.format == "safetensors":
            safetensors.torch.save_file(conversion.tensors, path, metadata={"format": "pt"})
        else:
            with Path(path).open("wb") as file:
                torch.save(conversion.tensors, file)
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise _cause(error) from None


def _cause(error: BaseException) -> BaseException:
    """The error of the operating system that a library reports as one of its own."""
    # What failed first is the context of what torch finds when it closes its archive.
    under: BaseException | None = error
    while under is not None:
        if isinstance(under, OSError):
            return under
        number = re.search(r"\b(?:os error|code:) (\d{1,4})\b", str(under))  # of safetensors, new and old
        if number is not None:
            return OSError(int(number[1]), os.strerror(int(number[1])))
        under = under.__context__
    return error


def _recognised(path: str, tensors: Mapping[str, Tensor]) -> DetectedArchitecture:
    """The network that all of the tensors belong to.

    Raises:
        ResnetCliError: there is none, one is missing, has another shape or is not floating point.
    """
    shown = printable(path)
    try:
        found = detect_architecture(tensors)
    except ResnetCliError as error:
        raise ResnetCliError(f"{shown}: {error.message}", error.hint) from None
    fitting = match_keys(tensors, found.shapes())
    if not fitting.exact:
        raise ResnetCliError(
            f"{shown} looks like {found.spec.name}, by {NAMINGS[found.naming]}, and is not: {mismatch_error(fitting)}",
            "convert takes the weights of a whole network of resnet-cli's or torchvision's family",
        )
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATING and (not name.endswith(COUNTER) or tensor.is_complex()):
            raise ResnetCliError(
                f"{shown}: {printable(name)} is {_name(tensor)}, not floating point",
                "give the weights as they were before they were quantized or packed",
            )
    return found


def _own(tensor: Tensor, dtype: torch.dtype | None, taken: set[int]) -> Tensor:
    """A tensor with storage of its own, of exactly its size: a view would be saved with all that it looks into.

    Args:
        tensor: from a file; it is not copied where it is so already.
        dtype: that it is to have; None: its own.
        taken: addresses of the storages that are in use, to which its own is added.
    """
    kept = tensor.detach()
    if dtype is not None and dtype != kept.dtype:
        return kept.to(dtype).contiguous()
    storage = kept.untyped_storage()
    if storage.data_ptr() in taken or storage.nbytes() != kept.nbytes or not kept.is_contiguous():
        return kept.clone(memory_format=torch.contiguous_format)
    taken.add(storage.data_ptr())
    return kept


def _not_finite(tensor: Tensor) -> int:
    return tensor.numel() - int(torch.isfinite(tensor).sum())


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _notes(
    checkpoint: Checkpoint,
    found: DetectedArchitecture,
    *,
    to: Naming,
    wrong: int,
    overflowed: int,
    dtype: torch.dtype | None,
) -> Iterator[Note]:
    """What the reader should know of the weights that were taken, and of what they have become."""
    if checkpoint.is_ema:
        beside = f"; the plain ones, under {printable(checkpoint.other)}, are left behind" if checkpoint.other else ""
        yield Note("note", f"these are the EMA weights, {_where(checkpoint)}{beside}")
    elif checkpoint.other is not None:
        yield Note(
            "note",
            f"these are the plain weights, {_where(checkpoint)}; --ema takes the EMA ones, "
            f"under {printable(checkpoint.other)}",
        )
    if overflowed:
        kind = str(dtype).removeprefix("torch.")
        yield Note("warning", f"values too large for {kind}, which are infinite now: {exact(overflowed)}")
    if wrong:
        yield Note("warning", f"values that are NaN or infinite in the file that was read: {exact(wrong)}")
    spec = found.spec
    unlike = [
        said
        for said, differs in (
            (
                f"an input of {spec.in_channels} channels" if spec.in_channels > 1 else "an input of 1 channel",
                spec.in_channels != 3,
            ),
            (f"the {spec.stem} stem", spec.stem != "imagenet"),
        )
        if differs
    ]
    if to == "torchvision" and unlike:
        yield Note(
            "note", f"torchvision's own networks do not have {' and '.join(unlike)}: give its model a conv1 that does"
        )


def _where(checkpoint: Checkpoint) -> str:
    return f"under {printable('.'.join(checkpoint.key_path))}"
