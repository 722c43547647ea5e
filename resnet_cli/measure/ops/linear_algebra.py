"""Rules for operators that factorize matrices and solve equations with them.

Counts of multiplications and additions are those of LAPACK's routines: S. Blackford and J. Dongarra, *Installation
Guide for LAPACK*, LAPACK Working Note 41, appendix C. An addition there is paired with a multiplication, and the two
are one MAC; the remaining multiplications, divisions and roots are other operations. Operators that iterate until they
converge (eigenvalues, singular values, matrix functions, least squares) have no count, and no rule.

Each takes the positional arguments of a call, as the dispatcher gives them, and what it returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from resnet_cli.measure.ops.op_cost import OpCost, Rule, first_tensor, rule_of

# MACs and other operations of a routine.
Count = tuple[int, int]


def _lu(rows: int, columns: int) -> Count:
    """GETRF."""
    short, long = sorted((rows, columns))
    macs = (3 * short**2 * long - short**3 - 3 * short * long + short) // 6
    return macs, (2 * short * long - short**2 + short) // 2


def _cholesky(size: int) -> Count:
    """POTRF."""
    return (size**3 - size) // 6, size * (size + 1) // 2


def _inverse_from_cholesky(size: int) -> Count:
    """POTRI."""
    return (2 * size**3 - 3 * size**2 + size) // 6, size * (3 * size + 1) // 2


def _qr(rows: int, columns: int) -> Count:
    """GEQRF: the factor R, and Q as reflections."""
    short, long = sorted((rows, columns))
    macs = 6 * short**2 * long - 2 * short**3 + 5 * short
    if rows > columns:
        return (macs + 3 * short**2) // 6, 3 * short + short * rows
    return (macs - 3 * short**2 + 6 * short * long) // 6, 3 * short + short * columns


def _reflections_as_matrix(rows: int, columns: int, reflections: int) -> Count:
    """ORGQR: Q as a matrix."""
    k = reflections
    macs = 6 * rows * columns + 3 * (columns - rows) + 1 + k * (2 * k - 3 * (rows + columns))
    return k * macs // 3, k * (rows + columns - 2 - k)


def _triangles(size: int, triangles: int = 1, *, unit: int = 0) -> Count:
    """TRTRS: one right side, and triangles of which so many have a unit diagonal, by which nothing is divided."""
    return triangles * size * (size - 1) // 2, (triangles - unit) * size


def _total(*counts: tuple[int, Count]) -> OpCost:
    """The cost of routines, each called so many times."""
    macs = sum(calls * count[0] for calls, count in counts)
    operations = sum(calls * count[1] for calls, count in counts)
    return OpCost(macs, 2 * macs + operations, "L", {"L": macs, "E": operations})


def _matrices(tensor: Tensor) -> int:
    """The number of matrices in a batch."""
    size = tensor.shape[-2] * tensor.shape[-1]
    return tensor.numel() // size if size else 0


def _right_sides(solution: Tensor, matrix: Tensor) -> int:
    """The number of vectors that equations are solved for, in all matrices of a batch."""
    return solution.numel() // matrix.shape[-1] if matrix.shape[-1] else 0


def _factorized(count: Callable[[int, int], Count], *more: Count) -> Rule:
    def rule(args: Sequence[Any], out: Any) -> OpCost:
        matrix = args[0]
        return _total((_matrices(matrix), count(*matrix.shape[-2:])), *((_matrices(matrix), each) for each in more))

    return rule


def _square(count: Callable[[int], Count]) -> Rule:
    return _factorized(lambda _, size: count(size))


def _determinant(products: int) -> Rule:
    """LU, then so many operations for each element of its diagonal."""

    def rule(args: Sequence[Any], out: Any) -> OpCost:
        size = args[0].shape[-1]
        return _total((_matrices(args[0]), _lu(size, size)), (_matrices(args[0]), (0, products * size)))

    return rule


def _solved(position: int, triangles: int, unit: int = 0, *, with_lu: bool = False) -> Rule:
    """Triangular equations with the matrix at a position; `with_lu` factorizes it before."""

    def rule(args: Sequence[Any], out: Any) -> OpCost:
        matrix, solution = args[position], first_tensor(out)
        size = matrix.shape[-1]
        solve = (_right_sides(solution, matrix), _triangles(size, triangles, unit=unit))
        return _total((_matrices(matrix), _lu(size, size)), solve) if with_lu else _total(solve)

    return rule


def _qr_decomposition(args: Sequence[Any], out: Any) -> OpCost:
    """`linalg_qr`: R alone where the mode is "r", else Q as a matrix too."""
    rows, columns = args[0].shape[-2:]
    matrices, mode = _matrices(args[0]), args[1] if len(args) > 1 else "reduced"
    if mode == "r":
        return _total((matrices, _qr(rows, columns)))
    short = min(rows, columns)
    width = rows if mode == "complete" else short
    return _total((matrices, _qr(rows, columns)), (matrices, _reflections_as_matrix(rows, width, short)))


def _householder_product(args: Sequence[Any], out: Any) -> OpCost:
    rows, columns = args[0].shape[-2:]
    return _total((_matrices(args[0]), _reflections_as_matrix(rows, columns, args[1].shape[-1])))


LINEAR_ALGEBRA: Mapping[str, Rule] = {
    **rule_of("linalg_lu_factor_ex linalg_lu _linalg_lu", _factorized(_lu)),
    **rule_of("_linalg_det", _determinant(1)),
    **rule_of("_linalg_slogdet", _determinant(2)),  # logarithms, and their sum
    **rule_of("linalg_cholesky_ex cholesky", _square(_cholesky)),
    **rule_of("cholesky_inverse", _square(_inverse_from_cholesky)),
    **rule_of("geqrf", _factorized(_qr)),
    **rule_of("linalg_qr", _qr_decomposition),
    **rule_of("linalg_householder_product", _householder_product),
    # The inverse solves equations with the identity matrix; the factor L has a unit diagonal.
    **rule_of("_linalg_solve_ex linalg_inv_ex", _solved(0, 2, unit=1, with_lu=True)),
    **rule_of("linalg_lu_solve", _solved(0, 2, unit=1)),
    **rule_of("linalg_solve_triangular", _solved(0, 1)),
    **rule_of("triangular_solve", _solved(1, 1)),
    **rule_of("cholesky_solve _cholesky_solve_helper", _solved(1, 2)),
}
