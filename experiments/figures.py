"""The four figures of a run: prices, the fund, who paid, and the network of defaults.

Each is written as PDF, SVG and PNG, with the numbers it draws as tidy CSV beside it. The same run gives the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import ScalarFormatter

from experiments import drawing as d
from experiments.drawing import AQUA, BLACK, BLUE, BROWN, DASHES, GREY, ORANGE, PLUM, RED, TAN, VIOLET, Clock, Drawing, Floats, Look
from model.ledger import Flow
from model.network import layout
from model.observables import is_first

if TYPE_CHECKING:
    from experiments.runner import Run

NO_DEFICIT: Final = "no deficit in this run"
EDGES: Final = 400
"""Edges drawn at most, the largest first; the CSV holds all."""

FLOWS: Final[dict[str, Look]] = {
    Flow.TRADING_FEE: (BLUE, ""),
    Flow.OPEN_INTEREST_LEVY: (ORANGE, "/////"),
    Flow.VOLUME_LEVY: (RED, "....."),
    Flow.FUNDING_SHARE: (PLUM, "xxxxx"),
    Flow.LIQUIDATION_FEE: (GREY, "....."),
    Flow.SURPLUS: (VIOLET, "\\\\\\\\\\"),
    Flow.INJECTION: (BLACK, "+++++"),
    Flow.OPTION_VAULT_INCOME: (TAN, ""),
    Flow.INVENTORY_RESULT: (AQUA, "....."),
    Flow.ABSORPTION_PREMIUM: (ORANGE, ""),
    Flow.DRAW_EXECUTION: (RED, ""),
    Flow.DRAW_TAKEOVER: (PLUM, "/////"),
    Flow.DRAW_CLOSE_OUT: (BLACK, "....."),
    Flow.DISTRIBUTION: (BLUE, "\\\\\\\\\\"),
    Flow.RECAPITALISATION: (BROWN, "+++++"),
    Flow.FUNDING: (AQUA, "/////"),
    Flow.REVALUATION: (BROWN, "....."),
    Flow.DEFICIT: (GREY, "/////"),
    Flow.RELEASE: (AQUA, "\\\\\\\\\\"),
}
"""How each flow of the fund looks, in the order in which they are stacked away from zero; any other flow looks like `OTHER`."""
OTHER: Final[Look] = (GREY, "xxxxx")
LAYERS: Final[dict[str, Look]] = {
    "defaulter_contribution": (GREY, "////"),
    "fund": (BLUE, ""),
    "exchange_capital": (ORANGE, "////"),
    "vault": (AQUA, "...."),
    "stakers": (GREY, "...."),
    "deleveraging": (PLUM, "...."),
    "members_fund": (BLUE, "...."),
    "second_skin": (ORANGE, "xxxx"),
    "assessment": (BLUE, "////"),
    "socialised_loss": (VIOLET, "\\\\\\\\"),
    "tear_up": (VIOLET, "...."),
    "withdrawal_factor": (GREY, "||||"),
    "clawback": (BLACK, "++++"),
    "rescue": (BLACK, "\\\\\\\\"),
    "write_down": (RED, "xxxx"),
}
KINDS: Final = {
    "exchange": (BLACK, "s", "venue"),
    "lender": (BLUE, "o", "lender"),
    "market_maker": (ORANGE, "^", "borrower"),
    "liquidator": (PLUM, "D", "borrower"),
    "option_vault": (TAN, "p", "borrower"),
    "large_trader": (VIOLET, "v", "borrower"),
}
"""Colour, marker and ring (`model.network.RINGS`) of each kind of institution; any other kind looks like `ANOTHER`."""
ANOTHER: Final = (GREY, "h", "borrower")


def draw(run: "Run", folder: Path) -> list[Path]:
    """Writes the four figures and their tables into `folder`, which is made if missing. Returns every file written, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"prices": prices, "fund": fund, "who_paid": who_paid, "network": network}
    with d.style():
        return [path for name, make in figures.items() for path in d.save(make(run), folder, name)]


# -- along time -------------------------------------------------------------------------------------------------------------------------


def prices(run: "Run") -> Drawing:
    """Indices (opening = 100), open interest and liquidations."""
    clock, series = Clock.of(run), run.series
    names = [asset.name for asset in run.scenario.assets]
    figure, (above, middle, below) = d.panels(run, "prices, open interest and liquidations", (2.2, 1.4, 1.0), clock)
    normal = {name: 100.0 * d.over(series[f"index_{name}"], float(series[f"index_{name}"].iloc[0])) for name in names}
    interest = {name: d.finite(series[f"open_interest_{name}"]) for name in names}
    divisor, unit = d.scale(*interest.values())
    rows: list[pd.DataFrame] = []
    for at, name in enumerate(names):
        look = d.market_look(at, len(names))
        rows.append(d.draw_line(above, clock, normal[name], ("index", name, "opening = 100"), **look))
        rows.append(d.draw_line(middle, clock, interest[name], ("open_interest", name, "USD"), divisor, **look))
    d.log_if_wide(above, list(normal.values()))
    above.set_ylabel("Index\n(opening = 100)")
    d.from_zero(middle, *(values / divisor for values in interest.values()))
    middle.set_ylabel(f"Open interest\n({unit}, one side)")
    liquidated = clock.binned(series["hours"].to_numpy(dtype=float), {"liquidated": d.finite(series["liquidated"], 0.0)})
    rows.append(clock.table(liquidated, "liquidated"))
    _bars_or_words(below, clock, liquidated, {"liquidated": (RED, "/////")}, "Liquidated")
    d.draw_incidents((above, middle, below), clock, series)
    d.legend(above)
    return figure, {"": pd.concat(rows, ignore_index=True)}


def fund(run: "Run") -> Drawing:
    """The fund and its target, what flowed into it and out of it, and its adequacy."""
    clock, series = Clock.of(run), run.series
    figure, axes = d.panels(run, "the backstop fund and its flows (inflows and draws on scales of their own)", (1.7, 1.3, 1.3, 0.9), clock)
    level, target = d.finite(series["fund"]), d.finite(series["fund_target"])
    divisor, unit = d.scale(level, target)
    look = {"color": BLACK, "linestyle": DASHES[1]}
    rows = [
        d.draw_line(axes[0], clock, level, ("fund", "fund", "USD"), divisor, color=BLUE, marker="o"),
        d.draw_line(axes[0], clock, target, ("fund_target", "target", "USD"), divisor, **look),
    ]
    axes[0].set_ylabel(f"Fund ({unit})")
    d.from_zero(axes[0], level / divisor, target / divisor)
    flows = clock.binned(run.own_statement["hours"].to_numpy(dtype=float), _by_flow(run.own_statement))
    rows.append(clock.table(flows, "flow"))
    looks = {str(name): FLOWS.get(str(name), OTHER) for name in flows}
    for axis, part, what in ((axes[1], flows.clip(lower=0.0), "Inflows"), (axes[2], flows.clip(upper=0.0), "Draws")):
        _bars_or_words(axis, clock, part, {name: look for name, look in looks.items() if part[name].any()}, what)
        if part.to_numpy().any():
            d.legend(axis)
    rows.append(_adequacy(axes[3], clock, d.finite(series["adequacy"])))
    d.draw_incidents(axes, clock, series)
    d.legend(axes[0])
    return figure, {"": pd.concat(rows, ignore_index=True)}


def _bars_or_words(axis: Axes, clock: Clock, bars: pd.DataFrame, looks: dict[str, Look], what: str) -> None:
    """Stacked bars of USD in a unit that suits them, or a sentence where there are none."""
    if not bars.to_numpy().any():
        axis.set_ylabel(what)
        d.say(axis, f"no {what.lower()} in this run" if what.endswith("s") else f"nothing {what.lower()} in this run")
        return
    stack = bars.sum(axis=1).to_numpy()
    divisor, unit = d.scale(stack)
    d.draw_bars(axis, clock, bars / divisor, looks)
    d.from_zero(axis, stack / divisor)
    axis.set_ylabel(f"{what}\n({unit} per {clock.width})")


def _by_flow(statement: pd.DataFrame) -> dict[str, Floats]:
    """A column of USD for each flow, one entry a row of the statement, in stacking order."""
    flows, amounts = statement["flow"].astype(str).to_numpy(), d.finite(statement["amount"], 0.0)
    found = set(flows)
    return {str(name): np.where(flows == name, amounts, 0.0) for name in [*FLOWS, *sorted(found - set(FLOWS))] if name in found}


def _adequacy(axis: Axes, clock: Clock, adequacy: Floats) -> pd.DataFrame:
    """The fund over its target; linear up to 1 and logarithmic above where it is far above."""
    axis.axhline(1.0, color=BLACK, linestyle=DASHES[1], linewidth=0.8, label="at target")
    axis.set_ylabel("Adequacy\n(fund / target)")
    d.from_zero(axis, adequacy, np.array([1.0]))
    if np.nanmax(adequacy, initial=0.0) > 20:
        axis.set_yscale("symlog", linthresh=1.0)
        axis.set_ylim(top=2.0 * float(np.nanmax(adequacy)))
        axis.yaxis.set_major_formatter(ScalarFormatter())
    rows = d.draw_line(axis, clock, adequacy, ("adequacy", "adequacy", "1"), color=BLUE)
    d.legend(axis)
    return rows


# -- who paid ---------------------------------------------------------------------------------------------------------------------------


def who_paid(run: "Run") -> Drawing:
    """Deficits by the layer that bore them, in waterfall order: over the run, and over the 24 hours with the most."""
    clock, names = Clock.of(run), _waterfall(run)
    absorbed = run.series[[f"absorbed_{name}" for name in names]].fillna(0.0).set_axis(names, axis="columns")
    steps = max(1, round(d.DAY / run.scenario.hours_per_step))
    last = int(absorbed.sum(axis=1).rolling(steps, min_periods=1).sum().to_numpy().argmax())
    first = max(0, last - steps + 1)
    whole, worst = (0.0, float(clock.hours[-1])), clock.between(first, last)
    periods = (("run", "Whole run", absorbed, whole), ("worst_day", "Worst 24 h", absorbed.iloc[first : last + 1], worst))
    figure = d.new_figure(run, "who bore the deficits, in waterfall order", 0.9 + 0.3 * len(names))
    if absorbed.to_numpy().any():
        for axis, (_, title, part, hours) in zip(figure.subplots(1, 2, sharey=True), periods, strict=True):
            amounts = part.sum()
            axis.set_title(f"{title} ({clock.interval(*hours)}): {d.usd(float(amounts.sum()))}", pad=8)
            _waterfall_bars(axis, amounts)
    else:
        axis = figure.subplots()
        axis.set_axis_off()
        d.say(axis, NO_DEFICIT)
    rows = [_shares(period, part.sum(), hours) for period, _, part, hours in periods]
    return figure, {"": pd.concat(rows, ignore_index=True)}


def _shares(period: str, amounts: "pd.Series[float]", hours: tuple[float, float]) -> pd.DataFrame:
    """Rows of the table: who bore how much in a period."""
    order, share = np.arange(1, len(amounts) + 1), d.over(amounts, float(amounts.sum()))
    said = {"period": period, "from_hours": hours[0], "to_hours": hours[1], "order": order, "layer": amounts.index}
    return pd.DataFrame({**said, "usd": amounts.to_numpy(), "share": share})


def _waterfall(run: "Run") -> list[str]:
    """The layers of the scenario in its order; any other that has paid comes before the last."""
    paid = {
        str(column).removeprefix("absorbed_"): run.series[column]
        for column in run.series
        if str(column).startswith("absorbed_") and is_first(str(column))
    }
    listed = dict.fromkeys(str(getattr(layer, "type", "")) for layer in run.scenario.venues[0].clearinghouse.waterfall)
    names = [name for name in listed if name in paid]
    others = [name for name, amounts in paid.items() if name not in listed and amounts.any()]
    return [*names[:-1], *others, *names[-1:]]


def _waterfall_bars(axis: Axes, amounts: "pd.Series[float]") -> None:
    """One bar a layer, each beginning where the one before ended."""
    total = float(amounts.sum())
    divisor, unit = d.scale(np.array([total]))
    start = 0.0
    for at, (name, amount) in enumerate(amounts.items()):
        colour, hatch = LAYERS.get(str(name), OTHER)
        axis.barh(at, amount / divisor, 0.62, start / divisor, color=colour, hatch=hatch, edgecolor="white", linewidth=0.0)
        start += float(amount)
        share = f" ({amount / total:.0%})" if amount else ""
        axis.text(start / divisor, at, f"  {d.usd(float(amount))}{share}", ha="left", va="center")
        if at + 1 < len(amounts):
            axis.plot([start / divisor] * 2, [at - 0.31, at + 1.31], color=BLACK, linewidth=0.5, zorder=3)
    axis.set_yticks(range(len(amounts)), [d.words(str(name)) for name in amounts.index])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(amounts) - 0.4, -0.6)
    axis.set_xlim(0.0, 1.45 * total / divisor)
    axis.set_xticks([tick for tick in axis.get_xticks() if 0.0 <= tick <= 1.05 * total / divisor])
    axis.set_xlabel(f"Deficits borne, cumulative ({unit})")


# -- the network ------------------------------------------------------------------------------------------------------------------------


def network(run: "Run") -> Drawing:
    """Institutions and what they owe each other; defaulters carry the number of the wave they failed in."""
    nodes = run.balance_sheets.reset_index(drop=True)
    edges = run.edges.sort_values("amount", ascending=False, kind="stable", ignore_index=True)
    figure = d.new_figure(run, "institutions at the end of the run, their debts and defaults", 0.66 * d.WIDTH)
    axis = figure.subplots()
    axis.set_axis_off()
    if nodes.empty:
        d.say(axis, "no institutions in this run")
        return figure, {"": edges, "_nodes": nodes}
    axis.set_aspect("equal", anchor="W")
    axis.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12))
    nodes = nodes.assign(**_places(nodes), area=_area(nodes["assets"]))
    failed = nodes["status"] == "defaulted"
    owed = edges[edges["amount"] > 0]
    _draw_debts(axis, nodes.set_index("node"), owed.head(EDGES), set(nodes["node"][failed]))
    for kind, group in nodes.groupby("kind", sort=True):
        colour, marker, _ = KINDS.get(str(kind), ANOTHER)
        axis.scatter(group["x"], group["y"], s=group["area"], c=colour, marker=marker, linewidths=0.6, edgecolors="white", zorder=2)
        _mark_defaults(axis, group[failed.loc[group.index]], marker)
    _key(axis, nodes, owed, int(failed.sum()))
    return figure, {"": edges, "_nodes": nodes.drop(columns="area")}


def _places(nodes: pd.DataFrame) -> dict[str, list[float]]:
    """Coordinates in the order of the table: rings by kind, neighbours of one kind, the largest first."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    order = nodes.sort_values(["kind", "assets"], ascending=[True, False], kind="stable")
    for node, kind in zip(order["node"], order["kind"], strict=True):
        graph.add_node(node, tier=KINDS.get(str(kind), ANOTHER)[2])
    places = layout(graph)
    return {"x": [places[node][0] for node in nodes["node"]], "y": [places[node][1] for node in nodes["node"]]}


def _area(assets: d.Column) -> Floats:
    """Marker areas, square points: in proportion to assets, the largest 700, none below 16."""
    held = np.maximum(d.finite(assets, 0.0), 0.0)
    areas: Floats = np.maximum(700.0 * held / (float(held.max()) or 1.0), 16.0)
    return areas


def _draw_debts(axis: Axes, nodes: pd.DataFrame, edges: pd.DataFrame, failed: set[Any]) -> None:
    """Arrows from debtor to creditor, as wide as the debt is large; a defaulter's are red and dashed."""
    largest = float(edges["amount"].max()) if len(edges) else 1.0
    for source, target, amount in edges[["source", "target", "amount"]].iloc[::-1].itertuples(index=False):
        (x0, y0, area0), (x1, y1, area1) = nodes.loc[[source, target], ["x", "y", "area"]].to_numpy(dtype=float).tolist()
        bad = source in failed
        arrow = FancyArrowPatch(
            (x0, y0),
            (x1, y1),
            arrowstyle="-|>",
            mutation_scale=5,
            connectionstyle="arc3,rad=0.18",
            shrinkA=float(np.sqrt(area0)) / 2,
            shrinkB=float(np.sqrt(area1)) / 2,
            linewidth=0.3 + 2.7 * float(amount) / largest,
            linestyle=DASHES[1] if bad else "-",
            color=RED if bad else GREY,
            alpha=0.7,
            zorder=1,
        )
        axis.add_patch(arrow)


def _mark_defaults(axis: Axes, failed: pd.DataFrame, marker: str) -> None:
    """A red outline round each defaulter and its wave beside it, outwards; a cross for one that failed outside any wave."""
    outline = (np.sqrt(failed["area"].to_numpy(dtype=float)) + 5.0) ** 2
    axis.scatter(failed["x"], failed["y"], s=outline, facecolors="none", edgecolors=RED, linewidths=1.4, marker=marker, zorder=3)
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": RED, "weight": "bold", "zorder": 4}
    box = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    for x, y, wave, size in zip(failed["x"], failed["y"], failed["wave"], np.sqrt(outline), strict=True):
        away = np.hypot(x, y)
        out = np.array([x, y]) / away if away > 1e-9 else np.array([0.0, 1.0])
        place = tuple((out * (size / 2 + 8.0)).tolist())
        axis.annotate(str(wave) if wave > 0 else "×", (x, y), place, textcoords="offset points", bbox=box, **look)


def _key(axis: Axes, nodes: pd.DataFrame, owed: pd.DataFrame, failed: int) -> None:
    """What shapes, sizes and widths mean, in words and figures."""
    handles = []
    for kind, count in nodes["kind"].value_counts().sort_index().items():
        colour, marker, _ = KINDS.get(str(kind), ANOTHER)
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, markersize=6, label=f"{d.words(str(kind))} ({count})"))
    said = f"in default ({failed});\nthe number is its wave" if failed else "in default (none)"
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": RED, "markeredgewidth": 1.4}
    handles.append(Line2D([], [], linestyle="", marker="o", markersize=7, label=said, **ring))
    handles.append(Line2D([], [], color=GREY, linewidth=2, label="owes (arrow to the creditor)"))
    if failed:
        handles.append(Line2D([], [], color=RED, linestyle=DASHES[1], linewidth=2, label="owed by a defaulter"))
    sizes = [f"area: assets, largest {d.usd(float(nodes['assets'].max()))}"]
    sizes += [f"width: debt, largest {d.usd(float(owed['amount'].max()))}"] if len(owed) else ["no debts"]
    sizes += [f"the {EDGES} largest of {len(owed)} debts"] if len(owed) > EDGES else []
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="\n".join(sizes), alignment="left", labelspacing=0.9)


def draw_margin(held: pd.DataFrame, folder: Path) -> list[Path]:
    """Margin of each rule over time against the losses that it is held against, long; columns as `backtest` writes them."""
    with d.style():
        figure = Figure(figsize=(d.WIDTH, 3.0), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.add_subplot()
        long = held[held["side"] == "long"]
        for at, (rule, rows) in enumerate(long.groupby("rule", sort=False)):
            if at == 0:
                axis.plot(rows["row"], rows["loss"].clip(lower=0.0), ".", color=GREY, markersize=2, label="loss")
            axis.plot(rows["row"], rows["margin"], color=d.PALETTE[at % 4], linestyle=DASHES[at % len(DASHES)], label=str(rule))
        axis.set(xlabel="row of the prices", ylabel="USD for each USD of notional")
        figure.suptitle("margin and the losses it is held against, long", x=0.005, ha="left")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return d.save((figure, {"": held}), folder, "margin")
