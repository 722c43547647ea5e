"""Options that commands share, each defined once, and their checks that need no torch."""

# Typer reads the annotations of a command when the app starts, so they are real objects here, not strings.
import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.architectures import DEPTHS, FAMILY, STEMS
from resnet_cli.errors import CHECK_FAILED, ResnetCliError
from resnet_cli.quantities import printable
from resnet_cli.render.names import choose
from resnet_cli.render.page import View
from resnet_cli.render.pages import validate_view
from resnet_cli.render.progress import waiting
from resnet_cli.render.write import Format, check_output, write

if TYPE_CHECKING:
    import torch

    from resnet_cli.render.pages import Result
    from resnet_cli.results import Assertion

DTYPES = ("float32", "bfloat16", "float16", "float64")
FORMATS = ("terminal", "json", "csv", "markdown", "svg")
DEVICES = ("auto", "cpu", "cuda", "mps")

MOST_IMAGES = 10**9
MOST_PIXELS = 65_536
MOST_SEED = 2**62  # torch takes twice as much, and some parts of a measurement count on from it
MOST_VALUES = 2**48  # in an input; beyond it sizes in bytes no longer fit torch's 64 bits


def completing(*words: str):  # type: ignore[no-untyped-def]  # Typer looks at its signature
    """A completion of words that are known beforehand."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


Depth = Annotated[
    int | None,
    typer.Option(
        help="Depth of a plain ResNet: 18, 34, 50, 101 or 152.  [default: 18]",
        metavar="N",
        autocompletion=completing(*map(str, DEPTHS)),
        show_default=False,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        help="Name of a family member, such as resnext50_32x4d, instead of a depth.",
        metavar="NAME",
        autocompletion=completing(*FAMILY),
    ),
]
Repeat = Annotated[
    str | None, typer.Option(help="Blocks in each of the four stages, such as 3,4,6,3.", metavar="N,N,N,N")
]
InChannels = Annotated[int, typer.Option(help="Channels of the image.", metavar="N")]
NumClasses = Annotated[int, typer.Option(help="Classes of the classifier.", metavar="N")]
Stem = Annotated[
    str,
    typer.Option(
        help="imagenet (7×7 stride 2, max-pool) or cifar (3×3 stride 1, no pool).",
        metavar="NAME",
        autocompletion=completing(*STEMS),
    ),
]
BatchSize = Annotated[int, typer.Option(help="Images in a batch.", metavar="N")]
ImageSize = Annotated[str, typer.Option(help="Height and width in pixels: 224, or 320x240.", metavar="N|HxW")]
Dtype = Annotated[
    str,
    typer.Option(
        help="Of weights and input: float32, bfloat16, float16 or float64.",
        metavar="NAME",
        autocompletion=completing(*DTYPES),
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps. Nothing is allocated on it: it says whose memory a batch has to fit.",
        metavar="NAME",
        autocompletion=completing(*DEVICES),
    ),
]
OutputFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="terminal, json, csv, markdown or svg.  [default: by the name of --output, else terminal]",
        metavar="NAME",
        autocompletion=completing(*FORMATS),
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="File to write, whole or not at all; - is standard output.", metavar="FILE"),
]
RunDevice = Annotated[
    str,
    typer.Option(
        help="Where it runs: auto, cpu, cuda, cuda:N or mps.",
        metavar="NAME",
        autocompletion=completing(*DEVICES),
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Your network in place of ours: FILE.py:NAME or package.module:NAME, a class, factory or instance.",
        metavar="FILE:NAME",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights to load: a FILE (.pth, .pt, .safetensors, under our names or torchvision's), or torchvision's "
        "own by name, which are downloaded once: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT.",
        metavar="FILE|NAME",
    ),
]
Seed = Annotated[int, typer.Option(help="Of random weights and inputs.", metavar="N")]
Assertions = Annotated[
    list[str] | None,
    typer.Option(
        "--assert",
        help='A budget, such as "macs<=4.2G"; exit 1 when it does not hold. Repeatable.',
        metavar="BUDGET",
    ),
]


def input_shape(batch_size: int, in_channels: int, image_size: str) -> tuple[int, int, int, int]:
    """(N, C, H, W) from the options.

    Raises:
        ResnetCliError: no such batch or image.
    """
    if not 1 <= batch_size <= MOST_IMAGES:
        raise ResnetCliError(f"--batch-size {batch_size}: a batch has 1 to {MOST_IMAGES:,} images", "use 1 or more")
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX×,]\s*(\d{1,9})\s*)?", image_size, re.ASCII)
    if match is None:
        raise ResnetCliError(
            f"--image-size {printable(image_size)!r} is no size",
            "write one number, or height x width: 224 or 320x240",
        )
    height, width = int(match[1]), int(match[2] or match[1])
    if not (1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS):
        raise ResnetCliError(
            f"--image-size {printable(image_size)}: a side has 1 to {MOST_PIXELS:,} pixels",
            "224 is what the family is made for",
        )
    if batch_size * in_channels * height * width > MOST_VALUES:
        raise ResnetCliError(
            "--batch-size and --image-size together make an input of over 2**48 values",
            "make one of them smaller",
        )
    return batch_size, in_channels, height, width


def checked(option: str, value: str, known: tuple[str, ...]) -> str:
    """A value that has to be one of a few names.

    Raises:
        ResnetCliError: it is none of them; the hint has the nearest one.
    """
    lowered = value.strip().lower()
    if lowered in known:
        return lowered
    near = difflib.get_close_matches(lowered, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ResnetCliError(f"{option} {printable(value)!r} is not known", f"{hint}use one of {', '.join(known)}")


def names(text: str | None) -> tuple[str, ...] | None:
    """A list with commas, as a tuple; None stays None."""
    return None if text is None else tuple(word.strip().lower() for word in text.split(",") if word.strip())


@dataclass(frozen=True, slots=True)
class Drawing:
    """How and where a result is written; checked before anything is measured."""

    format: Format | None
    output: str | None
    view: View

    def write(self, result: "Result") -> None:
        """Draw the result."""
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
    chosen = None if output_format is None else Format(checked("--format", output_format, FORMATS))
    view = View(levels=levels, columns=names(columns), fold=fold, sections=names(sections))
    validate_view(command, view)
    check_output(output)
    return Drawing(chosen, output, view)


@dataclass(frozen=True, slots=True)
class Machine:
    """The device and dtype of a measurement."""

    device: "torch.device"
    dtype: "torch.dtype"


def machine(device: str, dtype: str) -> Machine:
    """The device and dtype by name. Imports torch, so it comes after every check that needs none.

    Raises:
        ResnetCliError: no such device here, or no such dtype.
    """
    kind = checked("--dtype", dtype, DTYPES)
    family, colon, number = device.strip().lower().partition(":")
    checked("--device", family, DEVICES)
    with waiting("loading torch"):
        from resnet_cli.measure import devices

    return Machine(devices.device(f"{family}{colon}{number}"), devices.dtype(kind))


def check_seed(seed: int) -> None:
    """A seed that torch takes.

    Raises:
        ResnetCliError: it does not.
    """
    if not 0 <= seed <= MOST_SEED:
        raise ResnetCliError(f"--seed {seed} is out of range", "give a whole number from 0 to 2**62")


def share(option: str, text: str, most: float = 1.0) -> float:
    """A part of the whole: "5%" or "0.05".

    Raises:
        ResnetCliError: it is none, or not above 0 and up to the most.
    """
    match = re.fullmatch(r"\s*(\d{0,9}\.?\d{0,9}(?:[eE]-?\d{1,3})?)\s*(%?)\s*", text, re.ASCII)
    try:
        value = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise ResnetCliError(
            f"{option} {printable(text)!r}: give more than 0% and up to {100 * most:g}%", "such as 1% or 0.01"
        )
    return value


def chosen(noun: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Names from a list with commas, in their usual order; all of them where nothing is asked for.

    Raises:
        ResnetCliError: one is unknown or there twice, or there is none.
    """
    asked = names(text)
    if asked is None:
        return known
    choose(noun, asked, known)
    return tuple(key for key in known if key in asked)


def leave(holds: bool) -> None:
    """Leave with 1 when what was asked does not hold."""
    if not holds:
        raise typer.Exit(CHECK_FAILED)


def finish(assertions: "tuple[Assertion, ...]") -> None:
    """Leave with 1 when a budget does not hold."""
    leave(all(assertion.holds for assertion in assertions))
