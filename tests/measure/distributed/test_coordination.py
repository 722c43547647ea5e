"""Processes that agree, as threads around a store in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from resnet_cli.measure.distributed.coordination import Coordinator, PeerGoneError, SingleProcess


class Memory:
    """A store of this process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def set(self, key: str, value: str, /) -> None:
        self.values[key] = value.encode()

    def get(self, key: str, /) -> bytes:
        return self.values[key]

    def check(self, keys: list[str], /) -> bool:
        return all(key in self.values for key in keys)


def all_at_once(count: int, act: Callable[[Coordinator], Any]) -> list[Any]:
    """What each of so many members did or raised."""
    store = Memory()
    found: list[Any] = [None] * count

    def run(rank: int) -> None:
        try:
            found[rank] = act(Coordinator(store, rank, count))
        except PeerGoneError as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return found


def test_everybody_gets_what_everybody_gave() -> None:
    def act(peers: Coordinator) -> list[list[Any]]:
        return [peers.share(peers.rank), peers.share({"rank": peers.rank, "times": [0.5]})]

    expected = [[0, 1, 2], [{"rank": rank, "times": [0.5]} for rank in range(3)]]
    assert all_at_once(3, act) == [expected] * 3


def test_one_alone_gets_its_own() -> None:
    party = SingleProcess()
    party.start()
    assert party.share([1, "a"]) == [[1, "a"]]


def test_nobody_starts_before_the_last_one_has_come() -> None:
    came: list[int] = []

    def act(peers: Coordinator) -> int:
        came.append(peers.rank)
        peers.start()
        return len(came)

    assert all_at_once(4, act) == [4] * 4


def test_a_failure_reaches_those_who_wait() -> None:
    def act(peers: Coordinator) -> object:
        if peers.rank == 1:
            peers.fail()
            return None
        return peers.share(None)

    found = all_at_once(3, act)
    for rank in (0, 2):
        assert isinstance(found[rank], PeerGoneError)
        assert found[rank].told
        assert str(found[rank]) == "process 1 of 3 failed"


def test_silence_has_an_end() -> None:
    seconds = [0.0]

    def sleep(nap: float) -> None:
        assert 0 < nap <= 0.25
        seconds[0] += nap

    peers = Coordinator(Memory(), 0, 2, patience_s=60, now=lambda: seconds[0], sleep=sleep)
    with pytest.raises(PeerGoneError, match="silent for 60 s") as raised:
        peers.share(None, 0.25)
    assert not raised.value.told
    assert 60 < seconds[0] < 61


def test_a_barrier_that_breaks_is_somebody_elses_end() -> None:
    def broken() -> None:
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(PeerGoneError, match="ended in the middle") as raised:
        Coordinator(Memory(), 0, 1, barrier=broken).start()
    assert not raised.value.told


class Lost(Memory):
    def check(self, keys: list[str], /) -> bool:
        raise RuntimeError("Broken pipe")


def test_a_store_that_is_gone_is_told() -> None:
    with pytest.raises(PeerGoneError, match="holds the run together"):
        Coordinator(Lost(), 0, 2).share(None)


@pytest.mark.parametrize(
    ("longest", "first"), [(0.008, [0.001, 0.002, 0.004, 0.008, 0.008]), (0.0005, [0.0005, 0.0005])]
)
def test_naps_grow_up_to_the_longest(longest: float, first: list[float]) -> None:
    naps: list[float] = []
    peers = Coordinator(Memory(), 0, 2, patience_s=1.0, now=lambda: sum(naps), sleep=naps.append)
    with pytest.raises(PeerGoneError):
        peers.share(None, longest)
    assert naps[: len(first)] == first
    assert max(naps) == longest


def test_patience_is_for_each_meeting_anew() -> None:
    store = Memory()
    seconds = [0.0]

    def sleep(nap: float) -> None:
        seconds[0] += 40.0
        store.set(f"{len(met) + 1}/1", '"late"')

    met: list[Any] = []
    peers = Coordinator(store, 0, 2, patience_s=60, now=lambda: seconds[0], sleep=sleep)
    for _ in range(3):
        met.append(peers.share("here"))
    assert met == [["here", "late"]] * 3


def test_the_barrier_comes_after_all_have_met() -> None:
    store = Memory()
    seen: list[bool] = []
    peers = Coordinator(store, 0, 1, barrier=lambda: seen.append(store.check(["1/all"])))
    peers.start()
    assert seen == [True]


def test_a_barrier_that_breaks_by_a_failure_that_was_told_names_it() -> None:
    store = Memory()
    store.set("1/1", "null")  # it came

    def broken() -> None:
        Coordinator(store, 1, 2).fail()
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(PeerGoneError) as raised:
        Coordinator(store, 0, 2, barrier=broken).start()
    assert str(raised.value) == "process 1 of 2 failed"
    assert raised.value.told


def test_of_a_store_that_is_gone_nothing_more_is_known() -> None:
    gone = Coordinator(Lost(), 0, 2).gone()
    assert str(gone) == "another process of this run ended in the middle of it"
    assert not gone.told
