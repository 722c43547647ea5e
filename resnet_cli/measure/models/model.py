"""What a command measures: a network, its description, and passes through a copy of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.models import input_errors
from resnet_cli.measure.models.copies import cpu_copy, lazy_names, meta_copy
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.ops.fast_meta import build_on_meta, is_lazy
from resnet_cli.measure.tracing import tracer
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.results.common import Input, Network, Note, Shape

# Real tensors cost a second or so up to here.
_CHEAP_WEIGHTS, _CHEAP_INPUT = 10**8, 2**20
_MOST_NAMES = 4


@dataclass(frozen=True, slots=True)
class ModelUnderTest:
    """A network to measure; it may be anybody's and anywhere, and is left exactly as it is.

    Args:
        model: the network.
        name: what a report calls it.
        spec: what it was built from, None for a network that is not ours.
        rebuilt: builds it once more with real tensors; None where `model` has what there is.
    """

    model: nn.Module
    name: str
    spec: ModelSpec | None = None
    rebuilt: Callable[[], nn.Module] | None = None

    @property
    def described(self) -> Network:
        """The facts that a report shows."""
        spec = self.spec
        if spec is None:
            return Network(self.name, None, None, None, None, None, None, None)
        return Network(
            name=self.name,
            block=spec.block,
            repeat=spec.repeat,
            groups=spec.groups,
            width_per_group=spec.width_per_group,
            stem=spec.stem,
            in_channels=spec.in_channels,
            num_classes=spec.num_classes,
        )


def model_from_spec(spec: ModelSpec) -> ModelUnderTest:
    """A network of ours, its weights neither allocated nor initialised."""
    return ModelUnderTest(build_on_meta(lambda: build(spec)), spec.name, spec)


def describe_input(shape: Shape, dtype: torch.dtype) -> Input:
    """The input of a measurement."""
    tensor = torch.empty(shape, dtype=dtype, device="meta")
    return Input(shape, str(dtype).removeprefix("torch."), tensor.nbytes)


class ForwardRunner:
    """Passes through a copy of a network: on `meta`, or with real tensors on the CPU where its forward needs values.

    Args:
        subject: the network; it is copied, never run.
        shape: of the input, (N, C, H, W).
        dtype: of weights and input.

    Attributes:
        copy: what runs; its lazy modules are materialised by the first pass.
        is_real: whether it has real tensors.
        refused: why the last training step was impossible.

    Raises:
        ResnetCliError: the network cannot be copied.
    """

    def __init__(self, subject: ModelUnderTest, shape: Shape, dtype: torch.dtype) -> None:
        self.subject = subject
        self.shape = shape
        self.dtype = dtype
        self.is_real = False
        self.refused: tracer.ForwardFailedError | None = None
        self.copy = self._copy()

    def _copy(self) -> nn.Module:
        try:
            if self.is_real:
                return cpu_copy(self.subject.model, self.subject.rebuilt, self.dtype)
            return meta_copy(self.subject.model, self.dtype)
        except TypeError as error:
            raise ResnetCliError(
                printable(" ".join(str(error).split())), "a measurement runs a copy of the network, never the original"
            ) from error

    def make(self, shape: Shape) -> Tensor:
        """An input of this shape."""
        if self.is_real:
            return torch.randn(shape, dtype=self.dtype, generator=torch.Generator().manual_seed(0))
        return torch.empty(shape, dtype=self.dtype, device="meta")

    def both(self, tally: tracer.FlopFormula | None = None) -> tuple[tracer.Trace, tracer.Trace | str]:
        """A pass in eval mode and a training step, through one and the same copy.

        Raises:
            ResnetCliError: the input does not get through in eval mode.
        """
        inference, was_real = self.inference(tally), self.is_real
        training = self.training(self.shape[0], tally)
        return inference if self.is_real == was_real else self.inference(tally), training

    def inference(self, tally: tracer.FlopFormula | None = None) -> tracer.Trace:
        """Eval mode, no autograd.

        Raises:
            ResnetCliError: the input does not get through.
        """
        try:
            return self._through(self.shape, tally)
        except tracer.ForwardFailedError as failure:
            if not (self._becomes_real(failure) or self._becomes_real_cheaply()):
                raise self._explained(failure) from failure
        try:
            return self._through(self.shape, tally)
        except tracer.ForwardFailedError as failure:
            raise self._explained(failure) from failure

    def training(self, images: int, tally: tracer.FlopFormula | None = None) -> tracer.Trace | str:
        """Train mode, forward and backward, at a batch size; or the reason why that is impossible."""
        try:
            return self._through((images, *self.shape[1:]), tally, training=True)
        except tracer.ForwardFailedError as failure:
            if self._becomes_real(failure):
                return self.training(images, tally)
            self.refused = failure
            return " ".join(str(failure.cause).split()) or type(failure.cause).__name__

    def _through(
        self, shape: Shape, tally: tracer.FlopFormula | None = None, *, training: bool = False
    ) -> tracer.Trace:
        with self._aside():
            self._materialise(shape)
            return tracer.run(self.copy, (self.make(shape),), training=training, backward=training, tally=tally)

    def _materialise(self, shape: Shape) -> None:
        """Let the first forward of lazy modules find the shapes of their weights, in train mode where need be."""
        for training in (False, True):
            if lazy_names(self.copy):
                tracer.run(self.copy, (self.make(shape),), training=training)
        lazy = lazy_names(self.copy)
        if lazy:
            raise ResnetCliError(
                f"{printable(lazy[0])} of {self.subject.name} is lazy, and no forward reaches it to find its shape",
                "give it its shape, or leave it out",
            )

    def _aside(self) -> AbstractContextManager[None]:
        """Where what a network prints goes; ours print nothing."""
        return nullcontext() if self.subject.spec is not None else prints_to_stderr()

    def _becomes_real(self, failure: tracer.ForwardFailedError) -> bool:
        """Take real tensors where they may get through: `meta` has no values, and not all operators."""
        is_of_meta = "meta" in str(failure.cause).lower() or isinstance(failure.cause, NotImplementedError)
        return is_of_meta and self._take_real()

    def _becomes_real_cheaply(self) -> bool:
        """The same where it costs little: where they do not get through either, what torch says of them is clearer."""
        weights = sum(0 if is_lazy(tensor) else tensor.numel() for tensor in self.copy.parameters())
        return weights <= _CHEAP_WEIGHTS and prod(self.shape) <= _CHEAP_INPUT and self._take_real()

    def _take_real(self) -> bool:
        if self.is_real or self.subject.spec is not None:
            return False
        self.is_real = True
        self.copy = self._copy()
        return True

    def _explained(self, failure: tracer.ForwardFailedError) -> ResnetCliError:
        """The error for the user. Other sizes are tried on `meta`, where a try costs little."""
        name, model = self.subject.name, self.subject.model
        hollow = None if lazy_names(model) else meta_copy(model, self.dtype)

        def run(tensor: Tensor) -> tracer.Trace:
            with self._aside():
                return tracer.run(hollow or meta_copy(model, self.dtype), (tensor,))

        def make(shape: Shape) -> Tensor:
            return torch.empty(shape, dtype=self.dtype, device="meta")

        passes = input_errors.accepts(run, make)
        if self.subject.spec is not None:
            return input_errors.shape_error(failure, self.shape, name, passes)
        return input_errors.user_shape_error(failure, self.shape, name, passes)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the reader has to know of how the network was run."""
        if not self.is_real:
            return ()
        text = "its forward does not run on tensors without values, so it ran with real ones, on the CPU"
        return (Note("note", text),)


def mode_notes(inference: tracer.Trace, training: tracer.Trace | None) -> tuple[Note, ...]:
    """What train mode computes that eval mode does not, such as a second head; or the other way round."""
    if training is None:
        return ()
    macs = [
        sum(op.counted.macs for op in operators if not op.backward)
        for operators in (inference.operators, training.operators)
    ]
    only = _outermost(training, inference), _outermost(inference, training)
    if macs[0] == macs[1] and not any(only):
        return ()
    text = f"the forward is not the same in train mode: {macs[1]:,} MACs there, {macs[0]:,} in eval mode"
    for mode, paths in zip(("train", "eval"), only, strict=True):
        if paths:
            more = f" and {len(paths) - _MOST_NAMES} more" if len(paths) > _MOST_NAMES else ""
            text += f"; called in {mode} mode only: {', '.join(map(printable, paths[:_MOST_NAMES]))}{more}"
    return (Note("note", text),)


def _outermost(one: tracer.Trace, other: tracer.Trace) -> list[str]:
    """Modules that one pass calls and the other does not, without those inside them."""
    theirs = {call.path for call in other.root.modules()}
    only = dict.fromkeys(call.path for call in one.root.modules() if call.path not in theirs)
    return [path for path in only if path.rpartition(".")[0] not in only]
