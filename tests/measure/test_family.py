"""`--all` and `--self-test` on a part of what they do, for their time; the whole is for the hand."""

from __future__ import annotations

import pytest

from resnet_cli.architectures import FAMILY
from resnet_cli.measure import family, self_test
from resnet_cli.measure.comparison import Question
from resnet_cli.measure.contenders import contenders
from resnet_cli.measure.mutations import MUTATIONS

SMALL = Question(shape=(2, 3, 32, 32), checks=("parameters", "settings", "eval"))


def test_members_of_the_family_are_torchvisions_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: FAMILY[name] for name in ("resnet18", "resnext50_32x4d")}
    monkeypatch.setattr(family, "FAMILY", some)
    told: list[tuple[str, int, int]] = []

    def tell(text: str, done: int = 0, of: int = 0) -> None:
        told.append((text, done, of))

    result = family.compare_family(SMALL, 10, progress=tell)
    assert result.same
    assert [(one.name, one.verdict, one.findings) for one in result.members] == [
        ("resnet18", "bitwise", 0),
        ("resnext50_32x4d", "bitwise", 0),
    ]
    # Of torchvision's metadata, less the classes that are not there: 990 x (512 or 2048 weights and a bias).
    assert [one.parameters for one in result.members] == [11_689_512 - 990 * 513, 25_028_904 - 990 * 2049]
    assert all(one.mapped == one.tensors for one in result.members)
    assert told[0] == ("resnet18: building both networks", 0, 2)
    assert {(done, of) for _, done, of in told} == {(0, 2), (1, 2)}


def test_planted_faults_are_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("missing-stem-relu", "momentum", "stride-in-other")
    some = tuple(one for one in MUTATIONS if one.key in keys or one.key.startswith("stride-in"))
    monkeypatch.setattr(self_test, "MUTATIONS", some)
    pair = contenders(FAMILY["resnet18"])
    result = self_test.self_test(pair.ours, pair.theirs, SMALL)
    assert [row.key for row in result.rows] == [one.key for one in some]
    planted = [row for row in result.rows if row.planted]
    assert (result.planted, result.detected, result.named) == (len(planted),) * 3
    assert result.same
    assert planted
    for row in result.rows:
        assert row.detected == row.planted
        assert row.text
