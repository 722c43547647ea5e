"""The commands of resnet-cli, a module each, and their registry."""

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup


class CommandRow(NamedTuple):
    """A command: the module of this package that holds it, and its line in `resnet-cli --help`.

    The module has a function of the command's name (with `_` for `-`) and the examples that end its help, `EPILOG`.
    """

    module: str
    help: str


COMMANDS = {
    "summary": CommandRow("summary", "Show shapes, parameters, MACs and memory by layer."),
    "flops": CommandRow("flops", "Count FLOPs by operator; reconcile other counters."),
    "compare": CommandRow("compare_networks", "Compare any two networks: what changed, what is the same."),
    "compare-torchvision": CommandRow("compare", "Check equivalence with torchvision or another model."),
    "bench": CommandRow("bench", "Measure latency and throughput, relative to the peak."),
    "convert": CommandRow("convert", "Convert checkpoints between parameter names."),
    "report": CommandRow("report", "Render results as one HTML page, or compare them."),
    "doctor": CommandRow("doctor", "Show what is installed and what works here."),
}


@cache
def load_command(name: str) -> TyperCommand:
    """Import a command, with the options of its function and nothing that measures."""
    from resnet_cli.commands.options.grouped_help import GroupedCommand

    module = import_module(f"{__name__}.{COMMANDS[name].module}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=GroupedCommand, epilog=module.EPILOG)(getattr(module, name.replace("-", "_")))
    return cast("TyperCommand", typer.main.get_command(app))


class CommandGroup(TyperGroup):
    """All commands: a row of the registry each until one is named, which is imported then."""

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The name, the command and its arguments; no command where none is named."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load_command(name), rest
