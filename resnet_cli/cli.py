"""The app, and the one place where an error becomes a message and an exit code."""

import contextlib
import errno
import logging
import os
import re
import sys
from typing import Annotated

import typer

import resnet_cli
from resnet_cli import signals
from resnet_cli.commands import COMMANDS, CommandGroup, load_command
from resnet_cli.errors import ExitCode, ResnetCliError
from resnet_cli.files import drop_unwritten
from resnet_cli.formatting import printable

app = typer.Typer(
    name="resnet-cli",
    cls=CommandGroup,
    help="Inspect, verify and benchmark ResNets: layer summaries, FLOPs, parity with torchvision, latency.",
    invoke_without_command=True,
    rich_markup_mode=None,  # text from outside must not be read as markup
    pretty_exceptions_enable=False,
)
for _name, _row in COMMANDS.items():
    app.command(_name, help=_row.help)(lambda: None)  # the group imports the command itself when it is named


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"resnet-cli {resnet_cli.__version__}")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="RESNET_CLI_DEBUG", help="Show the full traceback on errors.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    if debug:
        logging.basicConfig(level=logging.WARNING)
        logging.getLogger("resnet_cli").setLevel(logging.DEBUG)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# `depth`, `depth=19`, or depth=19 outside of a call such as f(depth=19, width=2)
_PARAMETER = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]*))?`|(?:^|(?<=[^,] ))(?P<bare>[a-z_]+)=(?=\S)")


def main(arguments: list[str] | None = None) -> int:
    """Run a command line.

    Returns:
        The exit code, one of `errors.ExitCode`.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets a ?, not a traceback
    # Read here too: a command line that cannot be parsed never gets as far as the callback.
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments) or bool(os.environ.get("RESNET_CLI_DEBUG"))
    try:
        code = int(app(args=arguments, standalone_mode=False) or 0)
        # Typer makes any KeyboardInterrupt a 130, that of SIGTERM too.
        return int(signals.exit_code()) if code == ExitCode.INTERRUPTED else code
    except ResnetCliError as error:
        if debug:
            raise
        return _report(error)
    except typer.TyperException as error:
        message = error.format_message().replace(": Value error, ", ": ").removeprefix("Value error, ")
        return _report(ResnetCliError(message, "see resnet-cli --help, or --help after the command", error.exit_code))
    except (KeyboardInterrupt, typer.Abort):
        return int(signals.exit_code())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except BaseException as error:  # a network of the user's may call sys.exit(), or raise what is no Exception
        if debug or (isinstance(error, SystemExit) and not _is_users(error)):
            raise
        drop_unwritten()
        return _report(_as_reported(error))


# Of torch's errors; CUDA's has a class of its own, which says the same.
_NO_MEMORY = re.compile(r"can.?t allocate memory|cannot allocate memory|out of memory", re.IGNORECASE)


def _is_users(error: BaseException) -> bool:
    """Whether the user's own code raised an error."""
    if "torch" not in sys.modules:
        return False
    from resnet_cli.measure.models.user_errors import is_raised_by_user  # noqa: PLC0415

    return is_raised_by_user(error)


def _as_reported(error: BaseException) -> ResnetCliError:
    """An error that nobody expected, as a sentence."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResnetCliError("disk full", "free some space or choose another path")
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        reason = " ".join(str(error).strip().partition("\n")[0].rpartition("Allocator: ")[2].split())
        return ResnetCliError(f"out of memory: {reason}".rstrip(": "), "use a smaller `batch_size` or `image_size`")
    if _is_users(error):
        from resnet_cli.measure.models.user_errors import user_error  # noqa: PLC0415

        return user_error(error, "the network's own code")
    text = f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"
    hint = "please report this bug (re-run with --debug before the command for a traceback)"
    return ResnetCliError(text, hint, ExitCode.INTERNAL_ERROR)


def _report(error: ResnetCliError) -> int:
    """Print an error. Its text may come from outside, so it is escaped here, and only here."""
    lines = [f"error: {_with_option_names(error.message)}", *(error.detail or "").splitlines()]
    if error.hint:
        lines.append(f"hint: {_with_option_names(error.hint)}")
    with contextlib.suppress(OSError):  # nobody reads standard error
        print("\n".join(map(printable, lines)), file=sys.stderr)
    return int(error.exit_code)


def _with_option_names(text: str) -> str:
    """A text with parameters as the command line spells them: `depth=19` and depth=19 become --depth 19."""
    known = _option_names()

    def spell(match: re.Match[str]) -> str:
        option = known.get(match["name"] or match["bare"])
        if option is None:
            return match[0]
        if match["bare"]:
            return f"{option} "
        return option if match["value"] in (None, "True") else f"{option} {match['value']}"

    return _PARAMETER.sub(spell, text)


def _option_names() -> dict[str, str]:
    """Parameter name → option, of all commands: the same parameter is the same option everywhere."""
    options = {"sections": "--show", "initialization": "--initialization"}
    for command in COMMANDS:
        for parameter in load_command(command).params:
            options[parameter.name] = next((name for name in parameter.opts if name.startswith("--")), parameter.name)
    return options
