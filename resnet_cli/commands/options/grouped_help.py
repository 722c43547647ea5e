"""`--help` in groups, so that a command with thirty options can be read."""

from typing import Any

import typer
from typer.core import TyperCommand


class GroupedCommand(TyperCommand):
    """A command whose `--help` lists its options under the panel that each one names.

    In plain text: Rich's panels leave a help text 30 columns in a terminal of 80, and take a tenth of a second.
    """

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write a section for each panel, in the order of the command's options."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = getattr(parameter, "rich_help_panel", None) or "Options"
                is_argument = parameter.param_type_name == "argument"
                name = str(getattr(parameter, "metavar", None) or record[0]) if is_argument else record[0]
                default = getattr(parameter, "show_default", None)
                # Typer puts a default that is given in words in parentheses.
                text = record[1].replace(f"({default})", default) if isinstance(default, str) else record[1]
                panels.setdefault(panel, []).append((name, text))
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)
