"""A venue built by hand: whoever is wanted holds what is wanted, and nothing happens but what a test does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.accrual import Levies
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.liquidator import LiquidatorParameters
from agents.market_maker import MarketMakerParameters
from model import quoting
from model.channels import OPEN, Channels
from model.clearing import Walk, walk
from model.events import Events
from model.ledger import FUND, OUTSIDE, TREASURY, Flow, Role, Rows
from model.market import Market, MarketParameters
from model.path import Path
from model.venue import Venue

type Floats = NDArray[np.float64]

DEEP = 1e15
"""Depth at which an order moves nothing."""
MAKER, LIQUIDATOR = 4, 5
"""Rows of the only market maker and the only liquidator; traders follow."""
FIRST = 6
"""Row of the first trader."""
FULL: dict[str, Any] = {"type": "full", "keeps": 0.0}
FIXED: dict[str, Any] = {"type": "fixed_leverage", "initial": 0.1, "maintenance": 0.05}


def of(*given: float) -> Floats:
    return np.array(given, dtype=float)


@dataclass
class Handmade:
    """A venue with one market maker, one liquidator and traders from row 6."""

    venue: Venue

    def position(self, buyer: int, seller: int, quantity: float, price: float, market: int = 0) -> None:
        bought, sold = np.array([buyer], dtype=np.intp), np.array([seller], dtype=np.intp)
        self.venue.ledger.trade(market, bought, of(quantity), price, sold, of(-quantity), price)

    def walk(self, dlog: Floats, hours: Floats) -> None:
        """Walks log increments (M, K) in the given hours (K,), and checks the ledger."""
        walk([Walk(self.venue, Path(dlog, hours))])
        self.venue.ledger.check(1, outstanding=self.venue.outstanding)

    def move(self, *prices: float) -> None:
        """Walks the index of the first market through these prices, each a jump; others stand still."""
        steps = np.diff(np.log(of(float(self.venue.market.index[0]), *prices)))
        dlog = np.zeros((self.venue.ledger.markets, steps.size))
        dlog[0] = steps
        self.walk(dlog, np.zeros(steps.size))

    def equity(self, *who: int) -> list[float]:
        found: list[float] = self.venue.ledger.equity(np.array(who, dtype=np.intp)).tolist()
        return found

    def held(self, *who: int, market: int = 0) -> list[float]:
        found: list[float] = self.venue.ledger.position[market, list(who)].tolist()
        return found

    @property
    def statement(self) -> dict[Flow, float]:
        return {kind: amount for kind, amount in self.venue.ledger.statement.items() if amount}

    @property
    def absorbed(self) -> dict[str, float]:
        return {layer: amount for layer, amount in self.venue.tally.absorbed.items() if amount}


def handmade(
    deposits: Sequence[float] | Floats,
    prices: Sequence[float] = (100.0,),
    *,
    fund: float = 0.0,
    capital: float = 0.0,
    depth: float = DEEP,
    maker: float = 10_000.0,
    liquidator: float = 0.0,
    discount: float = 0.02,
    levies: Levies | None = None,
    channels: Channels = OPEN,
    **house: Any,
) -> Handmade:
    """Traders with `deposits` in markets at `prices`; surplus and liquidation fees are the fund's unless `levies` say otherwise."""
    block = {"margin": FIXED, "liquidation": FULL, "waterfall": [{"type": "fund"}, {"type": "write_down"}], **house}
    m = len(prices)
    market = Market(MarketParameters(pass_through=0.0), of(*prices), np.full(m, depth), np.full(m, 0.5))
    venue = Venue(
        "test",
        ClearinghouseParameters.model_validate(block),
        MarketMakerParameters(count=1, risk_aversion=0.0, inventory_limit=1e9, stress_floor=1.0),
        LiquidatorParameters(count=1, discount=discount, volatility_loading=0.0, inventory_loading=0.0, appetite=20.0),
        market,
        Events(True, tuple(f"A{at}" for at in range(m))),
        channels=channels,
    )
    ledger = venue.ledger
    for row, amount in ((FUND, fund), (TREASURY, capital), (int(venue.makers[0]), maker), (int(venue.liquidators[0]), liquidator)):
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, row, amount)
    venue.maker_capital = ledger.equity(venue.makers)
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, ledger.open(len(deposits), Role.TRADER), np.array(deposits, dtype=float))
    venue.begin_step(np.random.default_rng(1))
    venue.levies = levies or Levies(surplus=1.0, liquidation_fees=1.0)
    quoting.requote(venue, ledger)
    return Handmade(venue)


def levied(one: Handmade, **levies: float) -> Handmade:
    one.venue.levies = Levies(**levies)
    return one


def flows(one: Handmade) -> dict[Flow, float]:
    """What has changed the fund; an index of 100 is 100 but for the last bit, and so is what an inventory gains."""
    return {kind: usd for kind, usd in one.statement.items() if abs(usd) > 1e-9}


def owing(one: Handmade, row: int, usd: float) -> Handmade:
    """Takes USD from an account, which may bring it below zero."""
    one.venue.ledger.transfer(Flow.WITHDRAWAL, row, OUTSIDE, usd)
    return one


def books(venue: Venue) -> dict[str, Floats | Rows]:
    """Copies of a venue's columns, by name."""
    ledger = venue.ledger
    return {name: getattr(ledger, name).copy() for name in ("cash", "position", "entry", "status")}
