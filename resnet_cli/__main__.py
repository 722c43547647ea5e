"""`python -m resnet_cli`."""

import contextlib
import os
import sys
from typing import NoReturn

from resnet_cli import signals


def run() -> NoReturn:
    """The entry point of the `resnet-cli` script."""
    try:
        signals.install_handlers()
        from resnet_cli.cli import main  # noqa: PLC0415  # a signal may come while it is loading

        code = main()
    except KeyboardInterrupt:
        code = int(signals.exit_code())
    _end_of_results()
    signals.exit_now(code)
    sys.exit(code)


def _end_of_results() -> None:
    """What a network's code prints from here on, such as in functions of atexit, goes to standard error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream may be closed, or None
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    run()
