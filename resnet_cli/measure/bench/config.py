"""What a benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.mixed_precision import AUTOCAST, is_mixed
from resnet_cli.measure.bench.workloads.optimizers import SGD, Optimizer
from resnet_cli.measure.bench.workloads.workload import INFERENCE
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """What to measure, and how.

    Args:
        inputs: of a forward, at any batch size.
        batch_sizes: of a call, one row of the result for each; that of the inputs alone where they have no batch axis.
        device: to run on.
        dtype: of floating-point weights and input; None: the network's own, but float32 for optimizations. In train
            mode, half precision is that of autocast, and weights and input are float32.
        mode: "inference" or "train".
        limits: when sampling ends; the time is for each batch size, and again for the optimizations and the layers.
        threads: of the CPU; None: torch's number.
        seed: of weights and inputs.
        optimizations: keys of those to compare with plain eager; None: none.
        layers: also measure the time of each layer.
        ceiling: also measure the peak of the machine.
        fresh: the network is untrained.
        optimizer: of a training step.
        find_batch_size: also find the largest batch that fits.
        reference_first: of an interleaved comparison the reference is built, warmed up and called first.
    """

    inputs: ModelInputs
    batch_sizes: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype | None = None
    mode: str = INFERENCE
    limits: Limits = field(default_factory=Limits)
    threads: int | None = None
    seed: int = 0
    optimizations: tuple[str, ...] | None = None
    layers: bool = False
    ceiling: bool = True
    fresh: bool = True
    optimizer: Optimizer = SGD
    find_batch_size: bool = False
    reference_first: bool = False

    @property
    def is_mixed(self) -> bool:
        """Whether it trains in mixed precision."""
        return is_mixed(self.mode, self.dtype)

    @property
    def autocast(self) -> str | None:
        """The precision of a mixed one, such as "bfloat16 autocast"; None: it is not mixed."""
        return f"{str(self.dtype).removeprefix('torch.')} {AUTOCAST}" if self.is_mixed else None

    @property
    def weight_dtype(self) -> torch.dtype | None:
        """Of floating-point weights and input; None: the network's own."""
        return torch.float32 if self.is_mixed else self.dtype
