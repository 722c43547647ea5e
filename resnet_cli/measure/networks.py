"""What a command measures: a network of ours on `meta`, its description, and passes through it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_cli.architectures import ModelSpec
from resnet_cli.measure import failures, trace
from resnet_cli.measure.shapes import build_on_meta, hollow_copy
from resnet_cli.resnet import build
from resnet_cli.results import Input, Network, Shape


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to measure; it may be anybody's and anywhere, and is left exactly as it is.

    Args:
        model: the network.
        name: what a report calls it.
        spec: what it was built from, None for a network that is not ours.
    """

    model: nn.Module
    name: str
    spec: ModelSpec | None = None

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


def subject(spec: ModelSpec) -> Subject:
    """A network of ours, its weights neither allocated nor initialised."""
    return Subject(build_on_meta(lambda: build(spec)), spec.name, spec)


def describe_input(shape: Shape, dtype: torch.dtype) -> Input:
    """The input of a measurement."""
    tensor = torch.empty(shape, dtype=dtype, device="meta")
    return Input(shape, str(dtype).removeprefix("torch."), tensor.nbytes)


class Passes:
    """Passes through a copy of a network on `meta`.

    Args:
        subject: the network; it is copied, never run.
        shape: of the input, (N, C, H, W).
        dtype: of weights and input.
    """

    def __init__(self, subject: Subject, shape: Shape, dtype: torch.dtype) -> None:
        self.subject = subject
        self.shape = shape
        self.dtype = dtype
        self.copy = hollow_copy(subject.model, dtype)

    def make(self, shape: Shape) -> Tensor:
        """An input of this shape."""
        return torch.empty(shape, dtype=self.dtype, device="meta")

    def inference(self, tally: trace.Tally | None = None) -> trace.Trace:
        """Eval mode, no autograd.

        Raises:
            ResnetCliError: the input does not get through.
        """
        try:
            return trace.run(self.copy, (self.make(self.shape),), tally=tally)
        except trace.ForwardFailedError as failure:
            passes = failures.passes_with(lambda tensor: trace.run(self.copy, (tensor,)), self.make)
            raise failures.explain(failure, self.shape, self.subject.name, passes) from failure

    def training(self, images: int, tally: trace.Tally | None = None) -> trace.Trace | str:
        """Train mode, forward and backward, at a batch size; or the reason why that is impossible."""
        try:
            tensor = self.make((images, *self.shape[1:]))
            return trace.run(self.copy, (tensor,), training=True, backward=True, tally=tally)
        except trace.ForwardFailedError as failure:
            return " ".join(str(failure.cause).split())
