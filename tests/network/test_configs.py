"""The built-in architectures, and what `resolve` makes of valid and invalid options."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_cli.errors import BAD_INPUT, ResnetCliError
from resnet_cli.network.architectures import ARCHITECTURES, DEPTHS, resolve


def test_the_family_is_torchvisions() -> None:
    import torchvision

    models: Any = torchvision.models
    assert set(ARCHITECTURES) == {name for name in models.list_models() if re.match("(wide_)?resne[tx]", name)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_depth_is_the_one_in_the_name(name: str) -> None:
    assert str(ARCHITECTURES[name].depth) in name
    assert ARCHITECTURES[name].depth in DEPTHS
    assert ARCHITECTURES[name].name == name


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_depth_is_a_plain_resnet(depth: int) -> None:
    assert resolve(depth) == ARCHITECTURES[f"resnet{depth}"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ResNet50", "resnet50"),
        ("resnet-18", "resnet18"),
        ("ResNeXt50-32x4d", "resnext50_32x4d"),
        ("RESNEXT101_64X4D", "resnext101_64x4d"),
        ("wide-resnet50-2", "wide_resnet50_2"),
        (" resnet34 ", "resnet34"),
    ],
)
def test_names_in_any_case_with_any_separator(written: str, meant: str) -> None:
    assert resolve(arch=written) == ARCHITECTURES[meant]


def test_a_depth_may_repeat_what_the_arch_says() -> None:
    assert resolve(50, "wide_resnet50_2") == ARCHITECTURES["wide_resnet50_2"]


@pytest.mark.parametrize("repeat", ["2,2,2,3", " 2, 2,2 ,3", (2, 2, 2, 3), [2, 2, 2, 3]])
def test_a_custom_repeat_shows_in_name_and_depth(repeat: Any) -> None:
    spec = resolve(repeat=repeat)

    assert spec.repeat == (2, 2, 2, 3)
    assert spec.name == "resnet18 with repeat 2,2,2,3"
    assert spec.depth == 20
    assert hash(spec)


def test_the_other_options_arrive() -> None:
    spec = resolve(
        34,
        in_channels=1,
        num_classes=10,
        stem="CIFAR",
        initialization="kaiming-uniform",
        zero_init_residual=True,
    )

    assert spec == dataclasses.replace(
        ARCHITECTURES["resnet34"],
        in_channels=1,
        num_classes=10,
        stem="cifar",
        initialization="kaiming-uniform",
        zero_init_residual=True,
    )


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"depth": 19}, "`depth=19`", "`depth=18`"),
        ({"depth": 110}, "`depth=110`", "`depth=101`"),
        ({"depth": 10**30}, f"`depth={10**30}`", "`depth=152`"),
        ({"arch": "resnet19"}, "`arch=resnet19` is not known", "did you mean `arch=resnet18`?"),
        ({"arch": "wide_resnet50"}, "`arch=wide_resnet50`", "did you mean `arch=wide_resnet50_2`?"),
        ({"arch": "vgg"}, "`arch=vgg`", "choose resnet18, resnet34"),
        ({"arch": ""}, "`arch=''`", "choose resnet18"),
        ({"arch": "a\x1b[31m"}, "\\x1b[31m", "choose"),
        ({"arch": "x" * 10_000}, "…", "choose"),
        (
            {"depth": 18, "arch": "ResNet50"},
            "`depth=18` contradicts `arch=resnet50`, whose depth is 50",
            "one",
        ),
        ({"repeat": "2,x"}, "`repeat=2,x`: x is not a whole number", "`repeat=2,2,2,2`"),
        ({"repeat": ""}, "`repeat=''`", "`repeat=2,2,2,2`"),
        ({"repeat": "2,2,2,2.0"}, "2.0 is not a whole number", "`repeat=2,2,2,2`"),
        ({"repeat": "2,2,2"}, "`repeat=2,2,2` has 3 values for 4 stages", "`repeat=2,2,2,2`"),
        ({"repeat": (2, 2, 2, 2, 2)}, "`repeat=2,2,2,2,2` has 5", "`repeat=2,2,2,2`"),
        ({"repeat": "2,0,2,2"}, "`repeat=2,0,2,2`: a stage has 1 to 1000 blocks, not 0", "`repeat=2,2,2,2`"),
        ({"repeat": "2,2,2," + "9" * 5000}, "a stage has 1 to 1000 blocks", "`repeat=2,2,2,2`"),
        ({"in_channels": 0}, "`in_channels=0", "from 1 to"),
        ({"num_classes": 10**20}, "`num_classes", "from 1 to"),
        ({"stem": "imagnet"}, "`stem=imagnet`", "did you mean `stem=imagenet`?"),
        ({"stem": "s2d"}, "`stem=s2d`", "choose imagenet or cifar"),
        ({"initialization": "zeros"}, "`initialization=zeros`", "choose pytorch, torchvision or kaiming-uniform"),
        ({"initialization": "pytroch"}, "`initialization=pytroch`", "did you mean `initialization=pytorch`?"),
    ],
)
def test_invalid_options_are_refused_with_a_hint(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ResnetCliError) as caught:
        resolve(**options)

    error = caught.value
    assert message in error.message
    assert hint in str(error.hint)
    assert error.exit_code == BAD_INPUT
    assert error.message.isprintable()
    assert len(error.message) < 300
    assert not error.message.endswith(".")


@settings(max_examples=25)
@given(st.text(), st.text(), st.integers(), st.integers())
def test_any_text_gives_a_spec_or_an_error(arch: str, repeat: str, ni: int, no: int) -> None:
    requests: list[dict[str, Any]] = [
        {"arch": arch},
        {"repeat": repeat},
        {"stem": arch},
        {"in_channels": ni, "num_classes": no},
    ]
    complaints = []
    for request in requests:
        try:
            resolve(**request)
        except ResnetCliError as error:
            complaints.append(error.message)

    assert all(complaint.isprintable() for complaint in complaints)
