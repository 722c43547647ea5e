"""Inputs from a file: .pt (tensors in tuples, lists and dictionaries), .npy (one array) or .json."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, given
from resnet_cli.measure.models.inputs.specs import parse_tensor
from resnet_cli.measure.system.silence import silenced

_FORMATS = "use a .pt file of tensors, a .npy file or a .json file"


def read_inputs(path: str) -> ModelInputs:
    """Inputs from a file; no code of it is run.

    A tuple is one positional argument each. A dictionary whose keys are the names of the forward's arguments is one
    keyword argument each. Anything else is the only argument.

    Raises:
        ResnetCliError: no such file, another format, damaged, or without a tensor.
    """
    file = Path(path)
    read = _READERS.get(file.suffix.lower())
    if read is None:
        raise ResnetCliError(f"`input_file={path}` has an unsupported extension", _FORMATS)
    try:
        if not file.is_file():
            raise ResnetCliError(f"`input_file={path}` does not exist or is not a regular file", _FORMATS)
        content = read(file)
    except OSError as error:
        raise ResnetCliError(f"`input_file={path}` cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name, or a file that is not what its name says
        reason = " ".join(str(error).split())[:160]
        raise ResnetCliError(f"`input_file={path}` is not a valid {file.suffix.lower()} file: {reason}") from None
    return given(content, path)


def _read_pt(file: Path) -> Any:
    try:
        with silenced():
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError:
        raise ResnetCliError(
            f"`input_file={file}` is damaged or holds more than tensors, and reading that would run code from the file",
            "save tensors in tuples, lists and dictionaries: torch.save((image, mask), path)",
        ) from None
    except (RuntimeError, EOFError, KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("it is damaged, or was not written by torch.save") from None


def _read_npy(file: Path) -> Tensor:
    import numpy  # noqa: PLC0415  # torch works without it

    try:
        array = numpy.load(file, allow_pickle=False)
    except ValueError:  # its message advises to load pickles
        array = None
    if not isinstance(array, numpy.ndarray):
        raise ValueError("it is not an array of numbers")
    return _tensor(array)


def _tensor(values: Any) -> Tensor:
    try:
        return torch.as_tensor(values, device="cpu")
    except (TypeError, RuntimeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _read_json(file: Path) -> Any:
    try:
        content = _json_value(json.loads(file.read_text("utf-8")))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # JSON has no tuples: a list that is no array of numbers has the positional arguments.
    return tuple(content) if isinstance(content, list) else content


def _json_value(value: Any) -> Any:
    """With a tensor for each array of numbers, and a description for each text such as "float32[1,3,224,224]"."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, str) and "[" in value:
        name, tensor = parse_tensor(value)
        if name:
            raise ResnetCliError(f"{value!r} names a tensor twice", f'write "{name}": "{value.partition("=")[2]}"')
        return tensor
    if isinstance(value, list):
        return _tensor(value) if _is_array(value) else [_json_value(item) for item in value]
    return value


def _is_array(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_array, value))
    return isinstance(value, (int, float))  # bool is an int


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".npy": _read_npy,
    ".json": _read_json,
}
