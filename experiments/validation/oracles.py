"""Exact examples: single rules on published inputs, or on inputs whose answer is arithmetic."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from agents.clearinghouse import stress
from agents.clearinghouse.deleveraging import DeleveragingView, ProRata, Queue
from agents.clearinghouse.margin import MarginView, Tiered
from agents.clearinghouse.waterfall import BackstopFund, ExchangeCapital, LayerView, SocialisedLoss
from agents.trader import Chartist, Fundamentalist, TraderParameters, TraderView, fundamentalist_share
from experiments.validation.almgren_chriss import Sale
from experiments.validation.check import Check, Validation
from model.contagion import clearing_vector
from model.market import Market, MarketParameters

_RING: Final = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
_ASSETS: Final = (0.5, 0.625, 0.75)
_OUTSIDE: Final = (1.5, 0.5, 0.5)


def eisenberg_noe() -> Check:
    """Three banks of Gandy & Veraart's documentation."""
    found = clearing_vector(_RING, _ASSETS, _OUTSIDE).payments
    target = (165 / 112, 159 / 112, 3 / 2)
    return Check("Eisenberg-Noe payments", "Gandy & Veraart, systemicrisk (computed)", target, tuple(found), 1e-9)


def rogers_veraart() -> Check:
    """The same banks with bankruptcy costs."""
    found = clearing_vector(_RING, _ASSETS, _OUTSIDE, alpha=0.5, beta=0.7).payments
    target = (0.502019962, 0.5147049378, 0.5653806135)
    return Check("Rogers-Veraart payments", "Gandy & Veraart, systemicrisk (computed)", target, tuple(found), 1e-9)


def rogers_veraart_greatest() -> Check:
    """Example 3.3: the greatest of several clearing vectors."""
    found = clearing_vector([[0.0, 2.0], [2.2, 0.0]], (1.0, 1.0), alpha=0.5, beta=0.5).payments
    return Check("greatest clearing vector", "Rogers & Veraart 2013, Example 3.3", (2.0, 2.2), tuple(found), 1e-9)


def nasdaq_2018() -> Check:
    """114 m EUR beyond the defaulter's collateral: 7 m of skin in the game, then 107 m of the members' fund of 166 m."""
    loss, paid = 114.0, []
    for layer, view in (
        (ExchangeCapital(ExchangeCapital.Parameters(share=1.0)), {"treasury": 7.0, "fund": 0.0}),
        (BackstopFund(), {"treasury": 0.0, "fund": 166.0}),
    ):
        none = np.zeros(0)
        charge, _ = layer.rule(LayerView(loss=loss, equity=none, gains=none, notional=none, members=None, stake=None, **view), None, None)
        paid.append(charge.fund + charge.treasury)
        loss -= paid[-1]
    return Check("Nasdaq Clearing 2018, m EUR by layer", "Risk.net, GlobalCapital 2018", (7.0, 107.0), tuple(paid), 1e-9)


def gains_haircut() -> Check:
    """Gains 60, 30, 10 and a shortfall of 20: a haircut of a fifth."""
    gains = np.array([60.0, 30.0, 10.0])
    charge, _ = SocialisedLoss().rule(LayerView(20.0, 0.0, 0.0, 10 * gains, gains, gains), None, None)
    assert charge.accounts is not None
    return Check("variation-margin gains haircut", "ISDA 2013 (formula recalled)", (48.0, 24.0, 8.0), tuple(gains - charge.accounts), 1e-9)


def _winners(quantity: float, room: tuple[float, ...], equity: tuple[float, ...], profit: tuple[float, ...]) -> DeleveragingView:
    size = np.array(room)
    return DeleveragingView(
        quantity, size, size, np.array(profit), np.array(equity), np.ones(size.size), 1000.0, np.full(size.size, 500.0), True
    )


def bitmex_queue() -> Check:
    """A short of 20 bankrupt: the longs ranked 6 hold 10, those ranked 5 hold 20; 10 and 10 are closed."""
    view = _winners(20.0, (20.0, 10.0), (20e3, 2e3), (10e3, 5e3))
    contracts, _ = Queue().rule(view, None, None)
    return Check("deleveraging queue, contracts", "BitMEX, auto-deleveraging example", (10.0, 10.0), tuple(contracts), 1e-9)


def pro_rata_contracts() -> Check:
    """Deficit 1,500 on two contracts against longs of 1, 3 and 1: 750 a contract, shared 300, 900, 300."""
    view = _winners(2.0, (1.0, 3.0, 1.0), (1500.0, 3000.0, 6000.0), (1500.0, 3000.0, 6000.0))
    contracts, _ = ProRata().rule(view, None, None)
    return Check("pro rata by contracts, USD", "constructed", (300.0, 900.0, 300.0), tuple(750.0 * contracts), 1e-9)


def hypothetical_capital() -> Check:
    """Members' exposures 120, 80, 60 less margin 90, 75, 70 and contributions 10, 8, 5: 20 are uncovered, times 20 % times 8 %."""
    found = stress.hypothetical_capital(*(np.array(row) for row in ((120.0, 80.0, 60.0), (90.0, 75.0, 70.0), (10.0, 8.0, 5.0))))
    return Check("hypothetical capital K_CCP", "EMIR Art. 50a, constructed", (0.32,), (found,), 1e-12)


def tier_deduction() -> Check:
    """200 m USD of BTC at 40x to 150 m and 20x above: 200 m x 2.5 % - 150 m x 1.25 % = 3.125 m."""
    notional = np.array([[200e6]])
    margin, _ = Tiered().rule(MarginView(notional / 6e4, notional, np.array([6e4])), None, None)
    return Check("tiered maintenance margin, USD", "Hyperliquid, margin tiers", (3.125e6,), tuple(margin.by_market[0]), 1e-3)


def funding() -> Check:
    """Premium 0.04 %: F = 0.04 % + clamp(0.01 % - 0.04 %, 0.05 %) = 0.01 %; premium 0.2 %: 0.2 % - 0.05 % = 0.15 %; per eight hours."""
    rates = []
    for premium in (4e-4, 2e-3):
        market = Market(MarketParameters(), np.array([100.0]), np.array([1e6]), np.array([0.5]))
        market.average_premium = market.basis = np.array([premium])
        rates.append(float(market.funding_rate(8.0)[0]))
    return Check("funding rate per 8 h", "BitMEX, Binance", (1e-4, 1.5e-3), tuple(rates), 1e-12)


def optimal_liquidation() -> Check:
    """A million shares in five days at a risk aversion of 2e-6: what is left day by day, thousands, and expected cost, thousands."""
    sale = Sale(quantity=1e6, horizon=5.0, step=1.0, deviation=0.95, permanent=2.5e-7, temporary=2.5e-6, spread=0.0625)
    held = sale.held(2e-6)
    target = (428.598845747, 182.932814262, 76.295721615, 27.643377397, 1140.71516705)
    return Check("optimal liquidation", "Almgren & Chriss 2000 (computed)", target, (*(held[1:5] / 1e3), sale.cost(held)[0] / 1e3), 1e-8)


def no_assets_but_each_others_debts() -> Check:
    """Two who owe each other 1 and have nothing: the greatest clearing vector is payment in full."""
    found = clearing_vector([[0.0, 1.0], [1.0, 0.0]], (0.0, 0.0)).payments
    return Check("mutual debts without assets", "Eisenberg & Noe 2001, Appendix 2", (1.0, 1.0), tuple(found), 1e-9)


def ring_after_a_shock() -> Check:
    """Three banks in a ring, assets of 10, 5, 3 less 15 %, debts of 9, 4, 2 outside and 0.5 to the next; equities."""
    assets, outside = (10.0 * 0.85, 5.0 * 0.85, 3.0 * 0.85), (9.0, 4.0, 2.0)
    owed = np.array([[0.0, 0.0, 0.5], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    cleared = clearing_vector(owed, assets, outside)
    paid = cleared.matrix().toarray()
    found = np.array(assets) + paid.sum(axis=0) - owed.sum(axis=1) - np.array(outside)
    return Check("equities in a ring of three", "Barucca et al. 2020, demo (computed)", (-0.5, 0.25, 0.5236842105), tuple(found), 1e-9)


def ccp_layers() -> Iterator[Check]:
    """Layers of 5 (skin in the game) and 40 (default fund) under what a defaulter's 60 leaves of losses of 62, 80, 107."""
    none = np.zeros(0)
    for loss, uses in ((62.0, (2.0, 0.0, 0.0)), (80.0, (5.0, 15.0, 0.0)), (107.0, (5.0, 40.0, 2.0))):
        left, paid = loss - 60.0, []
        for layer, held in ((ExchangeCapital(ExchangeCapital.Parameters(share=1.0)), (0.0, 5.0)), (BackstopFund(), (40.0, 0.0))):
            charge, _ = layer.rule(LayerView(left, *held, none, none, none), None, None)
            paid.append(charge.fund + charge.treasury)
            left -= paid[-1]
        yield Check(f"a CCP's layers under a loss of {loss:g}", "constructed", uses, (*paid, left), 1e-9)


def pro_rata_equity() -> Check:
    """A deficit of 1,500 by equity: 1 : 2 : 4."""
    equity = np.array([1500.0, 3000.0, 6000.0])
    charge, _ = SocialisedLoss(SocialisedLoss.Parameters(by="equity")).rule(LayerView(1500.0, 0.0, 0.0, equity, equity, equity), None, None)
    assert charge.accounts is not None
    return Check("pro rata by equity, USD", "constructed", (1500 / 7, 3000 / 7, 6000 / 7), tuple(charge.accounts), 1e-9)


def dydx_liquidation_price() -> Check:
    """1,000 USD, short 3 ETH at 3,000, maintenance 5 %: equity is maintenance at 10,000 / 3.15."""
    price = 10_000.0 / 3.15
    schedule = ({"notional": 0.0, "initial": 0.05, "maintenance": 0.05},)
    rule = Tiered(Tiered.Parameters.model_validate({"schedules": [list(schedule)]}))
    margin, _ = rule.rule(MarginView(np.array([[-3.0]]), np.array([[3.0 * price]]), np.array([price])), None, None)
    equity = 1_000.0 - 3.0 * (price - 3_000.0)
    return Check("isolated liquidation price: equity, USD", "dYdX documentation", (equity,), (float(margin.by_market[0, 0]),), 1e-9)


_NOISE: Final = (
    (0.71644, 0.81998), (0.3054, -1.7705), (1.0924, 0.21398), (-1.5359, 0.42999), (1.2741, 0.37233), (1.3091, 0.82096),
    (-0.50282, -0.91001), (0.18428, 0.29615), (-1.3247, 1.1064), (-0.34661, 0.98025), (0.65055, 0.71614), (1.5398, 0.06624),
    (-1.4455, 0.14455), (1.6998, -0.51321),
)  # fmt: skip
_PRICES: Final = (
    1.0, 1.0076821, 0.99873766244, 1.0038712902, 1.00238455494, 1.00842237347, 1.01783674875, 1.00972741043, 1.01235680923,
    1.01851647963, 1.02573803846, 1.03284991622, 1.03651884632, 1.0348176015, 1.03411933484,
)  # fmt: skip


def franke_westerhoff_path() -> Check:
    """Our fundamentalists, chartists and their switching on fixed noise; demands in hundredths, where they are within bounds."""
    p, unit = TraderParameters(attractiveness_bias=-0.327, herding=1.79, misalignment=18.43), 100.0
    rules = (
        Fundamentalist(Fundamentalist.Parameters(reaction=0.12 / unit, noise=1.0 / unit)),
        Chartist(Chartist.Parameters(reaction=1.5 / unit, noise=1.0 / unit)),
    )
    prices, share, one = [1.0], 0.5, np.ones(1)
    for noise in _NOISE:
        gap, trend = np.array([prices[-1] - 1.0]), np.array([prices[-1] - prices[max(len(prices) - 2, 0)]])
        demands = [
            unit * float(rule.rule(TraderView(gap, trend, np.zeros(1), one, np.array([[luck]])), None, None)[0][0, 0])
            for rule, luck in zip(rules, noise, strict=True)
        ]
        following = prices[-1] + 0.01 * (share * demands[0] + (1.0 - share) * demands[1])
        share = fundamentalist_share(p, share, gap, one)
        prices.append(following)
    return Check("prices on fixed noise", "Franke & Westerhoff 2012, SABCEMM's test", _PRICES[-3:], tuple(prices[-3:]), 1e-6)


_SINGLE: Final[tuple[Callable[[], Check], ...]] = (
    eisenberg_noe,
    rogers_veraart,
    rogers_veraart_greatest,
    no_assets_but_each_others_debts,
    ring_after_a_shock,
    nasdaq_2018,
    gains_haircut,
    bitmex_queue,
    pro_rata_contracts,
    pro_rata_equity,
    hypothetical_capital,
    tier_deduction,
    dydx_liquidation_price,
    funding,
    franke_westerhoff_path,
    optimal_liquidation,
)


def examples(_full: bool) -> Iterator[Check]:
    """All of them; there is no longer form."""
    yield from (example() for example in _SINGLE)
    yield from ccp_layers()


VALIDATIONS: Final = (Validation("oracles", examples),)
