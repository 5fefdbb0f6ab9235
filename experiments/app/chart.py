"""Charts along time: several panels on one clock, drawn by ECharts, which comes with the page's own assets and needs no internet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import ipyvuetify
import numpy as np
import traitlets

from experiments.app import theme
from experiments.app.history import Floats
from experiments.drawing import DAY, thin

POINTS: Final = 300
"""Points of a line at most; extremes are kept."""
FOOTER: Final = 24
"""Pixels of the clock's labels below a panel."""
BARS: Final = 60
"""Bars along time at most."""
HEADER: Final = 22
"""Pixels of a panel's title, which also names its lines and bars."""
LEAST: Final = DAY
"""Hours that the clock holds at least, so that the first steps do not fill it."""


class Chart(ipyvuetify.VuetifyTemplate):
    """An ECharts figure that can be given new options before it has finished loading."""

    template_file = (__file__, "chart.vue")
    option = traitlets.Dict({}).tag(sync=True)
    height = traitlets.Unicode("300px").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its name, values (one a step, in the panel's unit) and look."""

    name: str
    values: Floats
    colour: str
    dashed: bool = False
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Sums over time, stacked on those of the same panel."""

    name: str
    values: Floats
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a figure.

    Attributes:
        title: what it shows, with its unit.
        box: left, top, width, height in parts of the figure.
        lines, bars: what is drawn.
        marks: which steps are marked on the first line.
        zero: whether the axis holds zero.
        key: whether the title names its lines; not where a panel beside it has named the same.
    """

    title: str
    box: tuple[float, float, float, float]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bars, ...] = ()
    marks: Floats | None = None
    zero: bool = True
    logarithmic: bool = False
    key: bool = True


def option(panels: Sequence[Panel], hours: Floats, height: int, *, dark: bool, span: float = 0.0, margin: float = 0.04) -> dict[str, Any]:
    """What ECharts draws: the panels on one clock, from the opening to `span` hours at least.

    Args:
        panels: each with its place.
        hours: (steps,), the clock of every line and bar.
        height: of the figure, pixels.
        dark: whether the page is.
        span: hours that the axis holds even if the run has not come that far.
        margin: part of the figure's width for the labels beside a panel; the same for all, so that clocks stand below one another.
    """
    end = max(float(hours[-1]), span, LEAST)
    in_days = end > 10 * DAY
    ticks = hours / DAY if in_days else hours
    series: list[dict[str, Any]] = []
    for at, panel in enumerate(panels):
        series += [_line(line, ticks, at) for line in panel.lines]
        series += _bars(panel.bars, ticks, at)
        if panel.marks is not None and panel.lines:
            series.append(_marks(panel, ticks, at, dark=dark))
    first = float(ticks[0])
    axis = {"min": first, "max": end / DAY if in_days else end}
    return {
        "animation": False,
        "textStyle": {"color": theme.text(dark=dark), "fontSize": 11},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "backgroundColor": "#2b2b30" if dark else "#ffffff",
            "textStyle": {"color": theme.text(dark=dark), "fontSize": 11},
        },
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "title": [_title(panel, height, dark=dark) for panel in panels],
        "grid": [_grid(panel, height, margin) for panel in panels],
        "xAxis": [_clock(axis, at, "days" if in_days else "h", dark=dark) for at in range(len(panels))],
        "yAxis": [_values(panel, at, dark=dark) for at, panel in enumerate(panels)],
        "series": series,
    }


def stretch(steps: int) -> int:
    """How many steps one bar stands for, of a history of so many."""
    return max(1, int(np.ceil(steps / BARS)))


def digits(values: Floats) -> list[float | None]:
    """Values with four digits; what is not a number is absent."""
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.where(np.isfinite(values) & (values != 0), 3 - np.floor(np.log10(np.abs(values))), 0.0)
    power = 10.0 ** np.clip(place, -15, 15)
    return [value if np.isfinite(value) else None for value in (np.round(values * power) / power).tolist()]


def _line(line: Line, ticks: Floats, at: int) -> dict[str, Any]:
    kept = thin(line.values, POINTS)
    drawn: dict[str, Any] = {
        "type": "line",
        "name": line.name,
        "xAxisIndex": at,
        "yAxisIndex": at,
        "data": list(zip(digits(ticks[kept]), digits(line.values[kept]), strict=True)),
        "showSymbol": kept.size == 1,
        "lineStyle": {"width": 1.6, "type": "dashed" if line.dashed else "solid"},
        "itemStyle": {"color": line.colour},
        "emphasis": {"disabled": True},
    }
    return {**drawn, "areaStyle": {"opacity": 0.18}} if line.filled else drawn


def _bars(bars: Sequence[Bars], ticks: Floats, at: int) -> list[dict[str, Any]]:
    """Sums over stretches of equally many steps, counted from the opening so that bars stay where they are while time goes on."""
    count = len(ticks)
    width = stretch(count)
    starts = np.arange(0, count, width)
    middle = digits(np.array([ticks[a : a + width].mean() for a in starts]))
    return [
        {
            "type": "bar",
            "name": bar.name,
            "stack": f"panel {at}",
            "xAxisIndex": at,
            "yAxisIndex": at,
            "data": list(zip(middle, digits(np.add.reduceat(bar.values, starts)), strict=True)),
            "itemStyle": {"color": bar.colour},
            "barMinWidth": 2,
            "barMaxWidth": 10,
            "emphasis": {"disabled": True},
        }
        for bar in bars
    ]


def _marks(panel: Panel, ticks: Floats, at: int, *, dark: bool) -> dict[str, Any]:
    """Marks on the first line where something happened: its size is how much."""
    assert panel.marks is not None
    sizes = np.nan_to_num(panel.marks)
    where = np.flatnonzero(sizes > 0)
    largest = np.sort(sizes[where])[-80:][:1]
    where = where[sizes[where] >= largest[0]] if where.size else where
    top = float(sizes.max(initial=0.0)) or 1.0
    line = panel.lines[0]
    data = [
        {"value": [x, y], "symbolSize": 3.0 + 7.0 * float(np.sqrt(sizes[i] / top))}
        for i, x, y in zip(where.tolist(), digits(ticks[where]), digits(line.values[where]), strict=True)
    ]
    colour = theme.ink(theme.RED, dark=dark)
    return {
        "type": "scatter",
        "name": "liquidations",
        "xAxisIndex": at,
        "yAxisIndex": at,
        "data": data,
        "itemStyle": {"color": colour, "opacity": 0.4},
        "tooltip": {"show": False},
        "silent": True,
    }


def _title(panel: Panel, height: int, *, dark: bool) -> dict[str, Any]:
    """The panel's title, and the names of its lines and bars in their colours."""
    drawn: list[Line | Bars] = [*panel.lines, *panel.bars]
    keys = "".join(f"   {{k{at}|■}} {{n|{item.name}}}" for at, item in enumerate(drawn)) if panel.key and len(drawn) > 1 else ""
    rich: dict[str, Any] = {f"k{at}": {"color": item.colour, "fontSize": 11} for at, item in enumerate(drawn)}
    rich["t"] = {"fontSize": 12, "fontWeight": 600, "color": theme.text(dark=dark)}
    rich["n"] = {"fontSize": 11, "color": theme.text(dark=dark)}
    left, top, _, _ = panel.box
    return {
        "text": f"{{t|{panel.title}}}{keys}",
        "left": f"{100 * left:.2f}%",
        "top": round(top * height) + 3,
        "padding": 0,
        "textStyle": {"rich": rich, "color": theme.text(dark=dark)},
    }


def _grid(panel: Panel, height: int, margin: float) -> dict[str, Any]:
    """The place of the axes, below the title."""
    left, top, width, tall = panel.box
    return {
        "left": f"{100 * (left + margin):.2f}%",
        "top": round(top * height) + HEADER,
        "width": f"{100 * (width - margin) - 1.4:.2f}%",
        "height": max(round(tall * height) - HEADER - FOOTER, 20),
    }


def _clock(axis: dict[str, float], at: int, unit: str, *, dark: bool) -> dict[str, Any]:
    return {
        **axis,
        "type": "value",
        "gridIndex": at,
        "splitLine": {"show": False},
        "axisLine": {"lineStyle": {"color": theme.text(dark=dark)}, "onZero": False},
        "axisLabel": {
            "color": theme.text(dark=dark),
            "formatter": f"{{value}} {unit}",
            "fontSize": 10,
            "hideOverlap": True,
            "showMaxLabel": False,
        },
        "axisPointer": {"label": {"precision": 1}},
    }


def _values(panel: Panel, at: int, *, dark: bool) -> dict[str, Any]:
    return {
        "type": "log" if panel.logarithmic else "value",
        "gridIndex": at,
        "scale": not panel.zero,
        "splitNumber": 3,
        "splitLine": {"lineStyle": {"color": theme.rule(dark=dark)}},
        "axisLabel": {"color": theme.text(dark=dark), "fontSize": 10},
    }
