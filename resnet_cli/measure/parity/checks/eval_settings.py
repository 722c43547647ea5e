"""What only a forward in eval mode shows: dropout, batch norms that take the statistics of the batch, and dtypes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from resnet_cli.measure.graph.alignment import Pair
from resnet_cli.measure.graph.diff import where
from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.parity.paired_forward import Step
from resnet_cli.results.compare import Difference

BY_BATCH, _BY_RUNNING = "statistics of the batch", "running statistics"


def eval_differences(pairs: Iterable[Pair], reference: str) -> list[Difference]:
    """Differences that only graphs in eval mode show.

    Args:
        pairs: operators of model and reference, recorded in eval mode.
        reference: its name in sentences.
    """
    differences = []
    for model_node, reference_node in pairs:
        if model_node is None:
            continue
        if model_node.operator == "dropout" and reference_node is None:
            text = f"{where(model_node)}: dropout is active in eval mode"
            differences.append(_difference("dropout", model_node, None, ("active", None), text))
        if reference_node is not None and model_node.operator == reference_node.operator == "batch_norm":
            by_batch = [node.settings.get("batch_statistics") for node in (model_node, reference_node)]
            if by_batch in ([True, False], [False, True]):
                values = [BY_BATCH if each else _BY_RUNNING for each in by_batch]
                text = (
                    f"{where(model_node)}: normalizes by the {values[0]} in eval mode, {reference} by the {values[1]}"
                )
                differences.append(_difference("batch_norm", model_node, reference_node, (values[0], values[1]), text))
    return differences


def dtype_differences(pairs: Iterable[Pair], steps: Mapping[int, Step], reference: str) -> list[Difference]:
    """Operators that compute in another dtype than the reference's, as under autocast.

    Args:
        pairs: operators of model and reference, recorded in eval mode.
        steps: of a forward in float32, by number of the model's operator.
        reference: its name in sentences.
    """
    differences = []
    for model_node, reference_node in pairs:
        dtypes = None if model_node is None or model_node.number not in steps else steps[model_node.number].dtypes
        if model_node is not None and dtypes is not None:
            names = [str(dtype).removeprefix("torch.") for dtype in dtypes]
            text = f"{where(model_node)}: {spoken(model_node.operator)} in {names[0]}, in {reference} in {names[1]}"
            differences.append(_difference("dtype", model_node, reference_node, (names[0], names[1]), text))
    return differences


def _difference(
    subject: str, model_node: Node, reference_node: Node | None, values: tuple[str, str | None], text: str
) -> Difference:
    reference_path = None if reference_node is None else reference_node.label
    return Difference("eval", "eval mode", subject, model_node.label, reference_path, *values, text)
