"""A run in the words of the CPMI-IOSCO public quantitative disclosure standards for central counterparties (d125, February 2015).

Sections 4.1 to 6.8 are numbered as clearing houses publish them (SIX x-clear, 2017). From memory, not checked against the text, are 18.2
and 18.3 (concentration of positions and of margin) and numbers with two dots: 4.1.1 own capital before participants' contributions, 4.1.4
these contributions, 4.4.3 and 4.4.7 stress loss of one participant (Cover-1) and of two (Cover-2), 6.5.1 times that margin did not cover a
loss, 6.5.3 the coverage achieved, 6.5.4 and 6.5.5 the largest and the mean loss that was not covered.

What a line counts is our choice, for an exchange is no central counterparty: its backstop fund stands where prefunded resources stand, its
accounts where participants do, market makers, liquidators and vaults where a member's house account does, traders where clients do.
Coverage is over account-steps: of all accounts that had contracts at a close, summed over steps, the part that lost no more by the change
of marks until the next close than the initial margin asked of them. It is a back-test of margin over one step, not over a day.

Left out is what the model does not know: tests of haircuts (5.3), how a treasury invests what it holds (most of 6.2), liquid resources and
payment obligations by currency (7). K_CCP (4.2) is told where there are clearing members.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from rich.table import Table

from experiments.closing import DOLLARS
from experiments.summary import usd
from model.observables import is_first

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from experiments.store import Run

type Unit = Literal["USD", "number", "share", ""]

NOT_PAID_IN = ["revaluation", "inventory_result", "deficit"]
"""Flows into the fund that nobody pays."""


class Line(NamedTuple):
    """One line: section of the standards, what is disclosed, how much of which unit, not a number where there is none; or in words."""

    section: str
    what: str
    amount: float | str
    unit: Unit = "USD"

    @property
    def shown(self) -> str:
        """As a person reads it."""
        if isinstance(self.amount, str):
            return self.amount
        if not math.isfinite(self.amount):
            return "none"
        if self.unit == "USD":
            return usd(self.amount)
        return share(self.amount) if self.unit == "share" else f"{self.amount:,.0f}"


def share(part: float) -> str:
    """A share in per cent, with two digits of it or of what it lacks of all: `99.987%`, `4.2%`, `327%`."""
    short = min(part, 1.0 - part)
    if short <= 0.0:
        return f"{part:,.0%}"
    return f"{100.0 * part:.{max(1 - math.floor(math.log10(100.0 * short)), 0)}f}%"


def disclosure(run: "Run") -> list[Line]:
    """What a run discloses of its first exchange, in the order of the standards; of a run of an earlier version, what it kept."""
    lines = [*_resources(run), *_exposures(run), *_collateral(run), *_margin(run), *_concentration(run)]
    return sorted(lines, key=lambda line: tuple(int(part) for part in line.section.split(".")))


def _resources(run: "Run") -> Iterator[Line]:
    """Sections 4.1 to 4.3."""
    series, last, books = run.series, run.series.iloc[-1], _books(run)
    flows = run.own_statement.groupby("flow")["amount"].sum()
    yield Line("4.1", "own capital, at the end", float(last["treasury"]))
    if _fund_pays(run):
        yield Line("4.1", "prefunded default resources (backstop fund), at the end", float(last["fund"]))
        yield Line("4.1", "prefunded default resources, at their lowest", float(series["fund"].min()))
        received = float(flows[flows > 0.0].drop(labels=NOT_PAID_IN, errors="ignore").sum())
        yield Line("4.1", "paid into default resources in the period", received)
        yield from _fund(run)
    if ("own_capital_before", "") in books:
        what = "own capital that one loss may use before participants are asked, at the end"
        yield Line("4.1.1", what, books["own_capital_before", ""])
    if ("participants", "") in books:
        yield Line("4.1", "clearing participants that contribute, at the end", books["participants", ""], "number")
        yield Line("4.1", "committed beyond contributions: what they may be called for, at the end", books["assessments", ""])
        yield Line("4.1.4", "participants' contributions to default resources, at the end", float(last["members_fund"]))
        yield Line("4.2", "hypothetical capital K_CCP, at the end", books["hypothetical_capital", ""])


def _fund(run: "Run") -> Iterator[Line]:
    """Section 4.3: what the fund holds."""
    series, last, books = run.series, run.series.iloc[-1], _books(run)
    yield Line("4.3", "value of prefunded default resources, at the opening", float(series["fund"].iloc[0]))
    held = {asset: amount for (figure, asset), amount in books.items() if figure == "fund"}
    yield from (Line("4.3", f"default resources in {asset}, at the end", amount) for asset, amount in held.items() if len(held) > 1)
    pools = [name.removeprefix("fund_pool_") for name in series.columns if name.startswith("fund_pool_") and is_first(name)]
    yield from (
        Line("4.3", f"default resources ring-fenced in pool {pool}, at the end", float(last[f"fund_pool_{pool}"])) for pool in pools
    )


def _exposures(run: "Run") -> Iterator[Line]:
    """Section 4.4: what losses beyond margin are expected to be at most, and what they were."""
    series, books = run.series, _books(run)
    target = series["fund_target"].to_numpy(np.float64)
    adequacy = np.divide(series["fund"], target, out=np.full_like(target, np.nan), where=target > 0.0)
    lowest = float(np.nanmin(adequacy)) if np.isfinite(adequacy).any() else np.nan
    if _fund_pays(run):
        yield Line("4.4", "what the sizing rule asks default resources to be, at its highest", float(target.max()))
        yield Line("4.4", "default resources over that, at their lowest", lowest, "share")
    for section, number, of in (("4.4.3", 1, "any one account"), ("4.4.7", 2, "any two accounts")):
        if (f"cover_{number}", "") in books:
            what = f"estimated largest stress loss over initial margin of {of} (Cover-{number}), at the end"
            yield Line(section, what, books[f"cover_{number}", ""])
    if ("cover_2", "") in books:
        fund = float(series["fund"].iloc[-1]) if _fund_pays(run) else 0.0
        prefunded = fund + float(series["members_fund"].iloc[-1]) + books["own_capital_before", ""]
        worst = books["cover_2", ""]
        what = "all that is prefunded (default resources, contributions, own capital before) over Cover-2, at the end"
        yield Line("4.4.7", what, prefunded / worst if worst > 0.0 else np.nan, "share")
    yield Line("4.4", "actual loss in excess of all that accounts held, in the period", float(series["deficits"].sum()))
    if _fund_pays(run):
        yield Line("4.4", "of it, paid by default resources", float(series["absorbed_fund"].sum()))
        yield Line("4.4", "of it, beyond default resources and what stands before them", float(series["residual_loss"].sum()))
    else:
        paid = float(series[["absorbed_defaulter_contribution", "absorbed_members_fund"]].to_numpy(np.float64).sum())
        yield Line("4.4", "of it, paid by participants' contributions", paid)
        own = float(series[["absorbed_exchange_capital", "absorbed_second_skin"]].to_numpy(np.float64).sum())
        yield Line("4.4", "of it, paid by own capital", own)
    yield Line("4.4", "largest such loss in one step", float(series["deficits"].max()))


def _collateral(run: "Run") -> Iterator[Line]:
    """Sections 5.1 and 6.2: what counts as margin, and what is held."""
    haircuts, books = run.scenario.venues[0].clearinghouse.coin_haircuts, _books(run)
    if haircuts:
        for at, coin in enumerate(run.scenario.assets):
            yield Line("5.1", f"haircut on {coin.name} as collateral", haircuts[min(at, len(haircuts) - 1)], "share")
    for (figure, asset), amount in books.items():
        if figure == "margin_held":
            counted = books["margin_counted", asset]
            if asset == DOLLARS or counted == amount:
                yield Line("6.2", f"margin held in {asset}, at the end", amount)
            else:
                yield Line("6.2", f"margin held in {asset} before haircut, at the end", amount)
                yield Line("6.2", f"margin held in {asset} after haircut, at the end", counted)


def _margin(run: "Run") -> Iterator[Line]:
    """Sections 6.1 and 6.3 to 6.8; accounts that were closed out are beside the back-test of margin."""
    series, books = run.series, _books(run)
    for figure, whose in (("house", "house accounts (makers, liquidators, vaults)"), ("client", "client accounts (traders)")):
        if (f"initial_margin_{figure}", "") in books:
            yield Line("6.1", f"initial margin required of {whose}, at the end", books[f"initial_margin_{figure}", ""])
    yield Line("6.4", "initial margin model", run.scenario.venues[0].clearinghouse.margin.type.replace("_", " "), "")
    if "initial_margin" in series:
        yield from _tested(series)
    yield Line("6.5", "accounts closed out, counted once a step", float(series["liquidated_accounts"].sum()), "number")
    yield Line("6.5", "accounts whose loss was in excess of all that they held", float(series["bankruptcies"].sum()), "number")


def _tested(series: "pd.DataFrame") -> Iterator[Line]:
    required, paid = series["initial_margin"], series["variation_margin"]
    yield Line("6.1", "initial margin required in total, at the end", float(required.iloc[-1]))
    yield Line("6.1", "initial margin required in total, at its highest", float(required.max()))
    gross = 2.0 * series["open_interest"].to_numpy(np.float64)
    rates = np.divide(required, gross, out=np.full_like(gross, np.nan), where=gross > 0.0)
    rate = float(np.nanmean(rates)) if np.isfinite(rates).any() else np.nan
    yield Line("6.3", "initial margin over open positions, both sides, mean", rate, "share")
    accounts, breaches = float(series["margined_accounts"].sum()), float(series["margin_breaches"].sum())
    yield Line("6.5", "account-steps in the back-test of initial margin", accounts, "number")
    yield Line("6.5.1", "account-steps with a loss at marks beyond initial margin", breaches, "number")
    yield Line("6.5.3", "achieved coverage, of account-steps", 1.0 - breaches / accounts if accounts else np.nan, "share")
    uncovered = float(series["uncovered"].sum())
    yield Line("6.5.4", "largest loss beyond initial margin", float(series["uncovered_largest"].max()) if breaches else np.nan)
    yield Line("6.5.5", "mean loss beyond initial margin", uncovered / breaches if breaches else np.nan)
    day = np.maximum(np.ceil(series["hours"].to_numpy(np.float64) / 24.0 - 1e-9), 1.0)
    daily = paid.groupby(day).sum()
    yield Line("6.6", "variation margin paid in total, mean over days", float(daily.mean()))
    yield Line("6.7", "variation margin paid in total, on the day of most", float(daily.max()))
    closes = np.append(required.iloc[0], required.groupby(day).last())
    yield Line("6.8", "largest rise of initial margin required in total, from day to day", max(float(np.diff(closes).max()), 0.0))


def _concentration(run: "Run") -> Iterator[Line]:
    """Sections 18.2 and 18.3."""
    series = run.series
    yield Line("18.2", "open interest, one side, at the end", float(series["open_interest"].iloc[-1]))
    for section, output, what in (
        ("18.2", "position_concentration", "share of the five largest accounts in open positions"),
        ("18.3", "margin_concentration", "share of the five largest accounts in initial margin required"),
    ):
        if output in series:
            yield Line(section, f"{what}, mean", float(series[output].mean()), "share")
            yield Line(section, f"{what}, at its highest", float(series[output].max()), "share")


def _fund_pays(run: "Run") -> bool:
    """Whether a layer of the waterfall draws on the fund, or has; where none does it is no default resource, and nothing is told of it."""
    kinds = [layer.type for layer in run.scenario.venues[0].clearinghouse.waterfall]
    return "fund" in kinds or "shared_fund" in kinds or bool(run.series["absorbed_fund"].any())


def _books(run: "Run") -> dict[tuple[str, str], float]:
    """The books at the end: USD by figure and asset."""
    table = run.closing
    return {(str(figure), str(asset)): float(usd) for figure, asset, usd in table.itertuples(index=False)}


def show(run: "Run", console: "Console") -> None:
    """Prints the table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("section", "public quantitative disclosure", "amount"):
        table.add_column(heading, justify="right" if heading == "amount" else "left", overflow="fold")
    for line in disclosure(run):
        table.add_row(line.section, line.what, line.shown)
    console.print(table, highlight=False, markup=False)
    console.print("sections as in CPMI-IOSCO d125; what each line counts is this model's choice", highlight=False)
