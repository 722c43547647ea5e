"""What a name of a network is taken apart into."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.naming.grammar import NetworkName, parse

CALL = "ResNet(BasicBlock, [2, 2, 2, 2], width={'a': 1}, at='x@y')"


@pytest.mark.parametrize(
    ("text", "kind", "where", "name", "call", "revision"),
    [
        ("resnet50", "built-in", "", "resnet50", None, None),
        ("ResNet-18", "built-in", "", "ResNet-18", None, None),
        ("resnet18(stem='cifar')", "built-in", "", "resnet18", "resnet18(stem='cifar')", None),
        ("resnet18(stem='a:b')", "built-in", "", "resnet18", "resnet18(stem='a:b')", None),
        ("torchvision:resnet50", "torchvision", "", "resnet50", None, None),
        ("torchvision:resnet50(num_classes=3)", "torchvision", "", "resnet50", "resnet50(num_classes=3)", None),
        ("timm:resnet50d", "timm", "", "resnet50d", None, None),
        ("net.py:Net", "python", "net.py", "Net", None, None),
        ("a/net.py:Space.Net", "python", "a/net.py", "Space.Net", None, None),
        ("C:\\nets\\net.py:Net", "python", "C:\\nets\\net.py", "Net", None, None),
        ("package.module:make", "python", "package.module", "make", None, None),
        ("torchvision.models:resnet18", "python", "torchvision.models", "resnet18", None, None),
        (f"net.py:{CALL}", "python", "net.py", "ResNet", CALL, None),
        ("net.py:Net@HEAD~1", "python", "net.py", "Net", None, "HEAD~1"),
        ("net.py:Net@HEAD@{1}", "python", "net.py", "Net", None, "HEAD@{1}"),
        ("net.py:Net@topic/a-b", "python", "net.py", "Net", None, "topic/a-b"),
        (f"net.py:{CALL}@v1.0", "python", "net.py", "ResNet", CALL, "v1.0"),
        ("net.py", "python", "net.py", "", None, None),
    ],
)
def test_names(text: str, kind: str, where: str, name: str, call: str | None, revision: str | None) -> None:
    assert parse(text) == NetworkName(text, kind, where, name, call, revision)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "net.py:Net(",
        "net.py:Net(1)(2)",
        "net.py:Net(a b)",
        "net.py:Net@",
        "torchvision:resnet18@HEAD",
        "net.py:[N()][0]()",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ResnetCliError, match=r"net\.py|torchvision"):
        parse(text)


@given(st.text(max_size=30))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    with contextlib.suppress(ResnetCliError):
        assert parse(text).text == text


def test_arguments_of_libraries_are_constants() -> None:
    assert parse("timm:net(1, in_chans=[2, 3])").literal_arguments() == ([1], {"in_chans": [2, 3]})
    for call in ("timm:net(block=Basic)", "timm:net(**{'a': 1})"):
        with pytest.raises(ResnetCliError, match="net"):
            parse(call).literal_arguments()


def test_the_spec_of_a_built_in_name() -> None:
    spec = parse("resnet18(stem='cifar', num_classes=10)").spec({"num_classes": 5, "in_channels": 1})
    assert (spec.name, spec.stem, spec.num_classes, spec.in_channels) == ("resnet18", "cifar", 10, 1)


@pytest.mark.parametrize("call", ["(10)", "(classes=10)", "(stem='cifar10')", "(num_classes='ten')", "(stem=3)"])
def test_arguments_that_a_built_in_network_does_not_take(call: str) -> None:
    with pytest.raises(ResnetCliError):
        parse(f"resnet18{call}").spec()
