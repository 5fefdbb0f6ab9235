"""What becomes of the exchange's surplus, and of the part of the fund that is held in the venue's token."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.value import Payout, SurplusView, ValueRule, checked_payout, value_rules
from model.ledger import OUTSIDE, TREASURY, Flow, Ledger
from model.token import Token

if TYPE_CHECKING:
    from model.venue import Venue

type Floats = NDArray[np.float64]


class Value:
    """A venue's value accrual.

    Attributes:
        token: the venue's, if it has one.
        retained: USD of surplus that rules have left in the exchange's capital.
    """

    def __init__(self, parameters: ClearinghouseParameters, log_index: Floats) -> None:
        self.rules: list[ValueRule] = [value_rules.build(p) for p in parameters.value_accrual]
        self.states: list[Any] = [rule.initial_state() for rule in self.rules]
        self.token = Token(parameters.token, log_index) if parameters.token is not None else None
        self.retained = 0.0

    def distribute(self, venue: "Venue") -> None:
        """What the exchange has beyond its opening capital, and what the fund releases, goes by its rules; the rest goes to its owners."""
        ledger = venue.ledger
        self._release(venue)
        excess = ledger.treasury - venue.parameters.capital - self.retained
        if excess <= 0.0:
            return
        surplus = excess * venue.within_custody(excess)
        payout = self._payout(SurplusView(surplus, ledger.fund, venue.target), venue.rng)
        self.retained += payout.retained
        if self.token is not None and payout.bought_back > 0.0:
            ledger.transfer(Flow.BUY_BACK, TREASURY, OUTSIDE, payout.bought_back)
            self.token.buy_back(payout.bought_back, ledger.tokens)
        if self.token is not None and payout.stakers > 0.0:
            self.token.paid += ledger.transfer(Flow.STAKING_REWARD, TREASURY, OUTSIDE, payout.stakers)
        owners = max(surplus - (payout.retained + payout.bought_back + payout.stakers), 0.0)
        if owners > 0.0:
            ledger.transfer(Flow.DISTRIBUTION, TREASURY, OUTSIDE, owners)

    def _payout(self, view: SurplusView, rng: np.random.Generator) -> Payout:
        """What the rules take of the surplus."""
        payout = Payout()
        for at, rule in enumerate(self.rules):
            more, self.states[at] = rule.rule(view, self.states[at], rng)
            payout = payout + more
        return checked_payout(payout, view.surplus)

    def _release(self, venue: "Venue") -> None:
        """Pools that have more than they should by a stated factor give the rest to the exchange's capital; tokens stay."""
        ledger, release = venue.ledger, venue.parameters.release
        if release is None:
            return
        tokens = ledger.tokens * ledger.token_price
        for row, held, target in zip(ledger.funds.tolist(), ledger.pools, venue.targets.tolist(), strict=True):
            over = min(held - release * target, held - tokens)
            if over > 0.0:
                ledger.transfer(Flow.RELEASE, row, TREASURY, over)

    # -- the token ------------------------------------------------------------------------------------------------------------------

    def open(self, venue: "Venue") -> None:
        """The opening: the market sees what the fund is short of; part of the fund's balance is exchanged for tokens at their price."""
        if self.token is not None:
            ledger = venue.ledger
            self.token.open(venue.market.log_index, ledger.fund, venue.target)
            ledger.revalue_tokens(self.token.price)
            usd = self.token.parameters.fund_share * venue.parameters.fund
            ledger.trade_tokens(usd / self.token.price, usd)

    def revalue(self, ledger: Ledger, log_index: Floats) -> None:
        """The fund's tokens are worth what the market says at these log indices, (M,)."""
        if self.token is not None:
            self.token.follow(log_index)
            ledger.revalue_tokens(self.token.price)

    def close(self, venue: "Venue", hours: float) -> None:
        """The close of a step: the token's price follows revenue and fear."""
        if self.token is not None:
            self.token.close(hours, venue.tally.fees, venue.ledger.fund, venue.target, venue.ledger.tokens)
            venue.ledger.revalue_tokens(self.token.price)

    def payable(self, ledger: Ledger) -> list[float]:
        """USD by pool that the fund could pay now: what its tokens would bring, not what they are worth."""
        held = ledger.pools
        if self.token is not None and ledger.tokens:
            held[0] += self.token.book.raises(ledger.tokens) - ledger.tokens * ledger.token_price
        return held

    def raise_cash(self, venue: "Venue", ledger: Ledger, row: int, usd: float) -> None:
        """A pool, in `ledger`, sells what its dollars lack to pay USD: of its coins at the index, then of its tokens. Both prices fall."""
        for asset in np.flatnonzero(ledger.spot[:, row]).tolist():
            price = float(ledger.index[asset])
            lacks = usd - max(float(ledger.equity(row)), 0.0)
            sold = min(max(lacks, 0.0) / price, float(ledger.spot[asset, row])) if price > 0.0 else 0.0
            if sold > 0.0:
                ledger.trade_spot(asset, np.array([row]), np.array([-sold]), price)
                if venue.channels.price_impact:
                    venue.market.trade_spot(asset, -sold * price)
        self._sell_tokens(ledger, usd - max(float(ledger.equity(row)), 0.0))

    def _sell_tokens(self, ledger: Ledger, usd: float) -> None:
        """The fund sells tokens for USD, or all that it has; their price falls."""
        if self.token is None or not ledger.tokens or usd <= 0.0:
            return
        units = self.token.book.units_for(usd, ledger.tokens)
        ledger.trade_tokens(-units, -self.token.book.raises(units))
        self.token.move(-units)
        ledger.revalue_tokens(self.token.price)

    def slash(self, ledger: Ledger, target: int, usd: float, share: float) -> float:
        """Staked tokens, at most a share of them, are sold for USD, which the outside world pays to a row. Returns it."""
        assert self.token is not None
        self.token.slash(usd, share)
        return ledger.transfer(Flow.SLASHED, OUTSIDE, target, usd)
