"""Random weights and inputs that expose differences between two networks.

A freshly initialised batch norm is almost the identity: a missing one, or one on the wrong side of a ReLU, changes next
to nothing. So gamma, beta and the running statistics are drawn at random as well.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.errors import attempt
from resnet_cli.results.common import Shape

_CALIBRATION: Shape = (4, 3, 64, 64)
_RandomSource = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[int], Any]]  # reads, sets, seeds the state
_NORMS = (nn.modules.batchnorm._BatchNorm,)


def image(shape: Shape, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An input drawn from the standard normal distribution; the same on every device and for every dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, device="cpu").to(dtype)


def randomize_parameters(model: nn.Module, seed: int, shape: Shape = _CALIBRATION) -> None:
    """Draw all parameters at random, and running statistics close to those of one batch.

    Weights of matrices and convolutions are uniform with the variance of Kaiming's fan-out rule (He et al. 2015,
    arXiv 1502.01852); scales of norms are uniform in 0.5 … 1.5, offsets in -0.3 … 0.3.

    Args:
        model: on the CPU; changed in place.
        seed: of the generator.
        shape: of that batch, (N, C, H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and parameter.numel():
                fan_out = parameter.shape[0] * math.prod(parameter.shape[2:])
                bound = math.sqrt(6 / fan_out)
                parameter.uniform_(-bound, bound, generator=generator)
            elif name.rpartition(".")[2] == "bias":
                parameter.uniform_(-0.3, 0.3, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
        for mean, variance, _ in _statistics(model):
            mean.zero_()
            variance.fill_(1.0)
        # A network that does not take this image keeps the default statistics.
        with attempt("a forward in train mode, for running statistics"):
            _calibrate(model, image(shape, seed))
        for mean, variance, batches in _statistics(model):
            std = variance.sqrt()
            mean.add_(torch.empty_like(std).uniform_(-0.2, 0.2, generator=generator) * std)
            variance.mul_(torch.empty_like(std).uniform_(0.7, 1.4, generator=generator))
            batches.fill_(3)


def _statistics(model: nn.Module) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Running mean, running variance and batch counter of every norm that tracks them."""
    for module in model.modules():
        if isinstance(module, _NORMS):
            mean, variance, batches = module.running_mean, module.running_var, module.num_batches_tracked
            if mean is not None and variance is not None and batches is not None:
                yield mean, variance, batches


def _calibrate(model: nn.Module, images: Tensor) -> None:
    """Set running statistics to those of one batch: with others, activations of a deep network overflow or vanish."""
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _NORMS)}
    training = model.training
    try:
        for module in momenta:
            module.momentum = 1.0
        model.train()
        with seeded(0):
            model(images)
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum
        model.train(training)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[Callable[[], bool]]:
    """Seed the global random number generators inside the block, and restore their states afterwards.

    These are torch's of the CPU and of every GPU in use, Python's and NumPy's: a forward may draw from any of them.

    Yields:
        A function that tells whether a number was drawn from one of them since.
    """
    sources = _random_sources()
    kept = [get_state() for get_state, _, _ in sources]
    for _, _, reseed in sources:
        reseed(seed)
    start = [_comparable(get_state()) for get_state, _, _ in sources]
    try:
        yield lambda: start != [_comparable(get_state()) for get_state, _, _ in sources]
    finally:
        for (_, set_state, _), state in zip(sources, kept, strict=True):
            set_state(state)


def _comparable(state: Any) -> Any:
    """The state of a generator with lists in place of its tensors and arrays."""
    if isinstance(state, tuple):
        return tuple(map(_comparable, state))
    return state.tolist() if hasattr(state, "tolist") else state


def _random_sources() -> list[_RandomSource]:
    """The functions that read, set and seed each generator.

    `torch.manual_seed` is avoided: it also seeds a CUDA that is not initialised yet, which could not be undone.
    """
    generators = [torch.default_generator, *torch.cuda.default_generators, *torch.xpu.default_generators]
    if torch.backends.mps.is_available():
        generators.append(torch.mps._get_default_mps_generator())
    sources: list[_RandomSource] = [
        (generator.get_state, generator.set_state, generator.manual_seed) for generator in generators
    ]
    sources.append((random.getstate, random.setstate, random.seed))
    if (numpy := sys.modules.get("numpy")) is not None:  # torch imports it where it is installed
        draws = numpy.random
        sources.append((draws.get_state, draws.set_state, lambda seed: draws.seed(seed % 2**32)))
    return sources


def transfer(source: Mapping[str, Tensor], model: nn.Module, pairs: Mapping[str, str]) -> None:
    """Copy the reference's parameters and buffers to their counterparts in the model.

    Args:
        source: tensors of the reference by name.
        model: changed in place.
        pairs: name in the model → name in the reference.
    """
    own = dict(_tensors(model))
    with torch.no_grad():
        for name, counterpart in pairs.items():
            if name in own and counterpart in source:
                own[name].copy_(source[counterpart].reshape(own[name].shape))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, including those that a state_dict leaves out."""
    return dict(_tensors(model))
