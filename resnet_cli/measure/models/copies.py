"""Networks built on the meta device, lazy modules, and copies of a network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.holders import contents_of, holders_of
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.models.user_errors import users_code
from resnet_cli.measure.ops.fast_meta import FastMetaKernels
from resnet_cli.measure.tracing.tensors import is_lazy


def build_on_meta(factory: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on the meta device, without memory or initialisation of its weights."""
    with FastMetaKernels(), torch.device("meta"):
        return factory()


def lazy_names(model: nn.Module) -> list[str]:
    """Names of lazy parameters and buffers, whose shapes a first forward determines."""
    return [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if is_lazy(tensor)]


def materialize(model: nn.Module, name: str, run: Callable[[bool], object]) -> None:
    """Run lazy modules once to find the shapes of their weights, in train mode if eval mode does not call them.

    Args:
        model: changed in place.
        name: of the network.
        run: runs the network in train mode or not.

    Raises:
        ResnetCliError: no forward calls one of them.
    """
    for training in (False, True):
        if lazy_names(model):
            run(training)
    lazy = lazy_names(model)
    if lazy:
        raise ResnetCliError(
            f"{lazy[0]} of {name} is a lazy module that no forward calls, so its shape is unknown",
            "give it its shape, or remove it",
        )


def materialize_with(model: nn.Module, name: str, inputs: Callable[[], Arguments]) -> None:
    """Give lazy modules their weights, also those that are not registered, by a forward with real tensors.

    Args:
        model: changed in place; its mode stays.
        name: of the network.
        inputs: makes those of its forward, on its device.

    Raises:
        ResnetCliError: the forward fails, or does not call one of them.
    """
    if not any(isinstance(value, Tensor) and is_lazy(value) for value in contents_of(model)):
        return
    mode, arguments = model.training, inputs()

    def run(training: bool) -> None:
        model.train(training)
        with users_code(f"the forward of {name}"), torch.no_grad():
            arguments.call(model)

    try:
        run(False)
        materialize(model, name, run)
    finally:
        model.train(mode)


def independent_copy(model: nn.Module) -> nn.Module:
    """A copy with tensors of its own.

    Raises:
        ResnetCliError: it holds what cannot be copied, or its copy would still run some of its own parameters.
    """
    hint = "name a class or a function that builds it, not an instance"
    try:
        duplicate = copy.deepcopy(model)
    except Exception as error:  # whatever its own `__deepcopy__` raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ResnetCliError(f"{type(model).__name__} cannot be copied: {reason}", hint) from error
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    for holder in holders_of(duplicate):
        if any(isinstance(value, Tensor) and id(value) in own for value in holder.values()):
            raise ResnetCliError(
                f"{type(model).__name__} cannot be copied: a function that it holds, such as a replaced `forward`, "
                "leads back to the original's parameters",
                hint,
            )
    return duplicate


def duplicate(model: nn.Module, rebuilt: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Another network with the same values, devices, dtypes and modes.

    Args:
        model: left unchanged.
        rebuilt: builds it again, for a network that has no independent copy.

    Raises:
        ResnetCliError: it has none, and is not built again either.
    """
    try:
        return independent_copy(model)
    except ResnetCliError:
        if rebuilt is None:
            raise
    other = rebuilt()
    for own, source in zip(_tensors(other), _tensors(model), strict=True):
        if is_lazy(source):
            continue  # and so is the other's
        if is_lazy(own):
            own.materialize(source.shape, source.device, source.dtype)  # type: ignore[attr-defined]
        own.data = source.detach().clone()
        own.requires_grad_(source.requires_grad)
    for module, original in zip(other.modules(), model.modules(), strict=True):
        module.training = original.training
    return other


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
