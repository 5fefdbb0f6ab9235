"""What the twin is given: the state it starts from, and what reaches the exchange from outside in each step."""

from collections.abc import Callable
from dataclasses import dataclass, field

from experiments.twin.accounts import Balance, Status
from experiments.twin.accrual import Levies

FUND = 1
"""The number of the fund's first pool; further pools are numbered from 4 on."""


def fund_number(pool: int) -> int:
    """The number of a pool in orders."""
    return FUND if pool == 0 else 3 + pool


@dataclass
class Quoting:
    """A market as it opens: USD and logs, see `market.Market`; `mark` is what contracts are settled to, `strike` an option's."""

    index: float
    mark: float
    depth: float
    volatility: float
    basis: float = 0.0
    pressure: float = 0.0
    momentum: float = 0.0
    average_premium: float = 0.0
    strike: float = 0.0


@dataclass
class Opening:
    """The state from which the twin starts: markets, accounts by number, the fund's pools, capital and members' contributions (USD).

    `rates` are USD a settlement coin by underlying; nothing where everything is settled in dollars.
    """

    markets: list[Quoting]
    accounts: dict[int, Balance]
    funds: list[Balance]
    treasury: float
    members: dict[int, float] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)


@dataclass
class Inputs:
    """What reaches the exchange from outside in a step.

    Attributes:
        orders: number of an account (or of a pool of the fund) and contracts wanted by market, buy > 0.
        spot_orders: asset, number, units, bought (> 0) or sold after the auction at the index.
        silent: numbers whose spot orders leave the index alone.
        path: log index return of each market and hours, by increment.
        hours: length of the step.
        volatility: annualised by market, as the exchange measures it.
        depth: factor on what market makers show, by market.
        levies: what the fund takes, by pool.
        margin: factors on initial and on maintenance margin, because the fund is short.
        mispricing: log error of the index that contracts are marked by, by market.
        outages: from and until, hours since the run began.
        luck: the exchange's draws in the step, uniform on 0 to 1; its own if None.
        carry: what a future costs above the index, annualised, by market.
        closing: number and market of orders that close all that is held, to the last bit of it.
        implied: factors on implied volatility at the step's start, by underlying, because of a shock; none if nothing.
    """

    orders: list[tuple[int, list[float]]]
    spot_orders: list[tuple[int, int, float]]
    path: list[tuple[list[float], float]]
    hours: float
    volatility: list[float]
    depth: list[float]
    levies: list[Levies] = field(default_factory=list)
    margin: tuple[float, float] = (1.0, 1.0)
    mispricing: list[float] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    luck: Callable[[], float] | None = None
    carry: list[float] = field(default_factory=list)
    closing: set[tuple[int, int]] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    implied: list[float] = field(default_factory=list)


@dataclass
class Visits:
    """What comes from elsewhere between two steps, in this order.

    Attributes:
        injections: USD from exchange capital to each pool of the fund; recapitalised: from its owners; released: to that capital.
        bought_back: USD for which exchange capital has bought tokens.
        served: USD by which accounts change as loans are served.
        ended: numbers of accounts whose contracts end at mark, for they failed elsewhere; what they lack goes down the waterfall.
        left: USD that market makers and liquidators have once creditors are paid.
        money: USD by which accounts change as traders come and go; treasury: the same of exchange capital.
        entered: new accounts by number.
        status: of those whose status changed.
        paid_in: USD by number, all that accounts have paid in since profits were last settled; withheld: USD that withdrawals have borne of
            outstanding losses.
        volatility: annualised by market, as the exchange measures it from now on.
        moved: log moves of the indices, by underlying, because those who come and go have changed coins.
    """

    served: dict[int, float]
    left: dict[int, float]
    money: dict[int, float]
    entered: dict[int, Balance]
    ended: list[int]
    status: dict[int, Status]
    treasury: float = 0.0
    injections: list[float] = field(default_factory=list)
    recapitalised: list[float] = field(default_factory=list)
    released: list[float] = field(default_factory=list)
    bought_back: float = 0.0
    paid_in: dict[int, float] = field(default_factory=dict)
    withheld: float = 0.0
    volatility: list[float] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
