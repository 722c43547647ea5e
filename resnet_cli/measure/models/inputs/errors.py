"""Errors for inputs that a network does not accept: where the forward failed, and which inputs work."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.models.inputs.fitting import adapt
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, images
from resnet_cli.measure.models.inputs.specs import TensorSpec
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall
from resnet_cli.measure.tracing.tracer import ForwardFailedError
from resnet_cli.results.common import Shape

_LARGEST_SIZE_TRIED = 1024
USUAL_SIZES = (224, 32, 28, 64, 96, 227, 299, 331, 384)  # of data sets, and of networks that accept one size only
_NONE = f"no square image up to {_LARGEST_SIZE_TRIED} pixels works"

# Torch's errors about anything but a shape.
_DTYPE = re.compile(r"dtype|scalar type|Input type|IntTensor|LongTensor")
_NO_DEVICE = re.compile(r"NVIDIA|CUDA|not compiled with|driver")
_BAD_INDEX = "index out of range"
# Errors that another input would not mend.
_OF_NO_INPUT = (RecursionError, EOFError, OSError, ImportError, NameError, MemoryError)

Passes = Callable[[ModelInputs], bool]


def shape_error(failure: ForwardFailedError, inputs: ModelInputs, name: str, passes: Passes) -> ResnetCliError:
    """Error for a built-in network: the layers up to the one that failed, and an input that works.

    Args:
        failure: raised by `tracer.run`.
        inputs: of the forward.
        name: of the network.
        passes: whether the network takes other inputs.
    """
    path = " → ".join(call.path for call in failure.reached[-1:]) or name
    cause = " ".join(str(failure.cause).split())
    hint = _what_works(failure, inputs, passes) or f"{_NONE}; see what the layer above expects"
    if hint.endswith(" works"):
        hint = f"{hint}; see what the layer above expects"
    return ResnetCliError(
        f"an input of {_described(inputs)} fails at {path}: {cause}", hint, detail=_reached(failure, name)
    )


def larger_input(reason: str) -> str | None:
    """What to do if torch says that a norm has too few values to train on; None for any other reason."""
    if reason.startswith("Expected more than 1 value per channel"):
        return "use a larger `batch_size` or `image_size`"
    return "use a larger `image_size`" if reason.startswith("Expected more than 1 spatial element") else None


def user_shape_error(failure: ForwardFailedError, inputs: ModelInputs, name: str, passes: Passes) -> ResnetCliError:
    """Error for a user's network: their lines of code first, then the layers up to the one that failed.

    Args:
        failure: raised by `tracer.run`.
        inputs: of the forward.
        name: of the network.
        passes: whether the network takes other inputs.
    """
    where = "".join(f", at {call.path}," for call in failure.reached[-1:] if call.path)
    error = user_error(failure.cause, f"the forward of {name} with an input of {_described(inputs)}{where}")
    hint = error.hint
    if hint is None and _may_be_of_the_input(failure.cause):
        hint = _what_works(failure, inputs, passes) or f"{_NONE}; see what the lines above expect"
    detail = "\n".join(part for part in (error.detail, _reached(failure, name)) if part)
    return ResnetCliError(error.message, hint, detail=detail)


def _described(inputs: ModelInputs) -> str:
    shapes = {name: dimensions(tuple(leaf.shape)) for name, leaf in inputs.tensors.items()}
    return shapes["0"] if list(shapes) == ["0"] else ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _may_be_of_the_input(cause: BaseException) -> bool:
    if not isinstance(cause, Exception) or isinstance(cause, _OF_NO_INPUT):
        return False
    return _NO_DEVICE.search(str(cause)) is None


def _what_works(failure: ForwardFailedError, inputs: ModelInputs, passes: Passes) -> str | None:
    """Inputs that the network takes, or a way to find them; None where none is known."""
    cause, model = str(failure.cause), failure.root.module
    if _BAD_INDEX in cause:
        return "bound the integers by the number of indices, such as `inputs='int64[1,16]<1000'`"
    if not inputs.is_image:
        specs = [leaf for leaf in inputs.tensors.values() if isinstance(leaf, TensorSpec)]
        if _DTYPE.search(cause) and any("float" in (spec.dtype or "") for spec in specs):
            return "float[…] describes a tensor in the dtype of the weights, such as `inputs='float[1,3,224,224]'`"
        return adapt(inputs)
    is_shape = isinstance(failure.cause, (RuntimeError, ValueError, AssertionError, IndexError))
    if not is_shape or isinstance(failure.cause, NotImplementedError) or _DTYPE.search(cause):
        return _other_inputs(inputs, model, passes)
    shape: Shape = inputs.args[0].shape
    channels = image_channels(model)
    if channels not in (None, shape[1]) and (image := _image_of(shape, channels, passes)) is not None:
        return image
    smallest = _smallest_size(shape, passes)
    if smallest is not None and smallest <= min(shape[2:]):  # too large an image: one that is usual says more
        usual = (size for size in USUAL_SIZES if passes(images((*shape[:2], size, size))))
        return f"`image_size={next(usual, smallest)}` works"
    if smallest is None:
        return None if channels is not None else _other_inputs(inputs, model, passes)
    if smallest > min(shape[2:]):
        return f"the smallest square image that works is `image_size={smallest}`"
    return f"`image_size={smallest}` works"


def _other_inputs(inputs: ModelInputs, model: nn.Module, passes: Passes) -> str:
    """What was given, and something else to give: what the first layer takes, where that is known."""
    example = _example(model, passes)
    return adapt(inputs) if example is None else f"`inputs='{example}'` works: {adapt(inputs)}"


def image_channels(model: nn.Module) -> int | None:
    """Channels of the first convolution, if it is one of images."""
    first = next((module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd)), None)
    return first.in_channels if isinstance(first, nn.Conv2d) else None


def _image_of(shape: Shape, channels: int | None, passes: Passes) -> str | None:
    """An image of so many channels that works: of the same size, else the smallest square one."""
    shape = (shape[0], channels or 1, *shape[2:])
    if passes(images(shape)):
        return f"`in_channels={channels}` works"
    size = _smallest_size(shape, passes)
    return None if size is None else f"`in_channels={channels}` with `image_size={size}` works"


def _example(model: nn.Module, passes: Passes) -> str | None:
    """A tensor for the first layer, if that takes no image and the network takes the tensor."""
    for module in model.modules():
        match module:
            case nn.Embedding():
                text, spec = "int64[1,16]", TensorSpec((1, 16), "int64")
            case nn.Conv1d():
                text, spec = f"float32[1,{module.in_channels},64]", TensorSpec((1, module.in_channels, 64))
            case nn.Conv3d():
                sizes = (1, module.in_channels, 16, 32, 32)
                text, spec = f"float32[{','.join(map(str, sizes))}]", TensorSpec(sizes)
            case nn.Linear():
                text, spec = f"float32[1,{module.in_features}]", TensorSpec((1, module.in_features))
            case nn.Conv2d():
                return None
            case _:
                continue
        return text if passes(ModelInputs((spec,))) else None
    return None


def _smallest_size(shape: Shape, passes: Passes) -> int | None:
    """Side of the smallest square image that works: doubling, then bisection; else a usual size."""

    def works(size: int) -> bool:
        return passes(images((*shape[:2], size, size)))

    low, high = 0, 1
    while not works(high):
        low, high = high, 2 * high
        if high > _LARGEST_SIZE_TRIED:
            return next((size for size in USUAL_SIZES if works(size)), None)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _reached(failure: ForwardFailedError, name: str) -> str:
    """The layers up to the failure as an indented tree."""
    lines = [_line(failure.root, 0, name, " ")]
    path = [call for call in failure.reached if call is not failure.root]
    for depth, (parent, failed) in enumerate(pairwise([failure.root, *path]), start=1):
        for child in parent.children:
            if child is failed:
                break
            lines.append(_line(child, depth, "", " "))
        lines.append(_line(failed, depth, "", "✗" if failed is path[-1] else " "))
    return "\n".join(lines)


def _line(call: ModuleCall | OperatorCall, depth: int, name: str, sign: str) -> str:
    if isinstance(call, OperatorCall):
        label, layer_type, input_shape = call.name, "", call.input_shapes[0] if call.input_shapes else None
    else:
        label = name or call.path.rpartition(".")[2]
        layer_type, input_shape = type(call.module).__name__, call.input_shape
    output = dimensions(call.output_shape) if call.output_shape and sign == " " else "fails"
    return f"  {sign} {'  ' * depth}{label}  {layer_type}  {dimensions(input_shape)} → {output}"
