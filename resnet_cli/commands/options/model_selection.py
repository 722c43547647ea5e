"""Which network a command looks at: one of the family by its options, or the user's own by --model."""

# Typer reads the annotations of a command when the app starts, so they are real objects here, not strings.
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.network.architectures import ModelSpec, resolve
from resnet_cli.render.progress import status

if TYPE_CHECKING:
    from resnet_cli.measure.models.model import ModelUnderTest

USUAL_CLASSES = 1000
USUAL_STEM = "imagenet"
_EXAMPLE = """write a JSON object, such as --model-args '{"num_classes": 10}'"""

Classes = Annotated[
    int | None,
    typer.Option(
        "--num-classes",
        help="Classes of the classifier. A --model is given them as num_classes.  [default: 1000, or the model's own]",
        metavar="N",
        show_default=False,
    ),
]
ModelArgs = Annotated[
    str | None,
    typer.Option(
        help="""Arguments of a --model that is a class or function, as JSON: '{"num_classes": 10}'.  [default: none]""",
        metavar="JSON",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class NetworkSelection:
    """The network that the options name; nothing is imported or built yet.

    Args:
        spec: of our network; of the default one where `model` names the user's.
        model: FILE.py:NAME or package.module:NAME of the user's network, None for one of ours.
        arguments: that the user's class or function has to take.
        is_named: an option names the network; else it is the default one.
    """

    spec: ModelSpec
    model: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    is_named: bool = True

    def subject(self) -> "ModelUnderTest":
        """The network, its weights not allocated where that is possible. A --model runs the user's code.

        Raises:
            ResnetCliError: the reference names no network, or the user's code fails.
        """
        with status("loading torch"):
            from resnet_cli.measure.models.model import model_from_spec
            from resnet_cli.measure.models.user_model import load_subject

        return model_from_spec(self.spec) if self.model is None else load_subject(self.model, given=self.arguments)


def choose_network(
    depth: int | None,
    arch: str | None,
    repeat: str | None,
    model: str | None,
    model_args: str | None,
    *,
    in_channels: int = 3,
    num_classes: int | None = None,
    stem: str = USUAL_STEM,
) -> NetworkSelection:
    """The network that the options name.

    With --model, --in-channels only says what the input has, and --num-classes is an argument like the others.

    Raises:
        ResnetCliError: an option is wrong, or two of them contradict each other.
    """
    spec = resolve(
        depth,
        arch,
        repeat=repeat,
        in_channels=in_channels,
        num_classes=USUAL_CLASSES if num_classes is None else num_classes,
        stem=stem,
    )
    arguments = parse_model_args(model, model_args)
    if model is None:
        named = (depth, arch, repeat, num_classes) != (None,) * 4 or in_channels != 3 or spec.stem != USUAL_STEM
        return NetworkSelection(spec, is_named=named)
    for option, value in {"--depth": depth, "--arch": arch, "--repeat": repeat}.items():
        if value is not None:
            raise ResnetCliError(f"--model and {option} both name a network", "leave one of the two out")
    if spec.stem != USUAL_STEM:
        raise ResnetCliError("--stem is for our networks: a --model has the stem that it has", "leave --stem out")
    if num_classes is not None:
        if "num_classes" in arguments:
            raise ResnetCliError("--num-classes and --model-args both say num_classes", "leave one of the two out")
        arguments["num_classes"] = num_classes
    return NetworkSelection(spec, model, arguments)


def parse_model_args(model: str | None, text: str | None) -> dict[str, Any]:
    """The arguments of --model-args.

    Args:
        model: of --model, which they are for.
        text: a JSON object.

    Raises:
        ResnetCliError: it is none, or there is no model to give them to.
    """
    if text is None:
        return {}
    if model is None:
        raise ResnetCliError("--model-args needs --model, whose arguments they are", "name a network with --model")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        said = f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else "too deep or long"
        raise ResnetCliError(f"--model-args {printable(text)[:80]!r} is no JSON: {said}", _EXAMPLE) from None
    if not isinstance(found, dict):
        raise ResnetCliError(f"--model-args {printable(text)[:80]!r} is no JSON object", _EXAMPLE)
    return found
