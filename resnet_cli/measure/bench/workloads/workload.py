"""The timed work: a network with finite activations, random images, a forward or a training step.

An untrained residual network in eval mode grows with its depth: with the statistics that a fresh batch norm has,
ResNet-152 reaches 5.8e8, which overflows half precision. So its norms get the statistics of a batch first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from resnet_cli.errors import attempt
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.bench.workloads.optimizers import SGD, Optimizer
from resnet_cli.measure.bench.workloads.training import TrainingStep
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.copies import materialize_with
from resnet_cli.measure.models.inputs.fitting import fitted
from resnet_cli.measure.models.inputs.model_inputs import Arguments, ModelInputs
from resnet_cli.measure.models.model import convert, own_dtype
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.tracing.storages import storage_bytes
from resnet_cli.measure.tracing.tensors import dense, tensors_in

INFERENCE = "inference"
MODES = (INFERENCE, TRAIN)

_CALIBRATION_IMAGES = 4


class Workload:
    """One network and its input.

    Args:
        model: with weights, on the CPU; it is moved, converted and, in train mode, trained.
        inputs: of a forward, at any batch size.
        device: where it runs.
        dtype: of floating-point weights, and of inputs that have none of their own; None: the network's own.
        mode: "inference", or "train" for forward, backward and a step of the optimizer.
        seed: of the inputs and labels.
        fresh: it is untrained, so that its norms need statistics first.
        mixed: it trains in mixed precision: weights and inputs are float32, and the dtype is autocast's.
        optimizer: of a training step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inputs: ModelInputs,
        device: torch.device,
        dtype: torch.dtype | None = None,
        mode: str = INFERENCE,
        seed: int = 0,
        fresh: bool = True,
        mixed: bool = False,
        optimizer: Optimizer = SGD,
    ) -> None:
        self.inputs = fitted(inputs, model)
        self.device, self.dtype, self.mode, self.seed = device, dtype or own_dtype(model), mode, seed
        self.model, self.fresh, self.mixed, self.optimizer = model, fresh, mixed, optimizer
        model.to(device)  # a network's own may return anything
        with random_init.seeded(seed):
            materialize_with(model, type(model).__name__, lambda: self.inputs.random(seed, own_dtype(model), device))
        if fresh:
            calibrate(model, self.inputs, seed)
        convert(model, torch.float32 if mixed else dtype)
        self.model.train(mode == TRAIN)

    def input(self, batch_size: int) -> Arguments:
        """Random arguments of a forward: zeros would cost a GPU less power and time."""
        dtype = torch.float32 if self.mixed else self.dtype
        return self.inputs.at_batch(batch_size).random(self.seed, dtype, self.device)

    def call(self, batch_size: int) -> Callable[[], object]:
        """One request or one training step, as a function that returns the output.

        The input is on the device already. Use it inside `self.running()`.
        """
        inputs = self.input(batch_size)
        if self.mode == TRAIN:
            return self.step(inputs)
        model, (args, kwargs) = self.model, inputs
        return lambda: model(*args, **kwargs)

    def step(self, inputs: Arguments) -> TrainingStep:
        """A training step on one batch: forward, loss, backward, optimizer."""
        return TrainingStep(
            self.model,
            inputs,
            self.optimizer,
            self.device,
            autocast=self.dtype if self.mixed else None,
            seed=self.seed,
            interruptible=not device_backend(self.device).is_accelerator,
        )

    def held_bytes(self) -> int:
        """Bytes of the weights and of their gradients, each storage counted once."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return storage_bytes((*tensors, *(tensor.grad for tensor in tensors if tensor.grad is not None)))

    def running(self) -> AbstractContextManager[object]:
        """The context of a call: without autograd in inference."""
        return nullcontext() if self.mode == TRAIN else torch.inference_mode()


def calibrate(model: nn.Module, inputs: ModelInputs, seed: int) -> None:
    """Give every batch norm the statistics of one random batch; a network without any is left as it is.

    So is one that takes no such batch, or whose forward fails in train mode.

    Args:
        model: in a floating-point dtype; its modes stay as they are.
        inputs: of a forward, at any batch size.
        seed: of the batch.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    example = next(model.parameters(), None)
    if not norms or example is None:
        return
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    batch = inputs.at_batch(_CALIBRATION_IMAGES).random(seed + 1, own_dtype(model), example.device)
    statistics = [(tensor, tensor.clone()) for norm in norms for tensor in norm.buffers()]
    try:
        for norm in norms:
            norm.momentum = 1.0
        model.train()
        what = "a forward in train mode, for running statistics"
        with attempt(what) as forward, random_init.seeded(seed), torch.no_grad():
            batch.call(model)
        if forward.error is not None:
            for tensor, before in statistics:
                tensor.copy_(before)
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode


def all_finite(output: object) -> bool:
    """Whether there is neither NaN nor infinity in any output."""
    return all(bool(dense(tensor).isfinite().all()) for tensor in tensors_in(output) if tensor.is_floating_point())
