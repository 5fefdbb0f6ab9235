"""Several exchanges in one ecosystem: the wall between them, and what gets through where there is none."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agents.participants import MarketMaker, Trader
from experiments import shipped
from model.clearing import Walk
from model.ecosystem import Ecosystem
from model.ledger import FUND, OUTSIDE, TREASURY, Flow, Status
from model.observables import declared, named
from model.path import Path
from model.scenario import Scenario

type Block = dict[str, Any]

WALL: Block = {"market_makers": False, "liquidators": False, "lenders": False, "index": 0.0}


def crash(**changes: Any) -> Block:
    """A small crash at the third hour: leverage 10, a fund of a million."""
    world = shipped.load("crash").model_dump(mode="json", by_alias=True)
    world["traders"]["groups"] = [{"name": "retail", "count": 150, "equity": 3e8, "leverage": 10}]
    world["venues"][0]["clearinghouse"]["fund"] = 1e6
    world["shocks"] = [{"type": "price_move", "at": 3.0, "size": [-0.2]}]
    return world | changes


def two(world: Block, second: Block | None = None, **sharing: Any) -> Scenario:
    """The world with a second exchange, which is like the first but for what is given."""
    first = world["venues"][0]
    return Scenario.model_validate({**world, "venues": [first, {**first, "name": "beta", **(second or {})}], "sharing": sharing})


def after(scenario: Scenario, steps: int, seed: int = 3) -> Ecosystem:
    eco = Ecosystem(scenario, rng=seed, check_laws=True)
    for _ in range(steps):
        eco.step()
        # A walk that stays open would put accounts back to where they were.
        assert [place.venue.walked for place in eco.places] == [None] * len(eco.places)
    return eco


def test_two_identical_exchanges_with_a_wall_between_them_give_each_what_one_alone_gives() -> None:
    alone, walled = after(Scenario.model_validate(crash()), 10), after(two(crash(), {"stream": ""}, **WALL), 10)
    expected, found = alone.series(), walled.series()
    assert expected["deficits"].sum() > 1e6
    for name in expected:
        assert found[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name
        if name not in ("step", "hours"):
            assert found[named(name, "beta")].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name
    events, here = alone.event_table(), walled.event_table()
    at_second = here[here["venue"] == "beta"].drop(columns="venue").reset_index(drop=True)
    assert at_second.equals(events[events["venue"] != ""].drop(columns="venue").reset_index(drop=True))
    statement, both = alone.statement_table(), walled.statement_table()
    for name in ("exchange", "beta"):
        assert both[both["venue"] == name].drop(columns="venue").reset_index(drop=True).equals(statement)


def test_an_exchange_whose_streams_have_its_name_has_luck_of_its_own() -> None:
    eco = after(two(crash(), **WALL), 3)
    assert eco.observation["volume"] != eco.observation["volume__beta"]
    assert eco.observation["index_BTC"] > 0.0


def test_shared_makers_carry_stress_from_one_exchange_to_the_other_and_a_wall_stops_it() -> None:
    # The first exchange's index is wrong for an hour. With a wall, nothing at the second exchange moves by a bit.
    world = crash(shocks=[], news={"type": "constant"})
    error = {"type": "oracle_error", "venue": "exchange", "at": 3.0, "lasts": 1.0, "size": [-0.15]}

    def seen(shocks: list[Block], sharing: Block) -> Any:
        return after(two({**world, "shocks": shocks}, **sharing), 8).series()

    calm, struck = seen([], WALL), seen([error], WALL)
    assert struck["deficits"].sum() > calm["deficits"].sum()
    for name in (name for name in calm if name.endswith("__beta")):
        assert calm[name].to_numpy().tobytes() == struck[name].to_numpy().tobytes(), name
    # Shared makers lose at the first what they then bring there from the second.
    calm, struck = seen([], {}), seen([error], {})
    assert (struck["depth_BTC__beta"] < 0.99 * calm["depth_BTC__beta"])[-2:].all()
    assert struck["margin_brought__beta"][5:].sum() < -5e5
    assert struck["margin_brought"].to_numpy() == pytest.approx(-struck["margin_brought__beta"].to_numpy(), abs=1e-3)
    # What they do not bring, the second does not miss.
    calm, struck = (seen(shocks, {"margin_hours": None, "index": 0.0}) for shocks in ([], [error]))
    assert struck["depth_BTC__beta"].to_numpy() == pytest.approx(calm["depth_BTC__beta"].to_numpy(), rel=1e-4)


def test_exchanges_that_share_an_index_follow_all_that_trading_at_any_of_them_moves() -> None:
    # Different traders, liquidations at different times, a fund in coins: news and each exchange's own moves are in both indices.
    calm = {"groups": [{"name": "careful", "count": 80, "equity": 2e8, "leverage": 3}]}
    for sharing in ({}, {**WALL, "index": 1.0}):
        eco = Ecosystem(two(crash(), {"traders": calm}, **sharing), rng=3, check_laws=True)
        assert eco.index is not None
        moved = []
        for _ in range(10):
            eco.step()
            eco.index.traded()
            indices = np.array([place.venue.market.log_index for place in eco.places])
            ahead = indices - eco.index.unheard  # what each exchange has that the others have not yet
            assert ahead[0] == pytest.approx(ahead[1], abs=1e-12)
            moved.append(float(np.abs(indices[0] - eco.news.log_value).max()))
        assert eco.observation["index_BTC"] == pytest.approx(eco.observation["index_BTC__beta"], rel=1e-3)
        assert max(moved) > 1e-3


def test_liquidations_at_one_exchange_bring_down_accounts_at_another_through_the_index() -> None:
    # Nobody trades but those who are liquidated. Prices fall by 3 % within an hour, by the first exchange's wrong index by far more.
    error = {"type": "oracle_error", "venue": "exchange", "at": 3.0, "lasts": 1.0, "size": [-0.3]}
    world = crash(news={"type": "constant"}, shocks=[error, {"type": "price_move", "at": 3.0, "lasts": 1.0, "size": [-0.03]}])
    world["traders"]["groups"][0] |= {"activity": 0.0, "leverage": 40}
    world["venues"][0]["market"]["pass_through"] = 1.0

    def seen(share: float) -> Any:
        return after(two(world, **{**WALL, "index": share}), 4).series().iloc[-1]

    apart, half, whole = seen(0.0), seen(0.5), seen(1.0)
    assert whole["index_BTC__beta"] < half["index_BTC__beta"] < apart["index_BTC__beta"]
    accounts, alone = ([series[f"{name}__beta"] for series in (whole, half, apart)] for name in ("liquidated_accounts", "liquidated_alone"))
    assert accounts[0] > accounts[1] > accounts[2] > 0
    assert alone[0] == alone[1] == alone[2] <= accounts[2]


def test_pooled_funds_pay_for_each_others_losses_as_far_as_they_go() -> None:
    # The first exchange's index is wrong for an hour, and its traders' losses are far beyond its fund of a million.
    error = {"type": "oracle_error", "venue": "exchange", "at": 3.0, "lasts": 1.0, "size": [-0.15]}
    world = crash(news={"type": "constant"}, shocks=[error])

    def seen(fund: float, funds: str) -> Any:
        house = {**world["venues"][0]["clearinghouse"], "fund": fund}
        return after(two(world, {"clearinghouse": house}, **WALL, funds=funds), 4).series().iloc[-1]

    rich, separate = seen(1e9, "pooled"), seen(1e9, "separate")
    assert separate["residual_loss"] > 1e6
    assert separate["guarantee"] == separate["guarantee__beta"] == 0.0
    assert rich["residual_loss"] == pytest.approx(0.0, abs=1e-3)
    assert rich["deficits"] == pytest.approx(rich["absorbed_fund"])
    # The other fund pays all that its own cannot.
    assert rich["guarantee"] > 1e6
    assert rich["guarantee__beta"] == -rich["guarantee"]
    assert rich["fund__beta"] == pytest.approx(separate["fund__beta"] - rich["guarantee"])
    assert rich["fund"] == pytest.approx(0.0, abs=5e4)
    modest = seen(2e6, "pooled")
    assert 1.9e6 < modest["guarantee"] < 2.1e6
    assert separate["residual_loss"] > modest["residual_loss"] > 0.0
    assert modest["fund__beta"] >= 0.0


def test_pooled_funds_that_are_never_called_change_nothing() -> None:
    # Both indices hear of each other's liquidations, within steps; each fund can bear all of its own losses.
    calm = {"groups": [{"name": "careful", "count": 80, "equity": 2e8, "leverage": 3}]}
    error = {"type": "oracle_error", "venue": "exchange", "at": 3.0, "lasts": 1.0, "size": [-0.15]}
    world = crash(shocks=[error, {"type": "price_move", "at": 5.0, "lasts": 1.0, "size": [-0.1]}])
    world["venues"][0]["clearinghouse"]["fund"] = 1e12
    separate, pooled = (after(two(world, {"traders": calm}, funds=funds), 9).series() for funds in ("separate", "pooled"))
    assert separate["deficits"].sum() > 1e6
    assert separate.to_numpy().tobytes() == pooled.to_numpy().tobytes()


def test_funds_are_called_as_far_as_custody_goes_and_in_proportion_to_what_they_have() -> None:
    names = [{"name": name, "clearinghouse": {"fund": fund}} for name, fund in (("a", 100.0), ("b", 600.0), ("c", 300.0))]
    eco = Ecosystem(one_maker(venues=names, sharing={"funds": "pooled"}, lenders={"count": 0}), rng=1)
    a, b, c = (place.venue for place in eco.places)
    assert a.guarantee is not None
    assert a.payable(a.ledger) == [pytest.approx(1_000.0)]
    assert a.guarantee.call(a, a.ledger, 300.0) == pytest.approx(300.0)
    assert [venue.ledger.fund for venue in (a, b, c)] == pytest.approx([400.0, 400.0, 200.0])
    c.ledger.transfer(Flow.WITHDRAWAL, 2, OUTSIDE, c.ledger.custody - 50.0)
    b.insolvent = True  # its fund is part of its estate
    assert a.guarantee.stands_by(a) == pytest.approx(50.0)
    assert a.guarantee.call(a, a.ledger, 300.0) == pytest.approx(50.0)


@pytest.mark.parametrize("known", [0.0, -0.05, -0.15])
def test_a_walk_that_hears_of_a_fall_ends_where_it_would_had_it_known(known: float) -> None:
    # Four increments; the second brings what is known from the start, the third -20 % that one walk is told only then.
    told, knew = (after(two(crash(shocks=[])), 2).venue for _ in range(2))
    moves, fall = np.array([[0.0, known, 0.0, 0.01]] * 3), np.array([-0.2, -0.21, -0.25])
    late = Walk(told, Path(moves, np.full(4, 0.25)))
    for k in range(4):
        if k == 2:
            late.hear(2, fall)
        late.increment(k)
    late.finish()
    moves[:, 2] += fall
    early = Walk(knew, Path(moves, np.full(4, 0.25)))
    for k in range(4):
        early.increment(k)
    early.finish()
    assert early.losses.venue.tally.deficits > 1e6
    assert told.ledger.cash == pytest.approx(knew.ledger.cash, rel=1e-9, abs=1e-3)
    assert told.ledger.position == pytest.approx(knew.ledger.position, rel=1e-9, abs=1e-9)
    assert told.market.log_index == pytest.approx(knew.market.log_index, abs=1e-12)
    assert told.tally.liquidated_accounts == knew.tally.liquidated_accounts


def test_a_walk_that_hears_of_a_rise_before_anybody_is_breached_leaves_accounts_alone() -> None:
    eco = after(two(crash(shocks=[])), 2)
    venue = eco.venue
    venue.market.flow = np.zeros(3)
    walk = Walk(venue, Path(np.array([[0.0, 0.0, -0.3]] * 3), np.full(3, 1.0 / 3.0)))
    assert walk.first == 2
    for k in (0, 1):
        walk.increment(k)
    walk.hear(2, np.full(3, 0.3))
    assert walk.first == 3
    position, cash = venue.ledger.position.copy(), venue.ledger.cash.copy()
    walk.increment(2)
    walk.finish()
    assert venue.walked is None
    assert np.array_equal(venue.ledger.position, position)
    assert np.array_equal(venue.ledger.cash, cash)
    assert venue.market.clock == pytest.approx(3.0)


def one_maker(**changes: Any) -> Scenario:
    """A market maker with 600 USD of its own at one exchange and 400 at the other, and nobody else but a lender."""
    capital = ({"count": 1, "capital": 600.0}, {"count": 1, "capital": 400.0})
    exchanges = [{"name": name, "market_makers": one, "liquidators": {"count": 0}} for name, one in zip(("a", "b"), capital, strict=True)]
    lenders = {"count": 1, "capital": 10_000.0, "interbank": 0.0, "loan_to_capital": 0.5, "rate": 0.0}
    return Scenario.model_validate({"schema": 1, "traders": {"groups": []}, "venues": exchanges, "lenders": lenders, **changes})


def with_a_third() -> Scenario:
    """The same maker has 600 USD at a third exchange, too."""
    given = one_maker().model_dump(mode="json", by_alias=True)
    return Scenario.model_validate({**given, "venues": [*given["venues"], {**given["venues"][0], "name": "c"}]})


def held(eco: Ecosystem) -> list[float]:
    return [float(place.venue.ledger.equity(place.venue.makers)[0]) for place in eco.places]


def test_a_firms_loan_is_divided_as_its_capital_and_margin_is_brought_back_to_that_division() -> None:
    eco = Ecosystem(one_maker(), rng=1)
    assert held(eco) == pytest.approx([900.0, 600.0])
    assert eco.credit.debt().tolist() == [pytest.approx(500.0)]
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 300.0)
    # It has 1,200: three fifths are 720, of which 120 are missing; half of them come at once.
    assert eco.credit.firms.balance(0.5) == pytest.approx([60.0, -60.0])
    assert held(eco) == pytest.approx([660.0, 540.0])
    assert [place.venue.ledger.flows[Flow.MARGIN_TRANSFER] for place in eco.places] == pytest.approx([60.0, 60.0])


def test_what_a_firm_has_no_weight_for_anywhere_is_all_at_its_first_exchange() -> None:
    firms = Ecosystem(one_maker(), rng=1).credit.firms
    assert firms.split(np.zeros((2, 1))).tolist() == [[1.0], [0.0]]
    assert firms.split(np.array([[1.0], [3.0]])).tolist() == [[0.25], [0.75]]


def test_a_firm_in_default_somewhere_brings_margin_nowhere() -> None:
    eco = Ecosystem(with_a_third(), rng=1)
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 300.0)
    failed = eco.places[2].venue
    failed.ledger.status[failed.makers] = Status.BANKRUPT
    assert eco.credit.firms.balance(0.5) == pytest.approx([0.0, 0.0, 0.0])
    failed.ledger.status[failed.makers] = Status.ACTIVE
    assert eco.credit.firms.balance(0.5)[0] > 10.0


@pytest.mark.parametrize(("held", "part", "brought"), [(300.0, 0.5, 60.0), (1_700.0, 0.5, 300.0), (1_700.0, 1.0, 600.0)])
def test_firms_bring_what_margin_does_not_hold_and_no_more_than_that(held: float, part: float, brought: float) -> None:
    # 900 USD at the first exchange, 600 at the second. With 300 of margin at the first, 1,200 are free, of which three fifths are 720
    # there: 120 are missing, half of them come. With 1,700 it lacks 800: all 600 that are free elsewhere are wanted, and no more.
    eco = Ecosystem(one_maker(), rng=1)
    venue = eco.venue
    mark = float(venue.ledger.marks[0])
    size = np.array([held * 40.0 / mark])  # a fortieth of notional
    venue.ledger.trade(0, venue.makers, size, mark, np.array([FUND]), -size, mark)
    assert float(venue.margin_of(venue.ledger, venue.makers).initial[0]) == pytest.approx(held)
    assert eco.credit.firms.balance(part) == pytest.approx([brought, -brought])


def test_no_margin_is_brought_to_or_from_an_exchange_that_has_failed() -> None:
    # What is at the others stays divided as it is, three to two, whatever the third had.
    eco = Ecosystem(with_a_third(), rng=1)
    failed = eco.places[2].venue
    failed.ledger.transfer(Flow.WITHDRAWAL, int(failed.makers[0]), OUTSIDE, 300.0)
    failed.insolvent = True
    assert eco.credit.firms.balance(0.5) == pytest.approx([0.0, 0.0, 0.0])


def test_what_a_failed_exchange_pays_its_firms_they_bring_elsewhere_as_far_as_its_custody_goes() -> None:
    eco = Ecosystem(with_a_third(), rng=1)
    failed, firms = eco.places[2].venue, eco.credit.firms
    failed.insolvent = True
    failed.ledger.transfer(Flow.WITHDRAWAL, TREASURY, OUTSIDE, failed.ledger.custody - 150.0)
    before = held(eco)
    assert firms.carry(failed) == pytest.approx([90.0, 60.0, -150.0])  # three to two, as its capital was
    assert np.array(held(eco)) - before == pytest.approx([90.0, 60.0, -150.0])
    for place in eco.places:  # where nothing goes on nothing is brought to
        place.venue.insolvent = True
    failed.ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, 500.0)
    failed.ledger.begin_step()
    assert firms.carry(failed) == pytest.approx([0.0, 0.0, 0.0])
    assert not failed.ledger.flows


@pytest.mark.parametrize(("custody", "repaid"), [(None, 300.0), (120.0, 120.0)])
def test_borrowers_repay_from_what_they_get_of_a_failed_exchange_and_no_more(custody: float | None, repaid: float) -> None:
    # It owes 500 and has 300 there, of which custody may hold less, and 900 elsewhere that are not touched.
    eco = Ecosystem(one_maker(), rng=1)
    failed, cash = eco.places[1].venue, float(eco.credit.cash[0])
    failed.ledger.transfer(Flow.WITHDRAWAL, int(failed.makers[0]), OUTSIDE, 300.0)
    if custody is not None:
        failed.ledger.transfer(Flow.WITHDRAWAL, TREASURY, OUTSIDE, failed.ledger.custody - custody)
    eco.credit.redeem(failed)
    assert eco.credit.cash[0] - cash == pytest.approx(repaid)
    assert eco.credit.debt().tolist() == [pytest.approx(500.0 - repaid)]
    assert held(eco) == pytest.approx([900.0, 300.0 - repaid])


def test_margin_that_custody_cannot_pay_stays_where_it_is() -> None:
    eco = Ecosystem(one_maker(), rng=1)
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 300.0)
    other = eco.places[1].venue.ledger
    # All but 6 USD of the second exchange's custody is gone with somebody whose claim nobody has: the treasury's.
    other.transfer(Flow.WITHDRAWAL, 2, OUTSIDE, other.custody - 6.0)
    # For 4 USD of interest and 8 of repayments there it pays by half.
    wanted = (np.array([[0.0], [usd]]) for usd in (4.0, 8.0))
    assert eco.credit.firms.within_custody(*wanted).tolist() == [[1.0], [pytest.approx(0.5)]]
    assert eco.credit.firms.balance(0.5) == pytest.approx([6.0, -6.0])


def test_who_is_bankrupt_at_one_exchange_is_in_default_at_all_and_pays_its_debts_from_what_is_left() -> None:
    eco = Ecosystem(one_maker(), rng=1)
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 900.0)
    eco.venue.ledger.status[eco.venue.makers] = Status.BANKRUPT
    cash = float(eco.credit.cash[0])
    outcome = eco.credit.clear(1, eco.events)
    assert (outcome.defaults, outcome.contagious, outcome.loss) == (1, 0, 0.0)
    # 600 at the other exchange: the lender gets its 500, owners the rest.
    assert eco.credit.cash[0] - cash == pytest.approx(500.0)
    assert held(eco) == pytest.approx([0.0, 0.0], abs=1e-9)
    assert [place.venue.ledger.status[place.venue.makers[0]] for place in eco.places] == [Status.BANKRUPT, Status.BANKRUPT]
    assert not eco.credit.owed.any()
    assert eco.credit.cash.sum() + eco.credit.outside == pytest.approx(0.0, abs=1e-6)


def test_a_firm_that_lost_more_than_it_has_left_costs_its_lender_the_difference() -> None:
    eco = Ecosystem(one_maker(), rng=1)
    for place, usd in zip(eco.places, (900.0, 350.0), strict=True):
        place.venue.ledger.transfer(Flow.WITHDRAWAL, int(place.venue.makers[0]), OUTSIDE, usd)
    outcome = eco.credit.clear(1, eco.events)
    assert (outcome.defaults, outcome.loss) == (1, pytest.approx(500.0 - 250.0))


def test_a_shared_lender_that_fails_is_repaid_by_firms_elsewhere() -> None:
    def left(sharing: Block) -> list[float]:
        lenders = {"count": 1, "capital": 100.0, "deposits": 9.0, "interbank": 0.0, "loan_to_capital": 0.4, "rate": 0.0}
        eco = Ecosystem(one_maker(lenders=lenders, sharing={**WALL, **sharing}), rng=1)
        first = eco.places[0].venue
        first.ledger.transfer(Flow.WITHDRAWAL, int(first.makers[0]), OUTSIDE, 840.0)
        before = held(eco)[1]
        for place in eco.places:
            if place.lends:
                place.credit.clear(1, place.events)
        return [before, held(eco)[1]]

    # The first exchange's maker owes 240 and has nothing; a lender with 100 of its own fails, and the second's maker repays its 160.
    assert left({"lenders": True}) == pytest.approx([560.0, 400.0])
    assert left({}) == pytest.approx([560.0, 560.0])


def test_outputs_are_those_that_are_declared_and_totals_add_up() -> None:
    scenario = two(crash(), {"instruments": [{"type": "future", "asset": "BTC", "days": 3.0}]})
    eco = after(scenario, 5)
    assert list(eco.observation) == [output.name for output in declared(scenario)] == eco.outputs
    assert len(set(eco.outputs)) == len(eco.outputs)
    for name in ("open_interest", "fund", "deficits", "active_traders", "maker_equity", "absorbed_fund"):
        total = eco.observation[name] + eco.observation[named(name, "beta")]
        assert eco.observation[named(name, "all")] == pytest.approx(total)
    assert eco.observation[named("lender_equity", "all")] == eco.observation["lender_equity"]
    assert named("lender_equity", "beta") not in eco.observation


def test_a_participant_shows_what_it_has_at_all_exchanges_together() -> None:
    eco = Ecosystem(one_maker(), rng=1)
    (maker,) = eco.agents_by_type[MarketMaker]
    assert maker.equity == pytest.approx(1_500.0)
    apart = Ecosystem(one_maker(sharing=WALL), rng=1)
    assert [one.equity for one in apart.agents_by_type[MarketMaker]] == pytest.approx([900.0, 600.0])
    eco = Ecosystem(two(crash()), rng=1)
    traders = eco.agents_by_type[Trader]
    assert len(traders) == sum(int(place.venue.ledger.rows - place.venue.institutions) for place in eco.places)
    assert sum(one.equity for one in traders) == pytest.approx(eco.observation["trader_equity__all"])
    assert {one.group for one in traders} == {"retail"}


def test_sheets_and_exposures_tell_firms_claims_on_every_exchange() -> None:
    eco = Ecosystem(one_maker(), rng=1)
    sheets = eco.balance_sheets().set_index("node")
    assert sheets.loc["maker 1", "assets"] == pytest.approx(1_500.0)
    assert sheets.loc["maker 1", "equity"] == pytest.approx(1_000.0)
    graph = eco.exposures()
    assert [graph.edges[name, "maker 1"]["amount"] for name in ("a", "b")] == pytest.approx([900.0, 600.0])
    apart = Ecosystem(one_maker(sharing=WALL), rng=1).balance_sheets()["node"].tolist()
    assert apart == ["lender 1", "maker 1", "a", "lender 1 at b", "maker 1 at b", "b"]


def test_a_branched_ecosystem_has_other_luck_at_every_exchange() -> None:
    eco = after(two(crash(shocks=[])), 2)
    same, other = eco.branched(3), eco.branched(4)
    for one in (eco, same, other):
        one.step()
    assert repr(same.observation) == repr(eco.observation)
    assert other.observation["volume__beta"] != eco.observation["volume__beta"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"venues": [{"name": "a"}, {"name": "a"}]}, "'a' again, expected every venue's name once"),
        ({"venues": [{"name": "a"}, {"name": "all"}]}, "'all', expected another name"),
        (
            {"venues": [{"name": "a"}, {"name": "b", "market_makers": {"count": 3}}]},
            "found 3, expected 8, as at `a`, for venues share them, or `sharing.market_makers: false`",
        ),
        (
            {"venues": [{"name": "a"}, {"name": "b", "liquidators": {"count": 3}}]},
            "found 3, expected 5, as at `a`, for venues share them, or `sharing.liquidators: false`",
        ),
        ({"venues": [{"name": "a"}, {"name": "b"}], "sharing": {"lenders": False}}, "false, but firms that venues share, expected true"),
        ({"venues": [{"name": "a"}, {"name": "b"}], "sharing": {"traders": True}}, "traders"),
        (
            {
                "venues": [{"name": "a"}, {"name": "b", "clearinghouse": {"pools": {"by": "market"}}}],
                "sharing": {"funds": "pooled"},
            },
            "'market', expected one pool in usd, for `sharing.funds` is pooled",
        ),
        ({"venues": [{"name": "a"}, {"name": "b"}], "sharing": {"index": 1.5}}, "less than or equal to 1"),
        ({"shocks": [{"type": "outage", "venue": "c", "at": 1.0, "lasts": 1.0}]}, "'c', expected one of exchange"),
    ],
)
def test_exchanges_that_do_not_fit_together_are_refused_in_one_line(changes: Block, said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("`", ".")):
        Scenario.model_validate({"schema": 1, **changes})


def test_an_exchange_fails_and_what_shared_firms_get_of_it_they_bring_to_the_other() -> None:
    house = {"failure": {"delay": 0.0}}
    scenario = one_maker(venues=[{**one.model_dump(mode="json"), "clearinghouse": house} for one in one_maker().venues])
    eco = Ecosystem(scenario, rng=1)
    first = eco.venue
    first.insolvent, first.failed_at = True, 0.0
    debt = float(eco.credit.debt().sum())
    eco._pay_estates()
    # 900 at the first exchange: 500 repay the loan, 400 come to the second.
    assert debt == pytest.approx(500.0)
    assert eco.credit.debt().sum() == pytest.approx(0.0, abs=1e-9)
    assert held(eco) == pytest.approx([0.0, 1_000.0], abs=1e-9)
    assert np.array([place.venue.tally.brought for place in eco.places]) == pytest.approx([-400.0, 400.0])


def test_the_shipped_scenario_of_two_exchanges_shows_what_its_description_says() -> None:
    wall = ["sharing.market_makers=false", "sharing.liquidators=false", "sharing.lenders=false", "sharing.index=0"]
    shared, walled, pooled = (
        after(shipped.load("two_venues", settings), 56, seed=1).series() for settings in ([], wall, ["sharing.funds=pooled"])
    )
    for series in (shared, walled):
        assert series["insolvent"].max() == 1.0
        assert series["insolvent__beta"].max() == 0.0
    calm = after(shipped.load("two_venues", ["shocks=[]"]), 56, seed=1).series()
    assert (shared["depth_BTC__beta"] < 0.97 * calm["depth_BTC__beta"])[-3:].all()
    # Firms with capital at both exchanges are not brought down by the failure of one.
    assert shared["contagious_defaults"].sum() < walled["contagious_defaults"].sum()
    assert pooled["insolvent"].max() == 0.0
    assert pooled["guarantee"].sum() > 1e6
    assert pooled["depth_BTC__beta"].iloc[-1] > shared["depth_BTC__beta"].iloc[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crash", "exchange_failure", "october_2025", "options", "option_vault", "inverse"])
def test_a_wall_gives_each_exchange_what_it_gives_alone_in_every_shipped_scenario(name: str) -> None:
    world = shipped.load(name).model_dump(mode="json", by_alias=True)
    alone, walled = after(Scenario.model_validate(world), 82), after(two(world, {"stream": ""}, **WALL), 82)
    expected, found = alone.series(), walled.series()
    for output in expected.columns.drop(["step", "hours"]):
        for column in (output, named(output, "beta")):
            assert found[column].to_numpy().tobytes() == expected[output].to_numpy().tobytes(), column
