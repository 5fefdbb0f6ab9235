"""`backstop backtest`: any margin rule against recorded prices or the prices of a run. Does it cover, and how much does it move?

A portfolio of one USD of notional, spread evenly over the markets and rebalanced at every margin, is held long and short. Its margin
(initial, open interest left out) is set at a close and set against the loss over the margin period of risk that follows; periods do not
overlap. What a rule assumes before it has seen a whole look-back is not scored. The margin of rules that ask for one moment is compared
with losses over a day and a target of 99 %, which is ours and not theirs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from agents.clearinghouse.margin import MarginRule, MarginView, MarketSeen, margin_rules
from agents.clock import HOURS_PER_YEAR
from agents.families import RuleParameters
from experiments import coverage, shipped, store
from model.errors import ScenarioError, fault
from model.prices import read_prices

type Floats = NDArray[np.float64]
type Found = float | coverage.Test

SIDES: Final = {"long": 1.0, "short": -1.0}
CALLS: Final = (1, 5, 20)
"""Days over which margin calls are measured."""
TARGET: Final = 0.99
DAY: Final = 24.0
RULES: Final = {
    "floored ewma": "{type: ewma, anti_procyclicality: {floor: true}}",
    "ewma": "ewma",
    "historical": "historical",
    "filtered historical": "filtered_historical",
}
"""Rules that Murphy, Vasios & Vause (2014) compare, as a scenario says them."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Closes of A assets at T times, (T, A), USD, `hours` apart."""

    names: tuple[str, ...]
    close: Floats
    hours: float


class Held(NamedTuple):
    """Margin of one side of the portfolio, for each USD of notional.

    Attributes:
        row: shape (n,), row of the prices at which margin was set.
        margin: shape (n,), set at that close; daily: the same at every close from the first of them on.
        loss: shape (n,), over the margin period of risk after it.
    """

    row: NDArray[np.intp]
    margin: Floats
    daily: Floats
    loss: Floats


def from_files(files: list[str], names: list[str]) -> Prices:
    """Recorded closes.

    Raises:
        ScenarioError: faulty files.
    """
    table = read_prices(files, names)
    return Prices(table.markets, np.ascontiguousarray(table.close.T), table.hours)


def from_run(run: store.Run) -> Prices:
    """Index prices of a run at the end of each step."""
    names = tuple(asset.name for asset in run.scenario.assets)
    return Prices(names, run.series[[f"index_{name}" for name in names]].to_numpy(np.float64), run.scenario.hours_per_step)


def learnt(parameters: Any, hours: float) -> int:
    """Rows until a rule has forgotten what it assumed before the opening."""
    bars = getattr(parameters, "look_back", 0)
    return int(bars * max(round(parameters.every / hours), 1)) if bars else 0


def spacing(parameters: Any, hours: float) -> int:
    """Rows of a margin period of risk; of a day, for rules without one."""
    return max(round(getattr(parameters, "period", DAY) / hours), 1)


def hold(parameters: RuleParameters, prices: Prices) -> dict[str, Held]:
    """Margin and losses of the portfolio, long and short.

    Raises:
        ScenarioError: fewer prices than the rule needs before it is scored.
    """
    rule: MarginRule = margin_rules.build(parameters)
    first, step, count = learnt(parameters, prices.hours), spacing(parameters, prices.hours), len(prices.close)
    if count < first + 2 * step + 1:
        raise ScenarioError([fault("prices", None, "rows", count, f"at least {first + 2 * step + 1} for {parameters.type}")])
    returns = np.diff(np.log(prices.close), axis=0)
    opening = returns[: first or None].std(axis=0) * np.sqrt(HOURS_PER_YEAR / prices.hours)
    state = rule.opened(MarketSeen(0.0, np.zeros(len(prices.names)), opening))
    sides = np.array(list(SIDES.values()))
    margin = np.empty((count, sides.size))
    for row in range(count):
        if row:
            state = rule.observe(MarketSeen(prices.hours, returns[row - 1], opening), state)
        margin[row], state = _margin(rule, state, prices.close[row], sides)
    rows = np.arange(first, count - step, step)
    change = (prices.close[rows + step] / prices.close[rows] - 1.0).mean(axis=1)
    return {name: Held(rows, margin[rows, at], margin[first:, at], -sign * change) for at, (name, sign) in enumerate(SIDES.items())}


def _margin(rule: MarginRule, state: Any, close: Floats, sides: Floats) -> tuple[Floats, Any]:
    notional = np.full((close.size, sides.size), 1.0 / close.size)
    margin, state = rule.rule(MarginView(sides * notional / close[:, None], notional, close, volatility=np.ones(close.size)), state, None)
    return margin.initial, state


# -- statistics -------------------------------------------------------------------------------------------------------------------------


def statistics(parameters: RuleParameters, prices: Prices, held: dict[str, Held]) -> pd.DataFrame:
    """One row a side and statistic: `side`, `statistic`, `value`, `p_value` where it is a test; `held` as `hold` says."""
    tail = 1.0 - getattr(parameters, "confidence", TARGET)
    pair = _quantile_and_shortfall(parameters, prices, held)
    rows: list[tuple[str, str, float, float]] = []
    for side, one in held.items():
        found = {**_covered(one, tail), **_moves(one, prices.hours)}
        if pair is not None:
            found |= _shortfall(one.loss, pair[0][side].margin, pair[1][side].margin, tail)
        rows += [(side, name, *(value if isinstance(value, coverage.Test) else (value, np.nan))) for name, value in found.items()]
    return pd.DataFrame(rows, columns=["side", "statistic", "value", "p_value"])


def _covered(one: Held, tail: float) -> dict[str, Found]:
    beyond = one.loss > one.margin
    recent = beyond[-coverage.BASEL_DAYS :]
    zones = {"green": 0.0, "yellow": 1.0, "red": 2.0}
    return {
        "observations": float(beyond.size),
        "exceptions": float(beyond.sum()),
        "coverage": 1.0 - float(beyond.mean()),
        "kupiec": coverage.kupiec(int(beyond.sum()), beyond.size, tail),
        "independence": coverage.independence(beyond),
        "conditional_coverage": coverage.conditional_coverage(beyond, tail),
        "exceptions_last_250": float(recent.sum()),
        "zone_last_250": zones[coverage.traffic_light(int(recent.sum()), recent.size, tail)],
    }


def _moves(one: Held, hours: float) -> dict[str, Found]:
    calls = {f"call_{days}d": coverage.largest_call(one.daily, max(round(days * DAY / hours), 1)) for days in CALLS}
    return {"average_margin": float(one.daily.mean()), "peak_to_trough": coverage.peak_to_trough(one.daily), **calls}


def _shortfall(losses: Floats, quantile: Floats, shortfall: Floats, tail: float) -> dict[str, Found]:
    normal, student = coverage.critical_values(losses.size, tail), coverage.critical_values(losses.size, tail, degrees=3.0)
    return {
        "z1": coverage.shortfall_conditional(losses, quantile, shortfall),
        "z1_critical_normal": normal.z1,
        "z1_critical_t3": student.z1,
        "z2": coverage.shortfall_unconditional(losses, quantile, shortfall, tail),
        "z2_critical_normal": normal.z2,
        "z2_critical_t3": student.z2,
    }


def _quantile_and_shortfall(parameters: RuleParameters, prices: Prices, held: dict[str, Held]) -> list[dict[str, Held]] | None:
    """The rule with each measure, if it has one."""
    chosen = getattr(parameters, "measure", None)
    if chosen is None:
        return None
    measures = ("value_at_risk", "expected_shortfall")
    return [held if name == chosen else hold(parameters.model_copy(update={"measure": name}), prices) for name in measures]


# -- published comparison ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Procyclicality:
    """Peak-to-trough of four margin rules on one price, against those of Murphy, Vasios & Vause (2014) on the S&P 500.

    Attributes:
        found: peak-to-trough by rule, long.
    """

    found: dict[str, float]

    published = (("floored ewma", 1.7), ("ewma", 1.9), ("historical", 2.2), ("filtered historical", 6.2))

    @classmethod
    def on(cls, prices: Prices) -> "Procyclicality":
        """Measured on these prices, with each rule's defaults; the floor is what long-run volatility asks for, a constant."""
        return cls({name: coverage.peak_to_trough(hold(margin_of(RULES[name]), prices)["long"].daily) for name, _ in cls.published})

    @property
    def in_published_order(self) -> bool:
        """Whether the rules come in the order that was found on equities."""
        values = [self.found[name] for name, _ in self.published]
        return values == sorted(values)


# -- command ----------------------------------------------------------------------------------------------------------------------------


def margin_of(text: str) -> RuleParameters:
    """A margin rule by its type, or by its settings as in a scenario file.

    Raises:
        ScenarioError: a line a fault.
    """
    block = text if text.lstrip().startswith("{") else f"{{type: {text}}}"
    margin: RuleParameters = shipped.load("baseline", [f"venues.0.clearinghouse.margin={block}"]).venues[0].clearinghouse.margin
    return margin


def main(
    run: Path | None = None,
    /,
    *,
    prices: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    margin: Annotated[list[str] | None, Parameter(negative=())] = None,
    out: Path | None = None,
) -> None:
    """Back-test margin rules on recorded prices or on the prices of a run: coverage, expected shortfall, procyclicality.

    Tests of Kupiec, Christoffersen, the Basel Committee, Acerbi and Szekely; peak-to-trough, largest calls over 1, 5 and 20 days, average
    margin; for a portfolio of one USD held long and short.

    Args:
        run: A folder that `backstop run` has written.
        prices: CSV files of recorded prices instead: NAME=FILE for one market, FILE for the first market or with a column market.
        margin: A rule, by its type or as {type: ewma, confidence: 0.995}; can be given again. The run's own by default, four with --prices.
        out: A folder for the numbers as CSV and a figure; none, and nothing is written.
    """
    if (run is None) == (prices is None):
        raise ScenarioError([fault("backtest", None, "prices", "both" if run else "nothing", "a run's folder or --prices")])
    rules = {text: margin_of(text) for text in margin or ()}
    if run is not None:
        written = store.read(run)
        own = written.scenario.venues[0].clearinghouse.margin
        source, rules = from_run(written), rules or {own.type: own}
    else:
        source = from_files(prices or [], [asset.name for asset in shipped.load("baseline").assets])
        rules = rules or {name: margin_of(text) for name, text in RULES.items()}
    held = {name: hold(parameters, source) for name, parameters in rules.items()}
    found = {name: statistics(parameters, source, held[name]) for name, parameters in rules.items()}
    _show(found, Console())
    if out is not None:
        _write(found, held, out)


def _show(found: dict[str, pd.DataFrame], console: Console) -> None:
    """A column a rule and side."""
    console.width = max(console.width, 20 + 23 * 2 * len(found))
    table = Table("statistic", box=None, pad_edge=False)
    columns = []
    for name, statistic in found.items():
        for side in SIDES:
            table.add_column(f"{name}\n{side}", justify="right")
            columns.append(statistic[statistic["side"] == side].set_index("statistic"))
    order = list(dict.fromkeys(key for column in columns for key in column.index))
    for key in order:
        table.add_row(key, *(_cell(column, key) for column in columns))
    console.print(table)
    console.print("tests: statistic (p-value); zones: Basel, 0 green, 1 yellow, 2 red; critical values of Z1 and Z2: 5 %, simulated")


def _cell(column: pd.DataFrame, key: str) -> str:
    if key not in column.index:
        return "-"
    value, p_value = float(column["value"][key]), float(column["p_value"][key])
    return f"{value:.4g}" if np.isnan(p_value) else f"{value:.4g} ({p_value:.2g})"


def _write(found: dict[str, pd.DataFrame], held: dict[str, dict[str, Held]], folder: Path) -> None:
    """Statistics and margins as tidy CSV, and one figure."""
    from experiments.figures import draw_margin  # noqa: PLC0415 - matplotlib takes a second

    store.check_target(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat([table.assign(rule=name) for name, table in found.items()]).to_csv(
        folder / "statistics.csv", index=False, lineterminator="\n"
    )
    parts = [
        pd.DataFrame({"rule": name, "side": side, "row": one.row, "margin": one.margin, "loss": one.loss})
        for name, sides in held.items()
        for side, one in sides.items()
    ]
    draw_margin(pd.concat(parts), folder)
