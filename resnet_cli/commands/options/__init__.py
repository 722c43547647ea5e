"""Options that commands share, each defined once."""

# Typer reads the annotations of a command when the app starts, so they are real objects here, not strings.
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_cli import signals
from resnet_cli.commands.options.completion import file_or, one_of, some_of
from resnet_cli.commands.options.parsing import checked, names
from resnet_cli.errors import CHECK_FAILED, ResnetCliError
from resnet_cli.measure.system.devices.registry import CHOICES, FORMS
from resnet_cli.network.architectures import DEPTHS, FAMILY, STEMS
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.output import check_output, choose_format, write
from resnet_cli.render.pages import validate_view
from resnet_cli.render.progress import status

if TYPE_CHECKING:
    import torch

    from resnet_cli.results.common import Assertion
    from resnet_cli.results.registry import Result

DTYPES = ("float32", "bfloat16", "float16", "float64")
_DEVICES = f"{', '.join(FORMS[:-1])} or {FORMS[-1]}"
PUBLISHED = ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT")  # torchvision's names of its weights


Depth = Annotated[
    int | None,
    typer.Option(
        help="Depth of a plain ResNet: 18, 34, 50, 101 or 152.  [default: 18]",
        metavar="N",
        autocompletion=one_of(tuple(map(str, DEPTHS))),
        show_default=False,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        help="Name of a family member, such as resnext50_32x4d, instead of a depth.  [default: by --depth]",
        metavar="NAME",
        show_default=False,
        autocompletion=one_of(FAMILY),
    ),
]
Repeat = Annotated[
    str | None,
    typer.Option(
        help="Blocks in each of the four stages, such as 3,4,6,3.  [default: those of --depth or --arch]",
        metavar="N,N,N,N",
        show_default=False,
    ),
]
InChannels = Annotated[int, typer.Option(help="Channels of the image.", metavar="N")]
NumClasses = Annotated[int, typer.Option(help="Classes of the classifier.", metavar="N")]
Stem = Annotated[
    str,
    typer.Option(
        help="imagenet (7×7 stride 2, max-pool) or cifar (3×3 stride 1, no pool).",
        metavar="NAME",
        autocompletion=one_of(STEMS),
    ),
]
BatchSize = Annotated[int, typer.Option(help="Images in a batch.", metavar="N")]
BatchSizes = Annotated[str, typer.Option(help="Images in a batch; several with commas, a row each.", metavar="N,N,N")]
MaxTime = Annotated[float, typer.Option(help="Seconds of sampling at most, for each batch size.", metavar="S")]
Threads = Annotated[
    int | None, typer.Option(help="Of the processor.  [default: torch's]", metavar="N", show_default=False)
]
Ceiling = Annotated[bool, typer.Option("--ceiling/--no-ceiling", help="Measure what the machine can do at best.")]
ImageSize = Annotated[str, typer.Option(help="Height and width in pixels: 224, or 320x240.", metavar="N|HxW")]
Dtype = Annotated[
    str,
    typer.Option(
        help="Of weights and input: float32, bfloat16, float16 or float64.",
        metavar="NAME",
        autocompletion=one_of(DTYPES),
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help=f"{_DEVICES}. Nothing is allocated on it: it says whose memory a batch has to fit.",
        metavar="NAME",
        autocompletion=one_of(CHOICES),
    ),
]
OutputFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="terminal, json, csv, markdown, svg or html.  [default: by the name of --output, else terminal]",
        metavar="NAME",
        autocompletion=one_of(RESULT_FORMATS),
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write, whole or not at all; - is standard output.  [default: -]",
        metavar="FILE",
        show_default=False,
    ),
]
RunDevice = Annotated[
    str,
    typer.Option(
        help=f"Where it runs: {_DEVICES}.",
        metavar="NAME",
        autocompletion=one_of(CHOICES),
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Your network in place of ours: FILE.py:NAME or package.module:NAME, a class, factory or instance."
        "  [default: ours]",
        metavar="FILE:NAME",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights to load: a FILE (.pth, .pt, .safetensors, under our names or torchvision's), or torchvision's "
        f"own by name, which are downloaded once: {', '.join(PUBLISHED)}.  [default: random ones]",
        metavar="FILE|NAME",
        autocompletion=file_or(PUBLISHED),
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Of random weights and inputs.", metavar="N")]
Assertions = Annotated[
    list[str] | None,
    typer.Option(
        "--assert",
        help='A budget, such as "macs<=4.2G"; exit 1 when it does not hold. Repeatable.  [default: none]',
        metavar="BUDGET",
        show_default=False,
    ),
]


def sections(known: tuple[str, ...], default: str = "all that were measured", what: str = "Parts") -> Any:
    """The option that chooses among the parts of a page."""
    return typer.Option(
        help=f"{what} to show, with commas: {', '.join(known)}.  [default: {default}]",
        metavar="A,B,C",
        autocompletion=some_of(known),
        show_default=False,
    )


def levels(what: str, default: str = "all") -> Any:
    """The option that says how deep a tree is drawn."""
    return typer.Option(
        help=f"How deep {what}; 1 shows the stages.  [default: {default}]", metavar="N", show_default=False
    )


@dataclass(frozen=True, slots=True)
class Drawing:
    """How and where a result is written; checked before anything is measured."""

    format: str | None
    output: str | None
    view: ViewOptions

    def write(self, result: "Result") -> None:
        """Draw the result."""
        signals.check()
        write(result, format=self.format, output=self.output, view=self.view)


def drawing(
    command: str,
    output_format: str | None,
    output: str | None,
    *,
    levels: int | None = None,
    columns: str | None = None,
    fold: bool = True,
    sections: str | None = None,
) -> Drawing:
    """The checked options of drawing.

    Raises:
        ResnetCliError: an unknown format, column or table, or an output that cannot be written.
    """
    if levels is not None and levels < 1:
        raise ResnetCliError(f"--levels {levels}: a tree has at least one level", "use 1 or more")
    chosen = None if output_format is None else checked("--format", output_format, RESULT_FORMATS)
    view = ViewOptions(levels=levels, columns=names(columns), collapse=fold, sections=names(sections))
    validate_view(command, view)
    choose_format(chosen, output)
    check_output(output)
    return Drawing(chosen, output, view)


@dataclass(frozen=True, slots=True)
class Machine:
    """The device and dtype of a measurement."""

    device: "torch.device"
    dtype: "torch.dtype"


@contextlib.contextmanager
def loading_torch() -> Iterator[None]:
    """Inside of it torch is imported for the first time, which takes a while."""
    with status("loading torch"):
        yield


def machine(device: str, dtype: str) -> Machine:
    """The device and dtype by name. Imports torch, so it comes after every check that needs none.

    Raises:
        ResnetCliError: no such device here, or no such dtype.
    """
    kind = checked("--dtype", dtype, DTYPES)
    family, colon, number = device.strip().lower().partition(":")
    checked("--device", family, CHOICES)
    with loading_torch():
        from resnet_cli.measure.system import dtypes
        from resnet_cli.measure.system.devices.registry import select_device

    return Machine(select_device(f"{family}{colon}{number}"), dtypes.dtype(kind))


def leave(holds: bool, *, interrupted: bool = False) -> None:
    """Leave with 1 when what was asked does not hold; an interrupted run has not answered it."""
    if interrupted:
        raise typer.Exit(signals.exit_code())
    if not holds:
        raise typer.Exit(CHECK_FAILED)


def finish(assertions: "tuple[Assertion, ...]") -> None:
    """Leave with 1 when a budget does not hold."""
    leave(all(assertion.holds for assertion in assertions))
