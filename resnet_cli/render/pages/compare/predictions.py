"""The most probable classes of an image by both networks."""

from __future__ import annotations

from resnet_cli.render.document import Column, Element, Row, Table
from resnet_cli.render.pages.cells import exact, percent, text_cell, yes_no
from resnet_cli.results.compare import CompareResult


def predictions(result: CompareResult) -> list[Element]:
    """Both rankings side by side."""
    if not result.predictions:
        return []
    columns = (
        Column("rank", "rank"),
        Column("model_label", "model", numeric=False, minimum=8, comfort=20),
        Column("model_probability", "model prob."),
        Column("reference_label", "reference", numeric=False, minimum=8, comfort=20),
        Column("reference_probability", "reference prob."),
        Column("agrees", "", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "rank": exact(each.rank),
                "model_label": text_cell(each.model_label),
                "model_probability": percent(each.model_probability),
                "reference_label": text_cell(each.reference_label),
                "reference_probability": percent(each.reference_probability),
                "agrees": yes_no(each.model_label == each.reference_label, "", ""),
            }
        )
        for each in result.predictions
    )
    title = "predictions" if result.image is None else f"predictions for {result.image}"
    return [Table("predictions", title, columns, rows)]
