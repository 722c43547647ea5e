"""`python -m resnet_cli`."""

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
    signals.exit_now(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
