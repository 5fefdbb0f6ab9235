"""The end of dated contracts, at the index averaged over their last hours."""

from typing import TYPE_CHECKING

from experiments.twin import accrual, coins, waterfall
from experiments.twin.accounts import CENT

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange


def settle_expired(exchange: "Exchange") -> None:
    """Positions in series that have expired end in cash at the averaged index; new series are listed; deficits go down the waterfall."""
    ended = [at for at, market in enumerate(exchange.markets) if market.series is not None and market.series.left <= 1e-9]
    if not ended:
        return
    everyone = exchange.everyone()
    before = exchange.outside.cash
    delivered = {account: [0.0] * len(exchange.markets) for account in everyone}
    for at in ended:
        market = exchange.markets[at]
        assert market.series is not None
        average = market.series.average(market.index)
        price = market.series.pays(average)
        for account in exchange.holders():
            if account.position[at]:
                if account in delivered:
                    delivered[account][at] = abs(account.position[at]) * average
                account.trade(at, -account.position[at], price)
        market.series.renew(market.index)
        if exchange.option_vault is not None:
            exchange.option_vault.expired(at)
        market.pressure = market.skew = market.basis = market.flow = 0.0
    exchange.outside.earned += exchange.outside.cash - before
    exchange.mark()
    exchange.settle()
    for account, usd in delivered.items():
        fee = min(exchange.rules.fees.delivery * sum(usd), max(coins.means(exchange, account), 0.0))
        account.cash -= fee
        accrual.share_out(exchange, "trading_fee", "trading_fees", fee, usd)
        exchange.fees += fee
    weights = [1.0 if at in ended else 0.0 for at in range(len(exchange.markets))]
    short = [account for account in everyone if account.flat and account.cash < -CENT]
    waterfall.cover(exchange, [waterfall.Deficit(account, -account.cash, weights) for account in short], "draw_close_out")
