"""A run in the words of the CPMI-IOSCO public quantitative disclosure standards for central counterparties (d125, February 2015).

Section numbers are those published (4.1, 4.3, 4.4, 6.1, 6.5, 18.2 and so on); what a line under them counts is our choice, for an exchange
is no central counterparty: its backstop fund stands where prefunded resources stand, its accounts where participants do.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.table import Table

from experiments.summary import usd
from model.observables import is_first

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.store import Run


class Line(NamedTuple):
    """One line: section of the standards, what is disclosed, the number and whether it is USD."""

    section: str
    what: str
    amount: float
    dollars: bool = True


def disclosure(run: "Run") -> list[Line]:
    """What a run discloses, in the order of the standards."""
    series = run.series
    last, flows = series.iloc[-1], run.own_statement.groupby("flow")["amount"].sum()
    target = series["fund_target"].to_numpy(np.float64)
    adequacy = np.divide(series["fund"], target, out=np.full_like(target, np.nan), where=target > 0.0)
    losses = float(series["deficits"].sum())
    drawn = float(series["absorbed_fund"].sum())
    received = float(flows[flows > 0.0].drop(labels=["revaluation", "inventory_result", "deficit"], errors="ignore").sum())
    lines = [
        Line("4.1", "prefunded own capital, at the end", float(last["treasury"])),
        Line("4.1", "prefunded default resources (backstop fund), at the end", float(last["fund"])),
        Line("4.1", "prefunded default resources, at their lowest", float(series["fund"].min())),
        Line("4.1", "paid into default resources in the period", received),
        Line("4.3", "value of prefunded default resources, at the opening", float(series["fund"].iloc[0])),
        Line("4.4", "estimated largest stress loss in excess of margin: the sizing rule's target, at its highest", float(target.max())),
        Line(
            "4.4",
            "default resources over that estimate, at their lowest",
            float(np.nanmin(adequacy)) if np.isfinite(adequacy).any() else np.nan,
            False,
        ),
        Line("4.4", "actual loss in excess of margin in the period", losses),
        Line("4.4", "of it, paid by default resources", drawn),
        Line("4.4", "of it, beyond default resources and what stands before them", float(series["residual_loss"].sum())),
        Line("4.4", "largest actual loss in excess of margin in one step", float(series["deficits"].max())),
        Line("6.5", "accounts closed out in the period", float(series["liquidations"].sum()), False),
        Line("6.5", "accounts whose margin did not cover their loss", float(series["bankruptcies"].sum()), False),
        Line("18.2", "open interest, one side, at the end", float(last["open_interest"])),
    ]
    pools = [name.removeprefix("fund_pool_") for name in series.columns if name.startswith("fund_pool_") and is_first(name)]
    lines += [Line("4.3", f"default resources ring-fenced in pool {pool}, at the end", float(last[f"fund_pool_{pool}"])) for pool in pools]
    return sorted(lines, key=lambda line: tuple(int(part) for part in line.section.split(".")))


def show(run: "Run", console: "Console") -> None:
    """Prints the table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("section", "public quantitative disclosure", "amount"):
        table.add_column(heading, justify="right" if heading == "amount" else "left", overflow="fold")
    for section, what, amount, dollars in disclosure(run):
        table.add_row(section, what, usd(amount) if dollars else f"{amount:,.3g}")
    console.print(table, highlight=False, markup=False)
    console.print("sections as in CPMI-IOSCO d125; what each line counts is this model's choice", highlight=False)
