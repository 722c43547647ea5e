"""The page of a conversion."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import Table, ViewOptions
from resnet_cli.render.output import render
from resnet_cli.render.pages import page
from resnet_cli.results.common import Note
from resnet_cli.results.convert import ConvertedTensor, ConvertResult, WeightsFile
from resnet_cli.results.serialization import from_json, to_json
from tests.helpers.results_summary_flops import ENVIRONMENT, HOSTILE, NETWORK

TENSORS = (
    ConvertedTensor("head.conv.weight", "conv1.weight", (64, 3, 3, 3), "float16", "float32", 3456),
    ConvertedTensor("head.bn.num_batches_tracked", "bn1.num_batches_tracked", (), "int64", "int64", 8),
)
RESULT = ConvertResult(
    network=NETWORK,
    source=WeightsFile("run.pth", "torch", "torchvision", 46_830_000),
    target=WeightsFile("ours.safetensors", "safetensors", "ours", 23_410_000),
    key_path=("model", "state_dict"),
    prefix="module.",
    is_ema=False,
    ignored_entries=("optimizer", "epoch"),
    parameters=11_689_512,
    renamed=2,
    cast=1,
    overflowed=0,
    not_finite=0,
    tensors=TENSORS,
    environment=ENVIRONMENT,
    notes=(Note("warning", "one is NaN"),),
)


def text(result: ConvertResult, sections: tuple[str, ...] | None = None) -> str:
    return render(result, "terminal", ViewOptions(sections=sections))


def test_what_was_read_and_written() -> None:
    said = text(RESULT)
    for words in (
        "11.69 M parameters · 10 classes · cifar stem",
        "run.pth",
        "46.83 MB",
        "ours.safetensors",
        "23.41 MB",
        "2 tensors, all renamed, 1 cast from float32 to float16",
        "found under state_dict in model, with module. before every name",
        "left out: optimizer, epoch",
        "warning: one is NaN",
    ):
        assert words in said
    assert "head.conv.weight" not in said


def test_what_is_not_there_is_not_said() -> None:
    plain = replace(RESULT, key_path=(), prefix="", ignored_entries=(), renamed=0, cast=0, notes=())
    said = text(plain)
    assert "2 tensors, none renamed, every value bit for bit as it was (float16, int64)" in said
    assert "found" not in said
    assert "left out" not in said


def test_many_things_left_out_are_counted() -> None:
    said = text(replace(RESULT, ignored_entries=tuple(f"entry{number}" for number in range(20))))
    assert "entry7 and 12 more" in said
    assert "entry8" not in said


def test_the_tensors_on_request() -> None:
    tables = [part for part in page(RESULT, ViewOptions(sections=("tensors",))).elements if isinstance(part, Table)]
    assert [table.key for table in tables] == ["tensors"]
    assert [row.cells["shape"].text for row in tables[0].rows] == ["64×3×3×3", "scalar"]
    with pytest.raises(ResnetCliError, match="no section file"):
        text(RESULT, ("file",))


@pytest.mark.parametrize("kind", ["terminal", "markdown", "svg", "csv"])
def test_names_from_outside_are_made_safe(kind: str) -> None:
    hostile = replace(
        RESULT,
        network=replace(NETWORK, name=HOSTILE),
        source=WeightsFile(HOSTILE, HOSTILE, HOSTILE, 1),
        key_path=(HOSTILE,),
        prefix=HOSTILE,
        ignored_entries=(HOSTILE,),
        tensors=(replace(TENSORS[0], source=HOSTILE, dtype=HOSTILE),),
    )
    for sections in (("files", "tensors"), None):
        drawn = render(hostile, kind, ViewOptions(sections=sections))
        assert "\x1b[2J" not in drawn
        assert "\u202e" not in drawn


@given(st.integers(0, 10**18), st.text(st.characters(codec=None)), st.lists(st.integers(0, 10**9), max_size=5))
def test_it_survives_json(number: int, name: str, shape: list[int]) -> None:
    changed = replace(
        RESULT,
        overflowed=number,
        prefix=name,
        ignored_entries=(name,),
        tensors=(replace(TENSORS[0], name=name, shape=tuple(shape)),),
    )
    assert from_json(to_json(changed)) == changed
