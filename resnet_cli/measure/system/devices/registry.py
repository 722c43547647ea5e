"""The kinds of device and how one is chosen by its name. Read without torch, so that options are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError

if TYPE_CHECKING:
    import torch

    from resnet_cli.measure.system.devices.backend import DeviceBackend

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of device.

    Args:
        key: `torch.device.type`, and the name of the module of this package that has its backend.
        backend: name of the class in that module.
        indexed: whether a machine may have several, chosen as "cuda:1".
    """

    key: str
    backend: str
    indexed: bool = False

    def load(self) -> type[DeviceBackend]:
        """The class of its backend; imports torch."""
        loaded: type[DeviceBackend] = getattr(import_module(f"{__package__}.{self.key}"), self.backend)
        return loaded


# "auto" takes the first one after cpu that the machine has.
_ROWS = (
    DeviceKind("cpu", "CpuBackend"),
    DeviceKind("cuda", "CudaBackend", indexed=True),
    DeviceKind("mps", "MpsBackend"),
    DeviceKind("xpu", "XpuBackend", indexed=True),
)
KINDS = {row.key: row for row in _ROWS}
FORMS = (AUTO, *(form for row in _ROWS for form in ((row.key, f"{row.key}:N") if row.indexed else (row.key,))))
CHOICES = (AUTO, *KINDS)


def select_device(name: str) -> torch.device:
    """The device of a name, such as "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        ResnetCliError: not a device, or this machine has none of that kind or number.
    """
    if name == AUTO:
        accelerators = (row.load() for row in _ROWS if row.key != "cpu")
        return next((kind.find(0) for kind in accelerators if kind.is_available()), KINDS["cpu"].load().find(0))
    key, colon, number = name.partition(":")
    row = KINDS.get(key)
    is_index = number.isascii() and number.isdecimal() and len(number) <= 4
    if row is None or (colon and not (row.indexed and is_index)):
        raise ResnetCliError(f"`device={name}` is not a device", f"use {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    return row.load().find(int(number or 0))


def device_backend(device: torch.device) -> DeviceBackend:
    """What the rest of the program may ask of a device."""
    return KINDS[device.type].load()(device)


def device_of_rank(key: str, local_rank: int, processes: int) -> torch.device:
    """The device of one of several processes on this machine.

    Args:
        key: of its kind.
        local_rank: of the process, from 0.
        processes: on this machine.

    Raises:
        ResnetCliError: the kind is not for several processes, or there are not enough devices.
    """
    backend = KINDS[key].load()
    if backend.collectives is None:
        raise ResnetCliError(f"several processes do not run on {key}", "use cpu or cuda")
    return backend.for_rank(local_rank, processes)
