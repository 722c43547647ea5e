"""The page that goes into an issue report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.measure.doctor.run import summarize_evidence
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.output import render
from resnet_cli.render.pages import page
from resnet_cli.results.doctor import Capability, DoctorResult, Package, Terminal, Variable
from resnet_cli.results.serialization import from_json, to_json
from tests.helpers.results_doctor import GOOD, HOST, NO_TORCH, broken_result
from tests.helpers.results_summary_flops import HOSTILE

BROKEN = broken_result()


@pytest.mark.parametrize("room", [80, 120])
def test_golden(room: int, golden: Callable[[str, str], None]) -> None:
    golden(f"doctor-{room}.txt", to_text(page(BROKEN, ViewOptions()), room))


def test_golden_for_an_issue_report_and_for_programs(golden: Callable[[str, str], None]) -> None:
    golden("doctor.md", render(BROKEN, "markdown"))
    golden("doctor.json", to_json(BROKEN))


@pytest.mark.parametrize("room", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(room: int) -> None:
    drawn = to_text(page(BROKEN, ViewOptions()), room)
    assert max(map(len, drawn.splitlines())) <= room
    for figure in ("17.18 GB", "137.4 GB", "80.00 GB", "✗ broken"):
        assert figure in drawn


def test_no_reason_is_cut_on_a_narrow_terminal() -> None:
    words = re.sub(r"\s+", "", to_text(page(BROKEN, ViewOptions()), 80))
    for one in BROKEN.capabilities:
        if one.fix is not None and "\x1b" not in one.reason:
            last = one.fix.split()[-1]
            assert last in words


def test_the_title_says_whether_anything_is_broken() -> None:
    assert page(BROKEN, ViewOptions()).title == "resnet-cli 0.1.0: broken here: torchvision"
    assert page(summarize_evidence(GOOD, ()), ViewOptions()).title.endswith("all that commands need works here")
    assert page(summarize_evidence(NO_TORCH, ()), ViewOptions()).title.endswith("broken here: torch")


def test_what_is_not_known_is_not_drawn_as_nought() -> None:
    host = replace(HOST, features=None, physical_cores=None, logical_cores=None, usable_cores=None, quota=None)
    host = replace(host, memory_bytes=None, memory_limit_bytes=None)
    drawn = render(replace(summarize_evidence(replace(NO_TORCH, host=host), ()), variables=()), "terminal")
    assert "instructions" not in drawn
    assert "set, and it changes" not in drawn
    lines = dict(re.findall(r"^(cores|cores usable|quota of cores|memory|memory limit) +(\S+)$", drawn, re.MULTILINE))
    assert lines == {
        "cores": "–",
        "cores usable": "–",
        "quota of cores": "none",
        "memory": "–",
        "memory limit": "none",
    }


@pytest.mark.parametrize("kind", ["terminal", "markdown", "svg", "csv"])
def test_names_from_outside_are_made_safe(kind: str) -> None:
    hostile = replace(
        BROKEN,
        packages=(Package(HOSTILE, HOSTILE),),
        host=replace(HOST, processor=HOSTILE, features=(HOSTILE,), system=HOSTILE),
        gpus=(replace(BROKEN.gpus[0], name=HOSTILE, driver=HOSTILE),),
        variables=(Variable(HOSTILE, HOSTILE),),
        terminal=Terminal(HOSTILE, True, 80, True),
        capabilities=(Capability(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, True),),
    )
    drawn = render(hostile, kind)
    assert "\x1b[2J" not in drawn
    assert "\u202e" not in drawn


def test_ascii_is_enough() -> None:
    assert to_text(page(BROKEN, ViewOptions()), 80, "ascii").isascii()


@pytest.mark.parametrize("result", [BROKEN, summarize_evidence(GOOD, ()), summarize_evidence(NO_TORCH, ())])
def test_it_reads_back_as_it_was(result: DoctorResult) -> None:
    assert from_json(to_json(result)) == result


@given(st.text(st.characters(codec=None)), st.none() | st.integers(0, 2**60), st.booleans())
def test_it_survives_json(name: str, number: int | None, flag: bool) -> None:
    changed = replace(
        BROKEN,
        ok=flag,
        host=replace(HOST, memory_bytes=number, usable_cores=number, features=(name,) if flag else None),
        torch=None if flag else BROKEN.torch,
        capabilities=(Capability(name, name, name, name, name if flag else None, flag),),
    )
    assert from_json(to_json(changed)) == changed
