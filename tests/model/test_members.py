"""The members' default fund in the ledger: paid in, used and restored, with nothing lost on the way."""

import numpy as np
import pytest

from model.deferred import pay_out
from model.ecosystem import Ecosystem
from model.ledger import FUND, OUTSIDE, Flow, Role, Status
from model.scenario import Scenario
from tests.validation.handmade import handmade

CCP = [
    {"type": "defaulter_contribution"},
    {"type": "exchange_capital"},
    {"type": "members_fund"},
    {"type": "second_skin"},
    {"type": "assessment"},
    {"type": "socialised_loss", "by": "gains"},
    {"type": "tear_up"},
    {"type": "write_down"},
]


def cleared(size: float, steps: int = 24, waterfall: tuple[dict[str, str], ...] = tuple(CCP), **members: float) -> Ecosystem:
    """A house of members in which prices jump by `size` in the fourth hour."""
    base = Scenario().model_dump(by_alias=True)
    for group in base["traders"]["groups"]:
        group.update(count=40, equity=4e7, leverage=10.0, leverage_max=100.0)
    base["venues"][0]["clearinghouse"].update(fund=0.0, capital=4e6, members={"traders": 4, **members}, waterfall=waterfall)
    base["shocks"] = [{"type": "price_move", "at": 3.0, "size": [size]}] if size else []
    eco = Ecosystem(Scenario.model_validate(base), rng=1, check_laws=True)
    for _ in range(steps):
        eco.step()
    return eco


def test_members_are_the_market_makers_and_the_traders_with_most() -> None:
    eco = cleared(0.0, steps=0, share=0.1)
    members, ledger = eco.venue.members, eco.venue.ledger
    assert members is not None
    assert ledger.role[members.row] == Role.HOUSE
    assert members.rows[:8].tolist() == eco.venue.makers.tolist()
    others = np.setdiff1d(np.arange(eco.venue.institutions, ledger.rows), members.rows)
    assert members.required[8:].min() >= 0.1 * ledger.equity(others).max()
    # A tenth of what each had is on the fund's row.
    assert ledger.cash[members.row] == pytest.approx(members.held.sum())


def test_contributions_are_used_before_the_others_and_paid_in_again() -> None:
    # A thousandth of balances, used up at once; in a day it is paid in again, as far as the members' margin allows.
    hit, later = cleared(-0.35, steps=4, share=0.001, restore_hours=24.0), cleared(-0.35, steps=16, share=0.001, restore_hours=24.0)
    absorbed = hit.series()[[f"absorbed_{layer}" for layer in ("exchange_capital", "members_fund", "second_skin", "assessment")]].sum()
    assert (absorbed > 0.0).all()
    members, restored = hit.venue.members, later.venue.members
    assert members is not None
    assert restored is not None
    assert members.held.sum() < 0.1 * members.required.sum()
    able = later.venue.ledger.status[restored.rows] == Status.ACTIVE
    assert restored.held[able].sum() > members.held[able].sum()
    assert (restored.held <= restored.required * (1.0 + 1e-9)).all()
    for one in (hit, later):
        assert one.venue.members is not None
        assert one.venue.ledger.cash[one.venue.members.row] == pytest.approx(one.venue.members.held.sum(), abs=1e-3)


def test_a_collapse_tears_the_book_up() -> None:
    eco = cleared(-0.35, steps=4, waterfall=({"type": "tear_up"}, {"type": "write_down"}))
    assert eco.observation["absorbed_tear_up"] > 0.0
    assert eco.observation["open_interest"] == 0.0
    assert not eco.venue.insolvent


def test_a_calm_house_moves_nothing_but_the_first_contributions() -> None:
    eco = cleared(0.0, steps=3)
    assert eco.venue.members is not None
    assert Flow.MEMBERS_FUND not in eco.venue.ledger.flows
    assert eco.observation["members_fund"] == pytest.approx(float(eco.venue.members.required.sum()))


def test_who_leaves_gets_its_contribution_back_as_far_as_custody_goes() -> None:
    # Half of the first trader's 100 is in the fund. The second is short 3 against the third at 100; at 50 it has 250, the third owes 50.
    venue = handmade([100.0, 100.0, 100.0], maker=0.0, members={"market_makers": False, "traders": 1, "share": 0.5}).venue
    ledger, members = venue.ledger, venue.members
    assert members is not None
    first, second, third = range(venue.institutions, venue.institutions + 3)
    members.join(venue)
    ledger.trade(0, np.array([second]), np.array([-3.0]), 100.0, np.array([third]), np.array([3.0]), 100.0)
    ledger.mark(np.array([50.0]))
    assert ledger.equity(np.array([first, second, third])).tolist() == [50.0, 250.0, -50.0]
    # The first takes its balance and goes, the second takes 220 of its 250: 30 are left of the 300 that were paid in.
    pay_out(venue, Flow.WITHDRAWAL, np.array([first, second]), np.array([50.0, 220.0]))
    ledger.status[first] = Status.GONE
    members.restore(venue, 1.0)
    assert (ledger.custody, ledger.cash[members.row], members.held.tolist()) == (0.0, 20.0, [20.0])
    members.restore(venue, 1.0)
    assert (ledger.custody, members.held.tolist()) == (0.0, [20.0])
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, third, 500.0)
    members.restore(venue, 1.0)
    assert (ledger.custody, ledger.cash[members.row], members.held.tolist()) == (480.0, 0.0, [0.0])


def test_who_has_left_waits_for_its_contribution_while_others_pay_in() -> None:
    # Half of what each of two has, 100 and 80, is in the fund. The first takes its balance and goes; a third takes all cash that is left.
    house = {"market_makers": False, "traders": 2, "share": 0.5, "restore_hours": 1.0}
    venue = handmade([100.0, 80.0, 60.0], maker=0.0, members=house).venue
    ledger, members = venue.ledger, venue.members
    assert members is not None
    first, second, third = range(venue.institutions, venue.institutions + 3)
    members.join(venue)
    pay_out(venue, Flow.WITHDRAWAL, np.array([first]), np.array([50.0]))
    ledger.status[first] = Status.GONE
    ledger.transfer(Flow.DEPOSIT, third, OUTSIDE, 190.0)
    members.use(ledger, third, np.array([0.0, 20.0]))
    assert (ledger.custody, ledger.cash[members.row], ledger.cash[third]) == (0.0, 70.0, -110.0)
    # Nothing can be paid back to the first; the second pays the 20 that it lacks in, of 40.
    members.restore(venue, 1.0)
    assert members.held.tolist() == [50.0, 40.0]
    assert ledger.cash[[first, second, members.row]].tolist() == [0.0, 20.0, 90.0]


def test_a_contribution_is_paid_in_again_at_a_steady_rate_and_no_faster_than_margin_leaves() -> None:
    # 100 are required. Half of it is missing: in a quarter of the time a quarter of 100 comes back, and then only what margin leaves free.
    one = handmade([], maker=2_000.0, members={"share": 0.05, "restore_hours": 8.0})
    venue, ledger = one.venue, one.venue.ledger
    assert venue.members is not None
    venue.members.join(venue)
    assert venue.members.required.tolist() == [100.0]
    venue.members.use(ledger, OUTSIDE, np.array([50.0]))
    venue.members.restore(venue, 2.0)
    assert venue.members.held.tolist() == [75.0]
    one.position(int(venue.makers[0]), FUND, 186.5, 100.0)  # a tenth of 18,650 of the 1,875 that it has left is held as margin: 10 are free
    venue.members.restore(venue, 2.0)
    assert venue.members.held.tolist() == [pytest.approx(85.0)]
