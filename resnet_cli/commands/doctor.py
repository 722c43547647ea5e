"""`resnet-cli doctor`."""

from typing import Annotated

import typer

from resnet_cli.commands import options
from resnet_cli.render.progress import progress

EPILOG = """\b
Examples:
  resnet-cli doctor                      # what works here, and why the rest does not
  resnet-cli doctor --format markdown    # to paste into an issue report
  resnet-cli doctor --compile            # really try torch.compile, which may take a minute
  resnet-cli doctor -o doctor.json
"""


def doctor(
    compile_too: Annotated[
        bool,
        typer.Option("--compile", help="Really compile a small network with torch.compile; may take a minute."),
    ] = False,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Show what is installed and what works here, with the reason for each no: what an issue report should contain.

    Nothing personal is in it: no user name, no host name, no home folder. What may crash or hang is tried in a
    process of its own. Exit code 1 where something is broken that a command needs; a missing GPU is nothing broken.
    """
    drawing = options.drawing("doctor", output_format, output)
    with progress() as tell:
        from resnet_cli.measure.doctor.run import examine

        result = examine(try_compile=compile_too, progress=tell)
    drawing.write(result)
    options.leave(result.ok)
