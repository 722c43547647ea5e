"""Factorizations and solvers: against their textbook algorithms, counted step by step, and published leading terms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.measure.ops.test_cost import counted

BATCH, SIZE, SIDES = 3, 5, 2


def elimination(rows: int, columns: int) -> int:
    """Products that Gaussian elimination subtracts."""
    return sum(1 for k in range(min(rows, columns)) for _ in range(k + 1, rows) for _ in range(k + 1, columns))


def substitution(size: int) -> int:
    """Products that one triangle's equations subtract, for one right side."""
    return sum(1 for row in range(size) for _ in range(row))


def cholesky(size: int) -> int:
    """Products that the algorithm of Cholesky subtracts, on and below the diagonal."""
    return sum(1 for k in range(size) for row in range(k + 1, size) for _ in range(k + 1, row + 1))


def matrices(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(BATCH, *shape)


def positive() -> Tensor:
    square = matrices(SIZE, SIZE)
    return square @ square.mT + torch.eye(SIZE)


SQUARE, RIGHT = matrices(SIZE, SIZE), matrices(SIZE, SIDES)
LU = BATCH * elimination(SIZE, SIZE)
TRIANGLE = BATCH * SIDES * substitution(SIZE)
CASES: dict[str, tuple[Callable[[], object], int]] = {
    "lu": (lambda: torch.linalg.lu_factor(SQUARE), LU),
    "lu of a wide matrix": (lambda: torch.linalg.lu(matrices(3, 7)), BATCH * elimination(3, 7)),
    "lu of a tall matrix": (lambda: torch.linalg.lu_factor(matrices(7, 3)), BATCH * elimination(7, 3)),
    "determinant": (lambda: torch.linalg.det(SQUARE), LU),
    "logarithm of the determinant": (lambda: torch.linalg.slogdet(SQUARE), LU),
    "solve": (lambda: torch.linalg.solve(SQUARE, RIGHT), LU + 2 * TRIANGLE),
    "solve from the right": (lambda: torch.linalg.solve(SQUARE, RIGHT.mT, left=False), LU + 2 * TRIANGLE),
    "solve one vector": (
        lambda: torch.linalg.solve(SQUARE[0], RIGHT[0, :, 0]),
        elimination(SIZE, SIZE) + 2 * substitution(SIZE),
    ),
    "one matrix, many right sides": (
        lambda: torch.linalg.solve(SQUARE[0], RIGHT),
        elimination(SIZE, SIZE) + 2 * TRIANGLE,
    ),
    "inverse": (lambda: torch.linalg.inv(SQUARE), LU + 2 * BATCH * SIZE * substitution(SIZE)),
    "triangle": (lambda: torch.linalg.solve_triangular(SQUARE, RIGHT, upper=True), TRIANGLE),
    "cholesky": (lambda: torch.linalg.cholesky(positive()), BATCH * (cholesky(SIZE) + SIZE**3)),  # with its argument
    "solve after cholesky": (lambda: torch.cholesky_solve(RIGHT, SQUARE), 2 * TRIANGLE),
    "nothing": (lambda: torch.linalg.solve(torch.ones(0, 0), torch.ones(0, 2)), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_macs_are_the_products_of_the_algorithm(case: str) -> None:
    call, macs = CASES[case]
    counting = counted(call)
    assert counting.macs == macs
    assert all(cost.macs_counted for _, cost in counting.seen)


@pytest.mark.parametrize(
    ("rows", "columns", "mode", "flops"),
    [  # Golub and Van Loan, Matrix Computations, 5.2: 2 n² (m - n/3), and as much again for a thin Q
        (600, 600, "r", 4 / 3 * 600**3),
        (900, 300, "r", 2 * 300**2 * 800),
        (300, 900, "r", 2 * 300**2 * 800),
        (900, 300, "reduced", 4 * 300**2 * 800),
        (600, 600, "reduced", 8 / 3 * 600**3),
        (900, 300, "complete", 2 * 300**2 * 800 + 4 * (900**2 * 300 - 900 * 300**2 + 300**3 / 3)),
    ],
)
def test_operations_of_qr_have_the_published_leading_term(rows: int, columns: int, mode: str, flops: float) -> None:
    x = torch.empty(rows, columns, device="meta")
    (cost,) = (cost for _, cost in counted(lambda: torch.linalg.qr(x, mode)).seen if cost.macs)
    assert cost.operations == pytest.approx(flops, rel=0.01)
    assert cost.macs == pytest.approx(flops / 2, rel=0.01)


def test_the_backward_pass_of_a_solver_is_counted() -> None:
    x = SQUARE.clone().requires_grad_()
    loss = torch.linalg.solve(x, RIGHT).sum()
    counting = counted(loss.backward)
    assert all(cost.macs_counted for _, cost in counting.seen)
    outer = BATCH * SIZE * SIZE * SIDES  # gradient of the matrix
    assert counting.macs == 2 * TRIANGLE + outer


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.linalg.eigh(positive()),
        lambda: torch.linalg.svd(SQUARE),
        lambda: torch.linalg.eigvals(SQUARE),
        lambda: torch.linalg.matrix_exp(SQUARE),
        lambda: torch.linalg.lstsq(SQUARE, RIGHT),
    ],
    ids=["eigenvalues of a symmetric matrix", "singular values", "eigenvalues", "exponential", "least squares"],
)
def test_what_iterates_has_no_count(call: Callable[[], object]) -> None:
    assert any(not cost.macs_counted for _, cost in counted(call).seen)
