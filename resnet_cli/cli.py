"""The app, and the one place where an error becomes a message and an exit code."""

import contextlib
import errno
import os
import sys
from typing import Annotated

import typer

import resnet_cli
from resnet_cli import signals
from resnet_cli.commands import bench, compare, convert, doctor, flops, report, summary
from resnet_cli.errors import BAD_INPUT, INTERRUPTED, ResnetCliError
from resnet_cli.files import drop_unwritten
from resnet_cli.formatting import printable

OUR_FAULT = 70

app = typer.Typer(
    name="resnet-cli",
    help="The lab bench for a ResNet written from scratch: read it, count it, prove it, time it.",
    invoke_without_command=True,
    rich_markup_mode=None,  # text from outside must not be read as markup
    pretty_exceptions_enable=False,
)
app.command(epilog=summary.EPILOG)(summary.summary)
app.command(epilog=flops.EPILOG)(flops.flops)
app.command(epilog=compare.EPILOG)(compare.compare_torchvision)
app.command(epilog=bench.EPILOG)(bench.bench)
app.command(epilog=convert.EPILOG)(convert.convert)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=doctor.EPILOG)(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"resnet-cli {resnet_cli.__version__}")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="RESNET_CLI_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run a command line.

    Returns:
        The exit code: 0 it is so, 1 a check failed, 2 bad input, 130 interrupted, 143 terminated, 70 our fault.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets a ?, not a traceback
    # Read here too: a command line that cannot be parsed never gets as far as the callback.
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments) or bool(os.environ.get("RESNET_CLI_DEBUG"))
    try:
        code = int(app(args=arguments, standalone_mode=False) or 0)
        # Typer makes any KeyboardInterrupt a 130, that of SIGTERM too.
        return signals.exit_code() if code == INTERRUPTED else code
    except ResnetCliError as error:
        if debug:
            raise
        return _report(error.message, error.hint, error.exit_code, error.detail)
    except typer.TyperException as error:
        message = error.format_message().replace(": Value error, ", ": ").removeprefix("Value error, ")
        return _report(message, "see resnet-cli --help, or --help after the command", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return signals.exit_code()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            drop_unwritten()
            return _report("there is no space left on the disk", "make room, or write elsewhere", BAD_INPUT)
        text = f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"
        return _report(text, "this is a fault of resnet-cli; --debug before the command shows where", OUR_FAULT)


def _report(message: str, hint: str | None, code: int, detail: str | None = None) -> int:
    lines = [f"error: {printable(message)}"]
    if detail:
        lines += map(printable, detail.splitlines())
    if hint:
        lines.append(f"hint: {printable(hint)}")
    with contextlib.suppress(OSError):  # nobody listens
        print("\n".join(lines), file=sys.stderr)
    return code
