"""What is done at the close of a step for the fund's size, and what is seen for it."""

from typing import Any

import numpy as np
import pytest

from agents.clearinghouse.accrual import Accrual, AccrualRule, AccrualView, Levies
from agents.families import RuleParameters
from model.ledger import FUND, TREASURY
from model.sizing import books, size_and_levy
from tests.validation.handmade import handmade


class Injects(AccrualRule):
    """Wants 300 USD of exchange capital for the fund and a tenth of funding."""

    class Parameters(RuleParameters):
        type: str = "injects"

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(funding=0.1, injection=300.0), state


@pytest.mark.parametrize(("capital", "moved"), [(1_000.0, 300.0), (120.0, 120.0), (0.0, 0.0)])
def test_an_injection_is_at_most_what_the_exchange_has(capital: float, moved: float) -> None:
    one = handmade([], capital=capital)
    one.venue.accrual = [Accrual([Injects(Injects.Parameters())])]
    size_and_levy(one.venue, 1.0)
    assert one.equity(FUND, TREASURY) == pytest.approx([moved, capital - moved])
    assert one.venue.levies.funding == 0.1


def test_who_sizes_the_fund_sees_the_depth_of_one_side() -> None:
    one = handmade([500.0])
    one.venue.market.depth = np.array([[100.0], [300.0]])
    assert books(one.venue, 0).depth.tolist() == [200.0]
