"""The blocks of a network, each kind once."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.render.charts.layer_roles import blocks_of, stages
from resnet_cli.render.pages.layer_tree import signature, span
from resnet_cli.results.summary import Layer, SummaryResult


@dataclass(slots=True)
class Block:
    """One kind of block and all places where it stands."""

    key: str
    layer: Layer  # the first of them
    members: list[Layer]

    @property
    def title(self) -> str:
        """The path of the first, up to the last one's where there are several."""
        if len(self.members) == 1:
            return self.layer.path or self.layer.name
        return f"{span(self.layer.path, self.members[-1].path)} ×{len(self.members)}"


def blocks(summary: SummaryResult, prefix: str) -> tuple[Block, ...]:
    """The kinds of blocks in the order in which they first run; identical ones are one, single layers none.

    Args:
        summary: the layers.
        prefix: of the keys.
    """
    found: dict[object, Block] = {}
    for stage in stages(summary.root):
        for part in blocks_of(stage):
            if not part.children:
                continue  # one layer alone: there is no inside
            same = (part.layer_type, signature(part))
            if same in found:
                found[same].members.append(part)
            else:
                found[same] = Block(f"{prefix}{len(found)}", part, [part])
    return tuple(found.values())
