"""Bytes of a file of weights → what they hold; nothing in the file is run.

Pickles are read by `torch.load` with `weights_only`, which knows tensors and plain containers and refuses the rest.
Torch does not look at the checksums of its zip archives, so they are checked here. The safetensors format has none.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable, scaled

Format = Literal["safetensors", "torch"]

_ZIP = b"PK\x03\x04"
_CHUNK = 2**20
_IS_FOLDER = 0x10  # MS-DOS attribute of an entry
_MOST_INFLATED = 16  # weights hardly compress; an archive that holds more than this many times its size is a bomb
_HINT = "give a .pth, .pt or .safetensors file"
_AGAIN = "download it or save it again"
_RESAVE = "load it where you trust it and save its state: torch.save(model.state_dict(), path)"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """What a file holds."""

    content: Any  # a mapping of names to tensors, or whatever was saved
    format: Format
    bytes: int


def read(path: str, *, mapped: bool = False) -> WeightFile:
    """Read a file of either format; its content says which it is, whatever its name.

    Args:
        path: of the file.
        mapped: leave the values in the file until they are used, where its format allows that.

    Raises:
        ResnetCliError: no such file, none of these formats, damaged, or it would have to run code.
    """
    file, shown = Path(path), printable(path)
    try:
        if not file.exists():
            raise ResnetCliError(f"{shown}: there is no such file", _HINT)
        if not file.is_file():
            raise ResnetCliError(f"{shown} is no file", _HINT)
        size = file.stat().st_size
        with file.open("rb") as opened:
            start = opened.read(64)
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResnetCliError(f"{shown} cannot be read: {printable(said[:1].lower() + said[1:])}") from None
    _check_start(shown, start, size)
    if file.suffix.lower() == ".safetensors" or (start[8:9] == b"{" and start[:4] != _ZIP):
        return WeightFile(_safetensors(path), "safetensors", size)
    # Where values are compressed, what lies in the file is not what they are.
    stored = start[:4] == _ZIP and _check_archive(path, size)
    return WeightFile(_pickled(path, mapped and stored), "torch", size)


def _check_start(shown: str, start: bytes, size: int) -> None:
    """Name the kinds of file that are mistaken for weights most."""
    if not size:
        raise ResnetCliError(f"{shown} is no checkpoint: it is empty", _HINT)
    if start.startswith(b"version https://git-lfs"):
        raise ResnetCliError(f"{shown} is no checkpoint but a pointer of Git LFS to one", "fetch it: git lfs pull")
    if start.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        raise ResnetCliError(f"{shown} is no checkpoint but a web page", "download the file behind it")


def _safetensors(path: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    except Exception as error:  # the library's own error, OSError, and torch's for a dtype that it lacks
        raise ResnetCliError(f"{printable(path)} cannot be read as safetensors: {_said(error)}", _AGAIN) from None


def _check_archive(path: str, size: int) -> bool:
    """See that a zip archive is whole, by its checksums, and no larger inside than out.

    Returns:
        Whether all of it is stored as it is, not compressed.
    """
    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            inside = sum(entry.file_size for entry in entries)
            if inside > _MOST_INFLATED * size:
                raise ResnetCliError(
                    f"{shown} is no checkpoint: {scaled(size, 'B')} that hold {scaled(inside, 'B')}", _HINT
                )
            for entry in entries:
                # Torch takes such an entry for empty and hands out whatever was in memory as its values.
                if entry.external_attr & _IS_FOLDER and entry.file_size:
                    raise zipfile.BadZipFile(f"{printable(entry.filename[:80])} is marked as a folder")
                if not entry.CRC:  # torch.save can be told to compute none
                    continue
                with archive.open(entry) as opened:
                    while opened.read(_CHUNK):
                        pass
            return all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    except ResnetCliError:
        raise
    except Exception as error:  # zipfile raises nine kinds on damaged archives
        raise ResnetCliError(f"{shown} is no checkpoint, or a damaged one: {_said(error)}", _AGAIN) from None


def _pickled(path: str, mapped: bool) -> Any:
    shown = printable(path)
    try:
        # Scripts keep their options beside the weights; a Namespace is a bag of attributes and runs nothing.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise _refused(shown, error) from None
    except Exception as error:  # RuntimeError, EOFError, KeyError and more, by what is broken
        text = str(error)
        if "TorchScript" in text:
            raise ResnetCliError(f"{shown} is a TorchScript program, and reading it would run code", _RESAVE) from None
        if "legacy .tar" in text:
            raise ResnetCliError(f"{shown} is of torch's old .tar format, which is not read safely", _RESAVE) from None
        raise ResnetCliError(f"{shown} is no checkpoint, or a damaged one: {_said(error)}", _AGAIN) from None


def _refused(shown: str, error: Exception) -> ResnetCliError:
    """What the safe reader of pickles says; its own text advises to load unsafely."""
    text = str(error)
    named = re.search(r"GLOBAL (\S+)", text)
    if named or "reduce for unrecognized" in text or "load of storage" in text or "torch types and functions" in text:
        what = f" ({printable(named[1][:80])})" if named else ""
        return ResnetCliError(f"{shown} holds more than tensors{what}, and reading it would run code from it", _RESAVE)
    return ResnetCliError(f"{shown} is no checkpoint, or a damaged one: {_said(error)}", _AGAIN)


def _said(error: Exception) -> str:
    """What an error of a library says, without its advice, which does not hold here."""
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, (KeyError, IndexError)) or "magic number" in str(error):  # of a text file, say
        return "it is of no known format"
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    text = text.rpartition("WeightsUnpickler error: ")[2].removeprefix("Error while deserializing: ")
    text = text.split(" Check the documentation")[0]
    text = re.sub(r"^Weights only load failed\..*", "it cannot be unpickled", text)
    return printable(text)[:160].rstrip(" .") or "it cannot be read"
