"""What an exchange does when its fund is short of the target."""

from typing import Any

import numpy as np
import pytest

from agents.clearinghouse.accrual import Levies
from agents.clearinghouse.adequacy import Action, AdequacyView, CapOpenInterest, Halt, RaiseLevies, RaiseMargin, Recapitalise
from experiments.twin.record import run_both
from model import trading
from model.ecosystem import Ecosystem
from model.ledger import Flow
from model.scenario import Scenario


def world(*rules: dict[str, Any], fund: float = 1e6, target: float = 4e6, **house: Any) -> Scenario:
    base = Scenario().model_dump(mode="json", by_alias=True)
    base["traders"]["groups"] = [{"count": 60, "equity": 6e7, "activity": 0.2}]
    base["venues"][0]["clearinghouse"] |= {"fund": fund, "sizing": {"type": "fixed", "amount": target}, "adequacy": list(rules), **house}
    return Scenario.model_validate(base)


@pytest.mark.parametrize(
    ("rule", "acts"),
    [
        (RaiseLevies(RaiseLevies.Parameters(below=0.5, factor=3.0)), Action(levies=3.0)),
        (Recapitalise(Recapitalise.Parameters(below=0.5, to=0.8, most=1e9)), Action(recapitalisation=5.0)),
        (Recapitalise(Recapitalise.Parameters(below=0.5, most=2.0)), Action(recapitalisation=2.0)),
        (RaiseMargin(RaiseMargin.Parameters(below=0.5, initial=3.0, maintenance=2.0)), Action(initial=3.0, maintenance=2.0)),
        (CapOpenInterest(CapOpenInterest.Parameters(below=0.5)), Action(capped=True)),
        (Halt(Halt.Parameters(below=0.5)), Action(suspended=True)),
    ],
)
def test_a_rule_acts_below_its_threshold_and_not_at_it(rule: Any, acts: Action) -> None:
    assert rule.rule(AdequacyView(3.0, 10.0), None, None)[0] == acts
    assert rule.rule(AdequacyView(5.0, 10.0), None, None)[0] == Action()
    assert rule.rule(AdequacyView(0.0, 0.0), None, None)[0] == Action()


def test_levies_rise_while_the_fund_is_short_and_no_share_beyond_the_whole() -> None:
    accrual = [{"type": "trading_fees", "share": 0.6}, {"type": "volume", "basis_points": 1.0}]
    short = Ecosystem(world({"type": "raise_levies"}, accrual=accrual), rng=1)
    assert short.venue.levies == Levies(trading_fees=1.0, volume=2e-4)
    enough = Ecosystem(world({"type": "raise_levies"}, accrual=accrual, fund=5e6), rng=1)
    assert enough.venue.levies == Levies(trading_fees=0.6, volume=1e-4)
    assert (short.observation["levy_factor"], enough.observation["levy_factor"]) == (2.0, 1.0)


def test_owners_fill_the_fund_up_from_outside_and_the_statement_says_so() -> None:
    eco = Ecosystem(world({"type": "recapitalise", "most": 2e6}, accrual=[], target=8e6), rng=1, check_laws=True)
    # 1 m and 2 m at the opening, 2 m in each step until 8 m are reached.
    assert eco.venue.ledger.fund == pytest.approx(3e6)
    eco.run_for(4)
    assert eco.venue.ledger.fund == pytest.approx(8e6)
    assert eco.statement.totals()[Flow.RECAPITALISATION] == pytest.approx(5e6)
    assert eco.series()["recapitalised"].tolist() == pytest.approx([2e6, 2e6, 2e6, 1e6, 0.0])


def test_pools_are_filled_up_in_proportion_to_what_they_lack() -> None:
    divided = {"by": "market", "shares": [1.0, 0.0, 0.0]}
    eco = Ecosystem(world({"type": "recapitalise", "most": 3e6}, pools=divided, accrual=[], fund=1e6, target=1e6), rng=1)
    assert eco.venue.ledger.pools == pytest.approx([1e6, 1e6, 1e6])


def test_margin_rises_while_the_fund_is_short_for_who_opens_and_if_asked_for_who_holds() -> None:
    rules = ([], [{"type": "raise_margin", "initial": 2.0}], [{"type": "raise_margin", "initial": 10.0, "maintenance": 10.0}])
    plain, opening, both = (Ecosystem(world(*one), rng=3, check_laws=True) for one in rules)
    # 2 BTC at 60,000 on the tiers of the default venue.
    held = np.array([[2.0], [0.0], [0.0]])
    margins = [eco.venue.requirement(held, held, np.array([60_000.0, 3_000.0, 100.0])) for eco in (plain, opening, both)]
    assert [float(one.initial[0]) / float(margins[0].initial[0]) for one in margins] == pytest.approx([1.0, 2.0, 10.0])
    assert [float(one.by_market.sum()) / float(margins[0].by_market.sum()) for one in margins] == pytest.approx([1.0, 1.0, 10.0])
    for eco in (plain, opening, both):
        eco.run_for(24)
    assert both.series()["liquidations"].sum() > plain.series()["liquidations"].sum()
    assert [eco.observation.get("margin_factor") for eco in (plain, opening)] == [None, 2.0]
    with pytest.raises(ValueError, match=r"found 2, expected at most the factor on initial margin, 1\.5"):
        RaiseMargin.Parameters(initial=1.5, maintenance=2.0)


def test_open_interest_cannot_rise_by_orders_while_it_is_capped() -> None:
    capped, free = (Ecosystem(world(*rules), rng=2, check_laws=True) for rules in ([{"type": "cap_open_interest"}], []))
    before = np.abs(capped.venue.ledger.position).sum()
    for eco in (capped, free):
        eco.run_for(24)
    assert np.abs(capped.venue.ledger.position[:, capped.venue.institutions :]).sum() < before
    contracts = np.array([[3.0, -3.0, 9.0, -1.0]])
    venue, rows = capped.venue, np.arange(capped.venue.institutions, capped.venue.institutions + 4)
    venue.ledger.position[0, rows] = [2.0, 2.0, -4.0, 0.0]
    assert trading.permitted(venue, rows, np.repeat(contracts, 3, axis=0))[0].tolist() == [0.0, -2.0, 4.0, 0.0]
    assert capped.series()["volume"].sum() < free.series()["volume"].sum()


def test_a_halt_stops_orders_and_not_liquidations() -> None:
    base = world({"type": "halt", "below": 0.5}).model_dump(mode="json", by_alias=True)
    base["shocks"] = [{"type": "price_move", "at": 3.0, "size": [-0.4, -0.5, -0.6]}]
    base["traders"]["groups"][0] |= {"leverage": 15.0, "leverage_max": 15.0}
    eco = Ecosystem(Scenario.model_validate(base), rng=1, check_laws=True)
    eco.run_for(8)
    assert eco.series()["volume"].sum() == 0.0
    assert eco.series()["liquidated"].sum() > 0.0


@pytest.mark.parametrize("kind", ["raise_levies", "raise_margin", "recapitalise", "cap_open_interest", "halt"])
def test_both_engines_agree_on_what_follows_from_each_action(kind: str) -> None:
    divided = {"by": "market"}
    for _, _, lines in run_both(world({"type": kind, "below": 1.0}, pools=divided), 8, 1):
        assert not lines, lines[:8]


def test_what_rules_do_adds_up() -> None:
    one, other = (
        Action(2.0, 10.0, capped=True, initial=1.5, maintenance=1.2),
        Action(3.0, 5.0, suspended=True, initial=2.0, maintenance=1.5),
    )
    assert one + other == Action(6.0, 15.0, capped=True, suspended=True, initial=3.0, maintenance=pytest.approx(1.8))
