"""The network under test, and its description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule

from resnet_cli.measure.models.copies import build_on_meta, duplicate
from resnet_cli.measure.models.holders import contents_of
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.system.dtypes import DTYPES
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.results.common import Network, Note


@dataclass(frozen=True, slots=True)
class ModelUnderTest:
    """A network to measure. After a measurement it is as it was.

    Args:
        model: the network.
        name: shown in results.
        spec: configuration of a built-in network; None for any other.
        rebuilt: builds it again with real tensors; None if that is not possible.
        example_inputs: calls the user's function of that name beside the network, if there is one.
        is_compiled: the user's network is this one under torch.compile.
    """

    model: nn.Module
    name: str
    spec: ModelSpec | None = None
    rebuilt: Callable[[], nn.Module] | None = None
    example_inputs: Callable[[], ModelInputs] | None = None
    is_compiled: bool = False

    def with_values(self) -> nn.Module:
        """The network with the values that its constructor gives it, built anew if this one may be on `meta`."""
        if self.rebuilt is None:
            return self.model
        # Tensors are kept in places of all kinds; constants of TorchScript are hidden.
        held = (self.model, *contents_of(self.model))
        is_on_meta = any(
            isinstance(value, ScriptModule) or (isinstance(value, Tensor) and value.is_meta) for value in held
        )
        return self.rebuilt() if is_on_meta else self.model

    def duplicate(self, model: nn.Module | None = None) -> nn.Module:
        """A network of its own with the values of this one, or of `model`, which was built in the same way.

        Raises:
            ResnetCliError: it cannot be copied, and is not built again either.
        """
        return duplicate(self.model if model is None else model, self.rebuilt)

    def conversion(self, dtype: torch.dtype | None) -> tuple[Note, ...]:
        """A note where a measurement in this dtype converts weights of the user's network.

        Args:
            dtype: of floating-point weights; None keeps theirs.
        """
        tensors = (*self.model.parameters(), *self.model.buffers())
        others = {_name(tensor.dtype) for tensor in tensors if tensor.is_floating_point() and tensor.dtype != dtype}
        if self.spec is not None or dtype is None or not others:
            return ()
        text = f"measured in {_name(dtype)}, as `dtype={_name(dtype)}` asks; weights are in {', '.join(sorted(others))}"
        return (Note("note", text, "converted-dtype"),)

    @property
    def description(self) -> Network:
        """What a result says about the network."""
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


def own_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of a network's input where none is given: that of its first floating-point weight, else float32."""
    tensors = (*model.parameters(), *model.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.dtype in DTYPES.values()), torch.float32)


def convert(model: nn.Module, dtype: torch.dtype | None) -> None:
    """Convert the floating-point weights of a network in place; None keeps theirs.

    Complex weights stay as they are: `nn.Module.to` would drop their imaginary parts.
    """
    if dtype is not None:
        model._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)  # type: ignore[no-untyped-call]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def model_from_spec(spec: ModelSpec) -> ModelUnderTest:
    """A built-in network on the meta device: its weights are neither allocated nor initialised."""
    return ModelUnderTest(build_on_meta(lambda: build(spec)), spec.name, spec)
