"""What every command does around its measurement: check the output, load torch, write the result, exit."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from resnet_cli import signals
from resnet_cli.commands.options.parsing import checked, names
from resnet_cli.errors import ExitCode, ResnetCliError
from resnet_cli.measure.system.devices.registry import CHOICES
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.output import check_output, choose_format, write
from resnet_cli.render.pages import validate_view
from resnet_cli.render.progress import status

if TYPE_CHECKING:
    import torch

    from resnet_cli.results.common import Assertion, Note
    from resnet_cli.results.registry import Result

_USUAL_NAMES = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """How and where a result is written; checked before anything is measured."""

    format: str | None
    output: str | None
    view: ViewOptions

    def write(self, result: "Result") -> None:
        """Write the result."""
        signals.check()
        write(result, format=self.format, output=self.output, view=self.view)

    def finish(self, result: "Result", *, holds: bool = True, interrupted: bool = False) -> None:
        """Write the result and end the command with the exit code that it has earned.

        Args:
            result: of the measurement, perhaps incomplete.
            holds: whether every check that the user asked for passed.
            interrupted: a signal ended the measurement early, so that nothing is known of the checks.

        Raises:
            typer.Exit: with 130 or 143 where the measurement was interrupted, 2 or 70 where an error ended it early,
                1 where a check failed.
        """
        self.write(result)
        exit_with(result.notes, holds=holds, interrupted=interrupted)


def exit_with(notes: "Iterable[Note]", *, holds: bool = True, interrupted: bool = False) -> None:
    """End the command unless all is well; see `Drawing.finish`."""
    code = ExitCode.OK if holds else ExitCode.CHECK_FAILED
    errors = {note.key for note in notes if note.level == "error"}
    if errors:
        from resnet_cli.results.common import INTERNAL_ERROR

        code = ExitCode.INTERNAL_ERROR if INTERNAL_ERROR in errors else ExitCode.BAD_INPUT
    if interrupted:
        code = signals.exit_code()
    if code is not ExitCode.OK:
        raise typer.Exit(int(code))


def drawing(
    result_kind: str,
    output_format: str | None,
    output: str | None,
    *,
    levels: int | None = None,
    columns: str | None = None,
    collapse: bool = True,
    sections: str | None = None,
) -> Drawing:
    """The checked options of the output.

    Raises:
        ResnetCliError: an unknown column or section, or an output that cannot be written.
    """
    view = ViewOptions(levels=levels, columns=names(columns), collapse=collapse, sections=names(sections))
    validate_view(result_kind, view)
    choose_format(output_format, output)
    check_output(output)
    return Drawing(output_format, output, view)


@dataclass(frozen=True, slots=True)
class Machine:
    """The device and dtype of a measurement; None: the network's own dtype."""

    device: "torch.device"
    dtype: "torch.dtype | None"


@contextlib.contextmanager
def loading_torch() -> Iterator[None]:
    """Inside of it torch is imported for the first time, which takes a while."""
    with status("loading torch"):
        yield


def machine(device: str, dtype: str | None = None) -> Machine:
    """The device and dtype by name. Imports torch, so it comes after every check that needs none.

    Raises:
        ResnetCliError: no such device here.
    """
    device_type, colon, index = device.strip().lower().partition(":")
    if device_type in _USUAL_NAMES:
        usual = _USUAL_NAMES[device_type]
        raise ResnetCliError(f"--device {device!r} is not a known device", f"use --device {usual}{colon}{index}")
    checked("--device", device_type, CHOICES)
    with loading_torch():
        from resnet_cli.measure.system import dtypes
        from resnet_cli.measure.system.devices.registry import select_device

    return Machine(select_device(f"{device_type}{colon}{index}"), None if dtype is None else dtypes.dtype(dtype))


def finish_assertions(drawing: Drawing, result: "Result", assertions: "tuple[Assertion, ...]") -> None:
    """Write the result, and exit with 1 when an assertion does not hold."""
    drawing.finish(result, holds=all(assertion.holds for assertion in assertions))
