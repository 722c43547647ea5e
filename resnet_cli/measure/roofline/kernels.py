"""Kernels that measure the peak rates of a device: compute-bound and memory-bound ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

# Input and output channels, kernel size, height and width, images; shapes of residual networks. On a CPU the images
# are per thread: few enough to stay in the caches, where convolutions are fastest.
Convolution = tuple[int, int, int, int, int]
_CONVOLUTIONS: tuple[Convolution, ...] = (
    (64, 64, 3, 56, 1),
    (128, 128, 3, 28, 1),
    (256, 256, 3, 14, 2),
    (512, 128, 1, 28, 2),
    (256, 1024, 1, 14, 2),
    (512, 512, 3, 7, 4),
)
_PACKED: tuple[Convolution, ...] = (_CONVOLUTIONS[0], _CONVOLUTIONS[4])
_SIDES = (512, 1024, 2048)
_PACKED_SIDES = (512, 1024)
# A GPU needs more work per call.
_GPU_CONVOLUTIONS: tuple[Convolution, ...] = (
    (64, 64, 3, 56, 256),
    (128, 128, 3, 28, 256),
    (256, 256, 3, 28, 256),
    (256, 256, 3, 14, 512),
    (512, 512, 3, 14, 256),
    (1024, 1024, 1, 28, 128),
)
_GPU_SIDES = (2048, 4096, 8192)
# Much larger than the last-level cache.
_ARRAY_BYTES = 256 * 2**20
_GPU_ARRAY_BYTES = 2**30
_SMALLEST_ARRAY_BYTES = 32 * 2**20
_MEMORY_DIVISOR = 8  # each of the three arrays takes at most this fraction (1/8) of the free memory


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel to try.

    Args:
        name: shown in the result.
        work: FLOPs, or bytes read and written.
        make: allocates the tensors and returns the call; may raise anything where the device does not support it.
    """

    name: str
    work: float
    make: Callable[[], Callable[[], object]]


def arithmetic(device: torch.device, dtype: torch.dtype, *, accelerator: bool) -> Iterator[Candidate]:
    """Matrix products and convolutions; one multiply-accumulate is 2 FLOPs, also for padding, as in the FLOP count.

    On a CPU matrix products run in the BLAS library and in oneDNN, whose rates can differ by a factor.
    """
    for side in _GPU_SIDES if accelerator else _SIDES:
        yield Candidate(f"matmul {side}×{side}×{side}", 2.0 * side**3, partial(_product, side, device, dtype))
    threads = 1 if accelerator else torch.get_num_threads()
    for shape in _GPU_CONVOLUTIONS if accelerator else _CONVOLUTIONS:
        for last in (True, False) if accelerator else (True,):
            name = ", channels_last" if last else ""
            yield _conv_candidate(shape, threads, name, partial(_convolution, device=device, dtype=dtype, last=last))
    if not accelerator:
        for shape in _PACKED:
            yield _conv_candidate(shape, threads, ", oneDNN's layout", partial(_packed, dtype=dtype))
        for side in _PACKED_SIDES:
            name = f"matmul {side}×{side}×{side}, oneDNN"
            yield Candidate(name, 2.0 * side**3, partial(_packed_product, side, dtype))


def _conv_candidate(
    shape: Convolution, threads: int, suffix: str, make: Callable[[Convolution], Callable[[], object]]
) -> Candidate:
    channels, filters, kernel, side, images = shape
    images *= threads
    return Candidate(
        f"conv {kernel}×{kernel} {channels}→{filters} at {side}×{side}, batch {images}{suffix}",
        2.0 * images * side**2 * filters * channels * kernel**2,
        partial(make, (channels, filters, kernel, side, images)),
    )


def _product(side: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    # Not zeros: they need less power, so a GPU may run faster.
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _convolution(shape: Convolution, *, device: torch.device, dtype: torch.dtype, last: bool) -> Callable[[], object]:
    layer, image = _layer(shape, device)
    layout = torch.channels_last if last else torch.contiguous_format
    layer = layer.to(dtype).to(memory_format=layout)
    image = image.to(dtype).to(memory_format=layout)
    return lambda: layer(image)


def _packed(shape: Convolution, *, dtype: torch.dtype) -> Callable[[], object]:
    """With weights and images in oneDNN's blocked layout, so that a call does not reorder them."""
    return _in_onednn(*_layer(shape, torch.device("cpu")), dtype)


def _packed_product(side: int, dtype: torch.dtype) -> Callable[[], object]:
    return _in_onednn(nn.Linear(side, side).eval(), torch.randn(side, side), dtype)


def _in_onednn(layer: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    from torch.utils import mkldnn  # noqa: PLC0415  # its import warns about TorchScript

    packed = mkldnn.to_mkldnn(layer, dtype)  # type: ignore[no-untyped-call]
    packed_inputs = inputs.to_mkldnn(dtype)
    return lambda: packed(packed_inputs)


def _layer(shape: Convolution, device: torch.device) -> tuple[nn.Module, Tensor]:
    channels, filters, kernel, side, images = shape
    layer = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False, device=device).eval()
    return layer, torch.randn(images, channels, side, side, device=device)


def streaming(
    device: torch.device, dtype: torch.dtype, free: int | None = None, *, accelerator: bool
) -> Iterator[Candidate]:
    """Memory-bound kernels.

    Args:
        device: to measure.
        dtype: of the tensors.
        accelerator: whether to use sizes for an accelerator.
        free: bytes that may be allocated; there is no kernel where these are too few for arrays larger than the caches.
    """
    size = _GPU_ARRAY_BYTES if accelerator else _ARRAY_BYTES
    if free is not None:
        size = min(size, free // _MEMORY_DIVISOR)
    if size < _SMALLEST_ARRAY_BYTES:
        return
    arrays = _Arrays(size, device, dtype)
    count = arrays.bytes / 2**20
    yield Candidate(f"copy {count:.0f} MiB", 2.0 * arrays.bytes, arrays.copy)
    yield Candidate(f"add {count:.0f} MiB", 3.0 * arrays.bytes, arrays.add)
    yield Candidate(f"scale in place {count:.0f} MiB", 2.0 * arrays.bytes, arrays.scale)


class _Arrays:
    """Three arrays that the streaming kernels share, allocated at the first use."""

    def __init__(self, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._count, self._device, self._dtype = size // dtype.itemsize, device, dtype
        self.bytes = self._count * dtype.itemsize
        self._arrays: tuple[Tensor, Tensor, Tensor] | None = None

    def _three(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._arrays is None:
            left = torch.ones(self._count, device=self._device, dtype=self._dtype)
            self._arrays = (left, left.clone(), left.clone())
        return self._arrays

    def copy(self) -> Callable[[], object]:
        """Reads one array, writes one."""
        left, _, out = self._three()
        return lambda: out.copy_(left)

    def add(self) -> Callable[[], object]:
        """Reads two arrays, writes one."""
        left, right, out = self._three()
        return lambda: torch.add(left, right, out=out)

    def scale(self) -> Callable[[], object]:
        """Reads and writes the same array."""
        _, _, out = self._three()
        return lambda: out.mul_(1.0)
