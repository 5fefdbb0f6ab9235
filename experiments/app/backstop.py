"""The page *Backstop*: how the fund fills, what empties it, and who pays then, in waterfall order."""

from typing import Any, Final

import ipyvuetify
import numpy as np
import solara
import traitlets

from experiments.app import theme
from experiments.app.chart import Bars, Chart, Line, Panel, option, stretch
from experiments.app.history import Floats
from experiments.app.snapshot import FLOW_COLUMNS, OTHER_FLOWS, Snapshot, Stress
from experiments.drawing import scale, usd, words
from model.ledger import Flow

HEIGHT: Final = 440
"""Pixels: what is left of 720 below the headline."""
FAR: Final = 3.0
"""A target this many times as large as the fund is told and not drawn, for it would flatten the fund's line."""

NAMES: Final = {
    "fund": "Backstop fund",
    "exchange_capital": "Exchange’s own capital",
    "vault": "Backstop vault’s depositors",
    "stakers": "Stakers of the venue’s token",
    "deleveraging": "Winners, by deleveraging",
    "socialised_loss": "All holders, by socialised loss",
    "withdrawal_factor": "Those who withdraw, by a factor",
    "clawback": "Winners of the week, by clawback",
    "shared_fund": "Pool shared by all markets",
    "defaulter_contribution": "Defaulter’s own contribution",
    "members_fund": "Members’ guarantee fund",
    "second_skin": "Exchange’s second skin in the game",
    "assessment": "Surviving members, by assessment",
    "tear_up": "Counterparties, by tear-up",
    "write_down": "Customers, by write-down",
}
"""Of layers; any other is called by its own name."""
SAYS: Final = {
    "fund": "pays out of what fees and levies have filled it with",
    "exchange_capital": "skin in the game: a part of what the exchange owns",
    "vault": "depositors’ money takes over what the book does not, and loses first",
    "stakers": "staked tokens are slashed and sold into their own falling market",
    "deleveraging": "profitable positions are closed at the loser’s bankruptcy price",
    "socialised_loss": "everybody is charged in proportion",
    "withdrawal_factor": "the loss stays outstanding; part of every withdrawal is kept",
    "clawback": "the loss stays outstanding until the week ends; then its winners pay",
    "shared_fund": "pays when a market’s own pool is empty; it counts as the fund’s",
    "defaulter_contribution": "what the defaulting member had put into the guarantee fund",
    "members_fund": "what the other members have put in, mutualised",
    "second_skin": "a second part of what the exchange owns, once members have paid",
    "assessment": "surviving members are called for more, up to a cap",
    "tear_up": "contracts are closed at a price that leaves no loss with the exchange",
    "write_down": "claims on the exchange are cut: it is insolvent",
}
LATER: Final = ("withdrawal_factor", "clawback")
"""Layers that bear a loss only after it has been outstanding."""
CAUSES: Final[dict[str, str]] = {
    Flow.DRAW_EXECUTION: "fills beyond bankruptcy price",
    Flow.DRAW_TAKEOVER: "positions taken over",
    Flow.DRAW_CLOSE_OUT: "close-outs of bankrupt accounts",
    Flow.ABSORPTION_PREMIUM: "premium for taking positions at once",
}
"""What the fund is drawn on for, in words."""


class Waterfall(ipyvuetify.VuetifyTemplate):
    """Who paid, a row a layer, each bar beginning where the one before ended."""

    template_file = (__file__, "waterfall.vue")
    title = traitlets.Unicode("").tag(sync=True)
    says = traitlets.Unicode("").tag(sync=True)
    rows = traitlets.List([]).tag(sync=True)
    waiting = traitlets.Bool(False).tag(sync=True)
    after = traitlets.Unicode("").tag(sync=True)


@solara.component
def BackstopPage(seen: Snapshot, dark: bool) -> None:
    """The fund along time, and beside it who paid."""
    with solara.Div(classes=["page-row"]):
        with solara.Div(classes=["page-wide"]):
            Chart.element(option=drawn(seen, dark=dark), height=f"{HEIGHT}px", label="the fund and its target, inflows, draws, adequacy")
        with solara.Div(classes=["page-side"]):
            Waterfall.element(**who_paid(seen, dark=dark))


def drawn(seen: Snapshot, *, dark: bool) -> dict[str, Any]:
    """Fund and target, inflows, draws and adequacy on one clock."""
    table = seen.table
    panels = [_level(seen, dark=dark), *_flows(seen, dark=dark)]
    adequacy = 100.0 * table["adequacy"]
    lines: tuple[Line, ...] = (Line("adequacy", adequacy, theme.ink(theme.BLUE, dark=dark), filled=True),)
    if len(seen.pools) > 1:
        lines = tuple(Line(name, 100.0 * values, colour) for name, values, colour in _by_pool(seen, "adequacy_pool", dark=dark))
    panels.append(Panel("Adequacy: fund as % of target", (0, 0.79, 1, 0.21), lines))
    return option(panels, table["hours"], HEIGHT, dark=dark, margin=0.055)


def _level(seen: Snapshot, *, dark: bool) -> Panel:
    """The fund, and its target where that is on the same scale."""
    table = seen.table
    fund, target = table["fund"], table["fund_target"]
    far = float(np.nanmax(target, initial=0.0)) > FAR * float(fund.max(initial=0.0))
    divisor, unit = scale(fund) if far else scale(fund, target)
    if len(seen.pools) > 1:
        parts = _by_pool(seen, "fund_pool", dark=dark)
        divisor, unit = scale(*(values for _, values, _ in parts))
        pools = tuple(Line(name, values / divisor, colour) for name, values, colour in parts)
        return Panel(f"Backstop fund by pool, {unit} ({usd(float(fund[-1]))} in all)", (0, 0, 1, 0.31), pools)
    lines = [Line("fund", fund / divisor, theme.ink(theme.BLUE, dark=dark), filled=True)]
    if not far:
        lines.append(Line("target", target / divisor, theme.ink(theme.BLACK, dark=dark), dashed=True))
    told = f" (target {usd(float(target[-1]))}, above this scale)" if far else ""
    return Panel(f"Backstop fund, {unit}{told}", (0, 0, 1, 0.31), tuple(lines))


def _by_pool(seen: Snapshot, output: str, *, dark: bool) -> list[tuple[str, Floats, str]]:
    """An output of each pool of the fund, with its name and colour: a market's own where the pool has its name."""
    places = {name: at for at, name in enumerate(dict.fromkeys([*seen.markets, *seen.pools]))}
    return [(pool, seen.table[f"{output}_{pool}"], theme.market(places[pool], dark=dark)) for pool in seen.pools]


def flows(seen: Snapshot) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """USD by step, (steps,), of what has flowed into the fund and, below zero, out of it, by type; together, how the fund changed."""
    columns = {name: seen.table[column] for name, column in (*FLOW_COLUMNS.items(), ("other", OTHER_FLOWS))}
    inward = {name: np.maximum(values, 0.0) for name, values in columns.items() if (values > 0.0).any()}
    outward = {name: np.minimum(values, 0.0) for name, values in columns.items() if (values < 0.0).any()}
    return inward, outward


def _flows(seen: Snapshot, *, dark: bool) -> list[Panel]:
    """Inflows and draws, stacked by type, on scales of their own."""
    per = stretch(len(seen.table)) * seen.world.hours_per_step
    panels = []
    for what, top, height, parts in zip(("Inflows", "Draws"), (0.31, 0.56), (0.25, 0.23), flows(seen), strict=True):
        divisor, unit = scale(*parts.values()) if parts else (1.0, "$")
        bars = tuple(Bars(CAUSES.get(name, words(name)), values / divisor, theme.flow(name, dark=dark)) for name, values in parts.items())
        title = f"{what}, {unit} per {per:g} h" if bars else f"{what}: none so far"
        panels.append(Panel(title, (0, top, 1, height), bars=bars))
    return panels


def who_paid(seen: Snapshot, *, dark: bool) -> dict[str, Any]:
    """What the waterfall shows: the latest stress, or the order in which layers would pay."""
    stress = seen.whole if seen.over else seen.stress
    total = stress.deficits if stress else 0.0
    rows, start = [], 0.0
    for order, layer in enumerate(seen.layers, start=1):
        paid = stress.absorbed.get(layer, 0.0) if stress else 0.0
        share = paid / total if total else 0.0
        rows.append(
            {
                "layer": layer,
                "order": order,
                "name": NAMES.get(layer, words(layer)),
                "colour": theme.layer(layer, dark=dark),
                "usd": paid,
                "paid": f"{usd(paid)} · {share:.0%}" if paid else "–",
                "start": round(100.0 * start, 2),
                "width": round(max(100.0 * share, 1.0), 2) if paid else 0.0,
                "note": _left(seen, stress, layer, paid),
            }
        )
        start += share
    return {"waiting": stress is None, "title": _title(stress, seen), "says": _says(stress), "rows": rows, "after": _after(seen, stress)}


def _title(stress: Stress | None, seen: Snapshot) -> str:
    if stress is None:
        return "Who will pay, in this order"
    if seen.over:
        return f"Who paid over the run: {usd(stress.deficits)} lost"
    again = "is paying" if stress.going_on(seen.hours) else "paid in the latest stress"
    return f"Who {again}: {usd(stress.deficits)} lost (hours {stress.start:g}–{stress.end:g})"


def _says(stress: Stress | None) -> str:
    if stress is None:
        return "No deficit yet. A deficit is what a liquidated account loses beyond its margin; the layers bear it from the top down."
    return "Liquidated accounts lost this beyond their margin. Each layer pays what the one above could not."


def _left(seen: Snapshot, stress: Stress | None, layer: str, paid: float) -> str:
    """What a layer is, or has left."""
    outstanding = seen.table.last("outstanding")
    if layer in LATER and outstanding > 0.0:
        return f"{usd(outstanding)} outstanding: yet to be borne"
    if layer == "fund" and len(seen.pools) > 1:
        return "left: " + " · ".join(f"{pool} {usd(max(seen.table.last(f'fund_pool_{pool}'), 0.0))}" for pool in seen.pools)
    if layer == "fund" and paid:
        left = seen.table.last("fund")
        return f"{usd(left)} left" if left > 0.005 * paid else "empty"
    if layer == "exchange_capital" and paid:
        return f"{usd(seen.table.last('treasury'))} left"
    if layer == "deleveraging" and stress is not None and stress.deleveraged:
        return f"{usd(stress.deleveraged)} of winners’ contracts closed{'' if paid else ' at the current price, at no loss'}"
    return SAYS.get(layer, "")


def _after(seen: Snapshot, stress: Stress | None) -> str:
    """What came after the waterfall: defaults."""
    if stress is None or not stress.defaults:
        return ""
    inside = seen.table["hours"] >= stress.start
    lost = float(seen.table["network_loss"][inside].sum())
    failed = "1 institution" if stress.defaults == 1 else f"{stress.defaults} institutions"
    return f"Then defaults spread: {failed} failed, and creditors lost {usd(lost)}. See the page Network."
