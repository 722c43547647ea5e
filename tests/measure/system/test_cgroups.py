"""Control groups as Linux shows them: version 1, version 2, both at once, in a container and outside of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_cli.measure.system import cgroups

HYBRID = """9:name=systemd:/
4:memory:/box/one
3:cpuset:/
1:cpu,cpuacct:/
0::/
"""


def lay(root: Path, files: dict[str, str]) -> Path:
    """A file system with these files below its control groups; "own" is what the process says of itself."""
    for name, text in files.items():
        path = root / ("proc/self/cgroup" if name == "own" else f"sys/fs/cgroup/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({"own": "0::/\n", "cpu.max": "max 100000\n"}, None),
        ({"own": "0::/\n", "cpu.max": "50000 100000\n"}, 0.5),
        # The strictest of all groups above counts; the root itself has no such file.
        ({"own": "0::/a/b\n", "a/b/cpu.max": "400000 100000\n", "a/cpu.max": "250000 100000\n"}, 2.5),
        ({"own": "0::/a/b\n", "a/b/cpu.max": "max 100000\n", "a/cpu.max": "max 100000\n"}, None),
        # A path that a container does not see: what stands at the root is its own.
        ({"own": "0::/far/away\n", "cpu.max": "300000 100000\n"}, 3.0),
        ({"own": HYBRID, "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"own": HYBRID, "cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        (
            {
                "own": "5:cpu,cpuacct:/box\n",
                "cpu,cpuacct/box/cpu.cfs_quota_us": "200000\n",
                "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        ({"own": "0::/\n", "cpu.max": "nonsense\n"}, None),
        ({"own": "0::/\n", "cpu.max": "50000 0\n"}, None),
        ({"own": "?\n", "cpu.max": "50000 100000\n"}, 0.5),
        ({}, None),
    ],
)
def test_processors_that_the_quotas_leave(files: dict[str, str], granted: float | None, tmp_path: Path) -> None:
    assert cgroups.cpu_quota(lay(tmp_path, files)) == granted


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"own": "0::/\n", "cpu.stat": "usage_usec 9\n"}, None),
        ({"own": "0::/a\n", "a/cpu.stat": "usage_usec 9\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\n"}, 3),
        ({"own": "0::/a/b\n", "a/b/cpu.stat": "nr_throttled 3\n", "a/cpu.stat": "nr_throttled 4\n"}, 7),
        ({"own": HYBRID, "cpu/cpu.stat": "nr_periods 7\nnr_throttled 2\nthrottled_time 5\n"}, 2),
        ({}, None),
    ],
)
def test_how_often_a_quota_was_used_up(files: dict[str, str], count: int | None, tmp_path: Path) -> None:
    assert cgroups.throttle_count(lay(tmp_path, files)) == count


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"own": "0::/\n", "memory.max": "max\n", "memory.current": "900\n"}, None),
        ({"own": "0::/\n", "memory.max": "1000\n", "memory.current": "900\n"}, 100),
        (
            {
                "own": "0::/a/b\n",
                "a/b/memory.max": "max\n",
                "a/b/memory.current": "900\n",
                "a/memory.max": "2000\n",
                "a/memory.current": "1900\n",
                "a/memory.stat": "anon 5\ninactive_file 50\n",
            },
            150,
        ),
        # Version 1: the figures of the group alone come first in the file, those with all below it later.
        (
            {
                "own": HYBRID,
                "memory/box/one/memory.limit_in_bytes": "5000\n",
                "memory/box/one/memory.usage_in_bytes": "4000\n",
                "memory/box/one/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "4000\n",
            },
            1300,
        ),
        ({"own": "0::/größe/x\n", "größe/memory.max": "1000\n", "größe/memory.current": "900\n"}, 100),
        ({"own": "0::/\n", "memory.max": "1000\n", "memory.current": "1200\n"}, 0),
        *(
            (
                {
                    "own": "0::/a/b\n",
                    f"{tight}/memory.max": "1000\n",
                    f"{tight}/memory.current": "950\n",
                    f"{wide}/memory.max": "2000\n",
                    f"{wide}/memory.current": "1200\n",
                },
                50,
            )
            for tight, wide in (("a", "a/b"), ("a/b", "a"))
        ),
        (
            {
                "own": HYBRID,
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": "4000\n",
            },
            None,
        ),
        ({"own": "0::/\n", "memory.max": "1000\n"}, None),
        ({}, None),
    ],
)
def test_memory_that_the_limits_leave(files: dict[str, str], left: int | None, tmp_path: Path) -> None:
    assert cgroups.free_bytes(lay(tmp_path, files)) == left


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"own": "0::/\n", "memory.max": "max\n"}, None),
        ({"own": "0::/a/b\n", "a/b/memory.max": "3000\n", "a/memory.max": "2000\n"}, 2000),
        ({"own": HYBRID, "memory/box/one/memory.limit_in_bytes": "5000\n"}, 5000),
        ({"own": HYBRID, "memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_memory_that_the_limits_grant(files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    assert cgroups.limit_bytes(lay(tmp_path, files)) == limit
