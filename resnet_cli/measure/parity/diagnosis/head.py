"""Patterns behind the last block: dropout, normalized features, an activation of the logits."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, match, operators_after, place

_LOSSES = {
    "softmax": "CrossEntropyLoss",
    "_log_softmax": "CrossEntropyLoss",
    "log_softmax": "CrossEntropyLoss",
    "sigmoid": "BCEWithLogitsLoss",
    "log_sigmoid": "BCEWithLogitsLoss",
}


def dropout(context: DiffContext) -> Iterator[Match]:
    """Dropout that the reference does not have."""
    dropouts = context.extra("dropout")
    if not dropouts:
        return
    last = [row for row in dropouts if "linear" in operators_after(context.readers, row[1])]
    difference, node = (last or dropouts)[0]
    p = node.settings.get("p")
    where = "before the classifier" if last else f"at {place(difference)}"
    text = f"dropout{f' of {p:g}' if p is not None else ''} {where}; {context.reference} has none"
    yield match("dropout", text, [difference for difference, _ in dropouts])


def final_activation(context: DiffContext) -> Iterator[Match]:
    """A softmax or sigmoid of the logits, which the loss applies once more."""
    for difference, node in context.extra(*_LOSSES):
        if not context.readers.get(node.number):
            name = spoken(node.operator.removeprefix("_"))
            text = f"the network ends in {name}, which nn.{_LOSSES[node.operator]} applies too"
            yield match("final-activation", f"{text}; {context.reference} returns logits", [difference])


def normalized_features(context: DiffContext) -> Iterator[Match]:
    """Activations divided by their norm, as by `F.normalize`."""
    graph = context.model
    for difference, division in context.extra("div"):
        norms = [graph.by_number[number] for number in division.inputs if number in graph.by_number]
        while norms and not any(node.operator == "linalg_vector_norm" for node in norms):
            norms = [
                graph.by_number[number]
                for node in norms
                if node.operator in ("clamp_min", "clamp", "expand", "add")
                for number in node.inputs
                if number in graph.by_number
            ]
        if norms:
            above = [difference]
            above += context.within([node for node in graph.nodes if node.label == division.label], [], "extra")
            text = f"activations are divided by their norm at {place(difference)} (F.normalize)"
            yield match("normalized-features", f"{text}; {context.reference} does not normalize them", above)
