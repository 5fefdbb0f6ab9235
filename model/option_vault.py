"""The option vault on a venue: its account, its orders at each open, what came of them, and its share for the fund."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.contracts import Contracts
from agents.option_vault import BookView, OptionVaultParameters, SellingRule, hedges, sales, selling_rules
from model.ledger import OUTSIDE, Flow, Ledger, Role, Rows, Status
from model.levies import contribute

if TYPE_CHECKING:
    from model.venue import Venue

type Floats = NDArray[np.float64]

WORTHLESS = 1e-6
"""Of its index at the opening: where that is all that is left of it, nothing is sold on an underlying (our choice)."""


class OptionVault:
    """An account like any other: margined, liquidated, deleveraged, and in default when it leaves a deficit.

    Attributes:
        row: of the ledger, among the institutions'.
        peak: USD, the highest realised worth so far, payments taken off: profit beyond it is shared.
        premium, options, hedging, paid: USD of the step: received for options less paid for them; result of its options and of its
            perpetuals, from the auction's price to the mark at the close, as if what it held after the auction were held on; paid into
            the fund. Fees, funding and the execution of liquidations make up the rest of what its equity changes by.
        failed_in: the step in which it defaulted; -1 before.
    """

    def __init__(self, parameters: OptionVaultParameters, venue: "Venue") -> None:
        ledger = venue.ledger
        self.parameters = parameters
        self.rule: SellingRule = selling_rules.build(parameters.rule)
        self.row = int(ledger.open(1, Role.OPTION_VAULT)[0])
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, self.rows, np.array([parameters.capital]))
        self.peak = parameters.capital
        self.premium = self.options = self.hedging = self.paid = 0.0
        self.failed_in = -1
        self._state = self.rule.initial_state()
        self._held, self._marks = np.zeros(ledger.markets), ledger.marks
        self._ended = np.zeros(ledger.markets)
        self._floor = venue.market.index * WORTHLESS

    @property
    def rows(self) -> Rows:
        """Shape (1,)."""
        return np.array([self.row])

    def equity(self, ledger: Ledger) -> float:
        """USD: its depositors' claim."""
        return float(ledger.equity(self.rows)[0])

    def short(self, venue: "Venue") -> float:
        """USD of notional of the options that it is short of."""
        return float(venue.ledger.units @ np.where(_options(venue), np.maximum(-venue.ledger.position[:, self.row], 0.0), 0.0))

    def begin_step(self, ledger: Ledger) -> None:
        """Clears what the step before came to."""
        self.premium = self.options = self.hedging = self.paid = 0.0
        self._held, self._marks = ledger.position[:, self.row].copy(), ledger.marks
        self._ended = np.zeros(ledger.markets)

    # -- the open -------------------------------------------------------------------------------------------------------------------

    def orders(self, venue: "Venue", contracts: Contracts | None, hours: float) -> Floats:
        """Contracts, (M, 1): sells options as its rule says and its margin allows, and hedges what it will then hold.

        Once it has defaulted it trades no more; nor does it trade what has become all but worthless.
        """
        ledger = venue.ledger
        position = ledger.position[:, self.row].copy()
        if contracts is None or venue.fixing is None or ledger.status[self.row] != Status.ACTIVE:
            return np.zeros((ledger.markets, 1))
        view = BookView(self.equity(ledger), position, ledger.units, venue.fixing.vegas, contracts, hours)
        parts, self._state = self.rule.rule(contracts, self._state, venue.rng)
        sold = sales(self.parameters, view, parts)
        sold = sold * self._affordable(venue, position, self._hedged(view, position + sold))
        change = self._hedged(view, position + sold) - position
        return np.where(venue.market.index > self._floor, change, 0.0)[:, None]

    def _hedged(self, view: BookView, position: Floats) -> Floats:
        """The book, (M,), with the hedge that it calls for."""
        change = hedges(self.parameters, view, position)
        return np.concatenate((position[: change.size] + change, position[change.size :]))

    def _affordable(self, venue: "Venue", held: Floats, wanted: Floats) -> float:
        """Part of the way from one book, (M,), to another that keeps initial margin within its limit.

        Scenario margin is convex in the book: on the way it lies below the straight line between the ends.
        """
        books = np.stack((held, wanted), axis=1)
        before, after = venue.requirement(books, np.abs(books), venue.ledger.marks).initial.tolist()
        limit = self.parameters.margin_use * max(self.equity(venue.ledger), 0.0)
        return 1.0 if after <= limit else max(limit - before, 0.0) / max(after - before, 1e-300)

    def traded(self, venue: "Venue", price: Floats) -> None:
        """After the auction, at `price`, (M,): what was received for options, and what the trades are worth at mark."""
        ledger = venue.ledger
        held = ledger.position[:, self.row].copy()
        filled = held - self._held
        self.premium -= float(np.where(_options(venue), filled * price, 0.0).sum())
        self._add(venue, filled * (ledger.marks - price))
        self._held, self._marks = held, ledger.marks

    # -- the close ------------------------------------------------------------------------------------------------------------------

    def settled(self, venue: "Venue", ended: NDArray[np.bool_], prices: Floats) -> None:
        """Series, (M,), that end at `prices`, (M,), before their contracts do."""
        self._add(venue, np.where(ended, self._held * (prices - self._marks), 0.0))
        self._ended = np.where(ended, np.abs(np.minimum(self._held, 0.0)), self._ended)
        self._held = np.where(ended, 0.0, self._held)

    def close(self, venue: "Venue", step: int) -> None:
        """The close of a step: what the step's prices made of its book, and the fund's share of its profit."""
        ledger = venue.ledger
        self._add(venue, self._held * (ledger.marks - self._marks))
        if ledger.status[self.row] == Status.BANKRUPT:
            self.failed_in = step if self.failed_in < 0 else self.failed_in
        elif self._ended.any():
            self._share(venue)

    def _share(self, venue: "Venue") -> None:
        """Part of realised profit above its highest goes to the fund, to the pools of the markets whose series have ended.

        Realised is what the account would be worth if open contracts were closed where they were opened; what they have lost since
        counts all the same, and margin that they need stays.
        """
        ledger, row = venue.ledger, self.row
        equity = self.equity(ledger)
        realised = min(equity, equity - float((ledger.marks - ledger.entry[:, row]) @ ledger.position[:, row]))
        free = equity - float(venue.margin_of(ledger, self.rows).initial[0])
        self.paid = min(self.parameters.income_share * max(realised - self.peak, 0.0), max(free, 0.0))
        if self.paid > 0.0:
            contribute(venue, Flow.OPTION_VAULT_INCOME, row, self.paid, self._ended)
        self.peak = max(self.peak, realised - self.paid)

    def _add(self, venue: "Venue", gain: Floats) -> None:
        """Gains by market, (M,) USD, to the results of options and of hedges."""
        option = _options(venue)
        self.options += float(gain[option].sum())
        self.hedging += float(gain[~option].sum())


def _options(venue: "Venue") -> NDArray[np.bool_]:
    """Shape (M,): which markets are options."""
    listed = venue.market.listed
    return np.zeros(venue.ledger.markets, dtype=bool) if listed is None else listed.option
