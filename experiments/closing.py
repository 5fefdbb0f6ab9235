"""The books of an exchange as a run leaves them, as far as a disclosure asks for them and the series does not say.

Who would lose how much in a stress scenario takes a revaluation of every account in each of a thousand scenarios: it is done once, at the
end of a run. The scenarios are those that the sizing rule `cover` draws if nothing is said about them, at the volatility of the day, joint
Student returns over eight hours (our choice): exchanges that size their funds in other ways can then be compared.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from agents.clearinghouse import stress
from agents.clearinghouse.sizing import Cover
from agents.clearinghouse.waterfall import ExchangeCapital
from model.sizing import books

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from model.marketplace import Marketplace
    from model.venue import Venue

    type Floats = NDArray[np.float64]
    type Row = tuple[str, str, float]

DOLLARS = "dollars"


def as_table(rows: "Iterator[Row] | tuple[Row, ...]" = ()) -> pd.DataFrame:
    """Figures, what they are of, and USD; `participants` is a number of them."""
    return pd.DataFrame(list(rows), columns=["figure", "asset", "amount"]).astype({"figure": str, "asset": str, "amount": float})


def closing(place: "Marketplace") -> pd.DataFrame:
    """One row a figure; `asset` is empty where a figure is not of one.

    - `cover_1`, `cover_2`: largest stress loss over initial margin of one account, and of two, in the worst scenario.
    - `own_capital_before`: of the exchange's own capital, what one loss may use before participants are asked.
    - `initial_margin_house`, `initial_margin_client`: asked of market makers, liquidators and vaults; of traders.
    - `margin_held`, `margin_counted`: what account holders have, by the money that it is in and coins that count as collateral; with
      haircuts taken off.
    - `fund`: the backstop fund, by what it holds; contracts that it has taken over count as dollars, at mark.
    - `participants`, `hypothetical_capital`, `assessments`: of an exchange with clearing members, how many they are, K_CCP, and what they
      may be called for beyond their contributions.
    """
    venue = place.venue
    return as_table(
        row for figures in (_stressed(venue), _own(venue), _margin(venue), _held(place), _fund(place), _members(venue)) for row in figures
    )


def scenarios(venue: "Venue") -> "Floats":
    """Joint simple returns of underlyings, (S, A), at the volatility that the exchange measures."""
    p, market = Cover.Parameters(), venue.market
    return stress.simulated(p.count, market.volatility[: market.assets], p.horizon, p.correlation, p.tail, p.seed)


def _stressed(venue: "Venue") -> "Iterator[Row]":
    known = books(venue, 0)
    known = replace(known, part=np.ones_like(known.equity))  # whatever pool stands for it
    changes = known.revalue(scenarios(venue))
    for number in (1, 2):
        yield f"cover_{number}", "", stress.cover(known, changes, number) if known.equity.size else 0.0


def _own(venue: "Venue") -> "Iterator[Row]":
    """Layers of the exchange's capital that come before the first that asks others than the defaulters themselves."""
    left = before = max(venue.ledger.treasury, 0.0)
    for layer in venue.waterfall:
        if layer.reaches != "house" or layer.name == "members_fund":
            break
        if isinstance(layer, ExchangeCapital):
            left -= layer.parameters.share * left
    yield "own_capital_before", "", before - left


def _margin(venue: "Venue") -> "Iterator[Row]":
    """A house's accounts are its own and those of the firms that make it work; clients are those who trade."""
    ledger = venue.ledger
    initial = venue.margin_of(ledger, slice(ledger.house, ledger.rows)).initial
    institutions = venue.institutions - ledger.house
    yield "initial_margin_house", "", float(initial[:institutions].sum())
    yield "initial_margin_client", "", float(initial[institutions:].sum())


def _held(place: "Marketplace") -> "Iterator[Row]":
    venue, ledger, market = place.venue, place.venue.ledger, place.venue.market
    claims, haircuts = ledger.claims(), venue.parameters.coin_haircuts
    dollars = float(claims[ledger.currency == 0].sum())
    yield "margin_held", DOLLARS, dollars
    yield "margin_counted", DOLLARS, dollars
    price = market.underlying * np.exp(market.mispricing[: market.assets])
    lent = price * ledger.spot[:, ledger.house :].sum(axis=1)
    for at, name in enumerate(place.assets):
        settled = float(claims[ledger.currency == at + 1].sum())
        as_collateral = float(lent[at]) if haircuts else 0.0
        if settled or as_collateral:
            yield "margin_held", name, settled + as_collateral
            yield "margin_counted", name, settled + as_collateral * (1.0 - haircuts[min(at, len(haircuts) - 1)] if haircuts else 1.0)


def _fund(place: "Marketplace") -> "Iterator[Row]":
    ledger = place.venue.ledger
    coins = ledger.index * ledger.spot[:, ledger.funds].sum(axis=1)
    tokens = ledger.tokens * ledger.token_price
    yield "fund", DOLLARS, ledger.fund - float(coins.sum()) - tokens
    for name, usd in zip(place.assets, coins.tolist(), strict=True):
        if usd:
            yield "fund", name, usd
    if tokens:
        yield "fund", "the exchange's token", tokens


def _members(venue: "Venue") -> "Iterator[Row]":
    """K_CCP takes for a member's exposure before margin what it would lose in its own worst scenario (our choice), not Basel's formula."""
    members, ledger = venue.members, venue.ledger
    if members is None:
        return
    changes = books(venue, 0).revalue(scenarios(venue))
    exposure = stress.worst_losses(ledger.position[:, members.rows], changes)
    margin = venue.margin_of(ledger, members.rows).initial
    yield "participants", "", float(np.count_nonzero(members.required))
    yield "hypothetical_capital", "", stress.hypothetical_capital(exposure, margin, members.held)
    caps = [layer.parameters.cap for layer in venue.waterfall if layer.name == "assessment"]
    yield "assessments", "", sum(caps) * float(members.required.sum())
