"""Inputs fitted to a network: the arguments that its forward takes, and integers that are indices of its embeddings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import FEWEST_INDICES, ModelInputs
from resnet_cli.measure.models.inputs.specs import TensorSpec
from resnet_cli.suggest import nearest

_BYTE_VALUES = 256  # of uint8, which are values of pixels where no embedding takes them


def fitted(inputs: ModelInputs, model: nn.Module) -> ModelInputs:
    """The same for a network: integers without a limit get one, and a dictionary of its arguments is unpacked.

    Raises:
        ResnetCliError: the forward takes other arguments.
    """
    names = _parameter_names(model)
    if names is not None and not inputs.is_image:
        inputs = replace(inputs, names=tuple(names[: len(inputs.args)]))
        first = inputs.args[0] if len(inputs.args) == 1 and not inputs.kwargs else None
        if isinstance(first, dict) and first and all(isinstance(name, str) and name in names for name in first):
            inputs = replace(inputs, args=(), kwargs=first, names=())
    _check_arguments(inputs, model)
    limit = _indices(model)

    def bounded(leaf: Any) -> Any:
        if not (isinstance(leaf, TensorSpec) and leaf.is_integer and leaf.below is None):
            return leaf
        return replace(leaf, below=limit or (_BYTE_VALUES if leaf.dtype == "uint8" else FEWEST_INDICES))

    return inputs.mapped(bounded)


@contextmanager
def called_with_image(model: nn.Module, inputs: ModelInputs, seed: int) -> Iterator[None]:
    """Inside, the network may be called with an image alone: its other arguments are added to it.

    Args:
        model: has a forward pre-hook meanwhile, and so have its copies.
        inputs: the image among others or under a name.
        seed: of the others' values.

    Raises:
        ResnetCliError: the forward takes other arguments, or there is no image among them.
    """
    inputs = fitted(inputs, model)
    inputs.image_only()

    def add_others(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        (image,) = args
        with _disable_current_modes():  # the values of an input are no operators of the network
            complete = inputs.with_image(image)
            built = complete.on_meta(image.dtype) if image.is_meta else complete.random(seed, image.dtype, image.device)

            def placed(tensor: Tensor) -> Tensor:
                return tensor.to(image.dtype) if tensor.is_floating_point() and tensor is not image else tensor

            return built.mapped(placed)

    hook = model.register_forward_pre_hook(add_others, prepend=True, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _indices(model: nn.Module) -> int | None:
    """How many indices every embedding of a network has; None without one."""
    sizes = [module.num_embeddings for module in model.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))]
    return min(sizes, default=None)


def _parameter_names(model: nn.Module) -> list[str] | None:
    """Names of the arguments of a forward; None where they are not known."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # scripted, or implemented in C
        return None
    return [item.name for item in parameters if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)]


def _check_arguments(inputs: ModelInputs, model: nn.Module) -> None:
    """Check that the arguments fit the signature of the forward.

    Raises:
        ResnetCliError: one is missing, unknown or too many.
    """
    # Static, because the class of a TorchScript module refuses to give the attribute.
    if inspect.getattr_static(type(model), "forward") is nn.Module.forward and "forward" not in vars(model):
        raise ResnetCliError(f"{type(model).__name__} has no forward", "define forward, or name another network")
    if model._forward_pre_hooks:
        return  # which may change the arguments
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*inputs.args, **inputs.kwargs)
    except TypeError as error:
        names = _parameter_names(model) or []
        unknown = [name for name in inputs.kwargs if name not in names]
        close = nearest(unknown[0], names) if unknown else None
        message = f"forward({', '.join(names)}) of {type(model).__name__} does not take these inputs: {error}"
        raise ResnetCliError(message, f"did you mean {close}?" if close else adapt(inputs)) from None


def adapt(inputs: ModelInputs) -> str:
    """What is given to the network, and how to give it something else."""
    described = ", ".join(
        f"{name} {'×'.join(map(str, leaf.shape)) or 'scalar'}" for name, leaf in inputs.tensors.items()
    )
    what = "one float image N×C×H×W as the first positional argument" if inputs.is_image else described
    return (
        f"it was given {what}; describe other inputs with `inputs`, one for each tensor (such as 'mask=bool[1,196]'), "
        "or define example_inputs() beside the network, which returns a tuple of them"
    )
