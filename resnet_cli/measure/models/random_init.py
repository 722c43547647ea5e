"""What both networks are given: weights behind which no fault can hide, and seeded inputs.

A fresh batch norm is the identity, so that one that is missing, or one on the wrong side of a ReLU, changes next
to nothing; gamma, beta and the running statistics are therefore drawn at random first.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from resnet_cli.results.common import Shape

_CALIBRATION: Shape = (4, 3, 64, 64)
_NORMS = (nn.modules.batchnorm._BatchNorm,)


def image(shape: Shape, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An input drawn from the standard normal distribution; the same on every device and for every dtype."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype)


def randomize_parameters(model: nn.Module, seed: int) -> None:
    """Draw all parameters anew, and running statistics that fit them but are not exact.

    Weights of matrices and convolutions are uniform with the variance of Kaiming's fan-out rule (He et al. 2015,
    arXiv 1502.01852); scales of norms are uniform in 0.5 … 1.5, offsets in -0.3 … 0.3.

    Args:
        model: on the CPU; changed in place.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
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
        with contextlib.suppress(Exception):  # too small an image for it: then they stay as drawn
            _calibrate(model, seed)
        for mean, variance, batches in _statistics(model):
            spread = variance.sqrt()
            mean.add_(torch.empty_like(spread).uniform_(-0.2, 0.2, generator=generator) * spread)
            variance.mul_(torch.empty_like(spread).uniform_(0.7, 1.4, generator=generator))
            batches.fill_(3)


def _statistics(model: nn.Module) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Running mean, running variance and counter of every norm that keeps them."""
    for module in model.modules():
        if isinstance(module, _NORMS):
            mean, variance, batches = module.running_mean, module.running_var, module.num_batches_tracked
            if mean is not None and variance is not None and batches is not None:
                yield mean, variance, batches


def _calibrate(model: nn.Module, seed: int) -> None:
    """Running statistics of one batch: with any others a deep network overflows or dies out."""
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _NORMS)}
    training = model.training
    try:
        for module in momenta:
            module.momentum = 1.0
        model.train()
        with _quiet_random(seed):
            model(image(_CALIBRATION, seed))
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum
        model.train(training)


@contextlib.contextmanager
def _quiet_random(seed: int) -> Iterator[None]:
    """Torch's global generator seeded inside, and as it was outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def seeded(seed: int) -> contextlib.AbstractContextManager[None]:
    """Dropout and the like draw the same numbers in both networks."""
    return _quiet_random(seed)


def transfer(source: Mapping[str, Tensor], model: nn.Module, pairs: Mapping[str, str]) -> None:
    """Give our parameters and buffers the values of their counterparts.

    Args:
        source: state of the reference.
        model: ours; changed in place.
        pairs: our name → the reference's.
    """
    own = dict(_tensors(model))
    with torch.no_grad():
        for ours, theirs in pairs.items():
            if ours in own and theirs in source:
                own[ours].copy_(source[theirs].reshape(own[ours].shape))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those that a checkpoint leaves out included."""
    return dict(_tensors(model))
