"""How the processes of one run agree: through the key-value store that every run of torch.distributed has.

A process that waits here sleeps. The barrier of a backend would spin instead, and take a processor from the one that
is measured meanwhile; and it would not learn that somebody failed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

_FAILED = "failed"
_SHORTEST_NAP = 0.001
TIMEOUT_S = 300.0  # of silence: longer than any step takes, shorter than anybody wants to look at nothing


class PeerGoneError(Exception):
    """Another process of this run failed, or cannot be heard any more.

    Args:
        message: in a sentence.
        told: it has said itself what went wrong.
    """

    def __init__(self, message: str, *, told: bool) -> None:
        super().__init__(message)
        self.told = told


class Store(Protocol):
    """What is asked of `torch.distributed.Store`."""

    def set(self, key: str, value: str, /) -> None:
        """Give a key its value."""

    def get(self, key: str, /) -> bytes:
        """The value of a key that is there."""

    def check(self, keys: list[str], /) -> bool:
        """Whether all of them are there."""


class CoordinationProtocol(Protocol):
    """Processes that measure something together."""

    def share(self, value: Any, nap_s: float = ...) -> list[Any]:
        """What each of them gives, in the order of the ranks; all get the same list."""

    def start(self) -> None:
        """Let all of them begin at once."""


class SingleProcess:
    """A process by itself."""

    def share(self, value: Any, nap_s: float = 0.0) -> list[Any]:  # as in Party
        """Nobody else gives anything."""
        return [value]

    def start(self) -> None:
        """Nobody has to be waited for."""


class Coordinator:
    """The processes of this run.

    Args:
        store: the same for all of them.
        rank: of this process.
        count: of processes.
        barrier: of the backend; those that come to it have met already, so that nobody spins there for long.
        patience_s: how long nothing may be heard of one.
        now: seconds of a clock.
        sleep: for so many seconds.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        count: int,
        *,
        barrier: Callable[[], object] = lambda: None,
        patience_s: float = TIMEOUT_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.rank, self.count = rank, count
        self._store, self._barrier = store, barrier
        self._patience, self._now, self._sleep = patience_s, now, sleep
        self._round = 0

    def share(self, value: Any, nap_s: float = 0.002) -> list[Any]:
        """Give the others a value that JSON can hold, and get theirs.

        Args:
            value: of this process.
            nap_s: how long to sleep between two looks at most; longer where it is long in coming.

        Raises:
            PeerGoneError: one of them failed or is silent.
        """
        self._round += 1
        ours = [f"{self._round}/{rank}" for rank in range(self.count)]
        everything = f"{self._round}/all"
        try:
            self._store.set(ours[self.rank], json.dumps(value))
            if self.rank == 0:
                self._hear(ours, nap_s)
                texts = [self._store.get(key).decode() for key in ours]
                self._store.set(everything, f"[{','.join(texts)}]")
            self._hear([everything], nap_s)
            shared: list[Any] = json.loads(self._store.get(everything))
        except RuntimeError as error:  # all that the store raises
            raise PeerGoneError("the process that holds the run together is gone", told=False) from error
        return shared

    def start(self) -> None:
        """Meet here, and then go at once.

        Raises:
            PeerGoneError: one of them failed or is silent.
        """
        self.share(None)
        try:
            self._barrier()
        except RuntimeError as error:
            raise self.gone() from error

    def fail(self) -> None:
        """Tell the others that this process failed, and will say why."""
        self._store.set(_FAILED, str(self.rank))

    def gone(self) -> PeerGoneError:
        """What is known of a process that does not answer."""
        try:
            if self._store.check([_FAILED]):
                return PeerGoneError(f"process {int(self._store.get(_FAILED))} of {self.count} failed", told=True)
        except RuntimeError:
            pass
        return PeerGoneError("another process of this run ended in the middle of it", told=False)

    def _hear(self, keys: Sequence[str], nap_s: float) -> None:
        begin = self._now()
        nap = min(_SHORTEST_NAP, nap_s)
        while not self._store.check(list(keys)):
            if self._store.check([_FAILED]):
                raise self.gone()
            if self._now() - begin > self._patience:
                raise PeerGoneError(f"another process of this run was silent for {self._patience:.0f} s", told=False)
            self._sleep(nap)
            nap = min(2 * nap, nap_s)
