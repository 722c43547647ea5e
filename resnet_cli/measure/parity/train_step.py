"""One training step of both networks in double precision: outputs, running statistics, gradients, new parameters.

In single precision the gradients of a correct network cannot be distinguished from those of a broken one: rounding
alone makes relative errors of tenths in them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.substitutes import on_device
from resnet_cli.measure.parity.float64 import CastsToFloat64
from resnet_cli.measure.parity.placement import CPU
from resnet_cli.measure.parity.rewriting.layouts import Layouts, to_model
from resnet_cli.measure.parity.tensor_error import relative_error
from resnet_cli.measure.tracing.tensors import tensors_in

FLOAT32_TOLERANCE = 1e-4  # a network that computes in float32 may differ by this much
FLOAT64_TOLERANCE = 1e-9  # harmless rearrangements stay below 1e-12, the least real fault seen is above 1e-8

# Least scale of a gradient, as a fraction of the largest: that of a bias in front of a batch norm is zero except for
# rounding, some 1e-15 of the largest; gradients that matter are above this.
_NEGLIGIBLE = 1e-4

# Of the optimizer: weight decay and momentum are not zero, so that both are part of the comparison.
_RATE, _MOMENTUM, _DECAY = 0.1, 0.9, 1e-4
_PIECE = 2**20  # values
_WIDE = 50_000_000  # parameters

GRADIENT, NO_GRADIENT = "a gradient", "no gradient"

OnGradient = Callable[[str, nn.Parameter], None]


@dataclass(slots=True)
class Trained:
    """One network after a forward and a backward pass in train mode."""

    outputs: list[Tensor]
    buffers: dict[str, Tensor]  # after the forward
    before: dict[str, Tensor]  # and before it
    gradients: dict[str, Tensor]
    input_gradient: Tensor | None
    has_casts: bool = False  # casts to float32 in the forward were made casts to float64


@dataclass(frozen=True, slots=True)
class TensorError:
    """How far one tensor is from its counterpart."""

    model: str
    reference: str
    error: float
    values: tuple[str | None, str | None] = (None, None)  # what says more than the error, of model and reference


def run(
    model: nn.Module,
    image: Tensor,
    seed: int,
    on_gradient: OnGradient | None = None,
    *,
    keep_float64: bool = False,
    device: torch.device = CPU,
) -> Trained:
    """A forward and a backward pass in train mode and float64; the model is afterwards as it was.

    Args:
        model: has float64 tensors in the meantime.
        image: a batch of two or more, shape (N, C, H, W).
        seed: of the loss's weights, and of dropout.
        on_gradient: called with each parameter as soon as its gradient is known, which is then freed; without it
            all gradients are in the result.
        keep_float64: casts to float32 in the forward become casts to float64, as they do where it fails otherwise.
        device: where it runs, and where the result is.
    """
    with on_device(model, device, torch.float64):
        before = {name: tensor.clone() for name, tensor in model.named_buffers(remove_duplicate=False)}
        model.train()
        x = image.to(device).double().requires_grad_()
        named = {id(parameter): name for name, parameter in model.named_parameters()}

        def arrived(parameter: nn.Parameter) -> None:
            if on_gradient is not None:
                on_gradient(named[id(parameter)], parameter)
                parameter.grad = None

        # Registered without a callback too: a hook returns to the interpreter, so that a signal handler can run.
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(arrived)  # type: ignore[no-untyped-call]
        with random_init.seeded(seed), torch.enable_grad():
            output, has_casts = _forward(model, x, before, keep_float64)
            outputs = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
            # A weighted sum: no output can change without changing the loss, and no two gradients cancel.
            loss = torch.zeros((), dtype=torch.float64, device=x.device)
            for number, output in enumerate(outputs):
                weights = random_init.image(tuple(output.shape), seed + number, torch.float64).to(x.device)
                loss = loss + (output * weights).sum() / math.sqrt(output.numel())
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        return Trained(
            outputs=[output.detach() for output in outputs],
            buffers={name: tensor.clone() for name, tensor in model.named_buffers(remove_duplicate=False)},
            before=before,
            gradients={name: p.grad for name, p in model.named_parameters() if p.grad is not None},
            input_gradient=x.grad,
            has_casts=has_casts,
        )


def _forward(model: nn.Module, x: Tensor, before: Mapping[str, Tensor], keep_float64: bool) -> tuple[Any, bool]:
    """The output, and whether casts to float32 were made casts to float64.

    Not from the beginning, since a dispatch mode keeps `torch.compile` from what it does otherwise.
    """
    if not keep_float64:
        try:
            return model(x), False
        except RuntimeError:  # torch's, where float32 meets float64
            for name, buffer in model.named_buffers(remove_duplicate=False):
                buffer.copy_(before[name])
    with CastsToFloat64() as casts:
        return model(x), casts.count > 0


def computes_in_float32(model: nn.Module, image: Tensor, device: torch.device = CPU) -> bool:
    """Whether a forward computes in float32, at least in part, even with float64 weights and input.

    Args:
        model: left as it is.
        image: a batch that it takes.
        device: where it runs.
    """
    kinds: set[torch.dtype] = set()

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            kinds.update(tensor.dtype for tensor in tensors_in(out))
            return out

    with on_device(model, device, torch.float64), torch.no_grad():
        model.eval()
        with Watch():  # type: ignore[no-untyped-call]
            model(image.to(device).double())
    return torch.float32 in kinds


def trim_malloc(model: nn.Module) -> None:
    """Return freed memory to the system: glibc keeps blocks of up to 32 MB, and a wide network has many.

    Not worth its time for a network of few parameters.
    """
    if sum(parameter.numel() for parameter in model.parameters()) < _WIDE:
        return
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another system's C library
        ctypes.CDLL(None).malloc_trim(0)


class Gradients:
    """Compares gradients of the model with the reference's as they arrive, and the parameters after a step of SGD.

    Args:
        trained: the reference after its run; its gradients are consumed.
        reference: the network itself.
        pairs: name in the model → name in the reference.
        layouts: order of the reference's axes in the model, where it is another.
    """

    def __init__(
        self, trained: Trained, reference: nn.Module, pairs: Mapping[str, str], layouts: Layouts = MappingProxyType({})
    ) -> None:
        self._trained = trained
        self._parameters = dict(reference.named_parameters())
        self._pairs = pairs
        self._layouts = layouts
        self._scale = _NEGLIGIBLE * max((float(g.abs().max()) for g in trained.gradients.values()), default=0.0)
        self.gradients: list[TensorError] = []
        self.parameters: list[TensorError] = []

    def arrived(self, name: str, parameter: nn.Parameter) -> None:
        """Compare one."""
        partner = self._pairs.get(name)
        if partner is None or partner not in self._parameters or parameter.grad is None:
            return
        gradient = self._trained.gradients.pop(partner, None)  # which frees its memory
        if gradient is None:
            self.gradients.append(TensorError(name, partner, math.inf, (GRADIENT, NO_GRADIENT)))
            return
        gradient = to_model(gradient, self._layouts.get(name))
        error = relative_error(parameter.grad, gradient, self._scale)
        self.gradients.append(TensorError(name, partner, error))
        expected = to_model(self._parameters[partner].detach(), self._layouts.get(name))
        error = _step_error(parameter.detach(), parameter.grad, expected, gradient)
        self.parameters.append(TensorError(name, partner, error))

    def finish(self, trained: Trained, model: nn.Module) -> None:
        """Parameters that got no gradient, and the gradient of the image."""
        own = dict(model.named_parameters(remove_duplicate=False))
        for name, partner in self._pairs.items():
            if name in own and partner in self._trained.gradients:  # those that were compared are used up
                self.gradients.append(TensorError(name, partner, math.inf, (NO_GRADIENT, GRADIENT)))
                error = _step_error(
                    own[name].detach(), None, self._parameters[partner].detach(), self._trained.gradients[partner]
                )
                self.parameters.append(TensorError(name, partner, error))
        a, b = trained.input_gradient, self._trained.input_gradient
        if a is not None and b is not None:
            self.gradients.append(TensorError("the image", "the image", relative_error(a, b)))


def _step_error(model: Tensor, model_gradient: Tensor | None, reference: Tensor, reference_gradient: Tensor) -> float:
    """Relative error of a parameter after one step of SGD; piece by piece, since copies of a wide one are large."""
    difference = largest = 0.0
    device = model.device
    for start in range(0, reference.numel(), _PIECE):
        piece = slice(start, start + _PIECE)
        a = _stepped(model.flatten()[piece], None if model_gradient is None else model_gradient.flatten()[piece])
        b = _stepped(reference.flatten()[piece].to(device), reference_gradient.flatten()[piece].to(device))
        far = float((a - b).abs().max())
        if math.isnan(far):
            return math.inf
        difference, largest = max(difference, far), max(largest, float(b.abs().max()))
    return 0.0 if not difference else difference / largest if largest else math.inf


def _stepped(value: Tensor, gradient: Tensor | None) -> Tensor:
    """Values after one step of SGD with momentum and weight decay; unchanged without a gradient."""
    stepped = value.to(torch.float64, copy=True)
    if gradient is not None:
        # As a function: an optimizer for each piece would take longer than the step.
        sgd(
            [stepped],
            [gradient],
            [None],
            foreach=False,
            weight_decay=_DECAY,
            momentum=_MOMENTUM,
            lr=_RATE,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
    return stepped


def buffer_errors(model: Trained, reference: Trained, pairs: Mapping[str, str]) -> list[TensorError]:
    """Running statistics and counters after the forward in train mode."""
    errors = []
    for name, partner in pairs.items():
        if name in model.buffers and partner in reference.buffers:
            error = relative_error(model.buffers[name], reference.buffers[partner])
            errors.append(TensorError(name, partner, error, (_updates(model, name), _updates(reference, partner))))
    return errors


def _updates(trained: Trained, name: str) -> str | None:
    """How often a counter was increased, None for another buffer."""
    value = trained.buffers[name]
    if value.dim() or value.is_floating_point():
        return None
    return f"{int(value) - int(trained.before[name])}"


def is_biased_variance(model: Trained, reference: Trained, name: str, partner: str, count: int) -> bool:
    """Whether the model's running variance took the biased variance of the batch, n - 1 where torch divides by n.

    The new value is old + momentum x (variance - old): the ratio of the two additions is (n - 1) / n.

    Args:
        model: after the step.
        reference: after the step.
        name: name of the model's running variance.
        partner: name of the reference's running variance.
        count: n, values per channel in the batch.
    """
    if count < 2:
        return False
    before = reference.before[partner].double()
    added, expected = model.buffers[name].double(), reference.buffers[partner].double()
    # new = (1 - m) old + m v, where model took v (n - 1) / n: so new - n (new - model's) is (1 - m) old, with one m for
    # all channels. What is not finite, or divided by zero, is below no bound.
    kept = (expected - count * (expected - added)) / before
    return float(kept.max() - kept.min()) < 1e-6 and 0 <= float(kept.mean()) < 1
