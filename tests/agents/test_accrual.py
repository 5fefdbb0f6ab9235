"""Accrual rules: what the fund takes, alone and together, and one written by a user."""

import textwrap

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.accrual import (
    Accrual,
    AccrualView,
    Levies,
    OpenInterestLevy,
    ShareOfLiquidationFees,
    ShareOfTradingFees,
    Surplus,
)
from model.ecosystem import Ecosystem
from model.ledger import Flow
from model.scenario import Scenario


def view(**changes) -> AccrualView:
    seen = {
        "hours": 1.0, "fund": 5e6, "target": 10e6, "open_interest": np.array([300e6, 100e6]), "volatility": np.array([0.6, 1.0]),
        "volume": np.zeros(2), "fees": 0.0, "liquidated": 0.0,
    }  # fmt: skip
    return AccrualView(**{**seen, **changes})


def test_the_levy_follows_volatility_weighted_by_open_interest() -> None:
    # sigma = (300 x 0.6 + 100 x 1.0) / 400 = 0.7; rate x (0.7 / 0.35)^2 = 4 x 0.876 / 8,760 = 0.0004 an hour.
    rule = OpenInterestLevy(OpenInterestLevy.Parameters(rate=0.876, reference=0.35, exponent=2.0))
    levies, _ = rule.rule(view(), None, None)
    assert levies == Levies(open_interest=pytest.approx(4e-4))


def test_without_exponent_or_open_interest_the_levy_is_its_rate() -> None:
    for exponent, interest in ((0.0, [300e6, 100e6]), (2.0, [0.0, 0.0])):
        rule = OpenInterestLevy(OpenInterestLevy.Parameters(rate=0.876, exponent=exponent))
        assert rule.rule(view(open_interest=np.array(interest)), None, None)[0].open_interest == pytest.approx(1e-4)


def test_rules_add_up_and_no_share_exceeds_the_whole() -> None:
    rules = [
        ShareOfTradingFees(ShareOfTradingFees.Parameters(share=0.3)),
        ShareOfTradingFees(ShareOfTradingFees.Parameters(share=0.5)),
        ShareOfLiquidationFees(),
        ShareOfLiquidationFees(),
        Surplus(Surplus.Parameters(share=0.25)),
    ]
    levies = Accrual(rules).levies(view(), None)
    assert (levies.trading_fees, levies.liquidation_fees, levies.surplus) == (pytest.approx(0.8), 1.0, 0.25)
    assert Accrual([]).levies(view(), None) == Levies()


@pytest.mark.parametrize("settings", [{"share": -0.1}, {"share": 1.1}, {"share": float("nan")}, {"rate": 0.1}])
def test_impossible_shares_are_refused(settings) -> None:
    with pytest.raises(ValidationError):
        ShareOfTradingFees.Parameters(**settings)


def test_shares_that_add_up_to_more_than_all_are_all() -> None:
    # 0.7 + 0.7 of each fee cannot be taken from it.
    rules = [kind(kind.Parameters(share=0.7)) for kind in 2 * (ShareOfTradingFees, ShareOfLiquidationFees, Surplus)]
    assert Accrual(rules).levies(view(), None) == Levies(trading_fees=1.0, liquidation_fees=1.0, surplus=1.0)


OWN = '''
    """Top the fund up from exchange capital while it is below its target."""
    from typing import Literal

    from agents.clearinghouse.accrual import AccrualRule, Levies
    from agents.families import RuleParameters


    class TopUp(AccrualRule):
        class Parameters(RuleParameters):
            share: float = 0.01

        def rule(self, view, state, rng):
            missing = max(view.target - view.fund, 0.0)
            return Levies(injection=self.parameters.share * missing), state
'''


def test_a_users_own_rule_takes_less_than_twenty_lines_and_a_name(tmp_path, monkeypatch) -> None:
    source = textwrap.dedent(OWN).strip()
    assert len(source.splitlines()) < 20
    (tmp_path / "own_accrual_for_a_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    scenario = Scenario.model_validate(
        {
            "schema": 1,
            "news": {"type": "constant"},
            "traders": {"groups": [{"count": 3}]},
            "venues": [
                {
                    "clearinghouse": {
                        "fund": 1e6,
                        "capital": 5e6,
                        "sizing": {"type": "fixed", "amount": 2e6},
                        "accrual": [{"type": "own_accrual_for_a_test:TopUp", "share": 0.5}],
                    }
                }
            ],
        }
    )
    eco = Ecosystem(scenario, rng=1, check_laws=True)
    # The opening tops up half of what is missing, 0.5m of 1m; the first step half of the rest.
    assert eco.venue.ledger.fund == pytest.approx(1.5e6)
    eco.step()
    assert eco.venue.ledger.statement[Flow.INJECTION] == pytest.approx(0.25e6)
    assert eco.venue.ledger.fund == pytest.approx(1.75e6)
