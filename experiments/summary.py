"""A run in a few numbers, and how a person reads them."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.clock import HOURS_PER_YEAR
from model.observables import named

if TYPE_CHECKING:
    import pandas as pd

    from experiments.store import Run

_UNITS = ((1e12, "tn"), (1e9, "bn"), (1e6, "m"), (1e3, "k"))


def summary(run: "Run") -> dict[str, Any]:
    """The run in plain numbers: USD unless a name says otherwise; None where a number does not exist."""
    series = run.series
    fund = series["fund"].to_numpy(np.float64)
    flows: pd.Series[float] = run.own_statement.groupby("flow")["amount"].sum()
    peak = np.maximum.accumulate(fund)
    fall = np.divide(peak - fund, peak, out=np.zeros_like(fund), where=peak > 0.0)
    deepest = int(fall.argmax())
    insolvent = series["insolvent"].to_numpy() > 0
    return {
        "scenario": run.scenario.name,
        "seed": run.seed,
        "steps": run.steps,
        "hours": float(series["hours"].iloc[-1]),
        "fund": {
            "opening": float(fund[0]),
            "flows": {str(name): float(amount) for name, amount in flows.items()},
            "closing": float(fund[-1]),
            "lowest": float(fund.min()),
            "largest_fall": float(fall[deepest]),
            "largest_fall_at_hours": float(series["hours"].iloc[deepest]) if fall[deepest] > 0.0 else None,
        },
        "deficits": float(series["deficits"].sum()),
        "absorbed": {layer: float(series[f"absorbed_{layer}"].sum()) for layer in _waterfall(run)},
        "residual_loss": float(series["residual_loss"].sum()),
        "liquidated": float(series["liquidated"].sum()),
        "liquidations": int(series["liquidations"].sum()),
        "deleveraged": float(series["deleveraged"].sum()),
        "bankruptcies": int(series["bankruptcies"].sum()),
        "defaults": int(series["defaults"].sum()),
        "contagious_defaults": int(series["contagious_defaults"].sum()),
        "default_waves": int(series["default_waves"].max()),
        "branching_ratio": _branching(series),
        "fund_recovery_hours": float(series["fund_recovery"].max()),
        "depth_recovery_hours": float(series["depth_recovery"].max()),
        "debtrank": _largest(run.balance_sheets),
        "network_loss": float(series["network_loss"].sum()),
        "insolvent_at_hours": float(series["hours"].iloc[int(insolvent.argmax())]) if insolvent.any() else None,
        "unfinished_increments": int(series["unfinished"].sum()),
        **_levy(series),
        **_further(run),
    }


def _levy(series: "pd.DataFrame") -> dict[str, Any]:
    """How much the levy on open positions moves, if it does: its peak over its trough is what those who pay feel of its procyclicality."""
    rate = series["levy_rate"].to_numpy(np.float64) if "levy_rate" in series else np.zeros(1)
    lowest, highest = float(rate.min()), float(rate.max())
    if highest - lowest <= 1e-9 * highest:
        return {}
    return {
        "levy": {
            "mean": float(rate.mean()),
            "highest": highest,
            "highest_at_hours": float(series["hours"].iloc[int(rate.argmax())]),
            "peak_to_trough": highest / lowest if lowest > 0.0 else None,
        }
    }


def _further(run: "Run") -> dict[str, Any]:
    """Of several exchanges, the name of the first, of which everything else is told, and a few numbers of each other."""
    names = [venue.name for venue in run.scenario.venues]
    if len(names) == 1:
        return {}
    further = {}
    for name in names[1:]:
        column = {output: run.series[named(output, name)] for output in ("fund", "deficits", "insolvent")}
        gone = column["insolvent"].to_numpy() > 0
        further[name] = {
            "fund_opening": float(column["fund"].iloc[0]),
            "fund_closing": float(column["fund"].iloc[-1]),
            "deficits": float(column["deficits"].sum()),
            "insolvent_at_hours": float(run.series["hours"].iloc[int(gone.argmax())]) if gone.any() else None,
        }
    return {"exchange": names[0], "further_exchanges": further}


def _branching(series: "pd.DataFrame") -> float | None:
    """Accounts liquidated in a step because others were, over all that were; None if none was."""
    every = float(series["liquidated_accounts"].sum())
    return (every - float(series["liquidated_alone"].sum())) / every if every > 0.0 else None


def _largest(sheets: "pd.DataFrame", count: int = 5) -> dict[str, float]:
    """The institutions of the largest DebtRank at the end, those that matter most first."""
    ranked = sheets.dropna(subset=["debtrank"]).nlargest(count, "debtrank")
    return {str(node): float(rank) for node, rank in zip(ranked["node"], ranked["debtrank"], strict=True)}


def _waterfall(run: "Run") -> list[str]:
    """Layers in the scenario's order, and the outside where it pays, as far as the series has them."""
    kinds = [*dict.fromkeys(layer.type for layer in run.scenario.venues[0].clearinghouse.waterfall), "rescue"]
    return [kind for kind in kinds if f"absorbed_{kind}" in run.series]


def show(run: "Run", console: Console) -> None:
    """Prints the run as a short table."""
    told = summary(run)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for what, amount, remark in _lines(told):
        table.add_row(what, amount, remark)
    console.print(f"{told['scenario']}, seed {told['seed']}: {told['steps']:,} steps, {span(told['hours'])}", highlight=False, markup=False)
    console.print(table, highlight=False, markup=False)


def _lines(told: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Rows: what, how much, remark."""
    fund = told["fund"]
    yield "backstop fund, opening", usd(fund["opening"]), ""
    for flow, amount in sorted(fund["flows"].items(), key=lambda item: -item[1]):
        if usd(amount) not in ("$0", "-$0"):
            yield f"  {_words(flow)}", usd(amount, signed=True), ""
    yield "backstop fund, closing", usd(fund["closing"]), ""
    when = fund["largest_fall_at_hours"]
    yield "  largest fall from a peak", f"{fund['largest_fall']:.1%}", "" if when is None else f"reached after {span(when)}"
    if "levy" in told:
        levy = told["levy"]
        times = "" if levy["peak_to_trough"] is None else f", {levy['peak_to_trough']:.3g} times its lowest"
        peak = f"at most {levy['highest']:.2%}, after {span(levy['highest_at_hours'])}{times}"
        yield "levy on open positions, a year", f"{levy['mean']:.2%}", peak
    yield (
        "liquidated",
        usd(told["liquidated"]),
        f"in {told['liquidations']:,} liquidations; {told['bankruptcies']:,} accounts went bankrupt",
    )
    yield "deficits", usd(told["deficits"]), "who paid, in order:" if told["deficits"] > 0.0 else "nobody had to pay"
    if told["deficits"] > 0.0:
        for layer, amount in told["absorbed"].items():
            yield f"  {_words(layer)}", usd(amount), f"{amount / told['deficits']:.0%}"
    spread = told["contagious_defaults"]
    first = told["defaults"] - spread
    remark = f"{first} alone, {spread} by contagion; creditors lost {usd(told['network_loss'])}" if told["defaults"] else ""
    yield "defaults of institutions", f"{told['defaults']}", remark
    yield f"exchange {told.get('exchange', '')}".rstrip(), *_standing(told)
    for name, other in told.get("further_exchanges", {}).items():
        is_it, since = _standing(other)
        fund = f"fund {usd(other['fund_opening'])} to {usd(other['fund_closing'])}; deficits {usd(other['deficits'])}"
        yield f"exchange {name}", is_it, "; ".join(filter(None, (fund, since)))


def _standing(told: dict[str, Any]) -> tuple[str, str]:
    """What has become of an exchange, and since when."""
    gone = told["insolvent_at_hours"]
    return ("solvent", "") if gone is None else ("insolvent", f"claims written down after {span(gone)}")


def usd(amount: float, *, signed: bool = False) -> str:
    """Three significant digits and a unit: `$1.23m`, `-$45.6k`."""
    if not math.isfinite(amount):
        return "n/a"
    size = float(f"{abs(amount):.3g}")
    divisor, unit = next(((scale, name) for scale, name in _UNITS if size >= scale), (1.0, ""))
    shown = size / divisor
    digits = 0 if shown >= 100 or (not unit and shown >= 1) or shown == 0 else (1 if shown >= 10 else 2)
    sign = "-" if amount < 0 else ("+" if signed else "")
    return f"{sign}${shown:.{digits}f}{unit}"


def span(hours: float) -> str:
    """A length of time in the unit a person would use."""
    if hours < 1.0:
        return f"{hours * 60:.3g} minutes"
    if hours < 72.0:
        return f"{hours:.3g} hours"
    return f"{hours / 24:.3g} days" if hours < 2 * HOURS_PER_YEAR else f"{hours / HOURS_PER_YEAR:.3g} years"


def _words(name: str) -> str:
    return name.replace("_", " ")
