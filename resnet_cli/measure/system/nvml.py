"""Clock rate of a GPU and the reasons that lower it, through NVIDIA's management library (NVML)."""

from __future__ import annotations

import importlib
import time
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
            self.missing = f"NVML: {' '.join(str(error).split()) or type(error).__name__}"
            self.close()

    def _open(self, device: torch.device, nvml: Any) -> None:
        if nvml is None:
            with silenced():  # an older package of the same name says that it is old
                nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        self._nvml = nvml
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
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
        with attempt("the clock rate from NVML"):  # not every GPU supports this query
            self.clocks.append(1e6 * self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM))
        with attempt("the throttle reasons from NVML"):
            seen = self._reasons_query(self._handle)
            self.reasons |= {name for bit, name in _REASONS.items() if seen & bit}

    def close(self) -> None:
        """Shut the library down, once."""
        library, self._nvml, self._handle = self._nvml, None, None
        if library is not None:
            with attempt("closing NVML"):
                library.nvmlShutdown()
