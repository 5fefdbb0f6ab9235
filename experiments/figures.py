"""The four figures of a run: prices, the fund, who paid, and the network of defaults.

Each is written as PDF, SVG and PNG in one style, with the numbers it draws as tidy CSV beside it. The same run gives the same bytes: dates are
left out, identifiers are hashed with a fixed salt, and a user's own matplotlib settings are set aside. Colours are Petroff's (2021,
arXiv:2107.02270), and whatever a colour says is also said by dashes, markers, hatches or shapes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import matplotlib as mpl
import networkx as nx
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import LogLocator, ScalarFormatter
from numpy.typing import NDArray

from model.ledger import Flow
from model.network import layout
from model.scenario import Scenario

type Floats = NDArray[np.float64]
type Look = tuple[str, str]
"""Colour and hatch."""

BLUE, ORANGE, RED, PLUM, GREY, VIOLET, BLACK = PALETTE = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd", "#000000")
DASHES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (7, 1, 1, 1, 1, 1)))
MARKERS: Final = ("o", "s", "^", "D", "v", "P")

WIDTH: Final = 183 / 25.4
"""Inches: two columns of a journal."""
POINTS: Final = 2_000
"""Points drawn of a line at most; extremes are kept."""
BARS: Final = 72
"""Bars drawn along time at most."""
BINS: Final = (1, 2, 3, 6, 12, 24, 48, 168, 336, 720, 1440, 2160, 4320, 8760)
"""Widths of a bar that a person can name, hours."""
EDGES: Final = 400
"""Edges drawn at most, the largest first; the CSV holds all."""
DAY: Final = 24.0
NO_DEFICIT: Final = "no deficit in this run"

FLOWS: Final[dict[str, Look]] = {
    Flow.TRADING_FEE: (BLUE, ""),
    Flow.OPEN_INTEREST_LEVY: (ORANGE, "/////"),
    Flow.FUNDING_SHARE: (PLUM, "xxxxx"),
    Flow.LIQUIDATION_FEE: (GREY, "....."),
    Flow.SURPLUS: (VIOLET, "\\\\\\\\\\"),
    Flow.INJECTION: (BLACK, "+++++"),
    Flow.INVENTORY_RESULT: (ORANGE, "....."),
    Flow.DRAW_EXECUTION: (RED, ""),
    Flow.DRAW_TAKEOVER: (PLUM, "/////"),
    Flow.DRAW_CLOSE_OUT: (BLACK, "....."),
    Flow.DISTRIBUTION: (BLUE, "\\\\\\\\\\"),
}
"""How each flow of the fund looks, from the bottom of the stack to its top; any other flow is `OTHER`."""
OTHER: Final[Look] = (GREY, "xxxxx")
LAYERS: Final[dict[str, Look]] = {
    "fund": (BLUE, ""),
    "exchange_capital": (ORANGE, "////"),
    "deleveraging": (PLUM, "...."),
    "socialised_loss": (VIOLET, "\\\\\\\\"),
    "write_down": (RED, "xxxx"),
}
KINDS: Final = {
    "exchange": (BLACK, "s", "venue"),
    "lender": (BLUE, "o", "lender"),
    "market_maker": (ORANGE, "^", "borrower"),
    "liquidator": (PLUM, "D", "borrower"),
    "large_trader": (VIOLET, "v", "borrower"),
}
"""Colour, marker and ring (`model.network.RINGS`) of each kind of institution."""

STYLE: Final[dict[str, Any]] = {
    **sns.plotting_context("paper"),
    **sns.axes_style("ticks"),
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7),
    "legend.title_fontsize": 7,
    "figure.titlesize": 8,
    "font.family": "DejaVu Sans",
    "axes.titlelocation": "left",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    **{f"{axis}tick.{which}.width": 0.6 for axis in "xy" for which in ("major", "minor")},
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "backstop",
}
FORMATS: Final[dict[str, dict[str, Any]]] = {"pdf": {"metadata": {"CreationDate": None}}, "svg": {"metadata": {"Date": None}}, "png": {"dpi": 300}}


class Drawable(Protocol):
    """What the figures need to know of a run.

    Attributes:
        series: one row a step, the opening first; columns as `model.observables` declares them.
        statement: `step`, `hours`, `flow`, `amount` (USD into the fund).
        balance_sheets: `node`, `kind`, `assets` (USD), `status` and `wave` (from 1; −1 for none) of each institution.
        edges: `source` owes `target` the `amount`, USD.
    """

    @property
    def scenario(self) -> Scenario: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def series(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def statement(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def balance_sheets(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def edges(self) -> pd.DataFrame: ...  # noqa: D102


type Drawing = tuple[Figure, dict[str, pd.DataFrame]]
"""A figure and the tables behind it, by what is added to the figure's name."""


def draw(run: Drawable, folder: Path) -> list[Path]:
    """Writes the four figures and their tables into `folder`, which is made if missing. Returns every file written, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    figures: dict[str, Callable[[Drawable], Drawing]] = {"prices": prices, "fund": fund, "who_paid": who_paid, "network": network}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        for name, make in figures.items():
            figure, tables = make(run)
            for extension, options in FORMATS.items():
                written.append(folder / f"{name}.{extension}")
                figure.savefig(written[-1], **options)
            for suffix, table in tables.items():
                written.append(folder / f"{name}{suffix}.csv")
                table.to_csv(written[-1], index=False, lineterminator="\n")
    return written


# -- the four figures -------------------------------------------------------------------------------------------------------------------


def prices(run: Drawable) -> Drawing:
    """Indices (opening = 100), open interest and liquidations."""
    clock, series = _Clock.of(run), run.series
    names = [asset.name for asset in run.scenario.assets]
    figure, axes = _panels(run, "prices, open interest and liquidations", (2.2, 1.4, 1.0), clock)
    rows: list[pd.DataFrame] = []
    normal = {name: 100.0 * _over(series[f"index_{name}"], float(series[f"index_{name}"].iloc[0])) for name in names}
    interest = {name: _finite(series[f"open_interest_{name}"]) for name in names}
    divisor, unit = _scale(list(interest.values()))
    for at, name in enumerate(names):
        look = _look(at, len(names))
        rows.append(_line(axes[0], clock, normal[name], ("index", name, "opening = 100"), **look))
        rows.append(_line(axes[1], clock, interest[name], ("open_interest", name, "USD"), divisor=divisor, **look))
    _log_if_wide(axes[0], list(normal.values()))
    _legend(axes[0])
    bars = clock.binned(clock.hours, {"liquidated": _finite(series["liquidated"])})
    rows.append(clock.tidy(bars, "liquidated"))
    size, money = _scale([bars["liquidated"].to_numpy()])
    _bars(axes[2], clock, bars / size, {"liquidated": (RED, "/////")})
    if not bars["liquidated"].any():
        _say(axes[2], "no liquidation in this run")
    _incidents(axes, clock, series)
    axes[0].set_ylabel("Index\n(opening = 100)")
    axes[1].set_ylabel(f"Open interest\n({unit}, one side)")
    axes[2].set_ylabel(f"Liquidated\n({money} per {clock.width})")
    axes[1].set_ylim(bottom=0)
    axes[2].set_ylim(bottom=0)
    return figure, {"": pd.concat(rows, ignore_index=True)}


def fund(run: Drawable) -> Drawing:
    """The fund and its target, what flowed in and out of it, and its adequacy."""
    clock, series = _Clock.of(run), run.series
    figure, axes = _panels(run, "the backstop fund and its flows", (1.7, 1.3, 1.3, 0.9), clock)
    level, target = _finite(series["fund"]), _finite(series["fund_target"])
    divisor, unit = _scale([level, target])
    rows = [
        _line(axes[0], clock, level, ("fund", "fund", "USD"), divisor=divisor, color=BLUE, marker="o", label="fund"),
        _line(axes[0], clock, target, ("fund_target", "target", "USD"), divisor=divisor, color=BLACK, linestyle=DASHES[1], label="target"),
    ]
    axes[0].set_ylabel(f"Fund ({unit})")
    axes[0].set_ylim(bottom=min(0.0, float(np.nanmin(level, initial=0.0)) / divisor))
    _legend(axes[0])
    flows = clock.binned(run.statement["hours"].to_numpy(), _by_flow(run.statement))
    rows.append(clock.tidy(flows, "flow"))
    looks = {str(name): FLOWS.get(str(name), OTHER) for name in flows}
    for axis, part, what in ((axes[1], flows.clip(lower=0.0), "Inflows"), (axes[2], flows.clip(upper=0.0), "Draws")):
        size, money = _scale([part.sum(axis=1).to_numpy()])
        _bars(axis, clock, part / size, {name: look for name, look in looks.items() if part[name].any()})
        axis.set_ylabel(f"{what}\n({money} per {clock.width})")
        axis.set_ylim(**({"bottom": 0.0} if what == "Inflows" else {"top": 0.0}))
        if part.to_numpy().any():
            _legend(axis)
        else:
            _say(axis, f"no {what.lower()} in this run")
    adequacy = _finite(series["adequacy"])
    rows.append(_line(axes[3], clock, adequacy, ("adequacy", "adequacy", "1"), color=BLUE))
    axes[3].axhline(1.0, color=BLACK, linestyle=DASHES[1], linewidth=0.8)
    if np.nanmax(adequacy, initial=0.0) > 20:
        axes[3].set_yscale("symlog", linthresh=1.0)
    axes[3].set_ylabel("Adequacy (1)")
    _incidents(axes, clock, series)
    return figure, {"": pd.concat(rows, ignore_index=True)}


def who_paid(run: Drawable) -> Drawing:
    """Deficits by the layer that bore them, in waterfall order: over the run, and over the 24 hours with the most."""
    clock, series = _Clock.of(run), run.series
    names = _waterfall(run)
    absorbed = series[[f"absorbed_{name}" for name in names]].fillna(0.0).set_axis(names, axis="columns")
    steps = max(1, round(DAY / run.scenario.hours_per_step))
    last = int(absorbed.sum(axis=1).rolling(steps, min_periods=1).sum().to_numpy().argmax())
    first = max(0, last - steps + 1)
    periods = {
        "run": (absorbed, 0.0, float(clock.hours[-1]), "Whole run"),
        "worst_day": (absorbed.iloc[first : last + 1], *clock.between(first, last), "Worst 24 h"),
    }
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(names)), layout="constrained")
    _title(figure, run, "who bore the deficits, in waterfall order")
    any_deficit = bool(absorbed.to_numpy().any())
    axes = figure.subplots(1, 2, sharey=True) if any_deficit else [figure.subplots()] * 2
    rows = []
    for axis, (period, (part, start, end, title)) in zip(axes, periods.items(), strict=True):
        amounts = part.sum()
        total = float(amounts.sum())
        if any_deficit:
            _waterfall_bars(axis, amounts)
            axis.set_title(f"{title} ({clock.name(start, end)}): {_usd(total)}", pad=8)
        share = _over(amounts, total)
        order = np.arange(1, len(names) + 1)
        rows.append(pd.DataFrame({"period": period, "from_hours": start, "to_hours": end, "order": order, "layer": names, "usd": amounts.to_numpy(), "share": share}))
    if not any_deficit:
        axes[0].set_axis_off()
        _say(axes[0], f"{NO_DEFICIT}: every position that was closed left enough to close it")
    return figure, {"": pd.concat(rows, ignore_index=True)}


def network(run: Drawable) -> Drawing:
    """Institutions and what they owe each other; defaulters carry the number of the wave they failed in."""
    nodes = run.balance_sheets.reset_index(drop=True)
    edges = run.edges.sort_values("amount", ascending=False, kind="stable", ignore_index=True)
    figure = Figure(figsize=(WIDTH, 0.72 * WIDTH), layout="constrained")
    _title(figure, run, "institutions at the end of the run, their debts and defaults")
    axis = figure.subplots()
    axis.set_axis_off()
    axis.set_aspect("equal")
    if nodes.empty:
        _say(axis, "no institutions in this run")
        return figure, {"": edges, "_nodes": nodes}
    nodes = nodes.assign(**_places(nodes), area=_area(nodes["assets"]))
    failed = set(nodes.loc[nodes["status"] == "defaulted", "node"])
    _draw_edges(axis, nodes.set_index("node"), edges[edges["amount"] > 0].head(EDGES), failed)
    for kind, group in nodes.groupby("kind", sort=True):
        colour, marker, _ = KINDS.get(str(kind), (GREY, "h", ""))
        axis.scatter(group["x"], group["y"], s=group["area"], c=colour, marker=marker, linewidths=0.6, edgecolors="white", zorder=2)
    _mark_defaults(axis, nodes[nodes["node"].isin(failed)])
    axis.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12))
    _key(axis, nodes, edges, len(failed))
    return figure, {"": edges, "_nodes": nodes.drop(columns="area")}


# -- time -------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clock:
    """A run's time axis.

    Attributes:
        hours: shape (T + 1,), hours since the opening.
        bin: hours that one bar stands for.
        divisor, unit: of the axis; days for runs longer than ten.
    """

    hours: Floats
    opening: float
    bin: float
    divisor: float
    unit: str

    @classmethod
    def of(cls, run: Drawable) -> "_Clock":
        hours = run.series["hours"].to_numpy(dtype=float)
        span, step = float(hours[-1] - hours[0]), run.scenario.hours_per_step
        whole = [step, *(float(width) for width in BINS if width > step and (width / step).is_integer())]
        fitting = [width for width in whole if span <= BARS * width]
        days = span > 10 * DAY
        width = fitting[0] if fitting else step * float(np.ceil(span / step / BARS))
        return cls(hours - hours[0], float(hours[0]), width, DAY if days else 1.0, "days" if days else "h")

    @property
    def width(self) -> str:
        """A bar's width in words."""
        if self.bin == DAY:
            return "day"
        return f"{self.bin / DAY:g} days" if self.bin > DAY and (self.bin / DAY).is_integer() else f"{self.bin:g} h"

    def name(self, start: float, end: float) -> str:
        """An interval of hours in the axis' unit."""
        first, last = (f"{value / self.divisor:.1f}".removesuffix(".0") for value in (start, end))
        return f"{first}–{last} {self.unit}"

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Hours at which the steps in rows `first` … `last` begin and end."""
        return float(self.hours[max(first - 1, 0)]), float(self.hours[last])

    def binned(self, hours: Floats, columns: dict[str, Floats]) -> pd.DataFrame:
        """Sums by bar, indexed by the hour at which it begins; `hours` are those at which steps end."""
        width = self.bin
        bars = max(1, int(np.ceil(self.hours[-1] / width - 1e-9)))
        since = np.asarray(hours, dtype=float) - (self.opening if hours is not self.hours else 0.0)
        # Steps end on a bar's edge: just inside is the bar they belong to.
        at = np.clip(np.ceil(since / width - 1e-9).astype(int) - 1, 0, bars - 1)
        sums = {name: np.bincount(at, weights=values, minlength=bars) for name, values in columns.items()}
        return pd.DataFrame(sums, index=np.arange(bars) * width)

    def tidy(self, bars: pd.DataFrame, quantity: str) -> pd.DataFrame:
        """Binned sums as rows of the table behind a figure."""
        long = bars.rename_axis("from_hours").reset_index().melt("from_hours", var_name="item", value_name="value")
        return _tidy(quantity, long["item"].to_numpy(), long["from_hours"].to_numpy(), long["value"].to_numpy(), "USD", self.bin)


def _tidy(quantity: str, item: object, start: Floats, values: Floats, unit: str, width: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"quantity": quantity, "item": item, "from_hours": start, "to_hours": start + width, "value": values, "unit": unit})


def _by_flow(statement: pd.DataFrame) -> dict[str, Floats]:
    """One column of amounts a flow, in stacking order."""
    flows = statement["flow"].astype(str)
    order = [*FLOWS, *sorted(set(flows) - set(FLOWS))]
    amounts = _finite(statement["amount"], 0.0)
    return {str(name): np.where(flows == name, amounts, 0.0) for name in order if (flows == name).any()}


def thin(values: Floats, points: int = POINTS) -> NDArray[np.intp]:
    """Which of `values` to draw: all, or the least and the greatest of each of points / 2 stretches, and both ends."""
    if values.size <= points:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, points // 2).astype(int)
    low, high = np.nan_to_num(values, nan=np.inf), np.nan_to_num(values, nan=-np.inf)
    stretches = [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    kept = {0, values.size - 1, *(a + int(low[a:b].argmin()) for a, b in stretches), *(a + int(high[a:b].argmax()) for a, b in stretches)}
    return np.array(sorted(kept), dtype=np.intp)


# -- axes -------------------------------------------------------------------------------------------------------------------------------


def _title(figure: Figure, run: Drawable, what: str) -> None:
    figure.suptitle(f"{run.scenario.name}, seed {run.seed}: {what}", x=0.005, ha="left")


def _panels(run: Drawable, what: str, heights: Sequence[float], clock: _Clock) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, 0.4 + sum(heights)), layout="constrained")
    _title(figure, run, what)
    axes: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights)))
    axes[-1].set_xlabel(f"Time since the opening ({clock.unit})")
    axes[-1].set_xlim(0.0, max(float(clock.hours[-1]), 1e-9) / clock.divisor)
    figure.align_ylabels(axes)
    return figure, axes


def _look(at: int, count: int) -> dict[str, Any]:
    """Line style of one market of `count`, as keywords; markets beyond the palette share thin grey."""
    if at >= len(MARKERS):
        return {"color": GREY, "linewidth": 0.5, "zorder": 1, "label": f"{count - len(MARKERS)} more" if at == len(MARKERS) else "_nolegend_"}
    return {"color": PALETTE[at], "linestyle": DASHES[at], "marker": MARKERS[at]}


def _line(axis: Axes, clock: _Clock, values: Floats, named: tuple[str, str, str], divisor: float = 1.0, **look: Any) -> pd.DataFrame:
    """Draws one thinned line; `named` is its quantity, item and unit. Returns its rows of the table."""
    quantity, item, unit = named
    kept = thin(values)
    every = max(1, kept.size // 8)
    axis.plot(clock.hours[kept] / clock.divisor, values[kept] / divisor, **{"label": item, "markevery": every, **look})
    return _tidy(quantity, item, clock.hours[kept], values[kept], unit)


def _bars(axis: Axes, clock: _Clock, bars: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Bars along time, stacked; what is negative in `bars` goes down."""
    foot = np.zeros(len(bars))
    left = bars.index.to_numpy() / clock.divisor
    for name, (colour, hatch) in looks.items():
        height = bars[name].to_numpy()
        axis.bar(
            left, height, clock.bin / clock.divisor, foot, align="edge", color=colour, hatch=hatch, edgecolor="white", linewidth=0.2, label=_words(name)
        )
        foot += height
    axis.axhline(0.0, color=BLACK, linewidth=0.6)


def _incidents(axes: Sequence[Axes], clock: _Clock, series: pd.DataFrame) -> None:
    """Vertical lines at the first default and at the insolvency of the exchange, named on the uppermost panel."""
    for column, words, colour, dash in (("defaults", "first default", BLACK, DASHES[2]), ("insolvent", "exchange insolvent", RED, DASHES[1])):
        when = np.flatnonzero(_finite(series[column], 0.0) > 0)
        if when.size:
            at = float(clock.hours[when[0]]) / clock.divisor
            for axis in axes:
                axis.axvline(at, color=colour, linestyle=dash, linewidth=0.8, zorder=0, label=words if axis is axes[0] else "_nolegend_")
    _legend(axes[0])


def _legend(axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1] if axis.containers else handles, labels[::-1] if axis.containers else labels, loc="upper left", bbox_to_anchor=(1.0, 1.03))


def _say(axis: Axes, words: str) -> None:
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", fontsize=8)


def _log_if_wide(axis: Axes, columns: Sequence[Floats], ratio: float = 4.0) -> None:
    """A logarithmic axis where the largest value is `ratio` times the smallest; it reaches down at most four decades."""
    values = np.concatenate(columns)
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size or values.max() < ratio * values.min():
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if values.max() < 200 * values.min() else (1.0,)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_locator(LogLocator(subs=()))
    if values.min() < 1e-4 * values.max():
        axis.set_ylim(bottom=1e-4 * values.max())


# -- numbers and words ------------------------------------------------------------------------------------------------------------------


def _finite(column: "pd.Series[Any]", missing: float = np.nan) -> Floats:
    values = column.to_numpy(dtype=float)
    return np.where(np.isfinite(values), values, missing)


def _over(column: "pd.Series[Any]", total: float) -> Floats:
    return _finite(column) / total if total else np.zeros(len(column))


def _scale(columns: Sequence[Floats]) -> tuple[float, str]:
    """Divisor and name of the unit of money in which the largest of the values has one to three digits before the point."""
    largest = max((float(np.nanmax(np.abs(values), initial=0.0)) for values in columns), default=0.0)
    return next(((divisor, unit) for divisor, unit in ((1e12, "$tn"), (1e9, "$bn"), (1e6, "$m"), (1e3, "$k")) if largest >= divisor), (1.0, "$"))


def _usd(amount: float) -> str:
    """An amount of money with three digits."""
    divisor, unit = _scale([np.array([amount])])
    value = amount / divisor
    digits = 0 if abs(value) >= 100 or not value else 1 if abs(value) >= 10 else 2
    return f"${value:,.{digits}f}{unit[1:]}"


def _words(name: str) -> str:
    return name.replace("_", " ")


# -- who paid ---------------------------------------------------------------------------------------------------------------------------


def _waterfall(run: Drawable) -> list[str]:
    """The layers of the scenario in its order; any other that has paid comes before the last."""
    paying = {str(column).removeprefix("absorbed_"): run.series[column] for column in run.series if str(column).startswith("absorbed_")}
    listed = [layer.type for layer in run.scenario.venues[0].clearinghouse.waterfall]
    names = [name for name in listed if name in paying]
    others = [name for name, amounts in paying.items() if name not in names and amounts.any()]
    return [*names[:-1], *others, *names[-1:]]


def _waterfall_bars(axis: Axes, amounts: "pd.Series[float]") -> None:
    """One bar a layer, each beginning where the one before ended."""
    total = float(amounts.sum())
    divisor, unit = _scale([np.array([total])])
    start = 0.0
    for at, (name, amount) in enumerate(amounts.items()):
        colour, hatch = LAYERS.get(str(name), OTHER)
        axis.barh(at, amount / divisor, 0.62, start / divisor, color=colour, hatch=hatch, edgecolor="white", linewidth=0.0)
        end = start + float(amount)
        share = f" ({amount / total:.0%})" if amount else ""
        axis.text(end / divisor, at, f"  {_usd(float(amount))}{share}", ha="left", va="center", color=BLACK if amount else "#606066")
        if at + 1 < len(amounts):
            axis.plot([end / divisor] * 2, [at - 0.31, at + 1.31], color=BLACK, linewidth=0.5, zorder=3)
        start = end
    axis.set_yticks(range(len(amounts)), [_words(str(name)) for name in amounts.index])
    axis.set_ylim(len(amounts) - 0.4, -0.6)
    axis.set_xlim(0.0, 1.45 * (total or 1.0) / divisor)
    axis.set_xticks([tick for tick in axis.get_xticks() if 0.0 <= tick <= 1.02 * (total or 1.0) / divisor])
    axis.set_xlabel(f"Deficits borne, cumulative ({unit})")


# -- the network ------------------------------------------------------------------------------------------------------------------------


def _places(nodes: pd.DataFrame) -> dict[str, list[float]]:
    """Coordinates in the order of the table: rings by kind, neighbours of one kind, the largest first."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    for row in nodes.sort_values(["kind", "assets"], ascending=[True, False], kind="stable").itertuples():
        graph.add_node(row.node, tier=KINDS.get(str(row.kind), (GREY, "h", "borrower"))[2])
    places = layout(graph)
    return {"x": [places[node][0] for node in nodes["node"]], "y": [places[node][1] for node in nodes["node"]]}


def _area(assets: "pd.Series[float]") -> Floats:
    """Marker areas, square points: in proportion to assets, the largest 700, none below 12."""
    held = np.clip(_finite(assets, 0.0), 0.0, None)
    return np.clip(700.0 * held / max(float(held.max()), 1e-9), 12.0, None)


def _draw_edges(axis: Axes, nodes: pd.DataFrame, edges: pd.DataFrame, failed: set[Any]) -> None:
    """Arrows from debtor to creditor, as wide as the debt is large; a defaulter's are red and dashed."""
    largest = float(edges["amount"].max()) if len(edges) else 1.0
    for source, target, amount in edges[["source", "target", "amount"]].iloc[::-1].itertuples(index=False):
        ends = nodes.loc[[source, target], ["x", "y", "area"]].to_numpy(dtype=float)
        bad = source in failed
        arrow = FancyArrowPatch(
            (ends[0, 0], ends[0, 1]),
            (ends[1, 0], ends[1, 1]),
            arrowstyle="-|>",
            mutation_scale=5,
            connectionstyle="arc3,rad=0.12",
            shrinkA=float(np.sqrt(ends[0, 2])) / 2,
            shrinkB=float(np.sqrt(ends[1, 2])) / 2,
            linewidth=0.3 + 2.7 * float(amount) / largest,
            linestyle=DASHES[1] if bad else "-",
            color=RED if bad else GREY,
            alpha=0.7,
            zorder=1,
        )
        axis.add_patch(arrow)


def _mark_defaults(axis: Axes, failed: pd.DataFrame) -> None:
    """A red ring round each defaulter and its wave beside it, outwards."""
    axis.scatter(failed["x"], failed["y"], s=failed["area"] + 90.0, facecolors="none", edgecolors=RED, linewidths=1.4, zorder=3)
    for row in failed.itertuples():
        out = np.array([row.x, row.y]) / (np.hypot(row.x, row.y) or 1.0) if row.x or row.y else np.array([0.0, 1.0])
        reach = np.sqrt(row.area + 90.0) / 2 + 6
        text = str(row.wave) if row.wave > 0 else "×"
        axis.annotate(text, (row.x, row.y), out * reach, textcoords="offset points", ha="center", va="center", color=RED, weight="bold", zorder=4)


def _key(axis: Axes, nodes: pd.DataFrame, edges: pd.DataFrame, failed: int) -> None:
    """What shapes, sizes and widths mean, in words and figures."""
    handles = []
    for kind, count in nodes["kind"].value_counts().sort_index().items():
        colour, marker, _ = KINDS.get(str(kind), (GREY, "h", ""))
        handles.append(Line2D([], [], linestyle="", marker=marker, color=colour, markersize=6, label=f"{_words(str(kind))} ({count})"))
    ring = {"linestyle": "", "marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgecolor": RED, "markeredgewidth": 1.4}
    handles.append(Line2D([], [], **ring, label=f"in default ({failed}); the number is its wave" if failed else "in default (none)"))
    handles.append(Line2D([], [], color=GREY, linewidth=2, label="owes (arrow to the creditor)"))
    handles.append(Line2D([], [], color=RED, linestyle=DASHES[1], linewidth=2, label="owed by a defaulter"))
    owed = edges["amount"]
    sizes = f"area: assets, largest {_usd(float(nodes['assets'].max()))}\nwidth: debt, largest {_usd(float(owed.max()) if len(owed) else 0.0)}"
    shown = f"\nthe {EDGES} largest of {(owed > 0).sum()} debts" if (owed > 0).sum() > EDGES else ""
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), title=sizes + shown, alignment="left", labelspacing=0.9)
