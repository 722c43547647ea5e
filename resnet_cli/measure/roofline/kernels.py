"""Kernels that a device's ceiling is looked for with: much arithmetic on little memory, or the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

# Channels in and out, kernel, side of the image, images; as residual networks have them. On a processor the images
# are per thread: few enough that they stay in the caches, where convolutions are fastest.
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
# A GPU needs more at once to be busy.
_GPU_CONVOLUTIONS: tuple[Convolution, ...] = (
    (64, 64, 3, 56, 256),
    (128, 128, 3, 28, 256),
    (256, 256, 3, 28, 256),
    (256, 256, 3, 14, 512),
    (512, 512, 3, 14, 256),
    (1024, 1024, 1, 28, 128),
)
_GPU_SIDES = (2048, 4096, 8192)
# Far more than the last-level cache holds.
_ARRAY_BYTES = 256 * 2**20
_GPU_ARRAY_BYTES = 2**30
_SMALLEST_ARRAY_BYTES = 32 * 2**20
_MEMORY_SHARE = 8  # an array takes no more than this part of what is free; there are three of them


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel to try.

    Args:
        name: of it.
        work: FLOPs, or bytes read and written.
        make: what gives the call; whatever it raises, the device cannot do it.
    """

    name: str
    work: float
    make: Callable[[], Callable[[], object]]


def arithmetic(device: torch.device, dtype: torch.dtype, *, accelerator: bool) -> Iterator[Candidate]:
    """Matrix products and convolutions; one multiply-accumulate is 2 FLOPs, at the padded edge too, as in our count.

    On a processor the products are those of the BLAS library and of oneDNN, which can differ by a factor.
    """
    threads = 1 if accelerator else torch.get_num_threads()
    for shape in _GPU_CONVOLUTIONS if accelerator else _CONVOLUTIONS:
        for last in (True, False) if accelerator else (True,):
            name = ", channels_last" if last else ""
            yield _of(shape, threads, name, partial(_convolution, device=device, dtype=dtype, last=last))
    if not accelerator:
        for shape in _PACKED:
            yield _of(shape, threads, ", oneDNN's layout", partial(_packed, dtype=dtype))
        for side in _PACKED_SIDES:
            name = f"matmul {side}×{side}×{side}, oneDNN"
            yield Candidate(name, 2.0 * side**3, partial(_packed_product, side, dtype))
    for side in _GPU_SIDES if accelerator else _SIDES:
        yield Candidate(f"matmul {side}×{side}×{side}", 2.0 * side**3, partial(_product, side, device, dtype))


def _of(
    shape: Convolution, threads: int, manner: str, make: Callable[[Convolution], Callable[[], object]]
) -> Candidate:
    channels, filters, kernel, side, images = shape
    images *= threads
    return Candidate(
        f"conv {kernel}×{kernel} {channels}→{filters} at {side}×{side}, batch {images}{manner}",
        2.0 * images * side**2 * filters * channels * kernel**2,
        partial(make, (channels, filters, kernel, side, images)),
    )


def _product(side: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    # Not zeros: a GPU switches fewer transistors for them and runs faster.
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
    """With weights and images in the order that oneDNN likes best, so that none is reordered in a call."""
    return _in_onednn(*_layer(shape, torch.device("cpu")), dtype)


def _packed_product(side: int, dtype: torch.dtype) -> Callable[[], object]:
    return _in_onednn(nn.Linear(side, side).eval(), torch.randn(side, side), dtype)


def _in_onednn(layer: nn.Module, given: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    from torch.utils import mkldnn  # noqa: PLC0415  # warns of TorchScript when it is imported

    packed = mkldnn.to_mkldnn(layer, dtype)  # type: ignore[no-untyped-call]
    values = given.to_mkldnn(dtype)
    return lambda: packed(values)


def _layer(shape: Convolution, device: torch.device) -> tuple[nn.Module, Tensor]:
    channels, filters, kernel, side, images = shape
    layer = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False, device=device).eval()
    return layer, torch.randn(images, channels, side, side, device=device)


def streaming(
    device: torch.device, dtype: torch.dtype, free: int | None = None, *, accelerator: bool
) -> Iterator[Candidate]:
    """Kernels that do next to nothing with much memory.

    Args:
        device: where.
        dtype: of the numbers.
        accelerator: sizes for a device that needs much work at once.
        free: bytes that may be taken; with too few for arrays that no cache holds there is no such kernel.
    """
    size = _GPU_ARRAY_BYTES if accelerator else _ARRAY_BYTES
    if free is not None:
        size = min(size, free // _MEMORY_SHARE)
    if size < _SMALLEST_ARRAY_BYTES:
        return
    arrays = _Arrays(size, device, dtype)
    count = arrays.bytes / 2**20
    yield Candidate(f"copy {count:.0f} MiB", 2.0 * arrays.bytes, arrays.copy)
    yield Candidate(f"add {count:.0f} MiB", 3.0 * arrays.bytes, arrays.add)
    yield Candidate(f"scale in place {count:.0f} MiB", 2.0 * arrays.bytes, arrays.scale)


class _Arrays:
    """Three arrays that all the streaming kernels share."""

    def __init__(self, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._count, self._device, self._dtype = size // dtype.itemsize, device, dtype
        self.bytes = self._count * dtype.itemsize
        self._made: tuple[Tensor, Tensor, Tensor] | None = None

    def _three(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._made is None:
            left = torch.ones(self._count, device=self._device, dtype=self._dtype)
            self._made = (left, left.clone(), left.clone())
        return self._made

    def copy(self) -> Callable[[], object]:
        """Reads one, writes one."""
        left, _, out = self._three()
        return lambda: out.copy_(left)

    def add(self) -> Callable[[], object]:
        """Reads two, writes one."""
        left, right, out = self._three()
        return lambda: torch.add(left, right, out=out)

    def scale(self) -> Callable[[], object]:
        """Reads and writes the same one."""
        _, _, out = self._three()
        return lambda: out.mul_(1.0)
