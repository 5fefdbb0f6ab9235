"""The figures of a study: means, paired differences, convergence, what drives an output, and the opening's part in it.

Each is drawn from one tidy table and saved with it. Where a number is missing because runs failed there is a gap, never a line across.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from experiments import drawing as d
from experiments.analysis.blocks import Measure
from experiments.analysis.indices import DUMMY
from experiments.drawing import BLACK, BLUE, DASHES, GREY, MARKERS, ORANGE, PALETTE, Drawing, Floats, Look
from experiments.figures import LAYERS
from experiments.study import REST, Composition, Factor, Factorial

if TYPE_CHECKING:
    from experiments.attribution import Attribution
    from experiments.policy_search import Objective, Search
    from experiments.study import Study

COLUMNS: Final = 3
"""Panels side by side."""
PANELS: Final = 9
"""Panels of one figure at most; what does not fit is drawn against each factor instead."""
ROOM: Final = 40
"""Letters that fit below an axis side by side; more are slanted."""
HATCHES: Final = ("", "////", "....", "xxxx", "\\\\\\\\")
"""Of parts that have no look of their own, so that no two of thirty look alike."""
COLOURS: Final = tuple(colour for colour in PALETTE if colour != GREY)


def figures(study: "Study", measures: Sequence[Measure], tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, Drawing]]:
    """Name, caption and drawing of each figure that the tables allow, in the order of the report."""
    of = {measure.name: {name: table[table["output"] == measure.name] for name, table in tables.items()} for measure in measures}
    for measure in measures:
        for name, column in (("means", "mean"), ("paired", "difference")):
            found = of[measure.name].get(name)
            if found is not None and found[column].notna().any():
                yield f"{name}_{measure.name}", _caption(name, found, measure), varied(study, measure, found, column)
    yield from _compositions(study, tables)
    for name in ("sobol", "morris", "pawn", "rbd_fast"):
        if name in tables and tables[name][_ESTIMATE[name]].notna().any():
            yield name, _DRIVERS[name], drivers(study, measures, name, tables[name])
    if "sobol" in tables and len(set(tables["sobol"]["base_points"])) > 1:
        yield "sobol_convergence", _DRIVERS["sobol_convergence"], settling(study, tables["sobol"])
    for measure in measures:
        found = of[measure.name].get("convergence")
        if found is not None and found["half_width"].notna().any():
            yield f"convergence_{measure.name}", _caption("convergence", found, measure), narrowing(study, measure, found)
        found = of[measure.name].get("opening_burn_in")
        if found is not None and len(found):
            yield f"opening_{measure.name}", _caption("opening_burn_in", found, measure), openings(study, measure, found)


_ESTIMATE: Final = {"sobol": "index", "morris": "mu_star", "pawn": "index", "rbd_fast": "index"}
_DRIVERS: Final = {
    "sobol": "Sobol indices with 95 % bootstrap intervals: first order is what a factor does alone, total what it does with all others. "
    "The dummy sets nothing. Intervals are over base points, the replications being given; luck of replications is the table's noise.",
    "morris": "Morris' mu*: mean absolute change of the output over the whole range of a factor, with 95 % bootstrap intervals; crosses: "
    "sigma, which shows interaction or curvature.",
    "pawn": "PAWN: median Kolmogorov–Smirnov distance with 95 % intervals. What is not above the dummy (dashed) is not resolved.",
    "rbd_fast": "First-order indices by RBD-FAST with 95 % intervals. What is not above the dummy (dashed) is not resolved.",
    "sobol_convergence": "Total Sobol indices against the number of base points, with 95 % bootstrap intervals.",
}


def _caption(name: str, table: pd.DataFrame, measure: Measure) -> str:
    counts = sorted({int(n) for n in table["n"]})
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    kinds = ", ".join(sorted({kind for kind in table["interval"] if not str(kind).startswith("none")})) or "no interval"
    what = {
        "means": f"{'Probability' if measure.binary else 'Mean'} over {said} replications; bars: 95 % intervals ({kinds}).",
        "paired": f"Mean paired difference under the same draws over {said} pairs; bars: 95 % intervals ({kinds}).",
        "convergence": "Half-width of the 95 % interval against replications; thin: each point and arm, thick: their median.",
        "opening_burn_in": f"With more of the beginning left out, at the first point, {said} replications; bars: 95 % intervals ({kinds}).",
    }
    return what[name]


# -- against factors --------------------------------------------------------------------------------------------------------------------


def varied(study: "Study", measure: Measure, table: pd.DataFrame, column: str) -> Drawing:
    """An estimate at every point, against one factor by line and panel where the design is a grid, else against each factor."""
    title = f"{study.name}: {d.words(measure.name)}" + (
        f", difference from arm {table['against'].iloc[0]}" if column == "difference" else ""
    )
    across = max(study.factors, key=lambda factor: (factor.scale != "choice", table[factor.name].nunique()))
    others = [factor for factor in study.factors if factor is not across]
    arms = list(dict.fromkeys(table["arm"]))
    lines = others.pop(0) if len(arms) == 1 and others else None
    cells = list(table.groupby([factor.name for factor in others], sort=False)) if others else [((), table)]
    if not isinstance(study.design, Factorial) or len(cells) > PANELS:
        return _scattered(study, measure, table, column, title)
    figure, axes = _grid(title, len(cells), share=True)
    scaled = _Money.of(measure.unit, table[[column, "low", "high"]])
    for axis, (values, cell) in zip(axes, cells, strict=True):
        if others:
            axis.set_title(", ".join(f"{d.words(f.name)} {_value(f, value)}" for f, value in zip(others, values, strict=True)))
        by = lines.name if lines else "arm"
        each = cell.groupby(by, sort=False)
        for at, (name, line) in enumerate(each):
            label = str(_value(lines, name) if lines else name)
            _draw_line(axis, across, line.sort_values(across.name), column, scaled, at, label, len(each))
        _finish(axis, across, measure, scaled, column, table)
    if lines or len(arms) > 1:
        _legend(axes[min(len(cells), COLUMNS) - 1], d.words(lines.name) if lines else "arm")
    return figure, {"": table}


def _scattered(study: "Study", measure: Measure, table: pd.DataFrame, column: str, title: str) -> Drawing:
    """Every point against each factor in a panel of its own."""
    figure, axes = _grid(title, len(study.factors), share=True)
    scaled = _Money.of(measure.unit, table[[column]])
    arms = list(dict.fromkeys(table["arm"]))
    for axis, factor in zip(axes, study.factors, strict=True):
        for at, arm in enumerate(arms):
            part = table[table["arm"] == arm]
            look: dict[str, Any] = {"marker": MARKERS[at % len(MARKERS)], "color": _colours(len(arms))[at], "label": arm}
            axis.scatter(_places(factor, part[factor.name]), part[column] / scaled.divisor, s=7, alpha=0.6, linewidths=0, **look)
        _finish(axis, factor, measure, scaled, column, table)
    if len(arms) > 1:
        _legend(axes[min(len(study.factors), COLUMNS) - 1], "arm")
    return figure, {"": table}


def _colours(lines: int) -> Sequence[str]:
    """A colour a line: the palette as far as it goes, and an even run from dark to light for more lines than that."""
    return COLOURS if lines <= len(COLOURS) else [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0.05, 0.9, lines))]


def _draw_line(axis: Axes, across: Factor, line: pd.DataFrame, column: str, scaled: "_Money", at: int, label: str, lines: int) -> None:
    """One line with its intervals, a little beside the others so that bars do not cover each other."""
    x = _places(across, line[across.name])
    aside = (at % 2 * 2 - 1) * ((at + 1) // 2) * 0.012
    ends = float(x.min()), float(x.max())
    x = x * (ends[1] / ends[0]) ** aside if across.scale == "log" else x + aside * max(ends[1] - ends[0], 1.0)
    y, low, high = (line[name].to_numpy(dtype=float) / scaled.divisor for name in (column, "low", "high"))
    look: dict[str, Any] = {"color": _colours(lines)[at], "marker": MARKERS[at % len(MARKERS)]}
    drawn = "" if across.scale == "choice" else DASHES[at % len(DASHES)]
    axis.plot(x, y, linestyle=drawn, label=label, **look)
    axis.vlines(x, low, high, color=look["color"], linewidth=0.9)


def _finish(axis: Axes, across: Factor, measure: Measure, scaled: "_Money", column: str, table: pd.DataFrame) -> None:
    """Axes, their units and their limits."""
    _across(axis, across, table[across.name])
    if column == "difference":
        axis.axhline(0.0, color=BLACK, linewidth=0.6, zorder=0)
    else:
        _from_zero(axis, table[[column, "low", "high"]] / scaled.divisor, measure.binary)
    if axis.get_subplotspec() is None or axis.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        name = f"Difference in {d.words(measure.name)}" if column == "difference" else d.words(measure.name).capitalize()
        axis.set_ylabel(f"{name}\n({scaled.unit})")


def _from_zero(axis: Axes, columns: pd.DataFrame, binary: bool) -> None:
    """A vertical axis from zero where nothing lies below it; room for all panels that share it, and for a probability that is zero."""
    top = max(float(columns.max().max()), 0.05 if binary else 0.0)
    if float(columns.min().min()) >= 0.0 and top > 0.0:
        axis.set_ylim(-0.02 * top if binary else 0.0, 1.06 * top)


def _across(axis: Axes, factor: Factor, values: "pd.Series[Any]") -> None:
    """The horizontal axis of a factor: its scale, ticks that a person reads, its name and unit."""
    if factor.scale == "choice":
        labels = [_short(label) for label in factor.labels]
        slant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if sum(map(len, labels)) > ROOM else {}
        axis.set_xticks(range(len(labels)), labels, **slant)
        axis.set_xlim(-0.5, len(factor.labels) - 0.5)
        axis.set_xlabel(d.words(factor.name).capitalize())
        return
    levels = np.unique(values.to_numpy(dtype=float))
    if factor.scale == "log":
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
    if levels.size <= 6:
        axis.xaxis.set_major_locator(FixedLocator(levels.tolist()))
        axis.xaxis.set_minor_locator(NullLocator())
    elif factor.scale == "integer":
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    money = factor.unit == "USD"
    axis.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: _brief(value) if money else f"{value:g}") if money or levels.size <= 6 else ScalarFormatter()
    )
    unit = f" ({factor.unit})" if factor.unit and not money and factor.unit != "1" else ""
    if money and 4 < levels.size <= 6:
        axis.tick_params(axis="x", labelrotation=30)
    axis.set_xlabel(f"{d.words(factor.name).capitalize()}{unit}")


def _brief(usd: float) -> str:
    """Money on a tick: two digits, no zeros that say nothing."""
    divisor, unit = d.scale(np.array([usd]))
    return f"${float(f'{usd / divisor:.2g}'):g}{unit[1:]}"


# -- what a whole is made of ------------------------------------------------------------------------------------------------------------


def composition(study: "Study", analysis: Composition, table: pd.DataFrame) -> Drawing:
    """Stacked bars of the parts, one an arm, and what they come to with its interval; a panel a point, all on one scale."""
    arms, cells = list(dict.fromkeys(table["arm"])), list(table.groupby("point", sort=False))
    looks = _part_looks(study, analysis, table)
    whole = table[table["output"] == analysis.whole]
    scaled = _Money.of(str(whole["unit"].iloc[0]), whole[["mean"]])
    largest = float(whole["mean"].max()) / scaled.divisor or 1.0
    title = f"{study.name}: {d.words(analysis.name)}"
    figure, axes = _grid(title, len(cells), height=0.75 + 0.21 * len(arms), columns=2, share=True)
    for axis, (_, cell) in zip(axes, cells, strict=True):
        if len(cells) > 1:
            axis.set_title(", ".join(f"{d.words(factor.name)} {_value(factor, cell[factor.name].iloc[0])}" for factor in study.factors))
        _draw_parts(axis, cell, arms, analysis.whole, looks, scaled)
        axis.set_xlabel(f"{d.words(analysis.whole).capitalize()} ({scaled.unit})")
        axis.set_xlim(0.0, 1.55 * largest)  # room for what is written beside the longest bar
        axis.set_xticks([tick for tick in axis.get_xticks() if tick <= 1.05 * largest])
    axes[0].set_yticks(range(len(arms)), [d.words(arm) for arm in arms])
    axes[0].set_ylim(len(arms) - 0.4, -0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=6)
    return figure, {"": table}


def _compositions(study: "Study", tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, Drawing]]:
    """The figure of each composition with its name and caption, where there is anything to draw."""
    for analysis in (analysis for analysis in study.analyses if isinstance(analysis, Composition)):
        name = f"composition_{analysis.name}"
        if name in tables and tables[name]["mean"].notna().any():
            yield name, _composition_caption(analysis, tables[name]), composition(study, analysis, tables[name])


def _part_looks(study: "Study", analysis: Composition, table: pd.DataFrame) -> dict[str, Look]:
    """Colour and hatch of each part that is above zero anywhere: a waterfall's layers look as in the figures of a run, no two alike."""
    of = {output.name: output.of.removeprefix("absorbed_") for output in study.outputs}
    there = set(table.loc[table["mean"] > 0.0, "output"])
    parts = [name for name in (*analysis.parts, REST) if name in there]
    known = {name: LAYERS[of[name]] for name in parts if of.get(name) in LAYERS} | {REST: (GREY, "")}
    free = ((colour, hatch) for hatch in HATCHES for colour in COLOURS if (colour, hatch) not in known.values())
    return {name: known[name] if name in known else next(free) for name in parts}


def _draw_parts(axis: Axes, cell: pd.DataFrame, arms: Sequence[str], whole: str, looks: Mapping[str, Look], scaled: "_Money") -> None:
    """The bars of one point, what they come to written beside them; a gap where runs are missing."""
    means = cell.pivot_table(index="arm", columns="output", values="mean", dropna=False).reindex(list(arms)).fillna(0.0) / scaled.divisor
    places, foot = np.arange(len(arms)), np.zeros(len(arms))
    for name, (colour, hatch) in looks.items():
        width = means[name].to_numpy(dtype=float)
        axis.barh(places, width, 0.7, foot, color=colour, hatch=hatch, edgecolor="white", linewidth=0.2, label=d.words(name))
        foot += width
    total = cell[cell["output"] == whole].set_index("arm").reindex(list(arms))
    told = total[["mean", "low", "high"]].to_numpy(dtype=float) / scaled.divisor
    for place, (end, values) in enumerate(zip(foot.tolist(), told, strict=True)):
        mean, low, high = (f"{value:.3g}".replace("-", "−") for value in values.tolist())
        interval = f" [{low}, {high}]" if np.isfinite(values[1:]).all() else ""
        axis.text(
            end, place, "  runs missing" if math.isnan(values[0]) else f"  {mean}{interval}", ha="left", va="center", fontsize="small"
        )
    axis.tick_params(axis="y", length=0)


def _composition_caption(analysis: Composition, table: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in table["n"]})
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    whole = table[table["output"] == analysis.whole]
    kinds = ", ".join(sorted({str(kind) for kind in whole["interval"] if not str(kind).startswith("none")}))
    interval = f", in brackets its 95 % interval ({kinds})" if kinds else ""
    return f"What {d.words(analysis.whole)} are made of, means over {said} replications; beside each bar the whole{interval}."


# -- convergence and opening ------------------------------------------------------------------------------------------------------------


def narrowing(study: "Study", measure: Measure, table: pd.DataFrame) -> Drawing:
    """Half-widths of intervals against replications, and the slope of the root law."""
    figure, (axis, *_) = _grid(f"{study.name}: {d.words(measure.name)}, convergence", 1)
    table = table[table["half_width"].notna()]
    scaled = _Money.of(measure.unit, table[["half_width"]])
    for _, line in table.groupby(["point", "arm"], sort=False):
        axis.plot(line["n"], line["half_width"] / scaled.divisor, color=GREY, linewidth=0.5, alpha=0.6)
    median = table.groupby("n")["half_width"].median() / scaled.divisor
    axis.plot(median.index, median, color=BLUE, marker="o", linewidth=1.6, label="median of points and arms")
    law = float(median.iloc[-1]) * np.sqrt(float(median.index[-1]) / median.index.to_numpy(dtype=float))
    axis.plot(median.index, law, color=BLACK, linestyle=DASHES[1], linewidth=0.8, label="∝ 1 / √replications")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator([float(n) for n in median.index]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_ylim(bottom=0.0)
    axis.set_xlabel("Replications")
    axis.set_ylabel(f"Half-width of the interval\n({scaled.unit})")
    _legend(axis, "")
    return figure, {"": table}


def openings(study: "Study", measure: Measure, table: pd.DataFrame) -> Drawing:
    """An output against how much of the beginning is left out."""
    figure, (axis, *_) = _grid(f"{study.name}: {d.words(measure.name)}, by burn-in", 1)
    unit = str(table["unit"].iloc[0])
    scaled = _Money.of(unit, table[["mean", "low", "high"]])
    burn_in = Factor(name="burn_in", path="burn_in", low=0.0, high=float(max(table["burn_in"].max(), 1)), unit="steps left out")
    for at, (arm, line) in enumerate(table.groupby("arm", sort=False)):
        _draw_line(axis, burn_in, line, "mean", scaled, at, str(arm), table["arm"].nunique())
    axis.axvline(study.burn_in, color=BLACK, linestyle=DASHES[2], linewidth=0.8, zorder=0, label="the study's")
    _from_zero(axis, table[["mean", "low", "high"]] / scaled.divisor, measure.binary)
    axis.set_xlabel("Burn-in (steps left out)")
    axis.set_ylabel(f"{d.words(measure.name).capitalize()}\n({scaled.unit})")
    _legend(axis, "")
    return figure, {"": table}


# -- drivers ----------------------------------------------------------------------------------------------------------------------------


def drivers(study: "Study", measures: Sequence[Measure], name: str, table: pd.DataFrame) -> Drawing:
    """A panel an output and arm: each factor's index with its interval, the largest on top."""
    if name == "sobol":
        table = table[(table["base_points"] == table["base_points"].max()) & (table["order"] != "second")]
    column = _ESTIMATE[name]
    panels = [(key, part) for key, part in table.groupby(["output", "arm"], sort=False) if part[column].notna().any()]
    many = len(set(table["arm"])) > 1
    figure, axes = _grid(f"{study.name}: {_METHOD[name]}", len(panels), height=0.75 + 0.21 * table["factor"].nunique(), columns=2)
    units = {measure.name: measure.unit for measure in measures}
    for axis, ((output, arm), part) in zip(axes, panels, strict=True):
        axis.set_title(d.words(str(output)) + (f", arm {arm}" if many else ""))
        scaled = _Money.of(units.get(str(output), ""), part[[column]]) if name == "morris" else _Money(1.0, "index")
        _draw_drivers(axis, part, column, scaled, name)
    if name == "sobol":
        _legend(axes[min(len(panels), 2) - 1], "")
    return figure, {"": table}


_METHOD: Final = {
    "sobol": "Sobol indices",
    "morris": "elementary effects",
    "pawn": "PAWN indices",
    "rbd_fast": "first-order indices by RBD-FAST",
}


def _draw_drivers(axis: Axes, part: pd.DataFrame, column: str, scaled: "_Money", name: str) -> None:
    """Dots with intervals, factors from the top down by their largest estimate; the dummy last."""
    strength = part.groupby("factor")[column].max()
    order = [
        *strength.drop(DUMMY, errors="ignore").sort_values(ascending=False, kind="stable").index,
        *([DUMMY] if DUMMY in strength else []),
    ]
    orders = list(dict.fromkeys(part["order"])) if name == "sobol" else [""]
    for at, kind in enumerate(orders):
        rows = (part[part["order"] == kind] if kind else part).set_index("factor").loc[order]
        y = np.arange(len(order)) + (at - (len(orders) - 1) / 2) * 0.25
        look: dict[str, Any] = {"color": COLOURS[at], "zorder": 3}
        label = {"first": "first order", "total": "total"}.get(kind, "")
        axis.hlines(y, rows["low"] / scaled.divisor, rows["high"] / scaled.divisor, linewidth=1.2, **look)
        axis.plot(rows[column] / scaled.divisor, y, linestyle="", marker=MARKERS[at], label=label, **look)
        if name == "morris":
            axis.plot(rows["sigma"] / scaled.divisor, y, linestyle="", marker="x", color=ORANGE)
    if DUMMY in strength and name in ("pawn", "rbd_fast"):
        axis.axvline(float(strength[DUMMY]), color=BLACK, linestyle=DASHES[1], linewidth=0.7, zorder=0)
    axis.axvline(0.0, color=BLACK, linewidth=0.6, zorder=0)
    axis.set_yticks(range(len(order)), [d.words(str(factor)) for factor in order])
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.set_xlabel(f"mu* and sigma ({scaled.unit})" if name == "morris" else "Index")


def settling(study: "Study", table: pd.DataFrame) -> Drawing:
    """Total indices against base points, a panel an output and arm."""
    table = table[table["order"] == "total"]
    panels = [(key, part) for key, part in table.groupby(["output", "arm"], sort=False) if part["index"].notna().any()]
    many = len(set(table["arm"])) > 1
    figure, axes = _grid(f"{study.name}: total Sobol indices, convergence", len(panels), columns=2)
    base = Factor(name="base_points", path="design.points", scale="log", low=1.0, high=float(max(table["base_points"].max(), 2)))
    for axis, ((output, arm), part) in zip(axes, panels, strict=True):
        axis.set_title(d.words(str(output)) + (f", arm {arm}" if many else ""))
        for at, (factor, line) in enumerate(part.groupby("factor", sort=False)):
            _draw_line(axis, base, line, "index", _Money(1.0, "index"), at, d.words(str(factor)), part["factor"].nunique())
        _across(axis, base, part["base_points"])
        axis.axhline(0.0, color=BLACK, linewidth=0.6, zorder=0)
        axis.set_ylabel("Total index")
    _legend(axes[min(len(panels), 2) - 1], "")
    return figure, {"": table}


# -- rare events and policy search ------------------------------------------------------------------------------------------------------


def save_probabilities(name: str, table: pd.DataFrame, folder: Path) -> list[Path]:
    """The probabilities of a rare-event study on a logarithmic axis, by method; see `experiments.rare_study.estimated`."""
    with d.style():
        figure, (axis,) = _grid(f"{name}: probabilities with 95 % intervals", 1, height=0.8 + 0.35 * len(set(table["event"])))
        events = list(dict.fromkeys(table["event"]))
        for at, (method, rows) in enumerate(table.groupby("method", sort=False)):
            look: dict[str, Any] = {"color": COLOURS[at], "zorder": 3}
            y = np.array([events.index(event) for event in rows["event"]]) + (at - 0.5) * 0.25
            axis.hlines(y, rows["low"].clip(lower=1e-12), rows["high"], linewidth=1.2, **look)
            axis.plot(rows["probability"].where(rows["probability"] > 0.0), y, linestyle="", marker=MARKERS[at], label=str(method), **look)
        shown = table[["probability", "low", "high"]].to_numpy(dtype=float)
        least, most = float(np.nanmin(shown[shown > 0.0], initial=1.0)), float(np.nanmax(shown, initial=0.0))
        axis.set_xscale("log")
        axis.set_xlim(least / 2.0, min(1.0, most * 2.0) if most > 0.0 else 1.0)
        axis.set_yticks(range(len(events)), [d.words(event) for event in events])
        axis.set_ylim(len(events) - 0.5, -0.5)
        axis.set_xlabel("Probability")
        _legend(axis, "")
        place = folder / "figures"
        place.mkdir(exist_ok=True)
        return d.save((figure, {"": table}), place, "probabilities")


def save_attribution(study: "Study", found: "Attribution", folder: Path) -> list[Path]:
    """What came of a scenario with these channels closed, what each channel adds to it, and what it comes to with them open."""
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    with d.style():
        channels = [factor.name for factor in study.factors]
        title = f"{study.scenario.name}: Shapley shares of channels of contagion, {study.replications} seeds"
        height = 0.75 + 0.2 * (len(channels) + 2)
        figure, axes = _grid(title, len(study.outputs), height=height, columns=2, share=True)
        tables = []
        for axis, output in zip(axes, study.outputs, strict=True):
            shares = found.shares[found.shares["output"] == output.name]
            totals = found.totals[found.totals["output"] == output.name].iloc[0]
            steps = _steps(channels, shares, float(totals["baseline"]), float(totals["total"]))
            _draw_steps(axis, steps, _Money.of(output.unit, steps[["start", "end"]]))
            axis.set_title(d.words(output.name))
            tables.append(steps.assign(output=output.name, unit=output.unit))
        return d.save((figure, {"": pd.concat(tables, ignore_index=True)}), place, "attribution")


def _steps(channels: Sequence[str], shares: pd.DataFrame, baseline: float, total: float) -> pd.DataFrame:
    """Rows from the top down: `item`, from where to where its bar goes, and the interval of its end where it is a channel's."""
    mean = shares["mean"].to_numpy(dtype=float)
    ends = baseline + np.cumsum(mean)
    start, end = np.concatenate(([0.0], ends - mean, [0.0])), np.concatenate(([baseline], ends, [total]))
    low, high = (np.concatenate(([np.nan], ends - mean + shares[name].to_numpy(dtype=float), [np.nan])) for name in ("low", "high"))
    return pd.DataFrame({"item": ["closed", *channels, "open"], "start": start, "end": end, "low": low, "high": high})


def _draw_steps(axis: Axes, steps: pd.DataFrame, scaled: "_Money") -> None:
    """Bars, each beginning where the one before ended; what a channel takes away is hatched, intervals are lines."""
    for at, row in enumerate(steps.itertuples()):
        start, end = float(row.start) / scaled.divisor, float(row.end) / scaled.divisor  # type: ignore[arg-type]
        ends = at in (0, len(steps) - 1)
        colour, hatch = (GREY, "") if ends else (BLUE, "") if end >= start else (ORANGE, "////")
        axis.barh(at, end - start, 0.62, start, color=colour, hatch=hatch, edgecolor="white", linewidth=0.0, zorder=2)
        axis.hlines(at, float(row.low) / scaled.divisor, float(row.high) / scaled.divisor, color=BLACK, linewidth=1.0, zorder=3)  # type: ignore[arg-type]
        if at + 1 < len(steps) - 1:
            axis.plot([end] * 2, [at - 0.31, at + 1.31], color=BLACK, linewidth=0.5, zorder=1)
    axis.axvline(0.0, color=BLACK, linewidth=0.6, zorder=1)
    labels = ["all of these closed", *(d.words(str(item)) for item in steps["item"].iloc[1:-1]), "all open"]
    axis.set_yticks(range(len(steps)), labels)
    axis.set_ylim(len(steps) - 0.5, -0.5)
    axis.set_xlabel(scaled.unit)


def save_frontier(given: "Search", study: "Study", folder: Path) -> list[Path]:
    """Every point tried, and the frontier simulated again with its intervals; see `experiments.policy_search.search`."""
    tried, told = pd.read_csv(folder / "evaluations.csv"), pd.read_csv(folder / "frontier.csv")
    units = {output.name: "probability" if output.over == "any" else output.unit for output in study.outputs}
    axes_of = {}
    for name, objective in (("cost", given.cost), ("safety", given.safety)):
        values = pd.concat([tried[name], told[name], told[f"{name}_high"]]).to_frame(name)
        axes_of[name] = _Money.of(units[objective.output], values)
    with d.style():
        figure, (axis,) = _grid(f"{given.name}: the frontier of {study.name}", 1, height=2.8)
        cost, safety = axes_of["cost"], axes_of["safety"]
        axis.scatter(tried["cost"] / cost.divisor, tried["safety"] / safety.divisor, s=6, color=GREY, linewidths=0, label="tried")
        for at, (label, rows) in enumerate((("efficient", told[told["efficient"]]), ("not efficient after all", told[~told["efficient"]]))):
            if rows.empty:
                continue
            x, y = rows["cost"] / cost.divisor, rows["safety"] / safety.divisor
            look: dict[str, Any] = {"color": COLOURS[at], "linewidth": 0.8}
            axis.hlines(y, rows["cost_low"] / cost.divisor, rows["cost_high"] / cost.divisor, **look)
            axis.vlines(x, rows["safety_low"] / safety.divisor, rows["safety_high"] / safety.divisor, **look)
            axis.plot(x, y, linestyle="", marker=MARKERS[at], color=COLOURS[at], label=label)
        axis.set_xlabel(f"{_stated(given.cost)} ({cost.unit})")
        axis.set_ylabel(f"{_stated(given.safety)}\n({safety.unit})")
        _legend(axis, f"{int(told['replications'].iloc[0])} fresh replications")
        place = folder / "figures"
        place.mkdir(exist_ok=True)
        return d.save((figure, {"": told, "_tried": tried}), place, "frontier")


def _stated(objective: "Objective") -> str:
    """An objective in words."""
    name = " plus ".join(d.words(output) for output in objective.outputs)
    return name.capitalize() if objective.statistic == "mean" else f"Expected shortfall of {name}, {objective.level:.0%}"


# -- parts ------------------------------------------------------------------------------------------------------------------------------


class _Money:
    """By what an output's values are divided, and the unit that is then theirs."""

    def __init__(self, divisor: float, unit: str) -> None:
        self.divisor, self.unit = divisor, unit

    @classmethod
    def of(cls, unit: str, columns: pd.DataFrame) -> "_Money":
        """Money in thousands, millions, billions; anything else as it is."""
        if not unit.startswith("USD"):
            return cls(1.0, unit or "1")
        values: list[Floats] = [columns[name].dropna().to_numpy(dtype=float) for name in columns]
        divisor, money = d.scale(*values)
        return cls(divisor, money + unit.removeprefix("USD"))


def _grid(title: str, count: int, *, share: bool = False, height: float = 2.1, columns: int = COLUMNS) -> tuple[Figure, list[Axes]]:
    """A figure of panels, row by row; a single one is not as wide as three."""
    across = min(count, columns)
    down = math.ceil(count / columns)
    width = d.WIDTH if across > 1 else 0.66 * d.WIDTH
    figure = Figure(figsize=(width, 0.3 + (height if count > 1 else max(height, 2.4)) * down), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.005, ha="left")
    axes: list[Axes] = list(figure.subplots(down, across, squeeze=False, sharey=share).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def _places(factor: Factor, values: "pd.Series[Any]") -> Floats:
    """Where a factor's values stand on its axis; labels one after another."""
    known = list(factor.labels)
    return np.array([known.index(value) if known else value for value in values], dtype=np.float64)


def _value(factor: Factor | None, value: Any) -> str:
    """A factor's value as a person reads it."""
    if factor is None or factor.scale == "choice":
        return _short(str(value))
    if factor.unit == "USD":
        return d.usd(float(value))
    return f"{float(value):.3g}" + (f" {factor.unit}" if factor.unit and factor.unit != "1" else "")


def _short(label: str) -> str:
    return d.words(label) if len(label) <= 18 else d.words(label[:17]) + "…"


def _legend(axis: Axes, title: str) -> None:
    """Beside the axes."""
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.03), title=title or None, alignment="left")
