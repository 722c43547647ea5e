"""A forward in float64 that stays there: casts to float32 that the network makes itself become casts to float64."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class CastsToFloat64(TorchDispatchMode):
    """A context in which an operator that is asked for float32 gives float64.

    A network that writes `x.float()` cannot be run with float64 weights otherwise, or would round what is compared.

    Attributes:
        count: operators that were asked for float32.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator."""
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") == torch.float32:
            kwargs["dtype"] = torch.float64
            self.count += 1
        return func(*args, **kwargs)
