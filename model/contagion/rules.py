"""What a node pays that cannot pay everything: the rules that the clearing solver takes.

With nominal debts p̄, external assets e and receipts r, a node with e + r ≥ p̄ pays p̄. One that falls short sets aside an estate

    nominal · p̄ + assets · e + receipts · r

for its creditors, never more than p̄ nor less than nothing. The published rules differ in the three weights alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

type Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PaymentRule:
    """Weights of a defaulter's debts, external assets and receipts in what it pays out; numbers, or arrays of shape (n,).

    A rule of one's own must have `assets` and `receipts` ≥ 0 and `nominal` + the larger of them ≤ 1, so that nobody pays more by being
    short: only then is there a greatest solution to come down to.
    """

    nominal: ArrayLike = 0.0
    assets: ArrayLike = 1.0
    receipts: ArrayLike = 1.0

    def weights(self, nodes: int) -> tuple[Floats, Floats, Floats]:
        """The three weights, each of shape (nodes,).

        Raises:
            ValueError: weights of the wrong shape or range.
        """
        nominal, assets, receipts = (
            _spread(name, value, nodes) for name, value in (("nominal", self.nominal), ("assets", self.assets), ("receipts", self.receipts))
        )
        if (assets < 0).any() or (receipts < 0).any():
            raise ValueError("payment rule: expected weights of assets and receipts of at least 0")
        if (nominal + np.maximum(assets, receipts) > 1.0 + 1e-12).any():
            raise ValueError("payment rule: expected nominal + max(assets, receipts) of at most 1")
        return nominal, assets, receipts


def eisenberg_noe() -> PaymentRule:
    """All it has, and no more (Eisenberg and Noe 2001, Management Science 47(2))."""
    return PaymentRule()


def rogers_veraart(alpha: float, beta: float) -> PaymentRule:
    """Bankruptcy has a cost: α of its external assets and β of its receipts, each in (0, 1] (Rogers and Veraart 2013, Definition 3.6)."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0.0 < value <= 1.0:
            raise ValueError(f"{name}: expected a share in (0, 1], found {value}")
    return PaymentRule(0.0, alpha, beta)


def paddrik_rajan_young(tau: ArrayLike = 1.0) -> PaymentRule:
    """All but τ times what it lacks: p = (p̄ − τ s)⁺ with stress s = (p̄ − e − r)⁺ (Paddrik, Rajan and Young 2020, Management Science 66(8)).

    τ = 1 is Eisenberg and Noe's rule. With τ < 1 part of the shortage is borne elsewhere, from a reserve that the clearing books; with
    τ > 1 a node in stress holds money back. One τ ≥ 0 for all, or one a node, shape (n,).
    """
    transmission = np.asarray(tau, dtype=np.float64)
    if not (np.isfinite(transmission) & (transmission >= 0)).all():
        raise ValueError(f"tau: expected finite factors of at least 0, found {tau!r}")
    return PaymentRule(1.0 - transmission, transmission, transmission)


def _spread(name: str, value: ArrayLike, nodes: int) -> Floats:
    found = np.asarray(value, dtype=np.float64)
    if found.shape not in {(), (nodes,)}:
        raise ValueError(f"payment rule: {name}: expected a number or shape ({nodes},), found shape {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"payment rule: {name}: expected finite weights")
    return np.broadcast_to(found, (nodes,))
