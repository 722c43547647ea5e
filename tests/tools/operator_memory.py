"""Compares memory and MACs of torch's operators and modules on `meta` with those of a CPU. Not a test: it takes minutes.

    python -m tests.tools.operator_memory [DTYPE]

The calls are those that torch itself is tested with (`OpInfo`, `ModuleInfo`). Each line is an operator whose peak, saved
bytes or MACs differ: it needs a rule in `ops.fast_meta`, or a name in `cost.memory_notes`.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from resnet_cli.measure.tracing import tracer

_SAMPLES = 6  # of each operator
Make = Callable[[], nn.Module]


class Calling(nn.Module):
    """Calls a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def samples(dtype: torch.dtype) -> Iterator[tuple[str, Make, Any, bool]]:
    """Name, network, arguments with their keywords, and whether to train, of every call that torch is tested with."""
    sys.modules.setdefault("expecttest", types.ModuleType("expecttest")).TestCase = object  # type: ignore[attr-defined]
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db

    operators: list[Any] = op_db
    for op in operators:
        if dtype not in op.dtypes or op.name.startswith(("masked.", "sparse.")):
            continue
        for sample in list(op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd))[:_SAMPLES]:
            arguments = ((sample.input, *sample.args), sample.kwargs)
            for training in (False, True)[: 1 + op.supports_autograd]:
                yield op.name, partial(Calling, op), arguments, training
    for info in [each for each in module_db if dtype in each.dtypes]:
        for training in (False, True):
            inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=training)
            for sample in [each for each in inputs if each.forward_input is not None][:_SAMPLES]:
                made, given = sample.constructor_input, sample.forward_input

                def make(made: Any = made, info: Any = info) -> nn.Module:
                    module: nn.Module = info.module_cls(*made.args, **made.kwargs)
                    return module.to(dtype)

                yield info.name, make, (given.args, given.kwargs), training


def figures(make: Make, arguments: Any, training: bool, device: str) -> tuple[int, ...] | None:
    """Peak, saved bytes and MACs on a device; None where the call fails there."""

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.detach().clone().to(device).requires_grad_(value.requires_grad)

    torch.manual_seed(0)
    try:
        args, kwargs = _pytree.tree_map(placed, arguments)
        trace = tracer.run(make().to(device), tuple(args), kwargs, training=training, backward=training)
    except (tracer.ForwardFailedError, NotImplementedError, RuntimeError, TypeError):
        return None
    return trace.peak, trace.saved, sum(op.counted.macs for op in trace.operators)


def main(dtype: str = "float32") -> None:
    """Print the differences."""
    warnings.simplefilter("ignore")
    calls = 0
    different: dict[tuple[str, bool], tuple[Any, Any]] = {}
    for name, make, arguments, training in samples(getattr(torch, dtype)):
        cpu, meta = (figures(make, arguments, training, device) for device in ("cpu", "meta"))
        if cpu is not None and meta is not None:
            calls += 1
            if cpu != meta:
                different.setdefault((name, training), (cpu, meta))
    for (name, training), (cpu, meta) in different.items():
        print(f"{name:40} {'training' if training else 'inference':10} CPU {cpu}, meta {meta}")
    print(f"{calls:,} calls; peak, saved bytes and MACs differ in {len(different)} cases")


if __name__ == "__main__":
    main(*sys.argv[1:])
