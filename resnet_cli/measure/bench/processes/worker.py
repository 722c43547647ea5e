"""A process of its own for one benchmark; `launcher` starts it."""

from __future__ import annotations

import sys

from resnet_cli.measure.bench.task import run_task
from resnet_cli.measure.system.child_process import PROGRESS, RESULT, Report, serve, unpickled


def main(path: str) -> None:
    """Measure.

    Args:
        path: of a file with a `BenchTask`, pickled by the parent.
    """

    def measure(report: Report) -> None:
        report(RESULT, run_task(unpickled(path), progress=lambda text: report(PROGRESS, text)))

    serve(measure)


if __name__ == "__main__":
    main(sys.argv[1])
