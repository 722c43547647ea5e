"""Operators side by side, and the key map that follows from it, on sequences small enough to try every way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_cli.measure.graph import alignment
from resnet_cli.measure.graph.alignment import Pair, align, compatible, key_map
from resnet_cli.measure.graph.nodes import Node, ParameterRef

Shape = tuple[int, ...]


def conv(name: str, weight: Shape = (4, 4, 3, 3), bias: Shape | None = None, **settings: object) -> Node:
    leaves = {"weight": ParameterRef(f"{name}.weight", weight)}
    if bias is not None:
        leaves["bias"] = ParameterRef(f"{name}.bias", bias)
    return Node(0, "conv", {"stride": 1, **settings}, (), leaves, name, (1, 4, 8, 8))


def norm(name: str, channels: int = 4) -> Node:
    roles = ("weight", "bias", "running_mean", "running_var")
    leaves = {role: ParameterRef(f"{name}.{role}", (channels,)) for role in roles}
    return Node(0, "batch_norm", {}, (), leaves, name, (1, 4, 8, 8))


def plain(operator: str, shape: Shape = (1, 4, 8, 8), **settings: object) -> Node:
    return Node(0, operator, settings, (), {}, operator, shape)


def paths(pairs: Sequence[Pair]) -> list[tuple[str | None, str | None]]:
    return [(a.path if a else None, b.path if b else None) for a, b in pairs]


def test_equal_sequences_are_paired_in_order() -> None:
    ours = [conv("a"), plain("relu"), conv("b"), plain("relu")]
    theirs = [conv("x"), plain("relu"), conv("y"), plain("relu")]
    assert paths(align(ours, theirs)) == [("a", "x"), ("relu", "relu"), ("b", "y"), ("relu", "relu")]


def test_gaps_stand_where_something_is_missing() -> None:
    ours = [conv("a"), conv("b", (8, 4, 1, 1))]
    theirs = [conv("x"), norm("n"), conv("y", (8, 4, 1, 1))]
    assert paths(align(ours, theirs)) == [("a", "x"), (None, "n"), ("b", "y")]
    assert paths(align(theirs, ours)) == [("x", "a"), ("n", None), ("y", "b")]
    assert paths(align([], theirs)) == [(None, "x"), (None, "n"), (None, "y")]
    assert paths(align(ours, [])) == [("a", None), ("b", None)]


def test_similar_operators_are_paired_and_others_are_not() -> None:
    ours, theirs = [conv("a"), plain("gelu"), conv("b")], [conv("x"), plain("relu"), conv("y")]
    assert paths(align(ours, theirs)) == [("a", "x"), ("gelu", "relu"), ("b", "y")]
    theirs[1] = plain("add")
    assert ("gelu", None) in paths(align(ours, theirs))
    assert (None, "add") in paths(align(ours, theirs))
    assert compatible("max_pool", "avg_pool")
    assert compatible("conv", "linear")
    assert compatible("sub", "add")
    assert compatible("dropout", "dropout")
    assert not compatible("conv", "batch_norm")
    assert not compatible("relu", "add")


def test_sizes_settings_and_shapes_decide_between_candidates() -> None:
    narrow, wide = conv("narrow", (2, 4, 3, 3)), conv("wide", (8, 4, 3, 3))
    assert paths(align([conv("a", (8, 4, 3, 3))], [narrow, wide])) == [(None, "narrow"), ("a", "wide")]
    strided, plainly = conv("strided", stride=2), conv("plainly")
    assert paths(align([conv("a", stride=2)], [plainly, strided])) == [(None, "plainly"), ("a", "strided")]
    small, large = plain("relu", (1, 4, 4, 4)), plain("relu", (1, 4, 8, 8))
    pairs = align([plain("relu", (1, 4, 8, 8))], [small, large])
    assert [(b.shape if b else None) for a, b in pairs if a] == [(1, 4, 8, 8)]
    # A weight of another kind of as many values is a better partner than one of another number of them.
    linear = Node(0, "linear", {}, (), {"weight": ParameterRef("fc.weight", (4, 36))}, "fc", (1, 4))
    assert paths(align([linear], [conv("x", (2, 4, 3, 3)), conv("y", (4, 4, 3, 3))])) == [(None, "x"), ("fc", "y")]
    linear = Node(0, "linear", {}, (), linear.leaves | {"bias": ParameterRef("fc.bias", (4,))}, "fc", (1, 4))
    convs = [conv("x", (2, 4, 3, 3), (4,)), conv("y", (4, 4, 3, 3), (4,))]
    assert paths(align([linear], convs)) == [(None, "x"), ("fc", "y")]
    # One parameter of another size is enough.
    convs = [conv("x", (4, 4, 3, 3), (4,)), conv("y", (4, 8, 3, 3), (4,))]
    assert paths(align([conv("a", (4, 8, 3, 3), (4,))], convs)) == [(None, "x"), ("a", "y")]
    # Not only at the ends.
    pairs = align([conv("a", stride=2), plain("add")], [conv("plainly"), conv("strided", stride=2), plain("mean")])
    assert ("a", "strided") in paths(pairs)


def test_ends_that_are_equal_do_not_overlap() -> None:
    ours, theirs = [conv("a"), plain("relu"), norm("n")], [conv("x"), conv("y"), norm("m")]
    assert ("relu", "y") not in paths(align(ours, theirs))
    assert ("y", "relu") not in paths(align(theirs, ours))
    assert paths(align([conv("a")] * 3, [conv("x")])) == [("a", "x"), ("a", None), ("a", None)]


def test_known_parameters_go_before_what_looks_alike() -> None:
    ours, theirs = [conv("a"), conv("b")], [conv("x"), conv("y")]
    assert paths(align([conv("a")], theirs, {"a.weight": "y.weight"})) == [(None, "x"), ("a", "y")]
    assert paths(align(ours, theirs, {"a.weight": "x.weight", "b.weight": "y.weight"})) == [("a", "x"), ("b", "y")]
    theirs = [conv("y"), conv("x")]
    pairs = paths(align(ours, theirs, {"a.weight": "x.weight", "b.weight": "y.weight"}))
    assert ("a", "y") not in pairs
    assert ("b", "x") not in pairs
    assert len({("a", "x"), ("b", "y")} & set(pairs)) == 1  # they cross: one of them can be kept


def ways(ours: int, theirs: int) -> Iterator[list[tuple[int | None, int | None]]]:
    """Every alignment of so many with so many, by the numbers of both."""
    if not ours and not theirs:
        yield []
    if ours and theirs:
        yield from ([*way, (ours - 1, theirs - 1)] for way in ways(ours - 1, theirs - 1))
    if ours:
        yield from ([*way, (ours - 1, None)] for way in ways(ours - 1, theirs))
    if theirs:
        yield from ([*way, (None, theirs - 1)] for way in ways(ours, theirs - 1))


CONVOLUTIONS = [conv("c"), conv("d", (2, 4, 3, 3)), conv("e", (4, 4, 3, 3), stride=2), conv("f", (4, 4, 3, 3), (4,))]
OTHERS = [norm("n"), norm("o", 2), plain("relu"), plain("relu", (1, 2, 4, 4)), plain("gelu"), plain("add")]
NODES = st.lists(st.sampled_from(CONVOLUTIONS[:3] + OTHERS[:3]) | st.sampled_from(CONVOLUTIONS + OTHERS), max_size=4)
KNOWN = st.sampled_from([{}, {"c.weight": "c.weight"}, {"c.weight": "e.weight", "n.weight": "o.weight"}])


def worth(pairs: Sequence[Pair], known: dict[str, str]) -> float:
    return sum(alignment._score(a, b, known) if a and b else alignment._GAP for a, b in pairs)


@settings(max_examples=80)
@given(ours=NODES, theirs=NODES, known=KNOWN)
def test_the_alignment_has_the_best_score(ours: list[Node], theirs: list[Node], known: dict[str, str]) -> None:
    result = align(ours, theirs, known)
    assert [a for a, _ in result if a] == ours
    assert [b for _, b in result if b] == theirs
    every = (
        [(None if i is None else ours[i], None if j is None else theirs[j]) for i, j in way]
        for way in ways(len(ours), len(theirs))
    )
    assert worth(result, known) == pytest.approx(max(worth(pairs, known) for pairs in every))


def test_of_equal_operators_the_last_is_unmatched() -> None:
    ours, theirs = [conv("a"), conv("b"), conv("c"), plain("add")], [conv("x"), conv("y"), plain("mean")]
    assert paths(align(ours, theirs)) == [("a", "x"), ("b", "y"), ("c", None), ("add", None), (None, "mean")]
    assert paths(align(theirs, ours)) == [("x", "a"), ("y", "b"), ("mean", None), (None, "c"), (None, "add")]
    first, *block = [conv("c1"), norm("n1"), plain("relu"), conv("c2"), norm("n2")]
    projected = [first, *block, conv("skip", (4, 4, 1, 1)), norm("skip norm"), plain("add")]
    plain_block = [conv("c1", stride=2), *block, plain("add")]
    alone = [("skip", None), ("skip norm", None), ("add", "add")]
    assert paths(align(projected, plain_block))[-3:] == alone
    assert paths(align(plain_block, projected))[-3:] == [(b, a) for a, b in alone]


@settings(max_examples=20)
@given(
    data=st.lists(st.sampled_from(["relu", "gelu", "add", "max_pool", "mean"]), min_size=30, max_size=60),
    cuts=st.sets(st.integers(0, 29), max_size=2),
)
def test_a_banded_alignment_equals_the_full_one(data: list[str], cuts: set[int]) -> None:
    ours = [plain(operator) for operator in data]
    theirs = [node for place, node in enumerate(ours) if place not in cuts]
    with pytest.MonkeyPatch.context() as patch:
        whole = align(ours, theirs)
        patch.setattr(alignment, "_PLAIN_CELLS", 0)
        patch.setattr(alignment, "_BAND", 6)
        banded = align(ours, theirs)
    assert [a for a, _ in banded if a] == ours
    assert [b for _, b in banded if b] == theirs
    assert worth(banded, {}) == worth(whole, {})


def test_what_is_far_from_the_diagonal_is_found_in_a_long_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "_PLAIN_CELLS", 0)
    monkeypatch.setattr(alignment, "_BAND", 4)
    common = [conv(f"c{number}", (number + 1, 4, 3, 3)) for number in range(60)]
    model = [plain("relu") for _ in range(20)] + common + [conv("end")]
    reference = common + [plain("mean") for _ in range(20)] + [norm("end")]
    pairs = align(model, reference)
    assert all((node, node) in pairs for node in common)


def test_keys_follow_the_operators_that_read_them() -> None:
    pairs: list[Pair] = [(conv("a", bias=(4,)), conv("x", bias=(4,))), (norm("b"), norm("y")), (plain("relu"), None)]
    ours = {"a.weight": (4, 4, 3, 3), "a.bias": (4,), "b.weight": (4,), "b.bias": (4,), "b.running_mean": (4,)}
    theirs = {"x.weight": (4, 4, 3, 3), "x.bias": (4,), "y.weight": (4,), "y.bias": (4,), "y.running_mean": (4,)}
    result = key_map(pairs, ours, theirs)  # no running_var: a parameter that is in no state is in no map
    assert result.pairs == {name: name.replace("a.", "x.").replace("b.", "y.") for name in ours}
    assert result.clashes == ()


def test_unread_tensors_are_mapped_with_their_module() -> None:
    pairs: list[Pair] = [(norm("b"), norm("y"))]
    ours = {"b.weight": (4,), "b.num_batches_tracked": (), "b.count": (2,), "other.count": ()}
    theirs = {"y.weight": (4,), "y.num_batches_tracked": (), "y.count": (3,), "z.count": ()}
    assert key_map(pairs, ours, theirs).pairs == {
        "b.weight": "y.weight",
        "b.num_batches_tracked": "y.num_batches_tracked",
    }
    ours = {"b.weight": (4,), "b.seen": ()}
    assert key_map(pairs, ours, theirs).pairs == {"b.weight": "y.weight", "b.seen": "y.num_batches_tracked"}
    assert key_map(pairs, ours, theirs | {"y.more": ()}).pairs == {"b.weight": "y.weight"}  # which one is meant?
    ours = {"b.weight": (4,), "b.seen": (), "b.num_batches_tracked": ()}
    assert len(set(key_map(pairs, ours, theirs).pairs.values())) == len(key_map(pairs, ours, theirs).pairs)


def test_another_number_of_values_is_a_clash_and_the_rest_is_mapped() -> None:
    pairs: list[Pair] = [(conv("a", (8, 4, 3, 3), (4,)), conv("x", bias=(4,)))]
    ours, theirs = {"a.weight": (8, 4, 3, 3), "a.bias": (4,)}, {"x.weight": (4, 4, 3, 3), "x.bias": (4,)}
    result = key_map(pairs, ours, theirs)
    assert result.clashes == (("a.weight", "x.weight"),)
    assert result.pairs == {"a.bias": "x.bias"}


def test_a_shared_parameter_is_mapped_once() -> None:
    twice: list[Pair] = [(conv("a"), conv("x")), (conv("a"), conv("y"))]
    assert key_map(twice, {"a.weight": (4, 4, 3, 3)}, {"x.weight": (4, 4, 3, 3), "y.weight": (4, 4, 3, 3)}).pairs == {
        "a.weight": "x.weight"
    }
    twice = [(conv("a"), conv("x")), (conv("b"), conv("x"))]
    assert key_map(twice, {"a.weight": (4, 4, 3, 3), "b.weight": (4, 4, 3, 3)}, {"x.weight": (4, 4, 3, 3)}).pairs == {
        "a.weight": "x.weight"
    }
