"""An input that did not get through, told so that it can be mended: how far it came, and what would fit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions, printable
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.tracing.tracer import ForwardFailedError, ModuleCall, OperatorCall
from resnet_cli.results.common import Shape

_LARGEST_SIZE_TRIED = 1024
_USUAL_SIZES = (28, 96, 224, 227, 299, 331, 384)  # of data sets and networks, where only one size gets through
_NONE = f"no square image that was tried, up to {_LARGEST_SIZE_TRIED} pixels, gets through"


def shape_error(
    failure: ForwardFailedError, shape: Shape, name: str, passes: Callable[[Shape], bool]
) -> ResnetCliError:
    """The error for the user: the tree down to the layer that failed, and the smallest image that works.

    Args:
        failure: as `trace.run` raised it.
        shape: of the input, (N, C, H, W).
        name: of the network.
        passes: whether an input of another shape gets through.
    """
    path = " → ".join(printable(call.path) for call in failure.reached[-1:]) or name
    cause = printable(" ".join(str(failure.cause).split()))
    smallest = _smallest_size(shape, passes)
    if smallest is None:
        hint = f"{_NONE}: see what the layer above expects"
    elif smallest > min(shape[2:]):
        hint = f"the smallest square image that works is --image-size {smallest}"
    else:
        hint = f"an image of {smallest} × {smallest} works; the input has to fit what the layer above expects"
    return ResnetCliError(
        f"an input of {dimensions(shape)} cannot pass {path}: {cause}", hint, detail=_reached(failure, name)
    )


def larger_input(reason: str) -> str | None:
    """What to do where a norm has too little to be trained on, by torch's words; None where it is something else."""
    if reason.startswith("Expected more than 1 value per channel"):
        return "take a larger --batch-size or --image-size"
    return "take a larger --image-size" if reason.startswith("Expected more than 1 spatial element") else None


def user_shape_error(
    failure: ForwardFailedError, shape: Shape, name: str, passes: Callable[[Shape], bool]
) -> ResnetCliError:
    """The same for a network of the user's: in their own lines first, then the tree down to the layer that failed.

    Args:
        failure: as `trace.run` raised it.
        shape: of the input, (N, C, H, W).
        name: of the network.
        passes: whether an input of another shape gets through.
    """
    where = "".join(f", at {printable(call.path)}," for call in failure.reached[-1:] if call.path)
    told = user_error(failure.cause, f"the forward of {printable(name)} with an input of {dimensions(shape)}{where}")
    hint, smallest = told.hint, _smallest_size(shape, passes)
    if hint is None and smallest is None:
        hint = f"{_NONE}: see what the lines above expect"
    elif smallest is not None and smallest > min(shape[2:]):
        hint = f"the smallest square image that works is --image-size {smallest}"
    elif smallest is not None:
        hint = hint or f"an image of {smallest} × {smallest} works"
    detail = "\n".join(part for part in (told.detail, _reached(failure, name)) if part)
    return ResnetCliError(told.message, hint, detail=detail)


def _smallest_size(shape: Shape, passes: Callable[[Shape], bool]) -> int | None:
    """Smallest square image that gets through: doubled until one does, then halved in; or else a usual one."""
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
    """The calls on the way to the failure, each with what had passed before it."""
    lines = [_line(failure.root, 0, name, " ")]
    way = [call for call in failure.reached if call is not failure.root]
    for depth, (parent, failed) in enumerate(pairwise([failure.root, *way]), start=1):
        for child in parent.children:
            if child is failed:
                break
            lines.append(_line(child, depth, "", " "))
        lines.append(_line(failed, depth, "", "✗" if failed is way[-1] else " "))
    return "\n".join(lines)


def _line(call: ModuleCall | OperatorCall, depth: int, name: str, sign: str) -> str:
    if isinstance(call, OperatorCall):
        label, kind, given = call.name, "", call.input_shapes[0] if call.input_shapes else None
    else:
        label = name or call.path.rpartition(".")[2]
        kind, given = type(call.module).__name__, call.input_shape
    came = dimensions(given)
    went = dimensions(call.output_shape) if call.output_shape else "fails"
    return f"  {sign} {'  ' * depth}{printable(label)}  {printable(kind)}  {came} → {went if sign == ' ' else 'fails'}"


def accepts(run: Callable[[Tensor], object], make: Callable[[Shape], Tensor]) -> Callable[[Shape], bool]:
    """A test whether an input of some shape gets through."""

    def passes(shape: Shape) -> bool:
        try:
            run(make(shape))
        except ForwardFailedError:
            return False
        return True

    return passes
