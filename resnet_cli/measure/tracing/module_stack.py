"""Which module of a network is running: the stack of module calls, kept by hooks on every module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Generic, NamedTuple, TypeVar

from torch import nn
from torch.jit import ScriptModule

T = TypeVar("T")


class CallSite(NamedTuple):
    """One call of a module in a forward. Layer trees, layer times and traces name their rows by it.

    An operator that a module's forward runs beside the modules that it calls has the path `operator_path`.
    """

    path: str  # of the module, "" for the network itself
    call: int  # 1 for the first call of this module


def operator_path(path: str, operator: str, number: int = 1) -> str:
    """Path of the row of an operator, such as "layer1.0:add" or, for the second addition there, "layer1.0:add2"."""
    return f"{path}:{operator}" if number == 1 else f"{path}:{operator}{number}"


def python_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules by path, each once, without those inside of TorchScript modules, which Python does not call."""
    inside: set[nn.Module] = set()
    for path, module in model.named_modules():
        if module not in inside:
            yield path, module
        if isinstance(module, ScriptModule):
            inside.update(inner for inner in module.modules() if inner is not module)


class ModuleStack(Generic[T]):
    """A context manager that keeps a stack with one frame for each module call that is running.

    A module with several paths is identified by the first. Calls are left in order even if a forward raises.

    Args:
        model: has two hooks on each module while the context lasts.
        enter: called before a module's forward with the call, the module and its inputs (args, kwargs); it returns
            the frame.
        leave: called after the forward with the frame and the output (None where the forward raised).

    Attributes:
        running: the frames, the innermost last.
    """

    def __init__(
        self,
        model: nn.Module,
        enter: Callable[[CallSite, nn.Module, tuple[Any, Any]], T],
        leave: Callable[[T, Any], None] | None = None,
    ) -> None:
        self.running: list[T] = []
        self._model, self._enter, self._leave = model, enter, leave
        self._paths: list[str] = []
        self._calls: Counter[str] = Counter()
        self._hooks = ExitStack()

    def __enter__(self) -> ModuleStack[T]:
        """Attach the hooks."""
        try:
            for path, module in python_modules(self._model):
                before, after = self._pre_hook(path), self._post_hook(path)
                # The functions of nn.Module, because TorchScript modules refuse these methods.
                add_before, add_after = nn.Module.register_forward_pre_hook, nn.Module.register_forward_hook
                self._hooks.callback(add_before(module, before, with_kwargs=True).remove)
                self._hooks.callback(add_after(module, after, always_call=True).remove)
        except BaseException:
            self._hooks.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hooks."""
        self._hooks.close()

    def _pre_hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._calls[path] += 1
            self._paths.append(path)
            self.running.append(self._enter(CallSite(path, self._calls[path]), module, (args, kwargs)))

        return begin

    def _post_hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def end(module: nn.Module, args: Any, output: Any) -> None:
            # Torch calls this too where an earlier pre-hook raised, before the call had a frame.
            if not self._paths or self._paths[-1] != path:
                return
            frame = self.running[-1]
            if self._leave is not None:
                self._leave(frame, output)  # the frame is still on the stack
            self.running.pop()
            self._paths.pop()

        return end
