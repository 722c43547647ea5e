"""A device that no longer works: after some errors, such as a failed assertion in a kernel, every call fails."""

from __future__ import annotations

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.system.devices.backend import DeviceBackend


class DeviceLostError(ResnetCliError):
    """The process cannot use its device any more."""


def loss_of(backend: DeviceBackend, verb: str = "stopped working") -> DeviceLostError | None:
    """The error of a device that no longer works; None: it does.

    Args:
        backend: of the device.
        verb: what the message says of it.
    """
    with attempt("waiting for the device") as waiting:
        backend.synchronize()
    if waiting.error is None:
        return None
    reason = next(iter(str(waiting.error).strip().splitlines()), type(waiting.error).__name__)
    return DeviceLostError(
        f"the {backend.title} {verb}: {' '.join(reason.split())}",
        "run it again, or on the cpu, whose errors name the operator",
    )


def require_device(backend: DeviceBackend, verb: str = "stopped working") -> None:
    """Check that a device works. The first check is where CUDA begins: the device may be busy or of no use.

    Args:
        backend: of the device.
        verb: what the message says of it.

    Raises:
        DeviceLostError: it does not.
    """
    if (loss := loss_of(backend, verb)) is not None:
        raise loss
