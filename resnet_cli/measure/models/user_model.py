"""Loads a network from the user's file or module, with arguments that fit its signature."""

from __future__ import annotations

import inspect
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from torch.export import ExportedProgram
from torch.jit._trace import TracerWarning

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.models.inputs.model_inputs import EXAMPLE, ModelInputs
from resnet_cli.measure.models.inputs.model_inputs import given as given_inputs
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.measure.models.naming.grammar import NetworkName, parse
from resnet_cli.measure.models.naming.libraries import library_network
from resnet_cli.measure.models.usable import is_compiled, usable
from resnet_cli.measure.models.user_errors import prints_to_stderr, users_code
from resnet_cli.measure.models.user_imports import imported, is_file, listed
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.suggest import nearest

_NETWORKS = "name an nn.Module, a subclass of it, or a function that returns one"
_IN_CALL = "write all arguments in the call"


def load_model(
    reference: str,
    offered: Mapping[str, Any] = {},
    given: Mapping[str, Any] = {},
    *,
    on_meta: bool = False,
) -> tuple[nn.Module, str]:
    """The network that a reference names, and its name.

    Args:
        reference: a name of the grammar; "my_resnet.py:ResNet18" and "package.module:factory", resolved from the
            current folder, are an nn.Module, a class of them, or a callable that returns one.
        offered: arguments such as num_classes; passed if the signature takes them.
        given: arguments of the user; it is an error if the signature does not take one. A text "@Name" stands for what
            has this name in the module, and "@@Name" for the text "@Name".
        on_meta: build on `meta` if the user's code allows it, so that no weight is allocated or initialised.

    Raises:
        ResnetCliError: it does not name a network, or the user's code raises.
    """
    loaded = load_with_examples(reference, offered, given, on_meta=on_meta)
    return loaded.network, loaded.name


class LoadedModel(NamedTuple):
    """A network of the user's, its name, the function of example inputs beside it, and whether it was compiled."""

    network: nn.Module
    name: str
    example_inputs: Callable[[], ModelInputs] | None
    is_compiled: bool


def load_with_examples(
    reference: str, offered: Mapping[str, Any] = {}, given: Mapping[str, Any] = {}, *, on_meta: bool = False
) -> LoadedModel:
    """The network as `load_model` gives it, and the inputs of a function `example_inputs()` beside it."""
    named = parse(reference)
    if named.kind != "python":
        network = _built(lambda: library_network(named, offered, given), on_meta)
        return LoadedModel(network, named.title, None, False)
    # Last, so that the user's own filters come first: what torch deprecates is no matter of a measurement.
    warnings.filterwarnings("ignore", module=r"torch\.(jit|ao)\b", append=True)
    with prints_to_stderr(), imported(named) as module:
        target = _attribute(module, named.name, named.where)
        resolved = {key: _resolved(value, module, named.where) for key, value in given.items()}
        if named.call is None:
            network = _network(target, named.name, named.where, _Arguments(offered, resolved), on_meta)
        else:
            network = _called(named, module, resolved, on_meta)
        examples = vars(module).get(EXAMPLE)
        is_meant = callable(examples) or bool(tensors_in(examples))
        read = partial(_example_inputs, examples, named.where) if is_meant else None
        return LoadedModel(usable(network, named.title), named.title, read, is_compiled(network))


def _called(named: NetworkName, module: types.ModuleType, given: Mapping[str, Any], on_meta: bool) -> nn.Module:
    """What the call in a name returns, evaluated with the names of its module.

    Raises:
        ResnetCliError: it raises, returns no network, or arguments are given twice.
    """
    if given:
        raise ResnetCliError(f"{named.text} is a call, and {listed(list(given))} are given beside it", _IN_CALL)
    code = compile(str(named.call).strip(), "<name of the network>", "eval")
    with users_code(f"calling {named.call}"):
        try:
            result = _as_module(_built(lambda: eval(code, vars(module)), on_meta))  # as importing it
        except NameError as error:
            if error.name is None or not _is_raised_by_call(error):
                raise
            raise ResnetCliError(
                f"{named.where} has no {error.name}, which {named.text} names",
                _hint_for_missing(module, error.name, named.where),
            ) from error
        if isinstance(result, nn.Module):
            return result
    raise ResnetCliError(f"{named.text} returns {_kind(result)}, not a network", _NETWORKS)


def _is_raised_by_call(error: BaseException) -> bool:
    """Whether an exception comes from the text of a name itself, not from code that it calls."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return frames[-1][0].f_code.co_filename == "<name of the network>"


def _resolved(value: Any, module: types.ModuleType, where: str) -> Any:
    """A value with what "@Name" names in the user's module in its place, also inside of lists and dictionaries.

    Raises:
        ResnetCliError: the module has no such name.
    """
    if isinstance(value, str) and value.startswith("@"):
        return value[1:] if value.startswith("@@") else _attribute(module, value[1:], where)
    if isinstance(value, list):
        return [_resolved(item, module, where) for item in value]
    if isinstance(value, dict):
        return {key: _resolved(item, module, where) for key, item in value.items()}
    return value


def _example_inputs(examples: Any, where: str) -> ModelInputs:
    """What the user's function returns, or the value that has this name instead.

    Raises:
        ResnetCliError: it raises, or returns no tensor.
    """
    with prints_to_stderr(), users_code(f"calling {EXAMPLE}() of {where}"):
        value = examples() if callable(examples) else examples
    return given_inputs(value, EXAMPLE)


def load_subject(reference: str, offered: Mapping[str, Any] = {}, given: Mapping[str, Any] = {}) -> ModelUnderTest:
    """The network that a reference names, ready to be measured: on `meta` if the user's code allows it.

    Args:
        reference: "my_resnet.py:ResNet18" or "package.module:factory".
        offered: arguments that are passed if the signature takes them.
        given: arguments that the signature must take.

    Raises:
        ResnetCliError: it does not name a network, or the user's code raises.
    """
    named = parse(reference)
    if named.kind == "built-in":
        return model_from_spec(named.spec({**offered, **given}))
    with random_init.seeded(0):  # it may draw what it consists of
        network, name, examples, compiled = load_with_examples(reference, offered, given, on_meta=True)
    return ModelUnderTest(
        network,
        name,
        rebuilt=lambda: load_model(reference, offered, given)[0],
        example_inputs=examples,
        is_compiled=compiled,
    )


def _attribute(module: types.ModuleType, name: str, where: str) -> Any:
    value: Any = module
    owner_name = where
    for part in name.split("."):
        with users_code(f"reading {part} of {owner_name}"):
            missing = False
            try:
                value = getattr(value, part)
            except AttributeError:
                missing = True
        if missing:
            raise ResnetCliError(
                f"{owner_name} has no {part or 'empty name'}",
                _hint_for_missing(value, part, where),
            )
        owner_name = part
    return value


def _hint_for_missing(owner: Any, part: str, where: str) -> str | None:
    if isinstance(owner, types.ModuleType) and getattr(owner, "__name__", "") == where:
        here = Path(*where.split(".")).with_suffix(".py")
        file = getattr(owner, "__file__", None)  # built-in modules have none
        if is_file(here) and (file is None or here.resolve() != Path(file).resolve()):
            return f"{where} is also a module of Python or of a library; for yours, use ./{here.as_posix()}:{part}"
    names = _makers(owner)
    near = nearest(part, names) or nearest(part, [name for name in _vars(owner) if not name.startswith("_")])
    if near:
        others = [name for name in names if name != near]
        return f"did you mean {near}?" + (f" There are also {listed(others)}" if others else "")
    return f"it has {listed(names)}" if names else f"{where} defines no network and no function"


def _vars(owner: Any) -> dict[str, Any]:
    names = getattr(owner, "__dict__", {})
    return {name: value for name, value in names.items() if isinstance(name, str)}


def _makers(owner: Any) -> list[str]:
    """Names of networks, their classes and functions: defined here, or else imported."""
    homes: dict[str, str] = {}
    for name, value in _vars(owner).items():
        is_class = isinstance(value, type) and issubclass(value, nn.Module)
        if not name.startswith("_") and (is_class or isinstance(value, nn.Module | types.FunctionType)):
            instance = isinstance(value, nn.Module)
            homes[name] = getattr(owner, "__name__", "") if instance else str(value.__module__)
    own = [name for name, home in homes.items() if home == getattr(owner, "__name__", None)]
    return own or [name for name, home in homes.items() if home.partition(".")[0] != "torch"]


@dataclass(frozen=True, slots=True)
class _Arguments:
    offered: Mapping[str, Any]
    given: Mapping[str, Any]


def _network(target: Any, name: str, where: str, arguments: _Arguments, on_meta: bool) -> nn.Module:
    title, target = f"{name} in {where}", _as_module(target)
    if isinstance(target, nn.Module):
        if arguments.given:
            raise ResnetCliError(
                f"{title} is an instance and takes no arguments ({listed(list(arguments.given))})",
                f"pass arguments to a class or function, such as its class {type(target).__name__}",
            )
        return target
    if not callable(target):
        raise ResnetCliError(f"{title} is {_kind(target)}, not a network", _NETWORKS)
    with users_code(f"calling {name}"):
        result = _as_module(_built(lambda: _call(target, title, arguments), on_meta))
        if isinstance(result, nn.Module):
            return result
    raise ResnetCliError(f"{title} returns {_kind(result)}, not a network", _NETWORKS)


def _as_module(value: Any) -> Any:
    """The module of a program of torch.export; anything else is itself."""
    return value.module() if isinstance(value, ExportedProgram) else value


def _built(make: Callable[[], Any], on_meta: bool) -> Any:
    """Call the user's constructor on `meta`; one that needs values is called again with real tensors."""
    if on_meta:
        with attempt("building the network on meta"), warnings.catch_warnings():
            # A constructor may load weights, which is a no-op on `meta`.
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
            warnings.filterwarnings("ignore", category=TracerWarning)  # of code that runs in place of torch's
            return build_on_meta(make)
    return make()


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _call(maker: Any, title: str, arguments: _Arguments) -> Any:
    """Call with the given arguments, and those of the offered ones that the signature takes."""
    offered, given = arguments.offered, arguments.given
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # implemented in C
        return maker(**given)
    by_name = {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters)
    unknown = [key for key in given if key not in by_name]
    if unknown and not takes_any:
        near = nearest(unknown[0], sorted(by_name))
        hint = f"did you mean {near}? " if near else ""
        takes = listed(sorted(by_name)) or "no arguments"
        raise ResnetCliError(f"{title} has no parameter {listed(unknown)}", f"{hint}It takes {takes}")
    known = {key: value for key, value in {**offered, **given}.items() if key in by_name or key in given}
    required = [
        item.name
        for item in parameters
        if item.default is item.empty
        and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
        and item.name not in known
    ]
    if required:
        example = ", ".join(f'"{name}": …' for name in required)
        raise ResnetCliError(
            f"{title} needs arguments: {listed(required)}",
            f"pass `model_args={{{example}}}`, or write them in a call, such as {title.partition(' ')[0]}(…)",
        )
    rest = {key: value for key, value in offered.items() if key not in known} if takes_any else {}
    try:
        return maker(**known, **rest)
    except TypeError as error:
        # **kwargs may be passed on to a callable that takes fewer.
        if any(f"unexpected keyword argument '{key}'" in str(error) for key in rest):
            return maker(**known)
        raise
