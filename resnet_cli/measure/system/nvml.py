"""Clock rate of a GPU and the reasons that lower it, through NVIDIA's management library (NVML)."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Sequence
from typing import Any

import torch

from resnet_cli.errors import attempt
from resnet_cli.measure.system.silence import silenced

_SAMPLE_EVERY_S = 0.2

# Reasons for a lower clock (nvml.h, nvmlClocksEventReasons). An idle GPU, clocks that its owner has set and those that
# follow another GPU's are none that disturb.
_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal, software",
    0x40: "thermal, hardware",
    0x80: "power brake",
}


class Gpu:
    """One GPU.

    Args:
        device: of CUDA.
        nvml: the library as the module pynvml gives it; None: import that.
    """

    def __init__(self, device: torch.device, nvml: Any = None) -> None:
        self.clocks: list[float] = []  # Hz
        self.reasons: set[str] = set()
        self.missing: str | None = None  # why nothing is known
        self._sampled_at: float | None = None
        self._nvml: Any = None
        self._handle: Any = None
        self._reasons_query: Any = None
        if torch.version.hip is not None:
            self.missing = "only NVIDIA GPUs are supported"
            return
        with attempt("opening NVML") as opening:
            self._open(device, nvml)
        error = opening.error
        if isinstance(error, ImportError):
            self.missing = "the package nvidia-ml-py is not installed"
        elif error is not None:  # NVML's own, or of a driver that torch cannot ask
            self.missing = f"NVML: {_text(error)}"
            self.close()

    def _open(self, device: torch.device, nvml: Any) -> None:
        if nvml is None:
            with silenced():  # an older package of the same name says that it is old
                nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        self._nvml = nvml
        handle = _first_handle(nvml, _names(device))
        # A part of a GPU (MIG) has no clock of its own: all parts run at the rate of the whole.
        is_part = getattr(nvml, "nvmlDeviceIsMigDeviceHandle", lambda _: False)(handle)
        self._handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle) if is_part else handle
        # The older name of the function; older packages lack the newer one.
        self._reasons_query = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or getattr(
            nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", None
        )

    def sample(self) -> None:
        """Read the clock rate, and the reasons why it is lowered; not more often than every 0.2 s."""
        now = time.perf_counter()
        if self._handle is None or (self._sampled_at is not None and now - self._sampled_at < _SAMPLE_EVERY_S):
            return
        self._sampled_at = now
        with attempt("the clock rate from NVML") as asking:  # not every GPU supports this query
            self.clocks.append(1e6 * self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM))
        if asking.error is not None and not self.clocks:
            self.missing = f"NVML: {_text(asking.error)}"
        with attempt("the throttle reasons from NVML"):
            seen = self._reasons_query(self._handle)
            self.reasons |= {name for bit, name in _REASONS.items() if seen & bit}

    def close(self) -> None:
        """Shut the library down, once."""
        library, self._nvml, self._handle = self._nvml, None, None
        if library is not None:
            with attempt("closing NVML"):
                library.nvmlShutdown()


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _names(device: torch.device) -> list[str]:
    """What NVML may call a device of CUDA. One that is a part of a GPU (MIG) is visible alone, by a name of its own."""
    uuid = torch.cuda.get_device_properties(device).uuid
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    return [f"GPU-{uuid}", f"MIG-{uuid}", *([visible] if visible.startswith("MIG-") else [])]


def _first_handle(nvml: Any, names: Sequence[str]) -> Any:
    """Of the first name that NVML knows; the error of the first where it knows none."""
    errors = []
    for name in names:
        with attempt(f"NVML's handle of {name}") as asking:
            return nvml.nvmlDeviceGetHandleByUUID(name)
        assert asking.error is not None
        errors.append(asking.error)
    raise errors[0]
