"""Reads .pth, .pt and .safetensors files without running code from them.

Pickles are read by `torch.load(weights_only=True)`, which accepts tensors and plain containers only. torch does not
verify the checksums of its zip archives, so they are verified here; the safetensors format has none.
"""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import scaled
from resnet_cli.measure.system.silence import silenced

Format = Literal["safetensors", "torch"]

_ZIP = b"PK\x03\x04"
_CHUNK = 2**20
_IS_FOLDER = 0x10  # MS-DOS attribute of a zip entry
_MAX_COMPRESSION_RATIO = 16  # weights hardly compress: a higher ratio is a zip bomb
_HINT = "use a .pth, .pt or .safetensors file"
_DOWNLOAD_AGAIN = "download it or save it again"
_RESAVE = "load it in an environment where you trust it, and save its state_dict: torch.save(model.state_dict(), path)"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The content of a weights file."""

    content: Any  # names to tensors, or whatever was saved
    format: Format
    bytes: int


def read(path: str, *, mapped: bool = False) -> WeightFile:
    """Read a weights file of either format; its content decides which.

    Args:
        path: of the file.
        mapped: memory-map the values, if the format allows it.

    Raises:
        ResnetCliError: no such file, another format, damaged, or reading it would run code.
    """
    file = Path(path)
    try:
        if not file.exists():
            raise ResnetCliError(f"{path} does not exist", _HINT)
        if not file.is_file():
            raise ResnetCliError(f"{path} is not a regular file", _HINT)
        size = file.stat().st_size
        with file.open("rb") as opened:
            start = opened.read(64)
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResnetCliError(f"{path} cannot be read: {reason[:1].lower() + reason[1:]}") from None
    _check_start(path, start, size)
    if file.suffix.lower() == ".safetensors" or (start[8:9] == b"{" and start[:4] != _ZIP):
        return WeightFile(_safetensors(path), "safetensors", size)
    # Compressed values cannot be memory-mapped.
    stored = start[:4] == _ZIP and _check_archive(path, size)
    return WeightFile(_pickled(path, mapped and stored), "torch", size)


def _check_start(path: str, start: bytes, size: int) -> None:
    """Recognise files that are commonly mistaken for weights."""
    if not size:
        raise ResnetCliError(f"{path} is empty", _HINT)
    if start.startswith(b"version https://git-lfs"):
        raise ResnetCliError(f"{path} is a Git LFS pointer, not a checkpoint", "run git lfs pull")
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise ResnetCliError(f"{path} is an HTML page, not a checkpoint", "download the file itself")


def _safetensors(path: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a mapping
    except Exception as error:  # its own error, OSError, and torch's for an unknown dtype
        raise ResnetCliError(f"{path} is not a valid safetensors file: {_reason(error)}", _DOWNLOAD_AGAIN) from error


def _check_archive(path: str, size: int) -> bool:
    """Verify the checksums of a zip archive, and that it is not a zip bomb.

    Returns:
        Whether all entries are stored uncompressed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            inside = sum(entry.file_size for entry in entries)
            if inside > _MAX_COMPRESSION_RATIO * size:
                raise ResnetCliError(f"{path} would expand from {scaled(size, 'B')} to {scaled(inside, 'B')}", _HINT)
            for entry in entries:
                # torch treats such an entry as empty and returns uninitialised memory for its values.
                if entry.external_attr & _IS_FOLDER and entry.file_size:
                    raise zipfile.BadZipFile(f"{entry.filename[:80]} is marked as a folder")
                if not entry.CRC:  # torch.save can omit checksums
                    continue
                with archive.open(entry) as opened:
                    while opened.read(_CHUNK):
                        pass
            return all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    except ResnetCliError:
        raise
    except Exception as error:  # zipfile raises many types on damaged archives
        raise ResnetCliError(f"{path} is not a checkpoint, or is damaged: {_reason(error)}", _DOWNLOAD_AGAIN) from error


def _pickled(path: str, mapped: bool) -> Any:
    try:
        # Training scripts save their options beside the weights; a Namespace runs no code.
        with silenced(), torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _unpickling_error(path, error) from error
    except Exception as error:  # RuntimeError, EOFError, KeyError and more
        text = str(error)
        if "TorchScript" in text:
            raise ResnetCliError(f"{path} is a TorchScript program; reading it would run code", _RESAVE) from error
        if "legacy .tar" in text:
            raise ResnetCliError(f"{path} has torch's legacy .tar format, which is unsafe to read", _RESAVE) from error
        raise ResnetCliError(f"{path} is not a checkpoint, or is damaged: {_reason(error)}", _DOWNLOAD_AGAIN) from error


def _unpickling_error(path: str, error: Exception) -> ResnetCliError:
    """Error of the restricted unpickler, without its own advice to load unsafely."""
    text = str(error)
    named = re.search(r"GLOBAL (\S+)", text)
    if named or "reduce for unrecognized" in text or "load of storage" in text or "torch types and functions" in text:
        what = f" ({named[1][:80]})" if named else ""
        return ResnetCliError(f"{path} holds more than tensors{what}; reading it would run code from the file", _RESAVE)
    return ResnetCliError(f"{path} is not a checkpoint, or is damaged: {_reason(error)}", _DOWNLOAD_AGAIN)


def _reason(error: Exception) -> str:
    """The message of a library's error, without its advice, which does not apply here."""
    if isinstance(error, EOFError):
        return "unexpected end of file"
    if isinstance(error, (KeyError, IndexError)) or "magic number" in str(error):  # a text file, for example
        return "unknown format"
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    text = text.rpartition("WeightsUnpickler error: ")[2].removeprefix("Error while deserializing: ")
    text = text.split(" Check the documentation")[0]
    text = re.sub(r"^Weights only load failed\..*", "it cannot be unpickled", text)
    return text[:160].rstrip(" .") or "it cannot be read"
