"""The vault that sells options: it trades by orders that it is given, and pays the fund a part of what it earns."""

from typing import Any

from experiments.twin import accrual
from experiments.twin.accounts import Account, Balance


class OptionVault(Account):
    """An account like any other, whose realised profit is shared when series end that it was short of.

    Attributes:
        peak: USD, the highest realised worth so far, payments taken off; capital at first.
        held: contracts by market after the step's auction; ended: those among them, short, whose series has ended in the step.
    """

    def __init__(self, model: Any, number: int, marks: list[float], balance: Balance) -> None:
        super().__init__(model, number, marks, balance)
        self.peak: float = model.world.venues[0].option_vault.capital
        self.begin_step()

    def begin_step(self) -> None:
        """Nothing has ended yet."""
        self.traded()
        self.ended = [0.0] * len(self.held)

    def traded(self) -> None:
        """After the auction."""
        self.held = list(self.position)

    def expired(self, market: int) -> None:
        """A market's series ends."""
        self.ended[market] = max(-self.held[market], 0.0)
        self.held[market] = 0.0

    @property
    def realised(self) -> float:
        """USD that it would be worth if contracts that have gained were closed where they were opened, all in all."""
        return min(self.cash, self.cash - sum(self.profit(market) for market in range(len(self.position))))

    def close(self) -> None:
        """Part of realised profit above its highest goes to the pools of the markets whose series have ended, as far as margin is free."""
        if self.status == "bankrupt" or not any(self.ended):
            return
        exchange = self.model
        share = exchange.world.venues[0].option_vault.income_share
        realised = self.realised
        free = self.cash - self.initial(exchange.margin)
        paid = min(share * max(realised - self.peak, 0.0), max(free, 0.0))
        self.peak = max(self.peak, realised - paid)
        if paid > 0.0:
            self.cash -= paid
            weights = [ended * size for ended, size in zip(self.ended, exchange.sizes, strict=True)]
            for pool, part in enumerate(exchange.pools.by_pool(weights)):
                accrual.to_pool(exchange, "option_vault_income", pool, part * paid)
