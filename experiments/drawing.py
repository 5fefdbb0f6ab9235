"""What the figures of a run share: one style, one time axis, and units that a person can read.

Figures are made by matplotlib's object interface, so that no window, backend or figure of the user's is touched. Colours are Petroff's
(2021, arXiv:2107.02270), and whatever a colour says is also said by dashes, markers, hatches or shapes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter
from numpy.typing import NDArray

if TYPE_CHECKING:
    from experiments.runner import Run

type Floats = NDArray[np.float64]
type Column = pd.Series[Any]
type Look = tuple[str, str]
"""Colour and hatch."""
type Drawing = tuple[Figure, dict[str, pd.DataFrame]]
"""A figure and the tables behind it, by what is added to the figure's name."""

BLUE, ORANGE, RED, PLUM, GREY, VIOLET, BLACK = PALETTE = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd", "#000000")
AQUA, BROWN, TAN = "#92dadd", "#a96b59", "#b9ac70"
"""Of Petroff's ten, for what seldom stands beside the others."""
DASHES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (7, 1, 1, 1, 1, 1)))
MARKERS: Final = ("o", "s", "^", "D", "v", "P")

WIDTH: Final = 183 / 25.4
"""Inches: two columns of a journal."""
POINTS: Final = 2_000
"""Points drawn of a line at most; extremes are kept."""
BARS: Final = 72
"""Bars drawn along time at most."""
DAY: Final = 24.0
"""Hours."""
BINS: Final = (1, 2, 3, 6, 12, 24, 48, 168, 336, 720, 1440, 2160, 4320, 8760)
"""Widths of a bar that a person can name, hours."""
MONEY: Final = ((1e12, "$tn"), (1e9, "$bn"), (1e6, "$m"), (1e3, "$k"), (0.0, "$"))

STYLE: Final[dict[str, Any]] = {
    **sns.plotting_context("paper"),  # type: ignore[no-untyped-call]
    **sns.axes_style("ticks"),  # type: ignore[no-untyped-call]
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7),
    **{f"{axis}tick.{which}.width": 0.6 for axis in "xy" for which in ("major", "minor")},
    "legend.title_fontsize": 7,
    "figure.titlesize": 8,
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is the same everywhere
    "axes.titlelocation": "left",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "backstop",
}
FORMATS: Final[dict[str, dict[str, Any]]] = {
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
    "png": {"dpi": 300},
}


def new_figure(run: "Run", what: str, height: float) -> Figure:
    """An empty figure of full width and `height` inches, titled with what it shows of which scenario and seed."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{run.scenario.name}, seed {run.seed}: {what}", x=0.005, ha="left")
    return figure


def save(drawing: Drawing, folder: Path, name: str) -> list[Path]:
    """Writes a figure as PDF, SVG and PNG and its tables as CSV; returns the files. Equal drawings give equal bytes: dates are left out."""
    figure, tables = drawing
    _settle(figure)
    written = [folder / f"{name}.{extension}" for extension in FORMATS]
    for path in written:
        figure.savefig(path, **FORMATS[path.suffix[1:]])
    for suffix, table in tables.items():
        written.append(folder / f"{name}{suffix}.csv")
        table.to_csv(written[-1], index=False, lineterminator="\n")
    return written


def _settle(figure: Figure) -> None:
    """Lays a figure out once, for all formats; rounded, for the last bits of the solver's answer differ from one time to the next."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        left, bottom, width, height = (round(float(value), 6) for value in axis.get_position(original=True).bounds)
        axis.set_position((left, bottom, width, height))


@contextmanager
def style() -> Iterator[None]:
    """Every setting of matplotlib's as we want it, the user's own set aside; they come back at the end."""
    ours: Any = STYLE
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(ours)
        yield


# -- time -------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clock:
    """A run's time axis.

    Attributes:
        hours: shape (T + 1,), hours since the opening.
        opening: what the run's own clock showed at the opening, hours.
        bin: hours that one bar stands for.
        divisor, unit: of the axis; days for runs longer than ten.
    """

    hours: Floats
    opening: float
    bin: float
    divisor: float
    unit: str

    @classmethod
    def of(cls, run: "Run") -> "Clock":
        """The axis that suits a run: at most `BARS` bars, each of whole steps."""
        hours = run.series["hours"].to_numpy(dtype=float)
        span, step = float(hours[-1] - hours[0]), run.scenario.hours_per_step
        whole = [step, *(float(width) for width in BINS if width > step and (width / step).is_integer())]
        fitting = [width for width in whole if span <= BARS * width]
        width = fitting[0] if fitting else step * float(np.ceil(span / step / BARS))
        divisor, unit = (DAY, "days") if span > 10 * DAY else (1.0, "h")
        return cls(hours - hours[0], float(hours[0]), width, divisor, unit)

    @property
    def width(self) -> str:
        """A bar's width in words."""
        size, unit = (self.bin / DAY, "day") if self.bin % DAY == 0 else (self.bin, "h")
        if size == 1:
            return unit
        return f"{size:g} days" if unit == "day" else f"{size:g} h"

    def interval(self, start: float, end: float) -> str:
        """An interval of hours in words, in the axis' unit."""
        first, last = (f"{value / self.divisor:.1f}".removesuffix(".0") for value in (start, end))
        return f"{first}–{last} {self.unit}"

    def between(self, first: int, last: int) -> tuple[float, float]:
        """Hours at which the steps in rows `first` … `last` begin and end."""
        return float(self.hours[max(first - 1, 0)]), float(self.hours[last])

    def binned(self, hours: Floats, columns: dict[str, Floats]) -> pd.DataFrame:
        """Sums by bar, indexed by the hour at which it begins; `hours` is what the run's clock shows at the end of each step."""
        bars = max(1, int(np.ceil(self.hours[-1] / self.bin - 1e-9)))
        # A step ends on a bar's right edge at the latest, whatever rounding says; the opening belongs to the first bar.
        at = np.clip(np.ceil((hours - self.opening) / self.bin - 1e-9).astype(int) - 1, 0, bars - 1)
        sums = {name: np.bincount(at, weights=values, minlength=bars) for name, values in columns.items()}
        return pd.DataFrame(sums, index=np.arange(bars) * self.bin)

    def ends(self, bars: pd.DataFrame) -> Floats:
        """Hours at which bars end; the last may be cut short by the end of the run."""
        until: Floats = np.minimum(bars.index.to_numpy(dtype=float) + self.bin, self.hours[-1])
        return until

    def table(self, bars: pd.DataFrame, quantity: str) -> pd.DataFrame:
        """Binned sums of USD as rows of the table behind a figure."""
        items = [tidy(quantity, str(name), bars.index.to_numpy(), bars[name].to_numpy(), "USD", self.ends(bars)) for name in bars]
        return pd.concat(items, ignore_index=True) if items else tidy(quantity, "", np.empty(0), np.empty(0), "USD")


def tidy(quantity: str, item: str, start: Floats, values: Floats, unit: str, end: Floats | None = None) -> pd.DataFrame:
    """Rows of the table behind a figure: one value each, at an hour or over an interval of hours."""
    until = start if end is None else end
    return pd.DataFrame({"quantity": quantity, "item": item, "from_hours": start, "to_hours": until, "value": values, "unit": unit})


def thin(values: Floats, points: int = POINTS) -> NDArray[np.intp]:
    """Which of `values` to draw: all, or both ends and the least and the greatest of each of points / 2 stretches."""
    if values.size <= points:
        return np.arange(values.size)
    stretches = list(pairwise(np.linspace(0, values.size, points // 2).astype(int).tolist()))
    low, high = np.nan_to_num(values, nan=np.inf), np.nan_to_num(values, nan=-np.inf)
    least = {a + int(low[a:b].argmin()) for a, b in stretches}
    greatest = {a + int(high[a:b].argmax()) for a, b in stretches}
    return np.array(sorted({0, values.size - 1} | least | greatest), dtype=np.intp)


# -- axes -------------------------------------------------------------------------------------------------------------------------------


def panels(run: "Run", what: str, heights: Sequence[float], clock: Clock) -> tuple[Figure, list[Axes]]:
    """A figure of panels of these heights, inches, one above the other on one time axis."""
    figure = new_figure(run, what, 0.4 + sum(heights))
    axes: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights)))
    span = max(float(clock.hours[-1]), 1e-9) / clock.divisor
    axes[-1].set_xlabel(f"Time since the opening ({clock.unit})")
    axes[-1].set_xlim(-0.006 * span, 1.006 * span)
    figure.align_ylabels(axes)
    return figure, axes


def market_look(at: int, count: int) -> dict[str, Any]:
    """How the lines of one market of `count` look, as keywords; markets beyond the palette share thin grey."""
    if at < len(MARKERS):
        return {"color": PALETTE[at], "linestyle": DASHES[at], "marker": MARKERS[at]}
    rest = f"{count - len(MARKERS)} more" if at == len(MARKERS) else "_nolegend_"
    return {"color": GREY, "linewidth": 0.5, "zorder": 1, "label": rest}


def draw_line(axis: Axes, clock: Clock, values: Floats, named: tuple[str, str, str], divisor: float = 1.0, **look: Any) -> pd.DataFrame:
    """Draws a line, thinned; `named` is its quantity, item and unit. Returns its rows of the table."""
    quantity, item, unit = named
    kept = thin(values)
    every = max(1, kept.size // 8)
    thickness = 1.0 if kept.size < POINTS // 2 else 0.7
    drawn: dict[str, Any] = {"label": item, "linewidth": thickness, "markevery": (every // 2, every), **look}
    axis.plot(clock.hours[kept] / clock.divisor, values[kept] / divisor, **drawn)
    return tidy(quantity, item, clock.hours[kept], values[kept], unit)


def draw_bars(axis: Axes, clock: Clock, bars: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Draws bars along time, stacked away from zero; the columns of `bars` have one sign each."""
    foot = np.zeros(len(bars))
    left = bars.index.to_numpy(dtype=float)
    width = (clock.ends(bars) - left) / clock.divisor
    for name, (colour, hatch) in looks.items():
        height = bars[name].to_numpy()
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.2}
        axis.bar(left / clock.divisor, height, width, foot, align="edge", label=words(name), **look)
        foot += height
    axis.axhline(0.0, color=BLACK, linewidth=0.6)


def from_zero(axis: Axes, *columns: Floats) -> None:
    """Limits of an axis that holds these values and zero, with some air."""
    least = min(0.0, *(float(np.nanmin(values, initial=0.0)) for values in columns))
    greatest = max(0.0, *(float(np.nanmax(values, initial=0.0)) for values in columns))
    axis.set_ylim(1.08 * least, 1.08 * greatest if greatest > 0 or least < 0 else 1.0)


def draw_incidents(axes: Sequence[Axes], clock: Clock, series: pd.DataFrame) -> None:
    """Vertical lines at the first default and at the insolvency of the exchange, named on the uppermost panel."""
    marks = (("defaults", "first default", BLACK, DASHES[2]), ("insolvent", "exchange insolvent", RED, DASHES[1]))
    for column, label, colour, dashes in marks:
        when = np.flatnonzero(finite(series[column], 0.0) > 0)
        if not when.size:
            continue
        at = float(clock.hours[when[0]]) / clock.divisor
        for axis in axes:
            shown = label if axis is axes[0] else "_nolegend_"
            axis.axvline(at, color=colour, linestyle=dashes, linewidth=0.8, zorder=0, label=shown)


def legend(axis: Axes) -> None:
    """A legend beside the axes; what is stacked is listed as it stands, the topmost first."""
    handles, labels = axis.get_legend_handles_labels()
    order = -1 if axis.containers and axis.get_ylim()[1] > 0 else 1
    axis.legend(handles[::order], labels[::order], loc="upper left", bbox_to_anchor=(1.0, 1.03))


def say(axis: Axes, sentence: str) -> None:
    """A sentence instead of data."""
    axis.set_yticks([])
    axis.set_ylim(0.0, 1.0)
    axis.text(0.5, 0.5, sentence, transform=axis.transAxes, ha="center", va="center", fontsize=8)


def log_if_wide(axis: Axes, columns: Sequence[Floats], ratio: float = 4.0) -> None:
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


def finite(column: Column, missing: float = np.nan) -> Floats:
    """A column's values; what is not a finite number is `missing`."""
    values = column.to_numpy(dtype=float)
    return np.where(np.isfinite(values), values, missing)


def over(column: Column, total: float) -> Floats:
    """A column as parts of `total`; zero where that is zero."""
    return finite(column) / total if total else np.zeros(len(column))


def scale(*columns: Floats) -> tuple[float, str]:
    """Divisor and name of the unit of money in which the largest of the values has one to three digits before its point."""
    largest = max(float(np.nanmax(np.abs(values), initial=0.0)) for values in columns)
    divisor, unit = next((divisor, unit) for divisor, unit in MONEY if largest >= divisor)
    return divisor or 1.0, unit


def usd(amount: float) -> str:
    """An amount of money with three digits."""
    amount = float(f"{amount:.3g}")  # so that what rounds to a thousand millions is a billion
    divisor, unit = scale(np.array([amount]))
    value = amount / divisor
    digits = 0 if abs(value) >= 100 or not value else 1 if abs(value) >= 10 else 2
    return f"{'−' if value < 0 else ''}${abs(value):,.{digits}f}{unit[1:]}"


def words(name: str) -> str:
    """A name as a person writes it."""
    return name.replace("_", " ")
