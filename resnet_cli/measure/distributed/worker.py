"""A process that torchrun has started for `launcher`: it measures and reports."""

from __future__ import annotations

import os
import sys
import time

from resnet_cli.measure.distributed.process_group import DisconnectedError
from resnet_cli.measure.distributed.replicas import measure_replicas
from resnet_cli.measure.system.child_process import PROGRESS, RESULT, Report, serve, unpickled

_GRACE_S = 10.0


def main(path: str) -> None:
    """Measure.

    Args:
        path: of a file with a `ReplicaConfig`, pickled by the parent.
    """

    def measure(report: Report) -> None:
        try:
            measure_replicas(unpickled(path), lambda text: report(PROGRESS, text), lambda row: report(RESULT, row))
        except DisconnectedError:
            time.sleep(_GRACE_S)  # torchrun ends this process meanwhile, and names the one that failed first
            os._exit(1)

    serve(measure)


if __name__ == "__main__":
    main(sys.argv[1])
