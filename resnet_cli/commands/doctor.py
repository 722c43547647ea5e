"""`resnet-cli doctor`."""

from typing import Annotated

from resnet_cli.commands import options
from resnet_cli.commands.options import execution
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
        options.option(
            options.MEASUREMENT, "Compile a small network with torch.compile; may take a minute.", "--compile"
        ),
    ] = False,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Show what is installed and what works on this machine, with the reason for what does not.

    Contains nothing personal: no user name, no host name, no home folder. What may crash or hang is tried in a
    separate process. Exit code 1 if a required component does not work; a missing GPU is not an error.
    """
    drawing = execution.drawing("doctor", output_format, output)
    with progress() as update:
        from resnet_cli.measure.doctor.run import examine

        result = examine(try_compile=compile_too, progress=update)
    drawing.finish(result, holds=result.ok)
