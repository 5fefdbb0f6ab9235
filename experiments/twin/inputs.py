"""What the twin is given: the state it starts from, and what reaches the exchange from outside in each step."""

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
    """A market as it opens: USD and logs, see `market.Market`."""

    index: float
    depth: float
    volatility: float
    basis: float = 0.0
    pressure: float = 0.0
    momentum: float = 0.0
    average_premium: float = 0.0


@dataclass
class Opening:
    """The state from which the twin starts: markets, accounts by number, the fund's pools, exchange capital (USD)."""

    markets: list[Quoting]
    accounts: dict[int, Balance]
    funds: list[Balance]
    treasury: float


@dataclass
class Inputs:
    """What reaches the exchange from outside in a step.

    Attributes:
        orders: number of an account (or of a pool of the fund) and contracts wanted by market, buy > 0.
        spot_orders: asset, number, units, bought (> 0) or sold after the auction at the index.
        path: log index return of each market and hours, by increment.
        hours: length of the step.
        volatility: annualised by market, as the exchange measures it.
        depth: factor on what market makers show, by market.
        levies: what the fund takes, by pool.
    """

    orders: list[tuple[int, list[float]]]
    spot_orders: list[tuple[int, int, float]]
    path: list[tuple[list[float], float]]
    hours: float
    volatility: list[float]
    depth: list[float]
    levies: list[Levies] = field(default_factory=list)


@dataclass
class Visits:
    """What comes from elsewhere between two steps.

    Attributes:
        injections: USD from exchange capital to each pool of the fund; recapitalised: from the exchange's owners.
        ended: numbers of accounts whose contracts end at mark, for they failed elsewhere; what they lack goes down the waterfall.
        money: USD by which each account has changed after all that; treasury: the same of exchange capital.
        entered: new accounts by number.
        status: of those whose status changed.
    """

    money: dict[int, float]
    entered: dict[int, Balance]
    ended: list[int]
    status: dict[int, Status]
    treasury: float = 0.0
    injections: list[float] = field(default_factory=list)
    recapitalised: list[float] = field(default_factory=list)
