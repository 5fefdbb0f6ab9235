"""The venue's token: what it costs, who has it, and what selling it brings."""

import math
from typing import Any

from agents.clock import HOURS_PER_YEAR
from experiments.twin.accounts import CENT, TIE


class Token:
    """A token, whose log price is that of revenue, less fear, moved with the market and by those who trade it.

        log p = log(multiple x revenue / supply) - fear x f + beta x y + x

    Args:
        parameters: of the scenario.
        log_index: of the first market at the opening.

    Attributes:
        staked, destroyed: tokens; held: the fund's. The public has the rest.
        revenue: USD a year, of late; shortfall: f, of the fund at the last close; peak: USD, the fund's of late.
        trend: y up to the last close; traded: x.
        log_index: of the first market, when the price was last looked at; closed: at the last close.
    """

    def __init__(self, parameters: Any, log_index: float) -> None:
        self.parameters = parameters
        self.depth: float = parameters.depth * parameters.supply
        self.staked, self.destroyed, self.held = parameters.staked * parameters.supply, 0.0, 0.0
        self.revenue: float = parameters.revenue
        self.shortfall = self.peak = self.trend = self.traded = 0.0
        self.log_index = self.closed = log_index

    @property
    def supply(self) -> float:
        """Tokens that there are."""
        return float(self.parameters.supply - self.destroyed)

    @property
    def price(self) -> float:
        """USD; nothing once buy-backs have left nothing of the supply but rounding."""
        p = self.parameters
        if self.supply <= TIE * p.supply:
            return 0.0
        market = self.trend + self.log_index - self.closed
        moved = p.beta * market - p.fear * self.shortfall + self.traded
        return float(p.multiple * self.revenue / self.supply * math.exp(moved))

    # -- trading: every `depth` tokens sold lower the price by a factor e, so that selling n raises p N (1 - exp(-n / N)) ---------------

    def brings(self, units: float) -> float:
        """USD that selling so many raises."""
        return self.price * self.depth * (1.0 - math.exp(-units / self.depth))

    def needed_for(self, usd: float, most: float) -> float:
        """Tokens, of `most`, whose sale raises USD; if they raise no more, as many as raise all of it but a billionth."""
        if self.brings(most) <= CENT:
            return 0.0
        if usd >= self.brings(most) * (1.0 - TIE):
            return min(most, -self.depth * math.log(TIE))
        return -self.depth * math.log(1.0 - usd / (self.price * self.depth))

    def trade(self, units: float) -> None:
        """Somebody has bought (> 0) or sold so many."""
        self.traded += units / self.depth

    def slash(self, usd: float, share: float) -> None:
        """As many staked tokens, of a share of them, are sold as bring USD."""
        units = self.needed_for(usd, share * self.staked) if usd > 0.0 else 0.0
        self.staked -= units
        self.trade(-units)

    def buy_back(self, usd: float) -> None:
        """Tokens are bought from the public for USD, and destroyed."""
        worth = self.price * self.depth
        units = self.depth * math.log(1.0 + usd / worth) if worth > TIE * CENT else 0.0
        units = min(units, max(self.supply - self.staked - self.held, 0.0))
        self.destroyed += units
        self.trade(units)

    # -- time ---------------------------------------------------------------------------------------------------------------------------

    def close(self, hours: float, fees: float, fund: float, target: float) -> None:
        """The close of a step in which `fees` were charged and after which the fund has, and should have, so much, all USD."""
        p = self.parameters
        fades = math.exp(-hours / p.memory)
        self.revenue = fades * self.revenue + (1.0 - fades) * max(fees, 0.0) * HOURS_PER_YEAR / hours
        self.trend = fades * (self.trend + self.log_index - self.closed)
        self.closed = self.log_index
        self.traded *= math.exp(-hours / p.recovery)
        self.peak *= fades
        self.see(fund, target)
        wanted = min(p.staked * self.supply, self.supply - self.held)
        self.staked += max(wanted - self.staked, 0.0) * (1.0 - math.exp(-hours / p.restake_hours))

    def see(self, fund: float, target: float) -> None:
        """The market sees what the fund is short of its target, or of its peak of late: whichever is more, from 0 to 1."""
        self.peak = max(fund, self.peak)
        short = 1.0 - fund / target if target > 0.0 else 0.0
        fallen = 1.0 - fund / self.peak if self.peak > 0.0 else 0.0
        self.shortfall = min(max(short, fallen, 0.0), 1.0)
