"""Options that commands share, each defined once: the same name, meaning and default everywhere."""

# Typer reads the annotations of a command when the app starts, so they are real objects here, not strings.
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

import typer

from resnet_cli.commands.options.completion import Complete, file_or, one_of, some_of
from resnet_cli.commands.options.parsing import checked
from resnet_cli.measure.models.naming.grammar import EXAMPLES
from resnet_cli.measure.system.devices.registry import CHOICES, FORMS
from resnet_cli.network.architectures import ARCHITECTURES, DEPTHS, MOST_CHANNELS, MOST_CLASSES
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.pages import PAGES

TORCHVISION_WEIGHTS = ("IMAGENET1K_V1", "IMAGENET1K_V2", "DEFAULT")
MAX_IMAGES = 10**9
MAX_SECONDS = 24 * 3600
MAX_SEED = 2**32 - 1
MAX_THREADS = 4096

# Panels of --help, in this order.
NETWORK, INPUT, MEASUREMENT, OUTPUT = "Network", "Input", "Measurement", "Output"


def listed(words: Any) -> str:
    """Values that an option takes, for its help."""
    return ", ".join(map(str, words))


def option(
    panel: str,
    help: str,  # noqa: A002  # Typer's word
    *names: str,
    metavar: str | None = None,
    default: str | None = None,
    complete: Complete | None = None,
    **more: Any,
) -> Any:
    """An option.

    Args:
        panel: the group of --help that it stands in.
        help: a sentence.
        names: its names, where the parameter's own will not do.
        metavar: a word for its value; None: the choices.
        default: what happens without it, where that is not the parameter's default.
        complete: completes its value.
        more: further arguments of `typer.Option`.
    """
    return typer.Option(
        *names,
        help=help,
        metavar=metavar,
        show_default=default or True,
        autocompletion=complete,
        rich_help_panel=panel,
        **more,
    )


def choice(panel: str, help: str, *names: str, default: str | None = None) -> Any:  # noqa: A002
    """An option with few values, in whatever case, which its type names."""
    return option(panel, help, *names, default=default, case_sensitive=False)


def choice_of(values: Iterable[str], panel: str, help: str, *names: str, default: str | None = None) -> Any:  # noqa: A002
    """An option with the values of a registry, in whatever case."""
    known = tuple(values)

    def check(parameter: typer.CallbackParam, value: str | None) -> str | None:
        return None if value is None else checked(parameter.opts[0], value, known)

    return option(
        panel,
        f"{help}: {listed(known)}.",
        *names,
        metavar="NAME",
        default=default,
        complete=one_of(known),
        callback=check,
    )


def sections(result_kind: str, default: str = "all available") -> Any:
    """The option that chooses among the sections of a page."""
    known = PAGES[result_kind].sections
    return option(
        OUTPUT,
        f"Sections to show, comma-separated: {listed(known)}.",
        metavar="A,B,C",
        default=default,
        complete=some_of(known),
    )


def levels(tree: str, default: str = "all") -> Any:
    """The option that limits the depth of a tree."""
    return option(OUTPUT, f"Depth of {tree}; 1 shows the stages only.", metavar="N", default=default, min=1)


def columns(result_kind: str, default: str) -> Any:
    """The option that chooses among the columns of a table."""
    names = PAGES[result_kind].column_names
    return option(
        OUTPUT,
        f"Columns to show, comma-separated: {listed(names())}.",
        metavar="A,B,C",
        default=default,
        complete=some_of(names),
    )


Dtypes = Literal["float32", "bfloat16", "float16", "float64"]
DTYPES: tuple[str, ...] = get_args(Dtypes)

Depth = Annotated[
    int | None,
    option(
        NETWORK,
        f"Depth of a plain ResNet: {listed(DEPTHS)}.",
        metavar="N",
        default="18",
        complete=one_of(tuple(map(str, DEPTHS))),
    ),
]
Arch = Annotated[
    str | None,
    option(
        NETWORK,
        f"Built-in architecture; alternative to --depth: {listed(ARCHITECTURES)}.",
        metavar="NAME",
        default="by --depth",
        complete=one_of(ARCHITECTURES),
    ),
]
Repeat = Annotated[
    str | None,
    option(
        NETWORK,
        "Number of blocks in each of the four stages, e.g. 3,4,6,3.",
        metavar="N,N,N,N",
        default="those of --depth or --arch",
    ),
]
Model = Annotated[
    str | None,
    option(
        NETWORK,
        "Any other network: FILE.py:NAME or package.module:NAME (class, factory function, instance, or a call such as "
        "'net.py:ResNet(Block, [2, 2])'), with @REVISION as git has it; torchvision:NAME; timm:NAME; a built-in name.",
        metavar="NAME",
        default="built-in",
        complete=file_or(EXAMPLES),
    ),
]
ModelArgs = Annotated[
    str | None,
    option(
        NETWORK,
        """Arguments of a --model that is a class or function, as JSON: '{"num_classes": 10}'; "@Name" is what \
has this name in the file.""",
        metavar="JSON",
        default="none",
    ),
]
InChannels = Annotated[
    int | None,
    option(NETWORK, "Number of channels of the image.", metavar="N", default="3", min=1, max=MOST_CHANNELS),
]
ModelClasses = Annotated[
    int | None,
    option(
        NETWORK,
        "Number of output classes; passed to --model as num_classes.",
        "--num-classes",
        metavar="N",
        default="1000, or the model's own",
        min=1,
        max=MOST_CLASSES,
    ),
]
NumClasses = Annotated[int, option(NETWORK, "Number of output classes.", metavar="N", min=1, max=MOST_CLASSES)]
Stem = Annotated[
    Literal["imagenet", "cifar"],
    choice(NETWORK, "First layers: imagenet (7×7 stride 2, max-pool) or cifar (3×3 stride 1, no pool)."),
]
Weights = Annotated[
    str | None,
    option(
        NETWORK,
        "Weights to load: a file (.pth, .pt, .safetensors, with the parameter names of resnet-cli or torchvision), or "
        f"torchvision's by name, downloaded once: {listed(TORCHVISION_WEIGHTS)}.",
        metavar="FILE|NAME",
        default="random",
        complete=file_or(TORCHVISION_WEIGHTS),
    ),
]
Seed = Annotated[int, option(MEASUREMENT, "Random seed for weights and inputs.", metavar="N", min=0, max=MAX_SEED)]

BatchSize = Annotated[
    int | None,
    option(
        INPUT,
        "Number of images in a batch.",
        metavar="N",
        default="1, or that of --input",
        min=1,
        max=MAX_IMAGES,
    ),
]
BatchSizes = Annotated[
    str | None,
    option(INPUT, "Batch sizes, comma-separated; one row each.", metavar="N,N,N", default="1, or that of --input"),
]
ImageSize = Annotated[
    str | None,
    option(INPUT, "Height and width in pixels: 224, or 320x240.", metavar="N|HxW", default="224"),
]
Inputs = Annotated[
    list[str] | None,
    option(
        INPUT,
        "A tensor that the network is called with instead of an image: 'NAME=DTYPE[SIZES]', or without NAME= by "
        "position, e.g. 'x=float32[1,3,224,224]', 'mask=bool[1,196]', 'int64[1,16]<1000' (values below 1000). "
        "Repeatable.",
        "--input",
        metavar="TENSOR",
        default="an image, or example_inputs() in the file of --model",
    ),
]
InputFile = Annotated[
    str | None,
    option(
        INPUT,
        "File with the inputs: .pt (tensors in tuples, lists, dictionaries), .npy or .json.",
        metavar="FILE",
        default="none",
    ),
]
Dtype = Annotated[
    Dtypes | None,
    choice(INPUT, "Data type of floating-point weights and of the input.", default="the network's own, or float32"),
]

Device = Annotated[
    str,
    option(
        MEASUREMENT,
        f'Device whose memory the "largest batch" estimate uses; nothing is allocated on it: {listed(FORMS)}.',
        metavar="NAME",
        complete=one_of(CHOICES),
    ),
]
RunDevice = Annotated[
    str,
    option(MEASUREMENT, f"Device to run on: {listed(FORMS)}.", metavar="NAME", complete=one_of(CHOICES)),
]
Threads = Annotated[
    int | None,
    option(
        MEASUREMENT,
        "Number of CPU threads.",
        metavar="N",
        default="torch's setting",
        min=1,
        max=MAX_THREADS,
    ),
]
MaxTime = Annotated[
    float,
    option(
        MEASUREMENT, "Longest time of sampling for each batch size, in seconds.", metavar="S", min=1e-3, max=MAX_SECONDS
    ),
]
Ceiling = Annotated[
    bool,
    option(
        MEASUREMENT, "Measure the peak FLOP/s and memory bandwidth of the machine (roofline).", "--ceiling/--no-ceiling"
    ),
]
Assertions = Annotated[
    list[str] | None,
    option(
        MEASUREMENT,
        'Exit with 1 unless this holds, e.g. "macs<=4.2G". Repeatable.',
        "--assert",
        metavar="BUDGET",
        default="none",
    ),
]
OpFlops = Annotated[
    list[str] | None,
    option(
        MEASUREMENT,
        "FLOPs of an operator that resnet-cli does not count, from the sizes of its tensors, e.g. "
        '"mylib::fused(m k, k n) = 2*m*n*k". Repeatable.',
        "--op-flops",
        metavar="FORMULA",
        default="none",
    ),
]
Collapse = Annotated[
    bool,
    option(OUTPUT, "Collapse identical consecutive blocks (shown as ×5).", "--collapse/--no-collapse"),
]
OutputFormat = Annotated[
    str | None,
    choice_of(
        RESULT_FORMATS,
        OUTPUT,
        "Output format",
        "--format",
        "-f",
        default="from the extension of --output, else terminal",
    ),
]
Output = Annotated[
    str | None,
    option(OUTPUT, "Output file (written atomically); - for stdout.", "--output", "-o", metavar="FILE", default="-"),
]
