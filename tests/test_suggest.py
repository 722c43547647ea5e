"""Suggestions for names that were mistyped."""

from resnet_cli.suggest import nearest


def test_case_does_not_matter() -> None:
    assert nearest("resnet18", ["VGG16", "ResNet18", "ResNet81"]) == "ResNet18"


def test_nothing_is_suggested_that_is_not_alike() -> None:
    assert nearest("resnet18", ["q"]) is None
