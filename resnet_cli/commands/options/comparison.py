"""Options of the commands that compare two networks."""

from typing import Any

from resnet_cli.commands.options import INPUT, MAX_IMAGES, MEASUREMENT, OUTPUT, listed, option
from resnet_cli.commands.options.completion import some_of
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.parity.checks import CHECKS

BATCH_SIZE = 2  # a batch norm in train mode needs two values


def key_map(panel: str) -> Any:
    """The file that says which parameter is which."""
    return option(panel, "Parameter name map.", "--map", metavar="FILE", default="inferred from the computation graph")


def save_map(panel: str) -> Any:
    """The file that the map is saved as."""
    return option(panel, "Save the parameter name map as a file for --map.", metavar="FILE", default="not saved")


def expect(panel: str) -> Any:
    """The file of intended differences."""
    text = "Intended differences: exit with 0 if nothing else differs."
    return option(panel, text, metavar="FILE", default="none")


def save_expect(panel: str) -> Any:
    """The file that the differences are saved as."""
    return option(panel, "Save the current differences as a file for --expect.", metavar="FILE", default="not saved")


def batch_size() -> Any:
    """Images in a batch."""
    return option(
        INPUT, "Number of images in a batch.", metavar="N", default=str(BATCH_SIZE), min=BATCH_SIZE, max=MAX_IMAGES
    )


def checks() -> Any:
    """The checks that are made."""
    text = f"Checks to run, comma-separated: {listed(CHECKS)}."
    return option(MEASUREMENT, text, metavar="A,B,C", default="all", complete=some_of(CHECKS))


def rtol() -> Any:
    """The relative tolerance."""
    text = "Tolerance relative to the largest absolute value of the reference."
    return option(MEASUREMENT, text, metavar="X", default="measured", min=0)


def collapse() -> Any:
    """Whether parts that match are one row each."""
    return option(OUTPUT, "Collapse matching parts to one row each.", "--collapse/--no-collapse")


def check_tolerance(name: str, value: float | None) -> None:
    """Check that a tolerance is finite.

    Raises:
        ResnetCliError: it is infinite.
    """
    if value == float("inf"):
        raise ResnetCliError(f"{name} {value} is not a valid tolerance", "use a finite number, e.g. 1e-5")
