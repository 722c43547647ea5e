"""Converts checkpoints between namings, formats and data types; everything else stays bit for bit."""

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
from resnet_cli.formatting import exact
from resnet_cli.measure.models.model import model_from_spec
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.weights.architecture_detection import (
    NAMING_TITLES,
    DetectedArchitecture,
    Naming,
    detect_architecture,
)
from resnet_cli.measure.weights.checkpoint import Checkpoint, read_checkpoint
from resnet_cli.measure.weights.files import Format
from resnet_cli.measure.weights.key_matching import COUNTER, match_keys, mismatch_error
from resnet_cli.results.common import Note
from resnet_cli.results.convert import ConvertedTensor, ConvertResult, WeightsFile

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_STATISTICS = ("running_mean", "running_var", COUNTER)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Converted weights, not written yet."""

    tensors: dict[str, Tensor]  # in the order of the state_dict
    format: Format
    result: ConvertResult  # target.bytes is 0 until they are written


def convert(
    path: str,
    target: str,
    *,
    to: Naming | None = None,
    format: Format,  # noqa: A002  # as the option is called
    dtype: torch.dtype | None = None,
    averaged: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Conversion:
    """Read and convert a checkpoint; its architecture is found from names and shapes.

    Args:
        path: of the file to read.
        target: path of the file to be written, shown in the result.
        to: naming of the output; None: unchanged.
        format: of the file to be written.
        dtype: of all floating-point tensors; None: unchanged. `num_batches_tracked` stays an integer.
        averaged: take the EMA weights.
        progress: called with a short text before each step.

    Raises:
        ResnetCliError: the file cannot be read, or does not hold the weights of a ResNet.
    """
    progress("reading the weights")
    checkpoint = read_checkpoint(path, averaged=averaged)
    detected = _detect(path, checkpoint.tensors)
    naming = to or detected.naming
    progress("converting")
    converted: dict[str, Tensor] = {}
    rows: list[ConvertedTensor] = []
    storages: set[int] = set()
    not_finite = overflowed = 0
    for name, new_name in detected.names(naming).items():
        tensor = checkpoint.tensors.get(name)
        if tensor is None:  # num_batches_tracked, which older checkpoints lack
            continue
        new = converted[new_name] = _owning_copy(tensor, None if name.endswith(COUNTER) else dtype, storages)
        before = _not_finite(tensor)
        not_finite += before
        overflowed += _not_finite(new) - before
        rows.append(
            ConvertedTensor(new_name, name, tuple(new.shape), _dtype_name(new), _dtype_name(tensor), new.nbytes)
        )
    result = ConvertResult(
        network=model_from_spec(detected.spec).description,
        source=WeightsFile(path, checkpoint.format, detected.naming, checkpoint.bytes),
        target=WeightsFile(target, format, naming, 0),
        key_path=checkpoint.key_path,
        prefix=checkpoint.prefix,
        is_ema=checkpoint.is_ema,
        ignored_entries=checkpoint.ignored_entries,
        parameters=sum(one.numel() for name, one in converted.items() if not name.endswith(_STATISTICS)),
        renamed=sum(row.name != row.source for row in rows),
        cast=sum(row.dtype != row.source_dtype for row in rows),
        overflowed=overflowed,
        not_finite=not_finite,
        tensors=tuple(rows),
        environment=environment(torch.device("cpu")),
        notes=tuple(_notes(checkpoint, detected, to=naming, not_finite=not_finite, overflowed=overflowed, dtype=dtype)),
    )
    return Conversion(converted, format, result)


def save(conversion: Conversion, path: str) -> None:
    """Write converted weights to a file, which is overwritten.

    Raises:
        OSError: for example if the disk is full.
    """
    try:
        if conversion.format == "safetensors":
            safetensors.torch.save_file(conversion.tensors, path, metadata={"format": "pt"})
        else:
            with Path(path).open("wb") as file:
                torch.save(conversion.tensors, file)
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise _os_error_of(error) from None


def _os_error_of(error: BaseException) -> BaseException:
    """The operating system's error behind an error of torch or safetensors."""
    # For torch, it is the context of the error of closing the archive.
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        number = re.search(r"\b(?:os error|code:) (\d{1,4})\b", str(cause))  # safetensors, new and old
        if number is not None:
            return OSError(int(number[1]), os.strerror(int(number[1])))
        cause = cause.__context__
    return error


def _detect(path: str, tensors: Mapping[str, Tensor]) -> DetectedArchitecture:
    """The architecture that all tensors fit.

    Raises:
        ResnetCliError: there is none, a tensor is missing, has another shape or is not floating point.
    """
    try:
        detected = detect_architecture(tensors)
    except ResnetCliError as error:
        raise ResnetCliError(f"{path}: {error.message}", error.hint) from None
    match = match_keys(tensors, detected.shapes())
    if not match.exact:
        raise ResnetCliError(
            f"{path} looks like {detected.spec.name} ({NAMING_TITLES[detected.naming]}) but does not fit it: "
            f"{mismatch_error(match)}",
            "convert needs the weights of a whole ResNet of resnet-cli or torchvision",
        )
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATING and (not name.endswith(COUNTER) or tensor.is_complex()):
            raise ResnetCliError(
                f"{path}: {name} is {_dtype_name(tensor)}, not floating point",
                "use the weights from before quantization",
            )
    return detected


def _owning_copy(tensor: Tensor, dtype: torch.dtype | None, storages: set[int]) -> Tensor:
    """A tensor that owns a storage of exactly its size: a view would be saved with its whole base.

    Args:
        tensor: from a file; copied only if needed.
        dtype: of the result; None: unchanged.
        storages: addresses of storages in use; that of the result is added.
    """
    owned = tensor.detach()
    if dtype is not None and dtype != owned.dtype:
        return owned.to(dtype).contiguous()
    storage = owned.untyped_storage()
    if storage.data_ptr() in storages or storage.nbytes() != owned.nbytes or not owned.is_contiguous():
        return owned.clone(memory_format=torch.contiguous_format)
    storages.add(storage.data_ptr())
    return owned


def _not_finite(tensor: Tensor) -> int:
    return tensor.numel() - int(torch.isfinite(tensor).sum())


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _notes(
    checkpoint: Checkpoint,
    detected: DetectedArchitecture,
    *,
    to: Naming,
    not_finite: int,
    overflowed: int,
    dtype: torch.dtype | None,
) -> Iterator[Note]:
    """Which weights were taken, and values that are not finite."""
    if checkpoint.is_ema:
        rest = f"; the plain weights under {checkpoint.other} were ignored" if checkpoint.other else ""
        yield Note("note", f"EMA weights, {_container_text(checkpoint)}{rest}", "ema-weights")
    elif checkpoint.other is not None:
        yield Note(
            "note",
            f"plain weights, {_container_text(checkpoint)}; the file also has EMA weights under {checkpoint.other}",
            "ema-weights-ignored",
        )
    if overflowed:
        kind = str(dtype).removeprefix("torch.")
        yield Note("warning", f"{exact(overflowed)} values overflowed to infinity in {kind}", "overflow")
    if not_finite:
        yield Note("warning", f"{exact(not_finite)} values of the input are NaN or infinite", "not-finite")
    spec = detected.spec
    differences = [
        text
        for text, differs in (
            (
                f"an input of {spec.in_channels} channels" if spec.in_channels > 1 else "an input of 1 channel",
                spec.in_channels != 3,
            ),
            (f"the {spec.stem} stem", spec.stem != "imagenet"),
        )
        if differs
    ]
    if to == "torchvision" and differences:
        yield Note(
            "note",
            f"torchvision's models do not have {' and '.join(differences)}: replace conv1 before loading",
            "torchvision-stem-differs",
        )


def _container_text(checkpoint: Checkpoint) -> str:
    return f"under {'.'.join(checkpoint.key_path)}"
