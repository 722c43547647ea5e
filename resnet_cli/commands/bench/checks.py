"""Which options of `bench` do not go together."""

import os
from collections.abc import Mapping
from typing import Any

from resnet_cli.commands.options.model_selection import check_alone
from resnet_cli.errors import ResnetCliError

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
    if mode != "inference":
        check_alone(f"--mode {mode}", {"--optimizations": given["--optimizations"]})
    elif given["--optimizer"] is not None:
        raise ResnetCliError("--optimizer requires --mode train", "leave --optimizer out, or add --mode train")
    if dtype not in (None, "float32"):
        check_alone(f"--dtype {dtype}", {"--optimizations": given["--optimizations"]})
    if given["--fail-above"] is not None and given["--baseline"] is None:
        raise ResnetCliError("--fail-above requires --baseline", "give a file that bench --save wrote")


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
