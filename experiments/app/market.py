"""The page *Market*: prices with liquidations as marks, open interest, leverage; depth, spread, premium, what was liquidated."""

from typing import Any

import numpy as np
import solara

from experiments.app import theme
from experiments.app.chart import Bars, Chart, Line, Panel, option, stretch
from experiments.app.history import Floats
from experiments.app.snapshot import Snapshot
from experiments.drawing import scale

HEIGHT = 430
"""Pixels: what is left of 720 below the headline."""
THIRD, QUARTER, HALF = 1 / 3, 1 / 4, 1 / 2


@solara.component
def MarketPage(seen: Snapshot, dark: bool) -> None:
    """Seven charts on one clock."""
    Chart.element(option=drawn(seen, dark=dark), height=f"{HEIGHT}px", label="prices, interest, leverage, depth, spread, premium")


def drawn(seen: Snapshot, *, dark: bool) -> dict[str, Any]:
    """The figure's options."""
    table = seen.table
    prices = {name: 100.0 * table[f"index_{name}"] / table[f"index_{name}"][0] for name in seen.markets}
    interest, interest_unit = _money(seen, "open_interest")
    depth, depth_unit = _money(seen, "depth")
    spread = {name: 1e4 * table[f"spread_{name}"] for name in seen.markets}
    premium = {name: 1e4 * table[f"premium_{name}"] for name in seen.markets}
    liquidated = table["liquidated"]
    divisor, unit = scale(liquidated)
    per = stretch(len(table)) * seen.world.hours_per_step
    leverage = Line("leverage", table["leverage"], theme.ink(theme.PLUM, dark=dark))
    bars = (Bars("liquidated", liquidated / divisor, theme.ink(theme.RED, dark=dark)),)
    panels = [
        Panel("Index; dots: liquidations", (0, 0, THIRD, HALF), _lines(prices, dark=dark), marks=liquidated, zero=False),
        Panel(f"Open interest, {interest_unit}", (THIRD, 0, THIRD, HALF), _lines(interest, dark=dark)),
        Panel("Traders’ leverage: notional / equity", (2 * THIRD, 0, THIRD, HALF), (leverage,)),
        Panel(f"Depth within 10 bp, {depth_unit}", (0, HALF, QUARTER, HALF), _lines(depth, dark=dark), key=False),
        Panel("Spread on $100k, bp (log)", (QUARTER, HALF, QUARTER, HALF), _lines(spread, dark=dark), logarithmic=True, key=False),
        Panel("Mark over index, bp", (2 * QUARTER, HALF, QUARTER, HALF), _lines(premium, dark=dark), key=False),
        Panel(f"Liquidated, {unit} per {per:g} h", (3 * QUARTER, HALF, QUARTER, HALF), bars=bars),
    ]
    return option(panels, table["hours"], HEIGHT, dark=dark)


def _money(seen: Snapshot, base: str) -> tuple[dict[str, Floats], str]:
    """A per-market output in a unit that suits it."""
    columns = {name: seen.table[f"{base}_{name}"] for name in seen.markets}
    divisor, unit = scale(*columns.values())
    return {name: values / divisor for name, values in columns.items()}, unit


def _lines(columns: dict[str, Floats], *, dark: bool) -> tuple[Line, ...]:
    return tuple(Line(name, np.asarray(values), theme.market(at, dark=dark)) for at, (name, values) in enumerate(columns.items()))
