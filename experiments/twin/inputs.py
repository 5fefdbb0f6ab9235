"""What the twin is given: the state it starts from, and what reaches the exchange from outside in each step."""

from collections.abc import Callable
from dataclasses import dataclass, field

from experiments.twin.accounts import Balance, Status
from experiments.twin.accrual import Levies

FUND = 1
"""The fund's number in orders."""


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
    """The state from which the twin starts: markets, accounts by number, the fund, exchange capital, members' contributions (USD)."""

    markets: list[Quoting]
    accounts: dict[int, Balance]
    fund: Balance
    treasury: float
    members: dict[int, float] = field(default_factory=dict)


@dataclass
class Inputs:
    """What reaches the exchange from outside in a step.

    Attributes:
        orders: number of an account (or FUND) and contracts wanted by market, buy > 0.
        spot_orders: asset, number, units, bought (> 0) or sold after the auction at the index.
        path: log index return of each market and hours, by increment.
        hours: length of the step.
        volatility: annualised by market, as the exchange measures it.
        depth: factor on what market makers show, by market.
        levies: what the fund takes.
        luck: the exchange's draws in the step, uniform on 0 to 1; its own if None.
    """

    orders: list[tuple[int, list[float]]]
    spot_orders: list[tuple[int, int, float]]
    path: list[tuple[list[float], float]]
    hours: float
    volatility: list[float]
    depth: list[float]
    levies: Levies = field(default_factory=Levies)
    luck: Callable[[], float] | None = None


@dataclass
class Visits:
    """What comes from elsewhere between two steps.

    Attributes:
        injection: USD from exchange capital to the fund.
        ended: numbers of accounts whose contracts end at mark, for they failed elsewhere; what they lack goes down the waterfall.
        money: USD by which each account has changed after all that; treasury: the same of exchange capital.
        entered: new accounts by number.
        status: of those whose status changed.
        paid_in: USD by number, all that accounts have paid in since profits were last settled; withheld: USD that withdrawals have borne of
            outstanding losses.
    """

    money: dict[int, float]
    entered: dict[int, Balance]
    ended: list[int]
    status: dict[int, Status]
    treasury: float = 0.0
    injection: float = 0.0
    paid_in: dict[int, float] = field(default_factory=dict)
    withheld: float = 0.0
