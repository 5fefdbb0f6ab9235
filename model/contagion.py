"""Who pays whom when not everybody can: clearing vectors of a network of debts.

Node i owes `liabilities[i, j]` to node j and `external_liabilities[i]` to creditors outside the network, and holds `external_assets[i]`.
With y_j the share of its interbank debts that j pays, i has assets_i = e_i + Σ_j L_ji y_j. If they cover its nominal debts it pays these in
full; otherwise it is in default and pays out v_i = α e_i + β Σ_j L_ji y_j. α = β = 1 is Eisenberg and Noe (2001, Management Science 47(2));
less is Rogers and Veraart (2013, Management Science 59(4)), where bankruptcy has a cost.

Of several solutions the greatest is returned, found by the fictitious default algorithm: suppose that everybody pays, see who cannot, solve
for what those do pay, and repeat until nobody new fails. A round is a wave: whoever fails in the second would not have failed alone.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, bicgstab, splu

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]
type Sparse = sparse.csr_array[np.float64, tuple[int, int]]

Seniority = Literal["pari_passu", "external_senior", "interbank_senior"]

TOLERANCE: Final = 1e-12
"""A node defaults if its assets fall short of its nominal debts by more than this share of them; exactly enough is not a default."""

_DENSE = 300  # up to this many unknowns a dense factorisation beats every sparse method
_REAL = "biuf"  # kinds of array that are real numbers
_SWEEPS = 5  # plain iterations, cheap and on the right side of the solution, before equations are solved
_SETTLED = 1e-13  # largest relative residual accepted from the iterative solver


@dataclass(frozen=True, eq=False)
class Clearing:
    """What everybody pays, gets and is left with. All arrays have shape (n,) and the unit of money of the inputs.

    `interbank_recovery` is the share paid of the debts within the network, 1 where there are none: p_ij = interbank_recovery[i] · L_ij.
    """

    payments: Floats
    """What each node pays in total, external creditors included."""
    external_payments: Floats
    """What each node pays to creditors outside the network."""
    receipts: Floats
    """What each node is paid from within the network."""
    equity: Floats
    """External assets + receipts − nominal debts, before any cost of bankruptcy; negative where the node is insolvent."""
    nominal: Floats
    """What each node owes in total."""
    defaulted: Flags
    """Whether a node pays less than it owes (by more than `TOLERANCE`, relative)."""
    waves: NDArray[np.int64]
    """The round of the fictitious default algorithm in which a node fails, from 1; −1 for none."""
    interbank_recovery: Floats
    liabilities: Sparse
    """The debts within the network, shape (n, n), as read."""

    @property
    def equity_limited(self) -> Floats:
        """Equity under limited liability, max(equity, 0), shape (n,)."""
        return np.maximum(self.equity, 0.0)

    @property
    def recovery(self) -> Floats:
        """Share of all its debts that a node pays, shape (n,); 1 where it owes nothing."""
        return np.divide(self.payments, self.nominal, out=np.ones_like(self.payments), where=self.nominal > 0)

    @property
    def costs(self) -> Floats:
        """What bankruptcy destroys, shape (n,): assets neither paid out nor kept; zero if α = β = 1."""
        lost = self.equity + self.nominal - self.payments
        return np.where(self.defaulted, np.maximum(lost, 0.0), 0.0)

    def matrix(self) -> Sparse:
        """Bilateral payments, shape (n, n): [i, j] is what i pays to j."""
        paid = self.liabilities.copy()
        paid.data *= np.repeat(self.interbank_recovery, np.diff(paid.indptr))
        return paid


def clearing_vector(
    liabilities: Any,
    external_assets: ArrayLike,
    external_liabilities: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    seniority: Seniority = "pari_passu",
) -> Clearing:
    """The greatest clearing vector of Eisenberg and Noe (2001), or with α, β < 1 of Rogers and Veraart (2013, Definition 3.6).

    Args:
        liabilities: (n, n), any array or scipy.sparse; [i, j] is what i owes to j. Money, non-negative, zero diagonal.
        external_assets: (n,), money, non-negative: what a node has besides its claims on other nodes.
        external_liabilities: (n,), money, non-negative: what it owes outside the network; none by default.
        alpha: share of a defaulter's external assets that reaches its creditors, in (0, 1].
        beta: share of a defaulter's receipts from the network that reaches its creditors, in (0, 1].
        seniority: who is paid first in a default.
            "pari_passu": every creditor gets the same share of its claim (Eisenberg and Noe 2001, with external creditors as in
            Barucca et al. 2020, Mathematical Finance 30(4));
            "external_senior": creditors outside the network first, those within share what is left (two classes of Elsinger 2009);
            "interbank_senior": the other way round.

    Raises:
        ValueError: an input of the wrong shape, range or kind.
    """
    debts = _read(liabilities, external_assets, external_liabilities, alpha, beta, seniority)
    waves = np.full(debts.nominal.size, -1, dtype=np.int64)
    fractions = np.ones_like(debts.nominal)
    wave = 0
    while True:
        receipts = debts.claims @ fractions
        short = debts.assets + receipts < debts.nominal * (1.0 - TOLERANCE)
        new = short & (waves < 0)
        if not new.any():
            return _result(debts, fractions, receipts, waves)
        wave += 1
        waves[new] = wave
        fractions = _fractions(debts, fractions, waves > 0)


@dataclass(frozen=True, eq=False)
class _Debts:
    """The inputs, checked, and what follows from them at once. `base` is what shares alike in a default, `senior` what comes before it."""

    owed: Sparse
    claims: sparse.csc_array[np.float64]  # the transpose of owed, a view
    assets: Floats
    external: Floats
    within: Floats
    nominal: Floats
    base: Floats
    senior: Floats
    alpha: float
    beta: float
    seniority: str

    def estate(self, receipts: Floats) -> Floats:
        """What a defaulter can pay out, given its receipts; shape (n,)."""
        return self.alpha * self.assets + self.beta * receipts

    def affordable(self, fractions: Floats) -> Floats:
        """What share of its interbank debts each node could pay as a defaulter, unclipped, if all pay `fractions`; shape (n,)."""
        left = self.estate(self.claims @ fractions) - self.senior
        return np.divide(left, self.base, out=np.ones_like(left), where=self.base > 0)


def _fractions(debts: _Debts, fractions: Floats, failed: Flags) -> Floats:
    """Shares of interbank debts paid if exactly `failed` are in default: y = clip(affordable(y), 0, 1) on them, 1 elsewhere; shape (n,).

    The kinks are resolved by policy iteration: solve the linear equations of the nodes strictly between the bounds, see which others move
    now, repeat. Where interbank debts are junior (a kink at 0, convex) it rises from nothing: seen from above, a closed group that owes
    more outside than it has makes the equations singular. Else (a kink at 1, concave) it falls from the last shares. The set only grows.
    """
    shares = fractions.copy()
    if debts.seniority == "external_senior":
        shares[failed & (debts.base > 0)] = 0.0
    for _ in range(_SWEEPS):
        shares[failed] = np.clip(debts.affordable(shares)[failed], 0.0, 1.0)
    moving = failed & (shares > 0) & (shares < 1)
    while moving.any():
        _solve(debts, shares, np.flatnonzero(moving))
        wanted = debts.affordable(shares)
        more = failed & ~moving & (wanted > 0) & (wanted < 1)
        if not more.any():
            break
        moving |= more
    return np.clip(shares, 0.0, 1.0)


def _solve(debts: _Debts, shares: Floats, index: NDArray[np.int64]) -> None:
    """Solve y = affordable(y) on the nodes `index` in place, the others held: (I − β diag(1/base) L') y = rest."""
    if index.size <= _DENSE or not _iterate(debts, shares, index):
        fixed = shares.copy()
        fixed[index] = 0.0
        rest = debts.affordable(fixed)[index]
        inward = debts.owed[index][:, index].T * (debts.beta / debts.base[index])[:, None]
        if index.size <= _DENSE:
            shares[index] = np.linalg.solve(np.eye(index.size) - inward.toarray(), rest)
        else:
            shares[index] = splu(sparse.csc_array(sparse.eye_array(index.size) - inward)).solve(rest)


def _iterate(debts: _Debts, shares: Floats, index: NDArray[np.int64]) -> bool:
    """The same in place by BiCGSTAB with iterative refinement, never forming a matrix: random networks fill in when factorised.

    Returns False, without touching `shares`, if the residual does not come down to rounding error.
    """
    trial = shares.copy()
    full = np.zeros_like(shares)
    weight = debts.beta / debts.base[index]

    def apply(x: Floats) -> Floats:
        full[index] = x.ravel()
        image: Floats = full[index] - weight * (debts.claims @ full)[index]
        return image

    operator = LinearOperator((index.size, index.size), matvec=apply, dtype=np.float64)
    scale = 1.0 + debts.affordable(np.ones_like(shares))[index] + 2.0 * debts.senior[index] / debts.base[index]
    best, least = trial[index], np.inf
    while True:
        gap = trial[index] - debts.affordable(trial)[index]
        size = float(np.max(np.abs(gap) / scale))
        if not size < 0.5 * least:  # rounding error is reached, or the iteration does not converge
            break
        best, least = trial[index], size
        step, _ = bicgstab(operator, gap, rtol=1e-6, maxiter=100)
        trial[index] -= step
    if least <= _SETTLED:
        shares[index] = best
    return least <= _SETTLED


def _result(debts: _Debts, fractions: Floats, receipts: Floats, waves: NDArray[np.int64]) -> Clearing:
    """Everybody's payments, given the shares paid of interbank debts."""
    defaulted = waves > 0
    estate = debts.estate(receipts)
    if debts.seniority == "pari_passu":
        outside = debts.external * fractions
    elif debts.seniority == "external_senior":
        outside = np.minimum(estate, debts.external)
    else:
        outside = np.clip(estate - debts.within, 0.0, debts.external)
    external = np.where(defaulted, outside, debts.external)
    return Clearing(
        payments=np.where(defaulted, debts.within * fractions + external, debts.nominal),
        external_payments=external,
        receipts=receipts,
        equity=debts.assets + receipts - debts.nominal,
        nominal=debts.nominal,
        defaulted=defaulted,
        waves=waves,
        interbank_recovery=np.where(debts.within > 0, fractions, 1.0),
        liabilities=debts.owed,
    )


def _read(liabilities: Any, assets: ArrayLike, external: ArrayLike | None, alpha: float, beta: float, seniority: str) -> _Debts:
    """The inputs as columns, or a ValueError that says which is wrong."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0.0 < value <= 1.0:
            raise ValueError(f"{name}: expected a share in (0, 1], found {value}")
    if seniority not in get_args(Seniority):
        raise ValueError(f"seniority: expected one of {', '.join(get_args(Seniority))}, found {seniority!r}")
    owed = _square(liabilities)
    nodes = owed.shape[0]
    held = _column("external_assets", assets, nodes)
    outside = np.zeros(nodes) if external is None else _column("external_liabilities", external, nodes)
    within = owed @ np.ones(nodes)
    nominal = within + outside
    if not np.isfinite(nominal).all() or not np.isfinite(owed.sum() + held.sum()):
        raise ValueError("liabilities: expected amounts whose totals are finite")
    pari = seniority == "pari_passu"
    return _Debts(
        owed=owed,
        claims=owed.T,
        assets=held,
        external=outside,
        within=within,
        nominal=nominal,
        base=nominal if pari else within,
        senior=outside if seniority == "external_senior" else np.zeros(nodes),
        alpha=alpha,
        beta=beta,
        seniority=seniority,
    )


def _square(liabilities: Any) -> Sparse:
    """Debts within the network, as sparse rows."""
    found: Any = liabilities if sparse.issparse(liabilities) else _numbers("liabilities", liabilities)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ValueError(f"liabilities: expected a square matrix, found shape {found.shape}")
    if found.dtype.kind not in _REAL:
        raise ValueError(f"liabilities: expected numbers, found {found.dtype}")
    owed: Any = sparse.csr_array(found, dtype=np.float64, copy=True)
    owed.sum_duplicates()
    wrong = np.flatnonzero(~(np.isfinite(owed.data) & (owed.data >= 0)))
    if wrong.size:
        row = int(np.searchsorted(owed.indptr, wrong[0], side="right")) - 1
        raise ValueError(
            f"liabilities: expected finite amounts of at least 0, found {owed.data[wrong[0]]} at ({row}, {owed.indices[wrong[0]]})"
        )
    own = owed.diagonal()
    if own.any():
        node = int(np.flatnonzero(own)[0])
        raise ValueError(f"liabilities: expected a zero diagonal, found that node {node} owes itself {own[node]}")
    rows: Sparse = owed
    return rows


def _column(name: str, values: ArrayLike, nodes: int) -> Floats:
    """One non-negative amount a node."""
    found = _numbers(name, values)
    if found.shape != (nodes,):
        raise ValueError(f"{name}: expected shape ({nodes},), found {found.shape}")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if wrong.size:
        raise ValueError(f"{name}: expected finite amounts of at least 0, found {found[wrong[0]]} at node {wrong[0]}")
    return found


def _numbers(name: str, values: Any) -> Floats:
    """A copy as floats."""
    try:
        found = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: expected numbers, found rows of different lengths") from None
    if found.dtype.kind not in _REAL:
        raise ValueError(f"{name}: expected numbers, found {found.dtype}")
    return found.astype(np.float64)
