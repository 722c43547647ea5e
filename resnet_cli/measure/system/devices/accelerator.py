"""What the modules of torch for kinds of GPU, such as `torch.cuda` and `torch.xpu`, have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.profiler import ProfilerActivity

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system.devices.backend import DeviceBackend, Event

_SPIN_CYCLES = 1_000_000  # about half a millisecond of a GPU's clock


class AcceleratorBackend(DeviceBackend):
    """A GPU with a module of torch of its own, named like the kind; its memory is that of torch's allocator."""

    title: ClassVar[str] = "GPU"
    kind: ClassVar[str]  # `torch.device.type`
    activity: ClassVar[str]  # of torch.profiler
    _spin_rate: float | None = None  # cycles per second of the kernel that holds the queue

    @classmethod
    def module(cls) -> Any:
        """The module of torch."""
        return getattr(torch, cls.kind)

    @classmethod
    def missing(cls) -> ResnetCliError:
        """Why this machine has no such GPU."""
        raise NotImplementedError

    @classmethod
    def find(cls, index: int) -> torch.device:
        """The GPU of an index."""
        kind = cls.kind
        if not cls.is_available():
            raise cls.missing()
        count = cls.module().device_count()
        if index >= count:
            raise ResnetCliError(
                f"`device={kind}:{index}`: this machine has {count} {kind.upper()} device{'s' if count > 1 else ''}",
                f"use {kind}:0 to {kind}:{count - 1}" if count > 1 else f"use {kind}:0",
            )
        return torch.device(kind, index)

    @classmethod
    def for_rank(cls, local_rank: int, processes: int) -> torch.device:
        """A GPU for each process."""
        count = cls.module().device_count() if cls.is_available() else 0
        if processes > count:
            raise ResnetCliError(
                f"{processes} processes need a GPU each; this machine has {count or 'none'}",
                f"use {count} processes, or the cpu" if count else "use the cpu",
            )
        return cls.find(local_rank)

    def name(self) -> str:
        """Of the GPU."""
        return str(self.module().get_device_name(self.device))

    def total_memory(self) -> int | None:
        """Of the GPU."""
        return int(self.module().get_device_properties(self.device).total_memory)

    def free_memory(self) -> int | None:
        """What no process holds, and what torch's allocator holds without a tensor in it."""
        module = self.module()
        idle = module.memory_reserved(self.device) - module.memory_allocated(self.device)
        return int(module.mem_get_info(self.device)[0]) + int(idle)

    def synchronize(self) -> None:
        """Wait until the GPU is idle."""
        self.module().synchronize(self.device)

    def record_event(self) -> Event | None:
        """An event in the current stream."""
        event: Event = self.module().Event(enable_timing=True)
        event.record(self.module().current_stream(self.device))
        return event

    def hold_queue(self, seconds: float) -> bool:
        """Enqueue a kernel that counts clock cycles in a loop; older releases of torch do not have it for all kinds."""
        if not hasattr(self.module(), "_sleep"):
            return False
        if self._spin_rate is None:
            self._spin(_SPIN_CYCLES)  # the first call of a kernel loads it
            self._spin_rate = _SPIN_CYCLES / self._spin(_SPIN_CYCLES)
        self._enqueue_spin(max(1, int(seconds * self._spin_rate)))
        return True

    def _spin(self, cycles: int) -> float:
        """Seconds that the kernel takes."""
        begin = self.record_event()
        self._enqueue_spin(cycles)
        end = self.record_event()
        self.synchronize()
        assert begin is not None
        return max(begin.elapsed_time(end) / 1000, 1e-9)

    def _enqueue_spin(self, cycles: int) -> None:
        with self.module().device(self.device):
            self.module()._sleep(cycles)

    def reset_peak_memory(self) -> None:
        """The peak begins at what is allocated now."""
        self.module().reset_peak_memory_stats(self.device)

    def peak_memory(self) -> tuple[int, str] | None:
        """Of torch's allocator."""
        return int(self.module().max_memory_allocated(self.device)), "allocated"

    def empty_cache(self) -> None:
        """Release blocks that no tensor uses."""
        self.module().empty_cache()

    def profiler_activity(self) -> ProfilerActivity | None:
        """Its kernels, where torch was built with their tracing."""
        activity: ProfilerActivity = getattr(ProfilerActivity, self.activity)
        supported: set[ProfilerActivity] = torch.profiler.supported_activities()  # type: ignore[no-untyped-call]
        return activity if activity in supported else None
