"""What a conversion of weights did."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.results.common import Environment, Network, Note, Shape


@dataclass(frozen=True, slots=True)
class ConvertedTensor:
    """One tensor on its way."""

    name: str  # in the file that was written
    source: str  # in the file that was read, without the prefix that all names had
    shape: Shape
    dtype: str
    source_dtype: str
    bytes: int


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights."""

    path: str
    format: str  # "safetensors", or "torch" for what torch.save writes
    naming: str  # whose names: "resnet-cli" or "torchvision"
    bytes: int


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """A file of weights under other names, in another format or of another dtype."""

    network: Network  # recognised by its names and shapes
    source: WeightsFile
    target: WeightsFile
    key_path: tuple[str, ...]  # keys that led to the tensors; () where they stood at the top
    prefix: str  # that all names had, "module." say
    is_ema: bool  # these are EMA weights
    ignored_entries: tuple[str, ...]  # what else was in the file
    parameters: int  # values of all parameters, buffers not counted
    renamed: int  # tensors with another name than before
    cast: int  # tensors with another dtype than before
    overflowed: int  # values that were finite and are not in the new dtype
    not_finite: int  # values that were NaN or infinite before
    tensors: tuple[ConvertedTensor, ...]
    environment: Environment
    notes: tuple[Note, ...]
