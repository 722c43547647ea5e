"""`python -m resnet_cli`."""

import signal
import sys
from types import FrameType
from typing import NoReturn

from resnet_cli.cli import main

TERMINATED = 143


def run() -> NoReturn:
    """The entry point of the `resnet-cli` script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # what a handler is given
    raise SystemExit(TERMINATED)  # unlike the default, lets `finally` clean up


if __name__ == "__main__":
    run()
