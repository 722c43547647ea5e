"""Errors for an input that a network does not accept: where the forward failed, and which size works."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall
from resnet_cli.measure.tracing.tracer import ForwardFailedError
from resnet_cli.results.common import Shape

_LARGEST_SIZE_TRIED = 1024
_USUAL_SIZES = (28, 96, 224, 227, 299, 331, 384)  # for networks that accept one size only
_NONE = f"no square image up to {_LARGEST_SIZE_TRIED} pixels works"


def shape_error(
    failure: ForwardFailedError, shape: Shape, name: str, passes: Callable[[Shape], bool]
) -> ResnetCliError:
    """Error for a built-in network: the layers up to the one that failed, and the smallest image that works.

    Args:
        failure: raised by `tracer.run`.
        shape: of the input, (N, C, H, W).
        name: of the network.
        passes: whether an input of a given shape works.
    """
    path = " → ".join(call.path for call in failure.reached[-1:]) or name
    cause = " ".join(str(failure.cause).split())
    smallest = _smallest_size(shape, passes)
    if smallest is None:
        hint = f"{_NONE}; see what the layer above expects"
    elif smallest > min(shape[2:]):
        hint = f"the smallest square image that works is `image_size={smallest}`"
    else:
        hint = f"`image_size={smallest}` works; see what the layer above expects"
    return ResnetCliError(
        f"an input of {dimensions(shape)} fails at {path}: {cause}", hint, detail=_reached(failure, name)
    )


def larger_input(reason: str) -> str | None:
    """What to do if torch says that a norm has too few values to train on; None for any other reason."""
    if reason.startswith("Expected more than 1 value per channel"):
        return "use a larger `batch_size` or `image_size`"
    return "use a larger `image_size`" if reason.startswith("Expected more than 1 spatial element") else None


def user_shape_error(
    failure: ForwardFailedError, shape: Shape, name: str, passes: Callable[[Shape], bool]
) -> ResnetCliError:
    """Error for a user's network: their lines of code first, then the layers up to the one that failed.

    Args:
        failure: raised by `tracer.run`.
        shape: of the input, (N, C, H, W).
        name: of the network.
        passes: whether an input of a given shape works.
    """
    where = "".join(f", at {call.path}," for call in failure.reached[-1:] if call.path)
    error = user_error(failure.cause, f"the forward of {name} with an input of {dimensions(shape)}{where}")
    hint, smallest = error.hint, _smallest_size(shape, passes)
    if hint is None and smallest is None:
        hint = f"{_NONE}; see what the lines above expect"
    elif smallest is not None and smallest > min(shape[2:]):
        hint = f"the smallest square image that works is `image_size={smallest}`"
    elif smallest is not None:
        hint = hint or f"`image_size={smallest}` works"
    detail = "\n".join(part for part in (error.detail, _reached(failure, name)) if part)
    return ResnetCliError(error.message, hint, detail=detail)


def _smallest_size(shape: Shape, passes: Callable[[Shape], bool]) -> int | None:
    """Side of the smallest square image that works: doubling, then bisection; else a usual size."""
    low, high = 0, 1
    while not passes((*shape[:2], high, high)):
        low, high = high, 2 * high
        if high > _LARGEST_SIZE_TRIED:
            return next((size for size in _USUAL_SIZES if passes((*shape[:2], size, size))), None)
    while high - low > 1:
        middle = (low + high) // 2
        if passes((*shape[:2], middle, middle)):
            high = middle
        else:
            low = middle
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


def accepts(run: Callable[[Tensor], object], make: Callable[[Shape], Tensor]) -> Callable[[Shape], bool]:
    """A predicate: whether an input of a given shape works."""

    def passes(shape: Shape) -> bool:
        try:
            run(make(shape))
        except ForwardFailedError:
            return False
        return True

    return passes
