"""Who pays whom when not everybody can: clearing vectors of a network of debts.

Node i owes `liabilities[i, j]` to node j and `external_liabilities[i]` to creditors outside the network, and holds `external_assets[i]`.
With y_j the share of its debts within the network that j pays, and c_ji the margin that i holds against it, i gets
r_i = Σ_j min(L_ji, c_ji + L_ji y_j). If e_i + r_i covers its nominal debts it pays these in full; otherwise it is in default and pays what
the rule says (`model.contagion.rules`): Eisenberg and Noe's, Rogers and Veraart's, or Paddrik, Rajan and Young's.

Of several solutions the greatest is returned, found by the fictitious default algorithm (Eisenberg and Noe 2001): suppose that everybody
pays, see who cannot, solve for what those do pay, and repeat until nobody new fails. A round is a wave: whoever fails in the second would
not have failed alone. Starting from nobody paying would be wrong: with costs of bankruptcy it may end where nothing clears.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.contagion.debts import Debts, Flags, Floats, Seniority, Sparse, read
from model.contagion.rules import PaymentRule, eisenberg_noe, rogers_veraart
from model.contagion.shares import paid_shares

TOLERANCE: Final = 1e-12
"""A node defaults if its assets fall short of its nominal debts by more than this share of them; exactly enough is not a default."""


@dataclass(frozen=True, eq=False)
class Clearing:
    """What everybody pays, gets and is left with. All arrays have shape (n,) and the unit of money of the inputs.

    `interbank_recovery` is the share paid of the debts within the network, 1 where there are none: p_ij = interbank_recovery[i] · L_ij.
    """

    payments: Floats
    """What each node pays in total, external creditors included, margin drawn by its creditors not."""
    external_payments: Floats
    """What each node pays to creditors outside the network."""
    receipts: Floats
    """What each node gets from within the network: payments, and margin drawn for what is missing of them."""
    equity: Floats
    """External assets + receipts − nominal debts, before any cost of bankruptcy; negative where the node is insolvent."""
    nominal: Floats
    """What each node owes in total."""
    defaulted: Flags
    """Whether a node's assets fall short of what it owes (by more than `TOLERANCE`, relative)."""
    waves: NDArray[np.int64]
    """The round of the fictitious default algorithm in which a node fails, from 1; −1 for none."""
    interbank_recovery: Floats
    reserve: Floats
    """What a defaulter pays beyond all it has, from a reserve outside the network; zero unless the rule is PRY's with τ < 1."""
    margin_drawn: Floats
    """What its creditors draw of the margin they hold against a node."""
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
        """What a defaulter has and does not pay out, shape (n,): destroyed by bankruptcy (α, β < 1), or held back in stress (τ > 1)."""
        lost = self.equity + self.nominal - self.payments
        return np.where(self.defaulted, np.maximum(lost, 0.0), 0.0)

    @property
    def deficiency(self) -> float:
        """What creditors do not get, in all: debts less payments less margin drawn."""
        return float((self.nominal - self.payments - self.margin_drawn).sum())

    def matrix(self) -> Sparse:
        """Bilateral payments, shape (n, n): [i, j] is what i pays to j, margin not included."""
        paid = self.liabilities.copy()
        paid.data *= np.repeat(self.interbank_recovery, np.diff(paid.indptr))
        return paid


def clear(
    liabilities: Any,
    external_assets: ArrayLike,
    external_liabilities: ArrayLike | None = None,
    *,
    rule: PaymentRule | None = None,
    seniority: Seniority = "pari_passu",
    margin: Any | None = None,
) -> Clearing:
    """The greatest clearing vector.

    Args:
        liabilities: (n, n), any array or scipy.sparse; [i, j] is what i owes to j. Money, non-negative, zero diagonal.
        external_assets: (n,), money, non-negative: what a node has besides its claims on other nodes; PRY's liquidity buffer.
        external_liabilities: (n,), money, non-negative: what it owes outside the network; none by default.
        rule: what a defaulter pays, see `model.contagion.rules`; all it has by default.
        seniority: who is paid first in a default.
            "pari_passu": every creditor gets the same share of its claim (Eisenberg and Noe 2001, with external creditors as in
            Barucca et al. 2020, Mathematical Finance 30(4));
            "external_senior": creditors outside the network first, those within share what is left (two classes of Elsinger 2009);
            "interbank_senior": the other way round.
        margin: (n, n) as `liabilities`; [i, j] is what j holds of i's as initial margin, drawn where i pays j less than it owes. None by
            default. Margin against a debt that does not exist is not touched.

    Raises:
        ValueError: an input of the wrong shape, range or kind.
        ArithmeticError: payments that run down too slowly to see the end: τ > 1 at a knife's edge, or margin within a closed group that
            pays outsiders first.
    """
    debts = read(liabilities, external_assets, external_liabilities, eisenberg_noe() if rule is None else rule, seniority, margin)
    waves = np.full(debts.nominal.size, -1, dtype=np.int64)
    fractions = np.ones_like(debts.nominal)
    wave = 0
    while True:
        receipts = debts.receipts(fractions)
        short = debts.assets + receipts < debts.nominal * (1.0 - TOLERANCE)
        new = short & (waves < 0)
        if not new.any():
            return _result(debts, fractions, receipts, waves)
        wave += 1
        waves[new] = wave
        debts, fractions = _round(debts, fractions, waves > 0)


def clearing_vector(
    liabilities: Any,
    external_assets: ArrayLike,
    external_liabilities: ArrayLike | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    seniority: Seniority = "pari_passu",
) -> Clearing:
    """`clear` under Rogers and Veraart's rule, named by its two rates; Eisenberg and Noe's at α = β = 1."""
    return clear(liabilities, external_assets, external_liabilities, rule=rogers_veraart(alpha, beta), seniority=seniority)


def _round(debts: Debts, fractions: Floats, failed: Flags) -> tuple[Debts, Floats]:
    """What `failed` pay, opening debts that margin no longer covers until there are no more, and the problem as it then stands."""
    while True:
        fractions = paid_shares(debts, fractions, failed)
        more = debts.opened(fractions)
        if more is None:
            return debts, fractions
        debts = more


def _result(debts: Debts, fractions: Floats, receipts: Floats, waves: NDArray[np.int64]) -> Clearing:
    """Everybody's payments, given the shares paid of debts within the network."""
    defaulted = waves > 0
    estate = debts.estate(receipts)
    if debts.seniority == "pari_passu":
        outside = debts.external * fractions
    elif debts.seniority == "external_senior":
        outside = np.minimum(estate, debts.external)
    else:
        outside = np.clip(estate - debts.within, 0.0, debts.external)
    external = np.where(defaulted, outside, debts.external)
    payments = np.where(defaulted, debts.within * fractions + external, debts.nominal)
    missing = debts.amounts * (1.0 - fractions[debts.claims.indices])
    drawn = np.zeros_like(missing) if debts.margins is None else np.minimum(debts.margins, missing)
    return Clearing(
        payments=payments,
        external_payments=external,
        receipts=receipts,
        equity=debts.assets + receipts - debts.nominal,
        nominal=debts.nominal,
        defaulted=defaulted,
        waves=waves,
        interbank_recovery=np.where(debts.within > 0, fractions, 1.0),
        reserve=np.where(defaulted, np.maximum(payments - debts.assets - receipts, 0.0), 0.0),
        margin_drawn=np.bincount(debts.claims.indices, weights=drawn, minlength=waves.size),
        liabilities=debts.owed,
    )
