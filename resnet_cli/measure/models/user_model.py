"""The user's own network, from a file or a module, called as it wants to be called."""

from __future__ import annotations

import contextlib
import inspect
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_errors import prints_to_stderr, users_code
from resnet_cli.measure.models.user_imports import imported, is_file, listed, nearest
from resnet_cli.measure.ops.fast_meta import build_on_meta


def load_model(
    reference: str,
    offered: Mapping[str, Any] = {},
    given: Mapping[str, Any] = {},
    *,
    on_meta: bool = False,
) -> tuple[nn.Module, str]:
    """The network that a reference names, and what to call it.

    Args:
        reference: "my_resnet.py:ResNet18" or "package.module:factory", the latter as seen from the current folder;
            it names a network, a class of networks, or a callable that returns one.
        offered: arguments such as num_classes; a class or callable is given those that its signature takes.
        given: arguments that the user insists on; one that is not taken is an error.
        on_meta: build on `meta` where the user's code allows it, so that no weight is allocated or initialised.

    Raises:
        ResnetCliError: it names no network, or the user's code fails.
    """
    with prints_to_stderr(), imported(reference) as (module, name, where):
        found = _attribute(module, name, where)
        made = _network(found, name, where, _Arguments(offered, given), on_meta)
        return _uncompiled(made), printable(name.rpartition(".")[2])


def load_subject(reference: str, offered: Mapping[str, Any] = {}, given: Mapping[str, Any] = {}) -> ModelUnderTest:
    """The network that a reference names, ready to be measured: on `meta` where the user's code allows it.

    Args:
        reference: "my_resnet.py:ResNet18" or "package.module:factory".
        offered: arguments that it is given where its signature takes them.
        given: arguments that it has to take.

    Raises:
        ResnetCliError: it names no network, or the user's code fails.
    """
    network, name = load_model(reference, offered, given, on_meta=True)
    return ModelUnderTest(network, name, rebuilt=lambda: load_model(reference, offered, given)[0])


def _uncompiled(network: nn.Module) -> nn.Module:
    """The network inside torch.compile's wrapper: what it does is the same, and it can be followed."""
    inner = getattr(network, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) and type(network).__name__ == "OptimizedModule" else network


def _attribute(module: types.ModuleType, name: str, where: str) -> Any:
    found: Any = module
    reached = where
    for part in name.split("."):
        with users_code(f"reading {part} of {reached}"):
            missing = False
            try:
                found = getattr(found, part)
            except AttributeError:
                missing = True
        if missing:
            raise ResnetCliError(
                f"there is no {printable(part) or 'empty name'} in {printable(reached)}",
                _hint_for_missing(found, part, where),
            )
        reached = part
    return found


def _hint_for_missing(owner: Any, part: str, where: str) -> str | None:
    if isinstance(owner, types.ModuleType) and getattr(owner, "__name__", "") == where:
        here = Path(*where.split(".")).with_suffix(".py")
        known = getattr(owner, "__file__", None)  # one that is built in has none
        if is_file(here) and (known is None or here.resolve() != Path(known).resolve()):
            other = "of Python or of a library"
            return f"{where} is also the name of a module {other}; for yours write ./{here.as_posix()}:{part}"
    names = _makers(owner)
    near = nearest(part, names) or nearest(part, [name for name in _vars(owner) if not name.startswith("_")])
    if near:
        others = [name for name in names if name != near]
        return f"did you mean {near}?" + (f" There are also {listed(others)}" if others else "")
    return f"there is {listed(names)}" if names else f"{printable(where)} defines no network and no function"


def _vars(owner: Any) -> dict[str, Any]:
    names = getattr(owner, "__dict__", {})
    return {name: value for name, value in names.items() if isinstance(name, str)}


def _makers(owner: Any) -> list[str]:
    """Names of networks, classes of networks and functions; the owner's own, or what it imports where it has none."""
    found: dict[str, str] = {}
    for name, value in _vars(owner).items():
        is_class = isinstance(value, type) and issubclass(value, nn.Module)
        if not name.startswith("_") and (is_class or isinstance(value, nn.Module | types.FunctionType)):
            instance = isinstance(value, nn.Module)
            found[name] = getattr(owner, "__name__", "") if instance else str(value.__module__)
    own = [name for name, home in found.items() if home == getattr(owner, "__name__", None)]
    return own or [name for name, home in found.items() if home.partition(".")[0] != "torch"]


@dataclass(frozen=True, slots=True)
class _Arguments:
    offered: Mapping[str, Any]
    given: Mapping[str, Any]


def _network(found: Any, name: str, where: str, arguments: _Arguments, on_meta: bool) -> nn.Module:
    named = f"{printable(name)} in {printable(where)}"
    hint = "name an nn.Module, a class of them, or a function that returns one"
    if isinstance(found, nn.Module):
        if arguments.given:
            raise ResnetCliError(
                f"{named} is a network already, and takes no {listed(list(arguments.given))}",
                f"arguments are for classes and functions, such as its class {printable(type(found).__name__)}",
            )
        return found
    if not callable(found):
        raise ResnetCliError(f"{named} is {_kind(found)}, not a network", hint)
    with users_code(f"calling {name}"):
        made = _built(lambda: _call(found, named, arguments), on_meta)
        if isinstance(made, nn.Module):
            return made
    raise ResnetCliError(f"{named} returns {_kind(made)}, not a network", hint)


def _built(make: Callable[[], Any], on_meta: bool) -> Any:
    """Call the user's constructor; one that reads values, which `meta` has none of, gets real tensors instead."""
    if on_meta:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            # Weights that the constructor loads have nowhere to go.
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
            return build_on_meta(make)
    return make()


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    kind = printable(type(value).__name__)
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _call(maker: Any, named: str, arguments: _Arguments) -> Any:
    """Call with what the user insists on, and those of the offered arguments that it takes."""
    offered, given = arguments.offered, arguments.given
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # written in C
        return maker(**given)
    by_name = {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters)
    unknown = [key for key in given if key not in by_name]
    if unknown and not takes_any:
        near = nearest(unknown[0], sorted(by_name))
        hint = f"did you mean {near}? " if near else ""
        takes = listed(sorted(by_name)) or "no arguments"
        raise ResnetCliError(f"{named} takes no {listed(unknown)}", f"{hint}It takes {takes}")
    known = {key: value for key, value in {**offered, **given}.items() if key in by_name or key in given}
    required = [
        item.name
        for item in parameters
        if item.default is item.empty
        and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
        and item.name not in known
    ]
    if required:
        example = ", ".join(f'"{printable(name)}": …' for name in required)
        raise ResnetCliError(
            f"{named} needs arguments that nobody gives it: {listed(required)}",
            f"--model-args '{{{example}}}', or name a function that needs none, "
            f"such as def net(): return {named.partition(' ')[0]}(…)",
        )
    rest = {key: value for key, value in offered.items() if key not in known} if takes_any else {}
    try:
        return maker(**known, **rest)
    except TypeError as error:
        # **kwargs may lead to a callable that takes less.
        if any(f"unexpected keyword argument '{key}'" in str(error) for key in rest):
            return maker(**known)
        raise
