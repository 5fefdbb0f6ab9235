"""`backstop validate`: what this installation computes, against numbers that others published or that arithmetic gives."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agents.clearinghouse.deleveraging import DeleveragingView, ProRata, Queue
from agents.clearinghouse.margin import MarginView, Tiered
from agents.clearinghouse.waterfall import BackstopFund, ExchangeCapital, LayerView, SocialisedLoss
from experiments import economics
from model.contagion import clearing_vector
from model.ecosystem import Ecosystem
from model.market import Market, MarketParameters
from model.scenario import Scenario


class Check(NamedTuple):
    """One comparison.

    Attributes:
        what, source: what is compared, and whose number it is.
        target, found: the numbers.
        tolerance: largest absolute difference.
    """

    what: str
    source: str
    target: tuple[float, ...]
    found: tuple[float, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every number is within tolerance."""
        return len(self.target) == len(self.found) and bool(np.allclose(self.found, self.target, rtol=0.0, atol=self.tolerance))


WIDTH: Final = 150
"""Columns a table of numbers takes, whatever the terminal."""
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
        charge, _ = layer.rule(LayerView(loss=loss, equity=none, gains=none, notional=none, members=None, **view), None, None)
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


def lossless_fund() -> Check:
    """With flat prices nobody fails, and the fund is its opening plus its itemised inflows."""
    calm = Scenario.model_validate({"news": {"type": "constant"}, "steps": 48})
    eco = Ecosystem(calm, rng=0, check_laws=True)
    eco.run_for(48)
    inflow = sum(eco.statement.totals().values())
    deficits = float(eco.series()["deficits"].sum())
    target = (eco.statement.opening + inflow, 0.0)
    return Check("flat prices: closing fund, deficits, USD", "accounting", target, (eco.venue.ledger.fund, deficits), 1e-3)


CHECKS: Final[tuple[Callable[[], Check], ...]] = (
    eisenberg_noe,
    rogers_veraart,
    rogers_veraart_greatest,
    nasdaq_2018,
    gains_haircut,
    bitmex_queue,
    pro_rata_contracts,
    tier_deduction,
    funding,
    lossless_fund,
)


def checks() -> Iterator[Check]:
    """Runs every check."""
    for check in CHECKS:
        yield check()


def main(*, economics_seeds: int = 0) -> int:
    """Compare this installation with published and known answers; with `--economics-seeds 240` also measure what the levers do.

    Args:
        economics_seeds: paired seeds for the levers of `experiments.economics` (minutes); 0 leaves them out.

    Returns:
        Exit code: 0 if everything is within tolerance, else 3.
    """
    console = Console()
    console.width = max(console.width, WIDTH)
    table = Table("what", "source", "target", "found", "tolerance", "verdict", title="Against published and known answers")
    failed = 0
    for check in checks():
        failed += not check.passed
        numbers = ("  ".join(f"{value:.10g}" for value in values) for values in (check.target, check.found))
        table.add_row(check.what, check.source, *numbers, f"{check.tolerance:g}", "ok" if check.passed else "OFF")
    console.print(table)
    if economics_seeds > 0:
        _print_economics(console, economics_seeds)
    return 3 if failed else 0


def _print_economics(console: Console, seeds: int) -> None:
    table = Table(
        "lever", "output", "base mean", "paired difference", "95 % interval", "verdict", title=f"Levers at the first stress, {seeds} seeds"
    )
    for effect in economics.measure(track(range(seeds), description="paired runs", console=console, transient=True)):
        scale, unit = (1e6, "m USD") if effect.unit == "USD" else (1.0, effect.unit)
        interval = f"{effect.low / scale:,.3g} to {effect.high / scale:,.3g}"
        table.add_row(
            effect.lever, effect.output, f"{effect.base / scale:,.3g} {unit}", f"{effect.difference / scale:,.3g}", interval, effect.verdict
        )
    console.print(table)
