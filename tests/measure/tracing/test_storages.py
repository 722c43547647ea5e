"""Tensors of every layout: the storages and elements that they consist of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from resnet_cli.measure.tracing.storages import bytes_of, elements_of, storage_bytes, storages_of

DIAGONAL, FOUR, ONES = torch.eye(4), torch.arange(4), torch.ones(4)
# How to make a tensor, its elements, the bytes of its elements, and of its storages.
LAYOUTS: dict[str, tuple[Callable[[], Tensor], int, int, int]] = {
    "dense": (lambda: DIAGONAL, 16, 64, 64),
    "view": (lambda: DIAGONAL[0], 4, 16, 64),
    "expanded": (lambda: torch.ones(1).expand(1000), 1000, 4000, 4),
    "coordinates": (lambda: torch.sparse_coo_tensor(torch.stack([FOUR, FOUR]), ONES, (4, 4)), 4, 80, 80),
    "compressed rows": (lambda: torch.sparse_csr_tensor(torch.arange(5), FOUR, ONES), 4, 88, 88),
    "compressed columns": (lambda: torch.sparse_csc_tensor(torch.arange(5), FOUR, ONES), 4, 88, 88),
    "blocks": (lambda: torch.sparse_bsr_tensor(torch.arange(3), torch.arange(2), torch.ones(2, 2, 2)), 8, 72, 72),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_its_bytes(layout: str) -> None:
    make, elements, element_bytes, held = LAYOUTS[layout]
    tensor = make()
    assert (elements_of(tensor), bytes_of(tensor), storage_bytes([tensor, tensor])) == (elements, element_bytes, held)


def test_memory_that_torch_does_not_show_has_no_storage() -> None:
    assert storages_of(torch.ones(3).to_mkldnn()) == []
