"""Patterns behind the last block: dropout, normalized features, an activation of the logits."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.ops.settings import ACTIVATIONS
from resnet_cli.measure.parity.diagnosis.context import (
    DiffContext,
    Match,
    in_blocks,
    match,
    operators_after,
    place,
    places,
)

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
    blocks = context.blocks.residuals
    inside = [blocks[node.number].label for _, node in dropouts if node.number in blocks]
    where = places([place(row) for row, _ in dropouts])
    if last:
        where = "before the classifier"
    elif len(inside) == len(dropouts):
        where = in_blocks(list(dict.fromkeys(inside)), len(context.blocks.blocks))
    rates = {node.settings.get("p") for _, node in last or dropouts}
    p = rates.pop() if len(rates) == 1 else None
    active = [row for row in context.differences if (row.category, row.subject) == ("eval mode", "dropout")]
    too = ", active in eval mode too" if active else ""
    text = f"dropout{f' of {p:g}' if p is not None else ''} {where}{too}; {context.reference} has none"
    yield Match("dropout", text, [*(difference.finding for difference, _ in dropouts), *active])


def head_of_one_size(context: DiffContext) -> Iterator[Match]:
    """A pool or a classifier made for the maps of one image size, where the reference averages maps of any."""
    graph = context.model
    for difference in context.of("replaced", "mean"):
        pool = difference.model_node
        source = None if pool is None else next((graph.by_number.get(number) for number in pool.inputs), None)
        if pool is not None and source is not None and pool.settings.get("kernel") == source.shape[2:]:
            size = "×".join(map(str, source.shape[2:]))
            text = f"{place(difference)} averages {size} values, which is the whole map at this image size only"
            yield match("head-of-one-size", f"{text}; {context.reference} averages maps of any size", [difference])
    for difference, linear, _ in context.settings("linear.channels"):
        source = next((graph.by_number.get(number) for number in linear.inputs), None)
        averages = context.of("missing", "mean")
        averages += [row for row in context.of("replaced", "mean") if row.model_node is source]
        if (
            source is not None
            and averages
            and linear.settings["channels"][0] == prod(source.shape[1:]) > source.shape[1]
        ):
            size = "×".join(map(str, source.shape[2:]))
            text = f"the classifier reads each of {size} places; {context.reference} averages them first"
            yield match("head-of-one-size", text, [difference, *averages])


def deep_head(context: DiffContext) -> Iterator[Match]:
    """Several linear layers at the end."""
    layers = [node for node in context.model.nodes if node.operator == "linear"]
    expected = sum(node.operator == "linear" for node in context.structure.reference_graph.nodes)
    extra = context.extra("linear")
    if extra and expected == 1 and len(layers) > 1:
        numbers = {layers[0].number}
        for node in sorted(context.model.nodes, key=lambda node: node.number):
            if numbers & set(node.inputs):
                numbers.add(node.number)
        behind = context.within([node for node in context.model.nodes if node.number in numbers], [])
        text = f"the classifier has {len(layers)} linear layers; {context.reference}'s has one"
        yield match("deep-head", text, behind)


def final_activation(context: DiffContext) -> Iterator[Match]:
    """An activation of the logits, such as a softmax, which the loss applies once more."""
    for difference, node in context.extra(*_LOSSES, *(ACTIVATIONS - _LOSSES.keys())):
        if not context.readers.get(node.number):
            loss = f", which nn.{_LOSSES[node.operator]} applies too" if node.operator in _LOSSES else ""
            text = f"the network ends in {spoken(node.operator)}{loss}; {context.reference} returns logits"
            yield match("final-activation", text, [difference])


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
