"""Makes what a user's code returns ready to be measured: without wrappers, and checked for what torch itself needs."""

from __future__ import annotations

from torch import fx, nn

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.models.substitutes import on_meta
from resnet_cli.measure.models.user_errors import user_error

# Wrapper class -> attribute of the network inside, which computes the same.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DistributedDataParallel": "module"}
# Methods of torch's that torch itself and this package call.
_METHODS = (
    "parameters named_parameters buffers named_buffers modules named_modules children named_children state_dict"
    " train eval"
).split()
_SHARDED = {"FullyShardedDataParallel", "FSDPModule"}


def usable(network: nn.Module, name: str) -> nn.Module:
    """The network inside the wrappers of torch.compile and DistributedDataParallel, or of torch.export.

    Raises:
        ResnetCliError: it is sharded, a module is registered inside itself, its `train` fails, or something else has
            the name of one of torch's methods.
    """
    network = _unwrapped(network)
    _check_modules(network, name)
    _check_methods(network, name)
    if any(_SHARDED & {base.__name__ for base in type(module).__mro__} for module in network.modules()):
        raise ResnetCliError(f"{name} is sharded by FSDP, so that no process has its weights", "name it unsharded")
    inside_itself = _inside_itself(network)
    if inside_itself is not None:
        raise ResnetCliError(
            f"{name} registers {inside_itself}, a module that it is inside of, so torch's train() and eval() never end",
            "keep the reference where torch does not register it, such as in a tuple: self.parent = (parent,)",
        )
    _check_train(network)
    return network


def _unwrapped(network: nn.Module) -> nn.Module:
    inner = getattr(network, _WRAPPERS.get(type(network).__name__, ""), None)
    if isinstance(inner, nn.Module):
        return _unwrapped(inner)
    if isinstance(network, fx.GraphModule):
        for method in ("train", "eval"):  # a module of torch.export refuses them: its graph is that of one mode
            vars(network).pop(method, None)
    return network


def is_compiled(network: nn.Module) -> bool:
    """Whether a network is the wrapper of torch.compile."""
    return type(network).__name__ == "OptimizedModule" and isinstance(getattr(network, "_orig_mod", None), nn.Module)


def _inside_itself(network: nn.Module) -> str | None:
    """Path of a module that contains itself."""
    waiting: list[tuple[str, nn.Module, frozenset[int]]] = [("", network, frozenset())]
    done: set[int] = set()
    while waiting:
        path, module, around = waiting.pop()
        if id(module) in around:
            return path
        if id(module) in done:
            continue
        done.add(id(module))
        around |= {id(module)}
        waiting.extend((f"{path}.{name}".lstrip("."), child, around) for name, child in module.named_children())
    return None


def _check_modules(network: nn.Module, name: str) -> None:
    """Check that torch can list the modules."""
    with attempt("listing modules") as listing:
        list(nn.Module.modules(network))
    if listing.error is None:
        return
    hints = {
        "'_modules'": "call super().__init__() first in __init__",
        "unhashable": "define __hash__ = nn.Module.__hash__ beside __eq__",
    }
    error = user_error(listing.error, f"listing the modules of {name}")
    hint = next((hint for sign, hint in hints.items() if sign in error.message), error.hint)
    raise ResnetCliError(error.message, hint, detail=error.detail) from listing.error


def _check_methods(network: nn.Module, name: str) -> None:
    kinds = {type(network): network} | {type(module): module for module in nn.Module.modules(network)}
    for kind, module in kinds.items():
        for method in _METHODS:
            if not callable(getattr(module, method, None)):
                raise ResnetCliError(
                    f"{name}: {kind.__name__}.{method} is no method, and torch calls it",
                    "give the attribute another name",
                )


def _check_train(network: nn.Module) -> None:
    """Call `train` as torch's own `train` and `eval` do: a network may have a method of this name with another use."""
    own = type(network).train is not nn.Module.train
    mode = getattr(network, "training", False)  # frozen TorchScript has none
    with on_meta(network):
        try:
            network.train(mode)
        except Exception as error:
            call = f"{type(network).__name__ if own else 'a module'}.train({mode})"
            wrapped = user_error(error, f"{call}, which torch's train() and eval() call,")
            hint = "give the method another name, or define train(self, mode=True) and call super().train(mode) in it"
            raise ResnetCliError(wrapped.message, hint, detail=wrapped.detail) from error
