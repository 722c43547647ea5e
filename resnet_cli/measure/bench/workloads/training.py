"""A training step in its three phases: forward with the loss, backward, optimizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.workloads.mixed_precision import MixedPrecision
from resnet_cli.measure.bench.workloads.optimizers import Optimizer
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.tracing.tensors import tensors_in, why_no_gradient

_SLOW_BACKWARD_S = 1.0  # of a backward pass that signals interrupt


class TrainingStep:
    """One batch, again and again. Its phases are `forward`, `backward` and `update`, to be called in this order.

    Args:
        model: in train mode, on its device.
        inputs: of its forward.
        optimizer: a row of the registry.
        device: where it runs.
        autocast: dtype of mixed precision; None: the precision is that of the weights.
        seed: of the labels.
        interruptible: return to the interpreter during a long backward pass, so that signal handlers run.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Arguments,
        optimizer: Optimizer,
        device: torch.device,
        *,
        autocast: torch.dtype | None = None,
        seed: int = 0,
        interruptible: bool = False,
    ) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._model, self._inputs = model, inputs
        self._optimizer = optimizer.build(parameters)
        self._precision = MixedPrecision(device, autocast)
        self._generator = torch.Generator().manual_seed(seed)
        self._labels: list[Tensor] = []
        self._hooks = _signal_hooks(parameters) if interruptible else []
        self._output: object = None
        self._loss: Tensor | None = None

    def __call__(self) -> object:
        """The whole step; returns the output of the network."""
        output = self.forward()
        self.backward()
        self.update()
        return output

    def forward(self) -> object:
        """The forward and the loss, without gradients of the step before."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision.forward():
            self._output = self._inputs.call(self._model)
            self._loss = training_loss(self._output, self._labels, self._generator)
        return self._output

    def backward(self) -> None:
        """The gradients of the loss."""
        assert self._loss is not None
        begin = time.perf_counter()
        self._precision.backward(self._loss)
        self._loss = None
        if self._hooks and time.perf_counter() - begin < _SLOW_BACKWARD_S:
            for hook in self._hooks:
                hook.remove()
            self._hooks.clear()

    def update(self) -> None:
        """The step of the optimizer."""
        self._precision.step(self._optimizer)
        self._output = None

    @property
    def phases(self) -> dict[str, Callable[[], object]]:
        """Its phases by their name, in their order."""
        return {"forward": self.forward, "backward": self.backward, "optimizer": self.update}


def _signal_hooks(parameters: Sequence[nn.Parameter]) -> list[RemovableHandle]:
    """No-op hooks that return to the interpreter during a long C++ backward, so that pending signal handlers run."""

    def no_op(parameter: Tensor) -> None: ...

    return [parameter.register_post_accumulate_grad_hook(no_op) for parameter in parameters]  # type: ignore[no-untyped-call]


def training_loss(output: object, labels: list[Tensor], generator: torch.Generator) -> Tensor:
    """Cross entropy with random labels where there are logits, otherwise the mean square of every output.

    Args:
        output: of the network.
        labels: those that were drawn before; drawn now where there are none.
        generator: draws them.

    Raises:
        ResnetCliError: nothing in the output has a gradient.
    """
    tensors = [tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.requires_grad]
    if not tensors:
        raise ResnetCliError(f"the network cannot be trained: {why_no_gradient(output)}")
    if len(tensors) == 1 and tensors[0].dim() == 2:
        logits = tensors[0]
        if not labels:
            drawn = torch.randint(logits.shape[1], (logits.shape[0],), generator=generator, device="cpu")
            labels.append(drawn.to(logits.device))
        return nn.functional.cross_entropy(logits, labels[0])
    return torch.stack([tensor.float().square().mean() for tensor in tensors]).sum()
