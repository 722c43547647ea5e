"""Tensors described in text, and what is wrong with a text that describes none."""

from __future__ import annotations

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.specs import TensorSpec, parse_arguments, parse_tensor


@pytest.mark.parametrize(
    ("text", "name", "tensor"),
    [
        ("float32[1,3,224,224]", "", TensorSpec((1, 3, 224, 224), "float32")),
        (" mask = BOOL [ 1 , 196 ] ", "mask", TensorSpec((1, 196), "bool")),
        ("int64[1,16]<1000", "", TensorSpec((1, 16), "int64", 1000)),
        ("x=float[2]", "x", TensorSpec((2,), None)),
        ("uint8[4]<256", "", TensorSpec((4,), "uint8", 256)),
        ("t=float64[]", "t", TensorSpec((), "float64")),
    ],
)
def test_a_tensor_in_text(text: str, name: str, tensor: TensorSpec) -> None:
    assert parse_tensor(text) == (name, tensor)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("flaot32[1,3]", "did you mean float32?"),
        ("fp16[1,3]", "use one of"),
        ("float32", "such as"),
        ("float32(1,3)", "such as"),
        ("float32[1,3", "such as"),
        ("[1,3]", "such as"),
        ("1,3,224,224", "such as"),
        ("x=", "such as"),
        ("", "such as"),
        ("x y=float32[1]", "such as"),
        ("=float32[1]", "such as"),
        ("a..b=float32[1]", "such as"),
        ("x=y=float32[1]", "such as"),
        ("float32[1,a]", "whole numbers"),
        ("float32[1,,2]", "whole numbers"),
        ("float32[0,3]", "whole numbers"),
        ("float32[-1,3]", "whole numbers"),
        ("float32[1.5]", "whole numbers"),
        ("float32[1,3]<5", "leave the < out"),
        ("bool[1]<2", "leave the < out"),
        ("int64[1]<0", "from 1"),
        ("int8[1]<129", "from 1 to 128"),
        ("int64[1]<", "such as"),
        ("float32[1000000,1000000,1000000]", "smaller"),
    ],
)
def test_what_describes_no_tensor_is_one_error(text: str, hint: str) -> None:
    with pytest.raises(ResnetCliError) as raised:
        parse_arguments([text])
    assert raised.value.exit_code == 2
    assert raised.value.message.startswith(f"`inputs={text}`")
    assert hint in (raised.value.hint or "")


def test_arguments_by_position_by_name_and_nested() -> None:
    one, two = TensorSpec((1, 2), "int64"), TensorSpec((3,), "bool")
    args, kwargs = parse_arguments(
        [
            "int64[1,2]",
            "x=bool[3]",
            "bool[3]",
            "batch.image=int64[1,2]",
            "batch.parts.1=bool[3]",
            "batch.parts.0=int64[1,2]",
        ]
    )
    assert args == (one, two)
    assert kwargs == {"x": two, "batch": {"image": one, "parts": [one, two]}}


@pytest.mark.parametrize(
    "texts", [("a=bool[1]", "a=bool[1]"), ("a=bool[1]", "a.b=bool[1]"), ("a.b=bool[1]", "a=bool[1]")]
)
def test_a_name_is_described_once(texts: tuple[str, str]) -> None:
    with pytest.raises(ResnetCliError, match="twice"):
        parse_arguments(texts)


def test_a_number_is_no_name() -> None:
    with pytest.raises(ResnetCliError, match="not the name"):
        parse_arguments(["0=bool[1]"])
