"""The registry of optimizers of a training step. It needs no torch, so that the command line can list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn, optim


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer with the settings that it is timed with.

    Args:
        key: on the command line and in results.
        title: in tables.
        name: of the class in torch.optim.
        states: values that it keeps for each trained one, in its dtype.
        settings: arguments of the class. The rates are small: weights must keep their magnitude over many steps.
    """

    key: str
    title: str
    name: str
    states: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self, parameters: list[nn.Parameter]) -> optim.Optimizer:
        """The optimizer of some parameters; imports torch."""
        import torch  # noqa: PLC0415  # see above

        optimizer: optim.Optimizer = getattr(torch.optim, self.name)(parameters, **self.settings)
        return optimizer


SGD = Optimizer("sgd", "SGD with momentum", "SGD", 1, {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4})
_ROWS = (SGD, Optimizer("adamw", "AdamW", "AdamW", 2, {"lr": 1e-5, "weight_decay": 1e-2}))
OPTIMIZERS = {row.key: row for row in _ROWS}
