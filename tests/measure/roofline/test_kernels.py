"""Kernels that the ceiling is looked for with: each does what it is called, as much of it as is said, in its dtype."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.roofline.kernels import arithmetic, streaming

CPU = torch.device("cpu")
META = torch.device("meta")  # stands for a GPU: it is no processor, and costs nothing


class Seen(TorchDispatchMode):
    """The tensors that the operators of a call are given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.tensors += [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        return func(*args, **(kwargs or {}))


def seen(call: Any) -> list[Tensor]:
    watching = Seen()
    with torch.no_grad(), watching:
        call()
    return watching.tensors


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_every_kernel_of_a_gpu_does_as_many_flops_as_torch_counts_in_its_dtype(dtype: torch.dtype) -> None:
    for kernel in arithmetic(META, dtype, accelerator=True):
        call = kernel.make()
        with FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == kernel.work, kernel.name
        assert {tensor.dtype for tensor in seen(call)} == {dtype}, kernel.name


def test_each_convolution_of_a_gpu_is_tried_in_both_layouts() -> None:
    layouts: dict[str, set[bool]] = {}
    for kernel in arithmetic(META, torch.float32, accelerator=True):
        name = kernel.name.partition(", channels_last")[0]
        last = all(
            tensor.is_contiguous(memory_format=torch.channels_last)
            for tensor in seen(kernel.make())
            if tensor.dim() == 4
        )
        if name.startswith("conv 3×3"):
            assert last == (name != kernel.name), kernel.name
            layouts.setdefault(name, set()).add(last)
    assert len(layouts) == 5
    assert set(map(frozenset, layouts.values())) == {frozenset({True, False})}


@pytest.mark.parametrize("device", [CPU, META])
def test_work_follows_from_the_name(device: torch.device) -> None:
    """2 FLOPs for each multiplication of a matrix product, and for each weight at each pixel of a convolution."""
    for kernel in arithmetic(device, torch.float32, accelerator=device != CPU):
        if kernel.name.startswith("matmul"):
            work = 2 * prod(map(int, re.findall(r"\d+", kernel.name)[:3]))
        else:
            size, _, channels, filters, side, _, images = map(int, re.findall(r"\d+", kernel.name)[:7])
            work = 2 * size**2 * channels * filters * side**2 * images
        assert kernel.work == work, kernel.name


def test_a_processor_has_images_for_each_of_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def images() -> list[int]:
        return [
            int(match[1])
            for kernel in arithmetic(CPU, torch.float32, accelerator=False)
            if (match := re.search(r"batch (\d+)", kernel.name))
        ]

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = images()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert images() == [6 * number for number in alone]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_bytes_are_those_of_the_arrays_that_are_read_and_written(dtype: torch.dtype) -> None:
    for kernel in streaming(META, dtype, 2**40, accelerator=True):
        tensors = seen(kernel.make())
        assert {tensor.dtype for tensor in tensors} == {dtype}
        assert {tensor.nbytes for tensor in tensors} == {2**30}
        assert {tensor.device for tensor in tensors} == {META}
        read_and_written = 2 if kernel.name.startswith("scale") else len(tensors)
        assert kernel.work == read_and_written * 2**30, kernel.name
