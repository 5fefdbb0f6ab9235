"""How a loss spreads from one balance sheet to another: clearing, valuation, cascades, fire sales, and what to measure of them.

One convention throughout: `liabilities[i, j]` is what node i owes to node j, so that j is exposed to i by that amount.
"""

from model.contagion.clearing import TOLERANCE, Clearing, clear, clearing_vector
from model.contagion.debts import Seniority
from model.contagion.rules import PaymentRule, eisenberg_noe, paddrik_rajan_young, rogers_veraart

__all__ = [
    "TOLERANCE",
    "Clearing",
    "PaymentRule",
    "Seniority",
    "clear",
    "clearing_vector",
    "eisenberg_noe",
    "paddrik_rajan_young",
    "rogers_veraart",
]
