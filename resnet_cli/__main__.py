"""`python -m resnet_cli`."""

import sys
from typing import NoReturn

from resnet_cli import interruption


def run() -> NoReturn:
    """The entry point of the `resnet-cli` script."""
    try:
        interruption.listen()
        from resnet_cli.cli import main  # noqa: PLC0415  # a signal may come while it is loading

        code = main()
    except KeyboardInterrupt:
        code = interruption.exit_code()
    interruption.finish()
    interruption.leave_at_once(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
