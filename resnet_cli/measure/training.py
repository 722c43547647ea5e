"""One training step of both networks in double precision: outputs, running statistics, gradients, new parameters.

In single precision a correct network cannot be told from a broken one by its gradients: rounding alone makes
relative errors of tenths in them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_cli.measure import probe
from resnet_cli.measure.deviation import relative_error
from resnet_cli.measure.trace import tensors_in

LIMIT = 1e-9  # harmless rearrangements stay below 1e-12, the least real fault seen is above 1e-8

# What the step is made with; weight decay and momentum so that each of them has a part in it.
_STEP = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


@dataclass(slots=True)
class Trained:
    """One network after one step."""

    outputs: list[Tensor]
    buffers: dict[str, Tensor]
    gradients: dict[str, Tensor | None]
    input_gradient: Tensor | None
    parameters: dict[str, Tensor]
    before: dict[str, Tensor]  # buffers before the step


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one tensor is from its counterpart."""

    ours: str
    theirs: str
    error: float


def step(model: nn.Module, image: Tensor, seed: int) -> Trained:
    """One step of SGD with momentum in train mode, on a copy in float64.

    Args:
        model: left as it is.
        image: a batch of two or more.
        seed: of the loss's weights, and of dropout.
    """
    model = copy.deepcopy(model).double().train()
    before = {name: tensor.clone() for name, tensor in model.named_buffers(remove_duplicate=False)}
    x = image.double().requires_grad_()
    with probe.seeded(seed):
        outputs = [tensor for tensor in tensors_in(model(x)) if tensor.is_floating_point()]
    # A weighted sum: no output can change without changing the loss, and no two gradients cancel.
    loss = torch.zeros((), dtype=torch.float64, device=x.device)
    for number, output in enumerate(outputs):
        weights = probe.image(tuple(output.shape), seed + number, torch.float64).to(x.device)
        loss = loss + (output * weights).sum() / math.sqrt(output.numel())
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    named = dict(model.named_parameters(remove_duplicate=False))
    gradients = {name: None if p.grad is None else p.grad.detach().clone() for name, p in named.items()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if trainable:
        torch.optim.SGD(trainable, **_STEP).step()
    return Trained(
        outputs=[output.detach() for output in outputs],
        buffers=dict(model.named_buffers(remove_duplicate=False)),
        gradients=gradients,
        input_gradient=x.grad,
        parameters={name: parameter.detach() for name, parameter in named.items()},
        before=before,
    )


def gradient_deviations(ours: Trained, theirs: Trained, pairs: Mapping[str, str]) -> list[Deviation]:
    """Every gradient that both have, the image's included; one that only one side has is infinitely far away."""
    scale = 1e-9 * max((float(g.abs().max()) for g in theirs.gradients.values() if g is not None), default=0.0)
    found = []
    for mine, other in pairs.items():
        if mine not in ours.gradients or other not in theirs.gradients:
            continue
        a, b = ours.gradients[mine], theirs.gradients[other]
        if a is None or b is None:
            found.append(Deviation(mine, other, 0.0 if a is b else math.inf))
        else:
            found.append(Deviation(mine, other, relative_error(a, b, scale)))
    if ours.input_gradient is not None and theirs.input_gradient is not None:
        found.append(Deviation("the image", "the image", relative_error(ours.input_gradient, theirs.input_gradient)))
    return found


def buffer_deviations(ours: Trained, theirs: Trained, pairs: Mapping[str, str]) -> list[Deviation]:
    """Running statistics and counters after the forward in train mode."""
    return [
        Deviation(mine, other, relative_error(ours.buffers[mine], theirs.buffers[other]))
        for mine, other in pairs.items()
        if mine in ours.buffers and other in theirs.buffers
    ]


def parameter_deviations(ours: Trained, theirs: Trained, pairs: Mapping[str, str]) -> list[Deviation]:
    """Parameters after the step."""
    return [
        Deviation(mine, other, relative_error(ours.parameters[mine], theirs.parameters[other]))
        for mine, other in pairs.items()
        if mine in ours.parameters and other in theirs.parameters
    ]


def is_biased_variance(ours: Trained, theirs: Trained, mine: str, other: str, count: int) -> bool:
    """Whether our running variance took the biased variance of the batch, n - 1 where torch divides by n.

    The new value is old + momentum x (variance - old): the ratio of the two additions is (n - 1) / n.

    Args:
        ours: after the step.
        theirs: after the step.
        mine: name of our running variance.
        other: name of the reference's.
        count: n, values per channel in the batch.
    """
    if count < 2:
        return False
    before = theirs.before[other].double()
    added, expected = ours.buffers[mine].double() - before, theirs.buffers[other].double() - before
    # momentum x variance is what is left when the decayed old value is taken off: both sides share the decay.
    apart = expected - added
    unbiased = apart * count
    decayed = theirs.buffers[other].double() - unbiased * 1.0
    # new = (1 - m) old + m v and apart = m v / n, so new - n apart = (1 - m) old: one m for all channels.
    ratio = decayed / before
    return bool(torch.isfinite(ratio).all()) and float((ratio - ratio.mean()).abs().max()) < 1e-6 and (
        0 <= float(ratio.mean()) < 1
    )
