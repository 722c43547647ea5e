"""Which network a command looks at: a built-in one by its options, or the user's own by --model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.naming.grammar import parse
from resnet_cli.network.architectures import ModelSpec, resolve
from resnet_cli.render.progress import status

if TYPE_CHECKING:
    from resnet_cli.measure.models.model import ModelUnderTest

DEFAULT_CLASSES = 1000
DEFAULT_STEM = "imagenet"


@dataclass(frozen=True, slots=True)
class NetworkSelection:
    """The network that the options name; nothing is imported or built yet.

    Args:
        spec: of the built-in network; of the default one where `model` names the user's.
        model: name of any other network, None for a built-in one.
        arguments: of the user's class or function.
        is_named: whether an option names the network; else it is the default one.
        op_flops: FLOP formulas for operators of the user's, as text.
    """

    spec: ModelSpec
    model: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    is_named: bool = True
    op_flops: tuple[str, ...] = ()

    def load(self) -> "ModelUnderTest":
        """The network, its weights not allocated where that is possible. A --model runs the user's code.

        Raises:
            ResnetCliError: the reference does not name a network, or the user's code fails.
        """
        with status("loading torch"):
            from resnet_cli.measure.models.model import model_from_spec
            from resnet_cli.measure.models.user_model import load_subject

        loaded = model_from_spec(self.spec) if self.model is None else load_subject(self.model, given=self.arguments)
        if self.op_flops:
            from resnet_cli.measure.ops.user_formulas import register_formulas

            register_formulas(self.op_flops)  # the operators exist once the user's code has run
        return loaded


def choose_network(
    depth: int | None = None,
    arch: str | None = None,
    repeat: str | None = None,
    model: str | None = None,
    model_args: str | None = None,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    stem: str = DEFAULT_STEM,
    op_flops: Sequence[str] | None = None,
) -> NetworkSelection:
    """The network that the options name.

    With --model, --in-channels only says what the input has, and --num-classes is an argument like the others.

    Raises:
        ResnetCliError: an option is not valid, or two of them contradict each other.
    """
    spec = resolve(
        depth,
        arch,
        repeat=repeat,
        in_channels=in_channels or 3,
        num_classes=DEFAULT_CLASSES if num_classes is None else num_classes,
        stem=stem,
    )
    arguments, formulas = parse_model_args(model, model_args), tuple(op_flops or ())
    if model is None:
        is_named = (depth, arch, repeat, num_classes) != (None,) * 4 or spec.in_channels != 3 or stem != DEFAULT_STEM
        return NetworkSelection(spec, is_named=is_named, op_flops=formulas)
    built_in = {"--depth": depth, "--arch": arch, "--repeat": repeat, "--stem": None if stem == DEFAULT_STEM else stem}
    check_alone("--model", built_in)
    if num_classes is not None:
        if "num_classes" in arguments:
            raise ResnetCliError("--num-classes and --model-args both give num_classes", "leave one of the two out")
        arguments["num_classes"] = num_classes
    named = parse(model)
    if named.kind == "built-in":
        sizes = {} if in_channels is None else {"in_channels": in_channels}
        return NetworkSelection(named.spec({**sizes, **arguments}), op_flops=formulas)
    return NetworkSelection(spec, model, arguments, op_flops=formulas)


def check_alone(option: str, others: dict[str, Any]) -> None:
    """Check that an option is not combined with others.

    Args:
        option: that is given.
        others: option → its value; None and False: not given.

    Raises:
        ResnetCliError: one of them is given too.
    """
    for name, value in others.items():
        if value is not None and value is not False:
            raise ResnetCliError(f"{option} cannot be combined with {name}", "leave one of the two out")


def parse_model_args(model: str | None, text: str | None) -> dict[str, Any]:
    """The arguments of --model-args.

    Args:
        model: value of --model, which they are for.
        text: a JSON object.

    Raises:
        ResnetCliError: not a JSON object, or there is no --model.
    """
    if text is None:
        return {}
    if model is None:
        raise ResnetCliError("--model-args requires --model", "name a network with --model")
    example = """use a JSON object, e.g. --model-args '{"num_classes": 10}'"""
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = (
            f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else "too deep or long"
        )
        raise ResnetCliError(f"--model-args {text[:80]!r} is not valid JSON: {reason}", example) from None
    if not isinstance(arguments, dict):
        raise ResnetCliError(f"--model-args {text[:80]!r} is not a JSON object", example)
    return arguments
