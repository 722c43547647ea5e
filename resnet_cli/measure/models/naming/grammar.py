"""The grammar of names of networks, one for all commands; nothing is imported or built."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from resnet_cli.errors import ResnetCliError
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec, is_architecture, resolve

Kind = Literal["built-in", "torchvision", "timm", "python"]

LIBRARIES: tuple[Kind, ...] = ("torchvision", "timm")
FORMS = "FILE.py:NAME, PACKAGE.MODULE:NAME, torchvision:NAME, timm:NAME or a built-in name such as resnet50"

# What a shell completes.
EXAMPLES = (*ARCHITECTURES, *(f"torchvision:{name}" for name in ARCHITECTURES), "timm:")

_PLACE = re.compile(r"(?P<where>.*?\.py|[\w.]+):(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NetworkName:
    """A name of a network, taken apart.

    Args:
        text: as the user wrote it.
        kind: where the network comes from.
        where: file or module, for the kind "python"; else empty.
        name: of the network in there, with dots where it is inside of something; empty if there is none.
        call: the name with arguments, as Python source; None where the network is only named.
        revision: of git, whose version of the file is meant; None: the file as it is now.
    """

    text: str
    kind: Kind
    where: str
    name: str
    call: str | None = None
    revision: str | None = None

    @property
    def title(self) -> str:
        """A short name for results."""
        if self.kind in LIBRARIES:
            return f"{self.kind} {self.name}"
        short = self.name.rpartition(".")[2]
        return short if self.revision is None else f"{short}@{self.revision}"

    def literal_arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the call, which must be constants.

        Raises:
            ResnetCliError: they are not.
        """
        if self.call is None:
            return [], {}
        call = ast.parse(self.call, mode="eval").body
        assert isinstance(call, ast.Call)  # `parse` has made sure
        try:
            if any(item.arg is None for item in call.keywords):
                raise ValueError("** is not possible here")
            return (
                [ast.literal_eval(item) for item in call.args],
                {str(item.arg): ast.literal_eval(item.value) for item in call.keywords},
            )
        except ValueError:
            raise ResnetCliError(
                f"the arguments of {self.text} are not all numbers, texts, lists and the like",
                "only the arguments of a network in a file or module may be names",
            ) from None

    def spec(self, arguments: Mapping[str, Any] = {}) -> ModelSpec:
        """What a built-in network is made of.

        Args:
            arguments: in addition to those of the call, which come first.

        Raises:
            ResnetCliError: an argument is unknown or not possible.
        """
        args, keywords = self.literal_arguments()
        keywords = {**arguments, **keywords}
        known = ("repeat", "in_channels", "num_classes", "stem", "initialization", "zero_init_residual")
        unknown = next((key for key in keywords if key not in known), None)
        if args or unknown is not None:
            raise ResnetCliError(
                f"{self.name} has no parameter {unknown}" if unknown else f"{self.text}: name its arguments",
                f"it takes {', '.join(known)}, such as {self.name}(num_classes=10)",
            )
        try:
            return resolve(arch=self.name, **keywords)
        except TypeError:
            raise ResnetCliError(f"an argument of {self.text} has the wrong type") from None


def parse(text: str) -> NetworkName:
    """Take a name apart. Whether there is such a network shows when it is loaded.

    Raises:
        ResnetCliError: the call in it is not valid Python, or the revision is missing.
    """
    library, colon, inside = text.partition(":")
    if colon and library in LIBRARIES:
        return _named(text, library, "", inside)
    if not colon or "(" in library:
        if is_architecture(text.partition("(")[0]):
            return _named(text, "built-in", "", text)
        if not colon:
            return NetworkName(text, "python", text, "")
    place = _PLACE.fullmatch(text)
    if place is None:
        where, _, name = text.rpartition(":")
        return NetworkName(text, "python", where, name)
    return _named(text, "python", place["where"], place["rest"])


def _named(text: str, kind: Kind, where: str, rest: str) -> NetworkName:
    for expression, revision in _with_revisions(rest):
        name = _name_in(expression)
        if name is None:
            continue
        if revision == "":
            raise ResnetCliError(f"{text} names no revision", "write one after the @, such as @HEAD~1")
        if revision is not None and kind != "python":
            raise ResnetCliError(f"{text}: only a network in a file or module has revisions")
        call = expression if expression.rstrip().endswith(")") else None
        return NetworkName(text, kind, where, name, call, revision)
    if "(" in rest:
        raise ResnetCliError(
            f"the call in {text} is not valid Python",
            f"write it as in the file, such as '{where or kind}:ResNet(BasicBlock, [2, 2, 2, 2])', in quotes",
        )
    if "/" in rest or "\\" in rest:  # a path without a name
        return NetworkName(text, kind, text, "")
    return NetworkName(text, kind, where, rest)


def _with_revisions(rest: str) -> Iterator[tuple[str, str | None]]:
    """Every way to split at an "@"; revisions such as HEAD@{1} and arguments may have one too."""
    for place in (index for index, letter in enumerate(rest) if letter == "@"):
        yield rest[:place], rest[place + 1 :]
    yield rest, None


def _name_in(expression: str) -> str | None:
    """The dotted name in `a.b` or `a.b(…)`; None for any other expression."""
    try:
        node: ast.expr = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(node, ast.Call):
        node = node.func
    inner = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return ast.unparse(node) if isinstance(inner, ast.Name) else None
