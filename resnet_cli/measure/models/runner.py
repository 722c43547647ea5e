"""Forward passes through a network with other tensors: on the meta device, or copies on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.copies import materialize
from resnet_cli.measure.models.hidden_weights import hidden_weights
from resnet_cli.measure.models.holders import contents_of, is_same
from resnet_cli.measure.models.inputs import errors as input_errors
from resnet_cli.measure.models.inputs.fitting import fitted
from resnet_cli.measure.models.inputs.model_inputs import Arguments, ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest, own_dtype
from resnet_cli.measure.models.substitutes import on_device, on_meta
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.tracing import tracer
from resnet_cli.measure.tracing.path_notes import chance_note, first_call_note, is_same_pass, mode_notes
from resnet_cli.measure.tracing.tensors import is_lazy
from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.common import Note

# Above these sizes a forward with real tensors may take longer than a second.
_CHEAP_WEIGHTS, _CHEAP_INPUT = 10**8, 2**20
_SEED, _OTHER_SEEDS = 0, (1, 2, 3, 4)  # of the random numbers that a forward draws
_NEEDS_VALUES = "the forward needs values"


class ForwardRunner:
    """Forward passes through a network: on `meta`, or on the CPU if the forward needs values.

    A context manager: inside it the network has other tensors, and afterwards it is as it was.

    Args:
        subject: the network.
        inputs: of its forward.
        dtype: of floating-point weights, and of inputs that have none of their own; None: the network's own.
        device_type: whose operators run on `meta`, as far as they are known; see `ops.device_kernels`.

    Attributes:
        dtype: of inputs that have none of their own.
        inputs: of its forward, checked against its signature.
        model: the network that runs; the first pass materialises its lazy modules.
        is_real: whether it has real tensors.
        real_because: why it has.
        training_failure: why the last training step failed, or None.

    Raises:
        ResnetCliError: the network takes other arguments.
    """

    def __init__(
        self,
        subject: ModelUnderTest,
        inputs: ModelInputs,
        dtype: torch.dtype | None = None,
        *,
        device_type: str = "cpu",
    ) -> None:
        self.subject = subject
        self._device_type = device_type
        self.inputs = fitted(inputs, subject.model)
        self.dtype = dtype or own_dtype(subject.model)
        self._weight_dtype = dtype
        hidden = hidden_weights(subject.model) if subject.spec is None else ()
        self._notes = (*self.inputs.notes, *subject.conversion(dtype), *hidden)
        self.is_real = False
        self.real_because = ""
        self.training_failure: tracer.ForwardFailedError | None = None
        self.model = subject.model
        self._substitution = ExitStack()
        self._drawing: dict[bool, Trace] = {}  # passes that drew random numbers, by train mode

    def __enter__(self) -> ForwardRunner:
        """Put tensors on `meta` in place of the network's own; a built-in one may be there already."""
        if self.subject.spec is not None and self._is_as_needed():
            return self
        self._substitution.enter_context(on_meta(self.model, self._weight_dtype))
        return self

    def __exit__(self, *_: object) -> None:
        """Put the network's own tensors back."""
        self._substitution.close()

    def _is_as_needed(self) -> bool:
        return all(
            parameter.is_meta and self._weight_dtype in (None, parameter.dtype) for parameter in self.model.parameters()
        )

    def arguments(self, inputs: ModelInputs | None = None) -> Arguments:
        """Arguments of the forward.

        Args:
            inputs: at another batch size; None: as they are.
        """
        inputs = inputs or self.inputs
        return inputs.random(0, self.dtype) if self.is_real else inputs.on_meta(self.dtype)

    def infer_and_train(self, tally: tracer.FlopFormula | None = None) -> tuple[Trace, Trace | str]:
        """A forward in eval mode and a training step.

        Raises:
            ResnetCliError: the forward fails in eval mode.
        """
        inference, was_real = self.inference(tally), self.is_real
        training = self.training(tally)
        return inference if self.is_real == was_real else self.inference(tally), training

    def inference(self, tally: tracer.FlopFormula | None = None) -> Trace:
        """A forward in eval mode without autograd.

        Raises:
            ResnetCliError: the forward fails.
        """
        try:
            return self._run(self.inputs, False, tally=tally)
        except tracer.ForwardFailedError as failure:
            if not (self._retry_on_cpu(failure) or self.run_on_cpu_if_cheap(_NEEDS_VALUES)):
                raise self._user_error(failure) from failure
        try:
            return self._run(self.inputs, False, tally=tally)
        except tracer.ForwardFailedError as failure:
            raise self._user_error(failure) from failure

    def training(self, tally: tracer.FlopFormula | None = None) -> Trace | str:
        """Forward and backward in train mode, or the reason why they fail.

        Args:
            tally: FLOPs by the formulas of another counter.
        """
        try:
            return self._run(self.inputs, True, tally=tally)
        except tracer.ForwardFailedError as failure:
            if self._retry_on_cpu(failure):
                return self.training(tally)
            self.training_failure = failure
            return " ".join(str(failure.cause).split()) or type(failure.cause).__name__

    def alive_in_training(self, batch_size: int) -> list[int] | None:
        """Bytes alive after each allocation of a training step at another batch, or None where it fails."""
        try:
            return self._run(self.inputs.at_batch(batch_size), True, memory_only=True).alive
        except tracer.ForwardFailedError:
            return None

    def _run(self, inputs: ModelInputs, training: bool, **recording: Any) -> Trace:
        """One pass, whose recording has these options of `tracer.run`."""
        if self.subject.spec is not None:
            return self._traced(inputs, training, **recording)
        with self._redirected_prints():
            arguments = self.arguments(inputs)
            materialize(self.model, self.subject.name, lambda mode: tracer.run(self.model, *arguments, training=mode))
            self.model.train(training)  # so that the flags do not count as what a call leaves behind
            before = contents_of(self.model)
            _forget_gradients(before)
            trace, drew = self._seeded(inputs, training, **recording)
            if not is_same(before, contents_of(self.model)):
                _forget_gradients(contents_of(self.model))
                first, (trace, drew) = trace, self._seeded(inputs, training, **recording)
                if not is_same_pass(first, trace) and first_call_note() not in self._notes:
                    self._notes = (*self._notes, first_call_note())
        if drew and inputs is self.inputs:
            self._drawing[training] = trace
        return trace

    def _seeded(self, inputs: ModelInputs, training: bool, seed: int = _SEED, **recording: Any) -> tuple[Trace, bool]:
        """A pass whose random numbers are those of a seed, so that all passes take the same path; whether it drew."""
        with random_init.seeded(seed) as has_drawn:
            return self._traced(inputs, training, **recording), has_drawn()

    def _traced(self, inputs: ModelInputs, training: bool, **recording: Any) -> Trace:
        return tracer.run(
            self.model,
            *self.arguments(inputs),
            training=training,
            backward=training,
            device_type=self._device_type,
            **recording,
        )

    def path_notes(self, inference: Trace, training: Trace | None) -> tuple[Note, ...]:
        """Notes where not all passes run the same: by chance, or else in train mode and eval mode."""
        return tuple(self._chance_notes()) or mode_notes(inference, training)

    def _chance_notes(self) -> Iterator[Note]:
        """The passes so far that drew random numbers run again under other seeds."""
        seeds = _OTHER_SEEDS[:1] if self.is_real else _OTHER_SEEDS
        for training, trace in self._drawing.items():
            with self._redirected_prints():
                others = [self._seeded(self.inputs, training, seed)[0] for seed in seeds]
            note = chance_note("train" if training else "eval", [trace, *others])
            if note is not None:
                yield note

    def _redirected_prints(self) -> AbstractContextManager[None]:
        """Sends what a user's network prints to standard error."""
        return nullcontext() if self.subject.spec is not None else prints_to_stderr()

    def _retry_on_cpu(self, failure: tracer.ForwardFailedError) -> bool:
        """Switch to real tensors if the failure may be due to `meta`, which has no values and lacks some operators."""
        is_of_meta = "meta" in str(failure.cause).lower() or isinstance(failure.cause, NotImplementedError)
        return is_of_meta and self._switch_to_cpu(_NEEDS_VALUES)

    def run_on_cpu_if_cheap(self, reason: str) -> bool:
        """Switch to real tensors if that is cheap.

        Torch's messages about them are clearer than about `meta`, and some operators run otherwise there.
        """
        weights = sum(0 if is_lazy(tensor) else tensor.numel() for tensor in self.model.parameters())
        return weights <= _CHEAP_WEIGHTS and self.inputs.values <= _CHEAP_INPUT and self._switch_to_cpu(reason)

    def _switch_to_cpu(self, reason: str) -> bool:
        if self.is_real or self.subject.spec is not None:
            return False
        self.real_because = reason
        self._substitution.close()
        self.is_real = True
        self._drawing.clear()
        with random_init.seeded(_SEED):
            self.model = self.subject.with_values()
        self._substitution.enter_context(on_device(self.model, dtype=self._weight_dtype))
        return True

    def _user_error(self, failure: tracer.ForwardFailedError) -> ResnetCliError:
        """The error for the user. It names a size that works, which is searched for on `meta`."""
        self._substitution.close()
        name, model = self.subject.name, self.subject.model

        def passes(inputs: ModelInputs) -> bool:
            with self._redirected_prints(), on_meta(model, self._weight_dtype):
                try:
                    tracer.run(model, *inputs.on_meta(self.dtype))
                except tracer.ForwardFailedError:
                    return False
            return True

        if self.subject.spec is not None:
            return input_errors.shape_error(failure, self.inputs, name, passes)
        return input_errors.user_shape_error(failure, self.inputs, name, passes)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Which inputs it had, if no option says so, weights in another dtype, and how it ran, if not on `meta`."""
        if not self.is_real:
            return self._notes
        text = f"{self.real_because}, so it ran with real tensors on the CPU instead of the meta device"
        return (*self._notes, Note("note", text, "ran-with-real-tensors"))


def _forget_gradients(values: Iterable[Any]) -> None:
    """Drop the gradients of tensors, also of those that are no registered parameters, so that all steps are alike."""
    for value in values:
        if isinstance(value, Tensor) and value.is_leaf:
            value.grad = None
