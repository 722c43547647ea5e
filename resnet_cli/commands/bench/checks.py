"""Which options of `bench` do not go together."""

import os
from collections.abc import Mapping
from typing import Any

from resnet_cli.commands.options import parsing
from resnet_cli.commands.options.model_selection import check_alone
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS

_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # variables that it sets
_ALONE = {  # option → what it cannot be combined with
    "--plan": ("--runs", "--baseline", "--save", "--nproc", "--optimizations", "--layers", "--find-batch-size"),
    "--runs": ("--nproc", "--optimizations", "--layers", "--find-batch-size"),
    "--nproc": (
        "--optimizations",
        "--layers",
        "--against",
        "--baseline",
        "--save",
        "--weights",
        "--optimizer",
        "--find-batch-size",
    ),
}


def check_conflicts(given: Mapping[str, Any], mode: str, dtype: str | None) -> None:
    """Check that options can be combined.

    Args:
        given: option → its value; None and False: not given.
        mode: value of --mode.
        dtype: value of --dtype.

    Raises:
        ResnetCliError: two of them cannot.
    """
    for option, others in _ALONE.items():
        if given[option] is not None:
            check_alone(option, {other: given[other] for other in others})
    if mode == "inference" and given["--optimizer"] is not None:
        raise ResnetCliError("--optimizer requires --mode train", "leave --optimizer out, or add --mode train")
    if dtype not in (None, "float32"):
        check_alone(f"--dtype {dtype}", {"--optimizations": given["--optimizations"]})
    if given["--fail-above"] is not None and given["--baseline"] is None:
        raise ResnetCliError("--fail-above requires --baseline", "give a file that bench --save wrote")


def choose_optimizations(text: str | None, mode: str) -> tuple[str, ...] | None:
    """The keys that --optimizations names, or all of those for the mode; None: it is not given.

    Raises:
        ResnetCliError: one is unknown, or for another mode.
    """
    if text is None:
        return None
    chosen = parsing.chosen("optimization", text, tuple(OPTIMIZATIONS))
    of_mode = tuple(key for key in chosen if mode in OPTIMIZATIONS[key].modes)
    if len(chosen) == len(OPTIMIZATIONS):
        return of_mode
    if chosen != of_mode:
        other = next(key for key in chosen if key not in of_mode)
        known = ", ".join(key for key, row in OPTIMIZATIONS.items() if mode in row.modes)
        raise ResnetCliError(f"--optimizations {other} is not for --mode {mode}", f"in this mode: {known}")
    return chosen


def is_distributed(given: Mapping[str, Any], device: str) -> bool:
    """Whether replicas are measured, as --nproc or torchrun asks.

    Args:
        given: as in `check_conflicts`.
        device: value of --device.

    Raises:
        ResnetCliError: torchrun and --nproc, or what one of several processes cannot do.
    """
    is_torchrun = os.environ.keys() >= set(_TORCHRUN)
    nproc = given["--nproc"]
    if not is_torchrun and nproc is None:
        return False
    option = "torchrun" if is_torchrun else "--nproc"
    others = ("--nproc", "--runs", "--plan", *_ALONE["--nproc"]) if is_torchrun else ()
    check_alone(option, {f"--device {device}": ":" in device, **{other: given[other] for other in others}})
    return True
