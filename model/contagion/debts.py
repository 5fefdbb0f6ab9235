"""A clearing problem as it is given: who owes whom, who has what, who is paid first, checked and laid out as columns."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from model.contagion.rules import PaymentRule

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]
type Sparse = sparse.csr_array[np.float64, tuple[int, int]]

Seniority = Literal["pari_passu", "external_senior", "interbank_senior"]

_REAL: Final = "biuf"
"""Kinds of array that are real numbers."""


@dataclass(frozen=True, eq=False)
class Debts:
    """A clearing problem of n nodes. Arrays have shape (n,) and the unit of money of the inputs unless they say otherwise.

    With y_j the share that j pays of its debts within the network and c_ji the margin that i holds against it, i gets Σ_j min(L_ji,
    c_ji + L_ji y_j). A debt is open if y_j is so low that this minimum is its second term; what the others bring does not depend on y.

    Attributes:
        owed: (n, n) sparse rows, [i, j] is what i owes to j.
        claims: (n, n) sparse rows, open debts transposed: [i, j] is what j owes to i, 0 if it is covered.
        amounts, margins: per entry of `claims`, the debt and the margin held against it; `margins` is None if there are none.
        fixed: what i gets whatever y is.
        assets, external, within, nominal: external assets, external debts, debts within the network, all debts.
        base: debts that share alike in a default; senior: what comes before them.
        slope, offset: a defaulter could pay the share slope @ y + offset of its debts within, shapes (n, n) and (n,).
        weights: of the payment rule, shape (3, n).
    """

    owed: Sparse
    claims: Sparse
    amounts: Floats
    margins: Floats | None
    fixed: Floats
    assets: Floats
    external: Floats
    within: Floats
    nominal: Floats
    base: Floats
    senior: Floats
    slope: Sparse
    offset: Floats
    weights: tuple[Floats, Floats, Floats]
    seniority: str

    @property
    def rising(self) -> bool:
        """Whether a defaulter may have nothing for the network although it is paid something."""
        return self.seniority == "external_senior"

    @property
    def amplifies(self) -> bool:
        """Whether some node passes on more than it lacks."""
        return bool((self.weights[2] > 1.0).any())

    def receipts(self, fractions: Floats) -> Floats:
        """What each node gets from within the network if all pay `fractions` of their debts there."""
        got: Floats = self.fixed + self.claims @ fractions
        return got

    def estate(self, receipts: Floats) -> Floats:
        """What a defaulter sets aside for its creditors, given its receipts; at least 0."""
        nominal, assets, paid = self.weights
        return np.maximum(nominal * self.nominal + assets * self.assets + paid * receipts, 0.0)

    def affordable(self, fractions: Floats) -> Floats:
        """What share of its debts within the network each node could pay as a defaulter, unclipped, if all pay `fractions`."""
        share: Floats = self.slope @ fractions + self.offset
        return share

    def opened(self, fractions: Floats) -> "Debts | None":
        """The problem with the debts open that margin does not cover at `fractions`; None if no more are than before."""
        if self.margins is None:
            return None
        still = self.margins + self.amounts * fractions[self.claims.indices] < self.amounts
        if not (still & (self.claims.data == 0.0)).any():
            return None
        return self.laid_out(still | (self.claims.data > 0.0))

    def laid_out(self, still: Flags) -> "Debts":
        """The same problem with exactly the debts `still` open, one flag an entry of `claims`."""
        assert self.margins is not None
        claims = self._entries(np.where(still, self.amounts, 0.0))
        fixed = self._entries(np.where(still, self.margins, self.amounts)) @ np.ones(self.assets.size)
        return replace(self, claims=claims, fixed=fixed).with_terms()

    def _entries(self, values: Floats) -> Sparse:
        matrix: Sparse = sparse.csr_array((values, self.claims.indices, self.claims.indptr), shape=self.claims.shape)
        return matrix

    def with_terms(self) -> "Debts":
        """With `slope` and `offset` worked out from the rest."""
        nominal, assets, paid = self.weights
        rest = nominal * self.nominal + assets * self.assets + paid * self.fixed - self.senior
        base, entries = np.where(self.base > 0, self.base, np.inf), np.diff(self.claims.indptr)
        with np.errstate(over="ignore"):  # a node that owes next to nothing can afford any multiple of it
            slope = self._entries(self.claims.data * np.repeat(paid, entries) / np.repeat(base, entries))
            return replace(self, slope=slope, offset=rest / base)


def read(liabilities: Any, assets: ArrayLike, external: ArrayLike | None, rule: PaymentRule, seniority: str, margin: Any | None) -> Debts:
    """The inputs as columns.

    Raises:
        ValueError: says which input is wrong, and how.
    """
    if seniority not in get_args(Seniority):
        raise ValueError(f"seniority: expected one of {', '.join(get_args(Seniority))}, found {seniority!r}")
    owed = square("liabilities", liabilities)
    own = owed.diagonal()
    if own.any():
        node = int(np.flatnonzero(own)[0])
        raise ValueError(f"liabilities: expected a zero diagonal, found that node {node} owes itself {own[node]}")
    nodes = owed.shape[0]
    held = column("external_assets", assets, nodes)
    outside = np.zeros(nodes) if external is None else column("external_liabilities", external, nodes)
    within = owed @ np.ones(nodes)
    nominal = within + outside
    if not np.isfinite(nominal).all() or not np.isfinite(owed.sum() + held.sum()):
        raise ValueError("liabilities: expected amounts whose totals are finite")
    claims: Sparse = owed.T.tocsr()
    margins = None if margin is None else _alongside(claims, square("margin", margin))
    debts = Debts(
        owed=owed,
        claims=claims,
        amounts=claims.data,
        margins=margins,
        fixed=np.zeros(nodes),
        assets=held,
        external=outside,
        within=within,
        nominal=nominal,
        base=nominal if seniority == "pari_passu" else within,
        senior=outside if seniority == "external_senior" else np.zeros(nodes),
        slope=claims,
        offset=held,
        weights=rule.weights(nodes),
        seniority=seniority,
    )
    return debts.with_terms() if margins is None else debts.laid_out(np.zeros(claims.nnz, dtype=np.bool_))


def _alongside(claims: Sparse, margin: Sparse) -> Floats:
    """Entries of `margin`, [i, j] held by j against i, in the order of those of `claims`; zero where there are none."""
    if margin.shape != claims.shape:
        raise ValueError(f"margin: expected shape {claims.shape}, found {margin.shape}")
    turned = margin.T.tocsr()
    size = claims.shape[0]
    wanted = np.repeat(np.arange(size), np.diff(claims.indptr)) * size + claims.indices
    held = np.repeat(np.arange(size), np.diff(turned.indptr)) * size + turned.indices
    if not held.size:
        return np.zeros(wanted.size)
    at = np.minimum(np.searchsorted(held, wanted), held.size - 1)
    return np.where(held[at] == wanted, turned.data[at], 0.0)


def square(name: str, matrix: Any) -> Sparse:
    """A non-negative matrix as sparse rows, sorted, without duplicates; a copy.

    Raises:
        ValueError: a wrong shape, kind or entry.
    """
    found: Any = matrix if sparse.issparse(matrix) else numbers(name, matrix)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ValueError(f"{name}: expected a square matrix, found shape {found.shape}")
    if found.dtype.kind not in _REAL:
        raise ValueError(f"{name}: expected numbers, found {found.dtype}")
    rows: Any = sparse.csr_array(found, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    wrong = np.flatnonzero(~(np.isfinite(rows.data) & (rows.data >= 0)))
    if wrong.size:
        row = int(np.searchsorted(rows.indptr, wrong[0], side="right")) - 1
        raise ValueError(f"{name}: expected finite amounts of at least 0, found {rows.data[wrong[0]]} at ({row}, {rows.indices[wrong[0]]})")
    checked: Sparse = rows
    return checked


def column(name: str, values: ArrayLike, nodes: int) -> Floats:
    """One finite, non-negative amount a node.

    Raises:
        ValueError: a wrong shape, kind or entry.
    """
    found = numbers(name, values)
    if found.shape != (nodes,):
        raise ValueError(f"{name}: expected shape ({nodes},), found {found.shape}")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if wrong.size:
        raise ValueError(f"{name}: expected finite amounts of at least 0, found {found[wrong[0]]} at node {wrong[0]}")
    return found


def numbers(name: str, values: Any) -> Floats:
    """A copy as floats.

    Raises:
        ValueError: not real numbers.
    """
    try:
        found = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: expected numbers, found rows of different lengths") from None
    if found.dtype.kind not in _REAL:
        raise ValueError(f"{name}: expected numbers, found {found.dtype}")
    return found.astype(np.float64)
