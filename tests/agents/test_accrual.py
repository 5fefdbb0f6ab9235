"""Accrual rules: what the fund takes, alone and together, and one written by a user."""

import textwrap

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from agents.clearinghouse.accrual import (
    Accrual,
    AccrualView,
    InjectionOnAdequacy,
    Levies,
    OpenInterestLevy,
    ScheduledInjection,
    ShareOfLiquidationFees,
    ShareOfTradingFees,
    Surplus,
    TargetSeeking,
    VolumeLevy,
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


def test_a_levy_that_follows_exposure_rises_as_the_fund_falls_behind_open_interest() -> None:
    # 5 % of 400 m open is 20 m; the fund holds 5 m: four times the exposure, its square root twice the levy; an empty one counts tenfold.
    rule = OpenInterestLevy(OpenInterestLevy.Parameters(rate=0.876, exposure_exponent=0.5))
    assert rule.rule(view(), None, None)[0].open_interest == pytest.approx(2e-4)
    assert rule.rule(view(fund=20e6), None, None)[0].open_interest == pytest.approx(1e-4)
    assert rule.rule(view(fund=0.0), None, None)[0].open_interest == pytest.approx(np.sqrt(10.0) * 1e-4)
    # A fund of 0.2 m would count a hundredfold: it counts tenfold, as an empty one does.
    assert rule.rule(view(fund=0.2e6), None, None)[0].open_interest == rule.rule(view(fund=0.0), None, None)[0].open_interest


def test_a_volume_levy_is_stated_in_basis_points() -> None:
    assert VolumeLevy(VolumeLevy.Parameters(basis_points=0.5)).rule(view(), None, None)[0] == Levies(volume=5e-5)


def test_scheduled_injections_fall_due_after_each_interval() -> None:
    # Hours 0 (the opening), 8, 16, 24, ...: every 24 hours one payment; an interval of 4 hours makes two fall due in each step of 8.
    for every, expected in ((24.0, [0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 5.0]), (4.0, [0.0, 10.0, 10.0])):
        rule, state = ScheduledInjection(ScheduledInjection.Parameters(amount=5.0, every=every)), None
        for injection in expected:
            levies, state = rule.rule(view(hours=8.0), state, None)
            assert levies == Levies(injection=injection)


def test_the_exchange_fills_up_a_fund_that_is_too_small_and_no_other() -> None:
    rule = InjectionOnAdequacy(InjectionOnAdequacy.Parameters(below=0.6, to=0.9))
    assert rule.rule(view(fund=5e6), None, None)[0] == Levies(injection=4e6)
    assert rule.rule(view(fund=6e6), None, None)[0] == Levies()


def test_a_target_seeking_levy_falls_to_nothing_at_the_target() -> None:
    # Gaps of 1, 3/4 and 0; the square of 3/4 is 9/16.
    inner = {"type": "volume", "basis_points": 2.0}
    rule = TargetSeeking(TargetSeeking.Parameters(levies=inner, exponent=2.0))
    found = [rule.rule(view(fund=fund), None, None)[0].volume for fund in (0.0, 2.5e6, 10e6, 12e6)]
    assert found == pytest.approx([2e-4, 2e-4 * 9 / 16, 0.0, 0.0])
    assert rule.rule(view(target=0.0), None, None)[0] == Levies()


def test_a_target_seeking_fund_neither_runs_dry_in_calm_nor_grows_without_end() -> None:
    # Twenty years of days: 2 % a year of 400 m is 8 m a year at an empty fund, so F = T (1 - e^(-0.8 t)) with T = 10 m. A loss in year
    # ten is made good; a fund above its target takes nothing. The same levy without a target has taken 160 m.
    inner = {"type": "open_interest", "rate": 0.02}
    seeking, steady = TargetSeeking(TargetSeeking.Parameters(levies=inner)), OpenInterestLevy(OpenInterestLevy.Parameters(rate=0.02))
    fund, endless, path = 0.0, 0.0, []
    for day in range(20 * 365):
        seen = view(hours=24.0, fund=fund)
        fund += seeking.rule(seen, None, None)[0].open_interest * 24.0 * 400e6
        endless += steady.rule(seen, None, None)[0].open_interest * 24.0 * 400e6
        fund = max(fund - 8e6, 0.0) if day == 3650 else fund
        path.append(fund)
    years = np.arange(1, 3651) / 365
    assert path[:3650] == pytest.approx(10e6 * -np.expm1(-0.8 * years), rel=2e-3)
    assert min(path) > 0.0
    assert max(path) < 10e6
    assert path[-1] == pytest.approx(10e6, rel=1e-3)
    assert endless == pytest.approx(160e6)


def test_a_target_seeking_fund_stays_between_nothing_and_its_target_in_a_long_calm_run() -> None:
    house = {
        "fund": 0.0,
        "sizing": {"type": "fixed", "amount": 1e5},
        "accrual": [{"type": "target_seeking", "levies": {"type": "open_interest", "rate": 0.2}}],
    }
    scenario = Scenario.model_validate(
        {
            "schema": 1,
            "hours_per_step": 24.0,
            "news": {"type": "constant"},
            "traders": {"groups": [{"count": 40, "equity": 2e7, "leverage": 2.0}]},
            "venues": [{"clearinghouse": house}],
        }
    )
    eco = Ecosystem(scenario, rng=1, record_events=False)
    eco.run_for(730)
    fund = eco.series()["fund"].to_numpy()[1:]
    assert fund.min() > 0.0
    assert fund.max() < 1e5
    assert fund[-1] > 0.99e5


def test_a_volatility_indexed_levy_rises_with_its_own_index_and_not_before_an_unannounced_jump() -> None:
    def levies(shocks: list[dict[str, object]]) -> tuple[list[float], list[float]]:
        base = Scenario().model_dump(mode="json", by_alias=True)
        base["venues"][0]["clearinghouse"]["accrual"] = [{"type": "open_interest", "rate": 0.01, "exponent": 1.5}]
        base |= {"shocks": shocks, "news": {"type": "constant"}, "traders": {"groups": [{"count": 50, "equity": 5e7}]}}
        eco, found, index = Ecosystem(Scenario.model_validate(base), rng=1, record_events=False), [], []
        for _ in range(48):
            # What the exchange saw before the step, and what it takes from then on.
            interest = eco.venue.open_interest()
            index.append(float(interest @ eco.venue.market.volatility / interest.sum()))
            eco.step()
            found.append(eco.venue.levies.open_interest)
        return found, index

    calm, _ = levies([])
    shaken, index = levies([{"type": "price_move", "at": 24.0, "size": [-0.1]}])
    assert shaken[:24] == calm[:24]
    assert min(shaken[25:]) > max(shaken[:24])
    rose = np.diff(index[1:]) > 0.0
    assert 0.0 < rose.mean() < 1.0
    assert ((np.diff(shaken[:-1]) > 0.0) == rose).mean() > 0.9


def test_a_run_shows_how_procyclical_a_levy_is() -> None:
    # Peak over trough of what positions pay: 1 for a flat levy of 1 % a year; one that goes with squared volatility peaks after a fall,
    # which is seen at the close of the step that holds it, row 25, and charged from the next close on.
    def paid(exponent: float) -> pd.Series:
        base = Scenario().model_dump(mode="json", by_alias=True)
        base["venues"][0]["clearinghouse"]["accrual"] = [{"type": "open_interest", "rate": 0.01, "exponent": exponent}]
        base |= {"news": {"type": "constant"}, "shocks": [{"type": "price_move", "at": 24.0, "size": [-0.1]}]}
        base |= {"traders": {"groups": [{"count": 50, "equity": 5e7}]}}
        eco = Ecosystem(Scenario.model_validate(base), rng=1, record_events=False)
        eco.run_for(48)
        return eco.series()["levy_rate"]

    assert paid(0.0).tolist() == pytest.approx([0.01] * 49)
    indexed = paid(2.0)
    assert indexed.idxmax() == 26
    assert indexed.iloc[26] > 2.0 * indexed.iloc[25]


def test_the_fund_accrues_by_the_law_of_chitra() -> None:
    # IF[t+1] = IF[t] + alpha x liquidation fees + eta x notional traded + beta x funding received - min(IF[t], D), and nothing else.
    alpha, eta, beta = 0.6, 0.5e-4, 0.1
    base = Scenario().model_dump(mode="json", by_alias=True)
    house = base["venues"][0]["clearinghouse"]
    house["accrual"] = [
        {"type": "liquidation_fees", "share": alpha},
        {"type": "volume", "basis_points": 1e4 * eta},
        {"type": "funding", "share": beta},
    ]
    house["route"]["order"] = ["book", "liquidators"]
    base["shocks"] = [{"type": "price_move", "at": 4.0, "lasts": 3.0, "size": [-0.2, -0.25, -0.35]}]
    base["traders"] = {"groups": [{"count": 200, "equity": 2e8, "leverage": 10.0}]}
    eco = Ecosystem(Scenario.model_validate(base), rng=2, check_laws=True)
    eco.step()
    seen = set()
    for _ in range(12):
        before = eco.venue.ledger.fund
        eco.step()
        flows, deficits = eco.venue.ledger.flows, eco.venue.tally.deficits
        received = flows[Flow.FUNDING]
        draw = min(before, deficits)
        law = before + alpha * flows.get(Flow.LIQUIDATION_FEE, 0.0) + eta * float(eco.venue.tally.volume.sum()) + beta * received - draw
        # Payers of funding who are nearly out of money keep the levy below the law.
        assert eco.venue.ledger.fund == pytest.approx(law, rel=1e-3)
        seen |= {kind for kind, usd in eco.venue.ledger.statement.items() if usd}
    assert {Flow.LIQUIDATION_FEE, Flow.VOLUME_LEVY, Flow.FUNDING_SHARE} <= seen


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


def test_an_injection_that_stops_below_where_it_starts_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"found 0\.5, expected at least `below`, 1"):
        InjectionOnAdequacy.Parameters(below=1.0, to=0.5)
