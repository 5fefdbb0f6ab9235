"""The option vault on a venue: what it sells, what that earns in calm and costs in a fall, and what of it reaches the fund."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from experiments.analysis.intervals import bootstrap
from model import trading
from model.ecosystem import Ecosystem
from model.ledger import Flow, Role, Status
from model.scenario import Scenario
from model.surface import implied_volatility
from tests.model.test_expiry import world

CALL = {"type": "call", "asset": "BTC", "days": 1.0, "moneyness": 1.0, "settlement_hours": 0.5, "depth": 1.0}
PUT = {**CALL, "type": "put"}
NONE = {"intensity": 0.0}
CALM = {
    "type": "factor_model",
    "volatility_components": [],
    "common_jumps": NONE,
    "own_jumps": NONE,
    "increments_per_hour": 1.0,
    "max_move": 0.05,
}
STEADY = {"type": "steady", "least_days": 0.5}
AT_ONCE = {"rule": STEADY, "pace": 1e9, "band": 0.0}


def opened(
    vault: dict[str, Any] | None,
    seed: int = 0,
    *,
    news: dict[str, Any] | None = None,
    days: float = 1.0,
    premium: float = 1.5,
    **other: Any,
) -> Ecosystem:
    """An exchange with a call and a put at the money, and nobody who trades them but the vault."""
    options = [{**CALL, "days": days}, {**PUT, "days": days}]
    given = world(*options, news=news or {"type": "constant"}, **other).model_dump(mode="json", by_alias=True)
    given["venues"][0] |= {"option_vault": vault, "surface": {"premium": premium}}
    eco = Ecosystem(Scenario.model_validate(given), rng=seed, check_laws=True)
    eco.venue.market.level = premium * eco.venue.market.volatility[:1]
    return eco


def run(eco: Ecosystem, steps: int) -> Ecosystem:
    for _ in range(steps):
        eco.step()
    return eco


def result(eco: Ecosystem) -> float:
    """USD: what the vault has earned, what it has paid into the fund included."""
    series = eco.series()
    return float(series["option_vault"].iloc[-1] - 20e6 + series["option_vault_paid"].sum())


def test_a_call_that_is_sold_brings_its_premium_is_owed_at_mark_and_is_hedged_by_its_delta() -> None:
    eco = opened(
        {**AT_ONCE, "capital": 1e6, "notional_limit": 0.5, "margin_use": 1.0, "vega_limit": 100.0, "rule": {**STEADY, "sells": ["call"]}}
    )
    venue, ledger = eco.venue, eco.venue.ledger
    row, index, level = venue.option_vault.row, float(venue.market.index[0]), venue.market.level.copy()
    assert ledger.role[row] == Role.OPTION_VAULT
    assert ledger.cash[row] == 1e6
    eco.step()
    # Half of a million USD of notional, and Black's delta where the smile is at this strike, its slope included.
    sold = 0.5 * 1e6 / index
    assert ledger.position[1, row] == pytest.approx(-sold)
    years = 1.0 / 365.0

    def worth(forward: float) -> float:
        width = float(implied_volatility(venue.market.listed.surface, level, np.array(years), np.log(index / forward))[0]) * np.sqrt(years)
        up = np.log(forward / index) / width + 0.5 * width
        return float(forward * norm.cdf(up) - index * norm.cdf(up - width))

    delta = (worth(1.0001 * index) - worth(0.9999 * index)) / (0.0002 * index)
    assert ledger.position[0, row] == pytest.approx(sold * delta, rel=1e-6)
    assert 0.4 < delta < 0.6
    # The premium is what the market paid, below the surface's price, for its book is pressed; the rest is fees, funding and levies.
    premium = sold * float(ledger.entry[1, row])
    assert eco.observation["option_vault_premium"] == pytest.approx(premium)
    assert 0.9 * worth(index) < float(ledger.entry[1, row]) < worth(index)
    fees = venue.parameters.fees.taker * index * (sold + sold * delta)
    funding = float(venue.funding[0] * ledger.units[0] * ledger.position[0, row])
    levy = 0.5 * ledger.flows[Flow.OPEN_INTEREST_LEVY]  # the market makers on the other side pay the other half
    cash = 1e6 + premium - sold * delta * float(ledger.entry[0, row]) - fees - funding - levy
    assert float(ledger.cash[row]) == pytest.approx(cash, abs=1e-4)
    results = eco.observation["option_vault_options"] + eco.observation["option_vault_hedging"]
    assert eco.observation["option_vault"] == pytest.approx(1e6 + results - fees - funding - levy, abs=1e-4)


def test_its_margin_limits_what_it_sells() -> None:
    eco = opened({**AT_ONCE, "capital": 1e6, "notional_limit": 50.0, "vega_limit": 100.0, "margin_use": 0.4})
    eco.step()
    vault = eco.venue.option_vault
    initial = float(eco.venue.margin_of(eco.venue.ledger, vault.rows).initial[0])
    assert 0.3 < initial / vault.equity(eco.venue.ledger) < 0.42
    assert vault.short(eco.venue) < 20.0 * 1e6


def test_a_share_of_profit_above_its_highest_reaches_the_fund_when_series_end() -> None:
    eco = run(opened({**AT_ONCE, "income_share": 0.25}), 25)
    series, vault = eco.series(), eco.venue.option_vault
    # Nothing moved: at expiry, 24 hours after listing, what was sold is worth what rounding leaves of it, and the premium is earned.
    paid = series["option_vault_paid"].to_numpy()
    assert np.flatnonzero(paid).tolist() == [24]
    earned = float(series["option_vault"].iloc[24] + paid[24] - 20e6)
    assert paid[24] == pytest.approx(0.25 * earned, rel=0.02)  # but for the hedge that is still open
    assert vault.peak == pytest.approx(20e6 + 0.75 * earned, rel=1e-3)
    table = eco.statement_table()
    booked = table[table["flow"] == Flow.OPTION_VAULT_INCOME]
    assert booked["amount"].tolist() == [paid[24]]
    assert booked["step"].tolist() == [24]


def test_what_options_have_earned_over_their_life_is_the_premium_that_was_paid_for_them() -> None:
    # Nothing moved and both ended at the money; the series that takes their place is none of the vault's gains or losses.
    series = run(opened({**AT_ONCE, "hedge": 0.0}), 24).series()
    premium = series["option_vault_premium"].sum()
    assert premium > 1e5
    assert series["option_vault_options"].sum() == pytest.approx(premium, rel=1e-6)


def closing(bought: float, above: float, **vault: Any) -> Ecosystem:
    """A vault of 20 m USD that has bought BTC's perpetual this far above the mark; a series of calls ends."""
    eco = opened(vault)
    ledger, mine = eco.venue.ledger, eco.venue.option_vault
    price = float(ledger.marks[0]) + above
    ledger.trade(0, mine.rows, np.array([bought]), price, eco.venue.makers[:1], np.array([-bought]), price)
    mine._ended = np.array([0.0, 1.0, 0.0])
    return eco


@pytest.mark.parametrize(
    ("above", "peak", "paid"),
    [
        (-1_000.0, 20e6, 0.0),  # 10 BTC bought 1,000 USD below the mark: a gain of 10,000 that is not realised
        (-1_000.0, 19e6, 0.25e6),
        (1_000.0, 20e6, 0.0),
        (1_000.0, 19e6, 0.25 * 0.99e6),  # a loss of 10,000 that is not realised either, and counts
    ],
)
def test_gains_on_open_contracts_are_not_shared_and_losses_on_them_are_not_passed_over(above: float, peak: float, paid: float) -> None:
    eco = closing(10.0, above, income_share=0.25)
    vault = eco.venue.option_vault
    vault.peak = peak
    before = eco.venue.ledger.fund
    vault.close(eco.venue, 1)
    assert vault.paid == pytest.approx(paid)
    assert eco.venue.ledger.fund - before == pytest.approx(paid, abs=1e-6)


def test_what_open_contracts_need_as_margin_is_not_shared() -> None:
    eco = closing(300.0, 0.0, income_share=1.0)
    vault, ledger = eco.venue.option_vault, eco.venue.ledger
    vault.peak = 0.0
    held = float(eco.venue.margin_of(ledger, vault.rows).initial[0])
    assert held > 1e5
    vault.close(eco.venue, 1)
    assert vault.paid == pytest.approx(20e6 - held)


def test_its_share_goes_to_the_pools_of_the_series_that_have_ended() -> None:
    given = opened({"income_share": 0.25}).world.model_dump(mode="json", by_alias=True)
    given["venues"][0]["clearinghouse"] |= {"pools": {"by": "market", "shares": [0.4, 0.3, 0.3]}}
    eco = Ecosystem(Scenario.model_validate(given), rng=0)
    vault, before = eco.venue.option_vault, np.array(eco.venue.ledger.pools)
    vault.peak, vault._ended = 19e6, np.array([0.0, 1.0, 0.0])  # calls have ended, of a vault that is a million above its peak
    vault.close(eco.venue, 1)
    assert eco.venue.ledger.pools - before == pytest.approx([0.0, 0.25e6, 0.0])


def test_on_the_way_to_a_book_it_goes_as_far_as_margin_allows() -> None:
    # Margin of perpetuals is in proportion: 10 of them are held, 30 wanted, and margin is for 20: half of the way.
    eco = opened({})
    venue, vault = eco.venue, eco.venue.option_vault
    held, wanted, middle = (np.array([size, 0.0, 0.0]) for size in (10.0, 30.0, 20.0))
    allowed = float(venue.requirement(middle[:, None], middle[:, None], venue.ledger.marks).initial[0])
    vault.parameters = vault.parameters.model_copy(update={"margin_use": allowed / 20e6})
    assert vault._affordable(venue, held, wanted) == pytest.approx(0.5)
    assert vault._affordable(venue, held, -middle) == 1.0
    assert vault._affordable(venue, wanted, 2.0 * wanted) == 0.0


def test_it_orders_nothing_once_it_has_defaulted_nor_of_what_is_all_but_worthless() -> None:
    eco = opened({**AT_ONCE})
    venue, vault = eco.venue, eco.venue.option_vault
    contracts = trading.known_contracts(venue, venue.funding)
    assert vault.orders(venue, contracts, 1.0).any()
    venue.ledger.status[vault.row] = Status.BANKRUPT
    assert not vault.orders(venue, contracts, 1.0).any()
    venue.ledger.status[vault.row] = Status.ACTIVE
    venue.market.log_index += np.log(1e-7)
    assert not vault.orders(venue, contracts, 1.0).any()


def test_what_it_has_lost_is_earned_back_before_anything_is_shared() -> None:
    eco = opened({**AT_ONCE, "income_share": 0.25})
    eco.venue.option_vault.peak = 21e6
    run(eco, 25)
    assert not eco.series()["option_vault_paid"].any()
    assert eco.venue.option_vault.peak == 21e6


def test_hedged_its_result_varies_less_than_unhedged() -> None:
    hedged, bare = ([result(run(opened({**AT_ONCE, "hedge": part}, seed, news=CALM), 24)) for seed in range(6)] for part in (1.0, 0.0))
    assert np.std(hedged) < 0.6 * np.std(bare)


def test_a_fall_that_nobody_announced_ruins_it_and_its_deficit_goes_down_the_waterfall() -> None:
    greedy = {**AT_ONCE, "capital": 1e6, "notional_limit": 10.0, "vega_limit": 100.0, "margin_use": 1.0, "hedge": 0.0}
    fall = [{"type": "price_move", "at": 6, "size": [-0.5]}]
    eco = run(opened({**greedy, "rule": {**STEADY, "sells": ["put"]}}, shocks=fall), 6)
    before = eco.observation["option_vault"]
    assert before > 0.9e6
    assert eco.series()["option_vault_failed"].max() == 0.0
    eco.step()
    ledger, vault, tally = eco.venue.ledger, eco.venue.option_vault, eco.venue.tally
    assert ledger.status[vault.row] == Status.BANKRUPT
    assert eco.observation["option_vault"] == pytest.approx(0.0, abs=1e-3)
    assert eco.observation["option_vault_options"] < -1e6
    assert tally.deficits > 0.0
    assert tally.deficits == pytest.approx(sum(tally.absorbed.values()), rel=1e-9)
    assert tally.absorbed["fund"] > 0.0
    sheet = eco.balance_sheets().set_index("node").loc["option vault"]
    assert (sheet["kind"], sheet["status"], sheet["step_of_default"]) == ("option_vault", "defaulted", 7)
    run(eco, 3)
    assert not ledger.exposure[:, vault.row].any()
    assert eco.observation["option_vault_failed"] == 1.0
    assert vault.failed_in == 7  # and not again in every step after


def test_a_fall_that_it_survives_it_pays_for_in_the_step_in_which_it_comes() -> None:
    fall = [{"type": "price_move", "at": 6, "size": [-0.2]}]
    quiet, fallen = (run(opened({**AT_ONCE}, shocks=shocks), 8).series() for shocks in ([], fall))
    change = fallen["option_vault"].diff() - quiet["option_vault"].diff()
    assert change.iloc[1:7].abs().max() == 0.0
    assert change.iloc[7] < -0.05 * 20e6
    assert fallen["option_vault_failed"].max() == 0.0


def test_it_is_a_node_with_a_claim_on_the_exchange_and_not_a_trader() -> None:
    eco = run(opened(AT_ONCE), 2)
    graph = eco.exposures()
    claim = graph.edges["exchange", "option vault"]["amount"]
    assert claim == pytest.approx(eco.observation["option_vault"])
    assert graph.nodes["option vault"]["equity"] == claim
    assert eco.observation["trader_equity"] == 0.0
    assert eco.venue.institutions == eco.venue.option_vault.row + 1


def test_without_one_nothing_is_opened_or_told() -> None:
    eco = opened(None)
    assert eco.venue.option_vault is None
    assert not any(name.startswith("option_vault") for name in eco.outputs)
    assert "option vault" not in set(eco.balance_sheets()["node"])


@pytest.mark.parametrize(
    ("instruments", "vault", "said"),
    [
        ([], {}, "a vault that sells a call where none is listed, expected `instruments` with a `call`"),
        ([CALL], {}, "a vault that sells a put where none is listed, expected `instruments` with a `put`"),
        ([CALL, PUT], {"income_share": 1.2}, "less than or equal to 1"),
        ([CALL, PUT], {"capital": 0.0}, "greater than 0"),
        ([CALL, PUT], {"rule": {"type": "lucky"}}, "expected one of steady, variance_premium"),
        ([CALL, PUT], {"rule": {"type": "steady", "sells": []}}, "at least 1 item"),
    ],
)
def test_a_vault_that_cannot_be_is_refused(instruments: list[Any], vault: dict[str, Any], said: str) -> None:
    given = world(*instruments).model_dump(mode="json", by_alias=True)
    given["venues"][0]["option_vault"] = vault
    with pytest.raises(ValidationError, match=said):
        Scenario.model_validate(given)


@pytest.mark.slow
def test_in_calm_it_earns_what_implied_volatility_exceeds_realised_by_and_the_fund_has_its_share() -> None:
    def week(premium: float, seed: int) -> tuple[float, float]:
        eco = run(opened({"rule": {"type": "steady"}}, seed, news=CALM, days=7.0, premium=premium), 169)
        return result(eco), float(eco.series()["option_vault_paid"].sum())

    rich, fair = (np.array([week(premium, seed) for seed in range(12)]) for premium in (1.5, 1.0))
    rng = np.random.default_rng(0)
    earned, more = bootstrap(rich[:, 0], rng), bootstrap(rich[:, 0] - fair[:, 0], rng)
    assert earned.low > 0.0
    assert more.low > 0.0
    assert bootstrap(rich[:, 1], rng).low > 0.0
    assert rich[:, 1].sum() > fair[:, 1].sum()
