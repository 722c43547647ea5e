"""What stands in a file of weights."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.results.common import Environment, Network, Note, Shape
from resnet_cli.results.summary import SummaryResult


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """One tensor of the file. Its statistics are over its finite values; None where there are none, or no numbers."""

    name: str  # without the prefix that all names have
    shape: Shape
    dtype: str
    is_buffer: bool  # a running statistic or a counter, which no optimizer changes
    elements: int
    bytes: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    standard_deviation: float | None  # of the values themselves: divided by n, not n - 1
    nan: int
    infinite: int
    dead_channels: int | None  # channels that a batch norm multiplies by 0; None where it is no weight of one


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """A file of weights, tensor by tensor, and the network that it fits."""

    path: str
    format: str  # "safetensors", or "torch" for what torch.save writes
    file_bytes: int
    key_path: tuple[str, ...]  # keys that lead to the tensors; () where they stand at the top
    prefix: str  # that all names have, "module." say
    is_ema: bool  # these are EMA weights
    ignored_entries: tuple[str, ...]  # what else is in the file
    network: Network | None  # that every tensor fits; None where there is none
    naming: str | None  # whose names: "resnet-cli", "torchvision", or None for those of a network of the user's
    parameters: int  # values of all tensors that are no buffers
    buffers: int
    bytes: int  # of all tensors
    nan: int
    infinite: int
    dead_channels: int
    tensors: tuple[TensorStatistics, ...]
    summary: SummaryResult | None  # of that network
    environment: Environment
    notes: tuple[Note, ...]
