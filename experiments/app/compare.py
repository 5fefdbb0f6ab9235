"""The page *Compare*: two policies side by side under one seed, and the paired difference."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import solara

from experiments.app import snapshot, theme
from experiments.app.chart import Chart, Line, Panel, option
from experiments.app.controls import Setting, resolved
from experiments.app.history import Floats, History, Table
from experiments.app.policy import Levers
from experiments.app.snapshot import FLOW_COLUMNS, Snapshot
from experiments.drawing import scale, usd
from experiments.runner import RunFailed, advance
from model.ecosystem import Ecosystem
from model.errors import ScenarioError
from model.ledger import Flow
from model.scenario import Scenario

HEIGHT: Final = 175
"""Pixels."""
EVERY: Final = 0.25
"""Seconds between two pictures of a comparison on its way."""

ROWS: Final = {
    "Fund, at its lowest": ("fund", "min", "USD"),
    "Fund, at the end": ("fund", "last", "USD"),
    "Trading fees and levies into the fund": ("fund_flow_levied", "sum", "USD"),
    "Losses beyond margin (deficits)": ("deficits", "sum", "USD"),
    "Residual loss: beyond the fund": ("residual_loss", "sum", "USD"),
    "… borne by the exchange": ("absorbed_exchange_capital", "sum", "USD"),
    "… by the backstop vault": ("absorbed_vault", "sum", "USD"),
    "… by stakers, slashed": ("absorbed_stakers", "sum", "USD"),
    "… by winners, deleveraged": ("absorbed_deleveraging", "sum", "USD"),
    "… by all account holders": ("absorbed_socialised_loss", "sum", "USD"),
    "… by those who withdraw": ("absorbed_withdrawal_factor", "sum", "USD"),
    "… by winners, clawed back": ("absorbed_clawback", "sum", "USD"),
    "… outstanding at the end": ("outstanding", "last", "USD"),
    "… by customers, written down": ("absorbed_write_down", "sum", "USD"),
    "Liquidated": ("liquidated", "sum", "USD"),
    "Defaults of institutions": ("defaults", "sum", ""),
    "Losses of their creditors": ("network_loss", "sum", "USD"),
}
"""What is compared: output, how it aggregates over the run, unit."""
LEVIES: Final = (Flow.TRADING_FEE, Flow.OPEN_INTEREST_LEVY, Flow.VOLUME_LEVY, Flow.FUNDING_SHARE)
"""What those who trade pay into the fund in calm."""
ASIDE: Final = ("absorbed_vault", "absorbed_stakers", "absorbed_withdrawal_factor", "absorbed_clawback", "outstanding")
"""Outputs that are told only where they are not zero, for few scenarios defer losses have a vault or slash tokens."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs of one seed, step by step alike in everything but policy."""

    seed: int
    steps: int
    tables: tuple[Table, Table]
    failure: str = ""

    @property
    def done(self) -> int:
        """Steps that both have taken."""
        return len(self.tables[0]) - 1


def difference(pair: Pair) -> pd.DataFrame:
    """One row an output: A, B, and B − A under the same luck."""
    rows = []
    for label, (output, how, unit) in ROWS.items():
        a, b = (_aggregate(_column(table, output), how) for table in pair.tables)
        if a or b or output not in ASIDE:
            rows.append((label, unit, a, b, b - a))
    return pd.DataFrame(rows, columns=["output", "unit", "a", "b", "b_minus_a"])


def _column(table: Table, output: str) -> Floats:
    if output == "fund_flow_levied":
        return np.sum([table[FLOW_COLUMNS[flow]] for flow in LEVIES], axis=0)
    return table[output]


def _aggregate(values: Floats, how: str) -> float:
    if how == "last":
        return float(values[-1])
    return float(np.nanmin(values) if how == "min" else np.nansum(values))


class Arm:
    """One of the two worlds and its history."""

    def __init__(self, world: Scenario, seed: int) -> None:
        self.eco = Ecosystem(world, rng=seed, record_events=False)
        self.history = History(snapshot.columns(self.eco))
        self.history.append(snapshot.row(self.eco, self.eco.statement))

    def step(self) -> None:
        """One step, and its row."""
        self.eco.restate()
        advance(self.eco.step, self.eco.tick + 1)
        self.history.append(snapshot.row(self.eco, self.eco.statement))


def paired(worlds: tuple[Scenario, Scenario], seed: int, steps: int, cancel: threading.Event, show: Callable[[Pair], None]) -> None:
    """Runs A and B step by step, and shows what there is now and then and at the end.

    Args:
        worlds: A and B.
        seed: of both.
        steps: how many.
        cancel: set when nobody waits any more.
        show: called with a `Pair`.
    """
    shown_at = time.monotonic()
    arms = Arm(worlds[0], seed), Arm(worlds[1], seed)
    for _ in range(steps):
        for name, arm in zip("AB", arms, strict=True):
            if cancel.is_set():
                return
            try:
                arm.step()
            except RunFailed as error:
                show(_pair(arms, seed, steps, f"Policy {name}: {error}"))
                return
        if time.monotonic() - shown_at > EVERY:
            show(_pair(arms, seed, steps))
            shown_at = time.monotonic()
    show(_pair(arms, seed, steps))


def _pair(arms: tuple[Arm, Arm], seed: int, steps: int, failure: str = "") -> Pair:
    """Both as far as both have come."""
    tables = [arm.history.table() for arm in arms]
    rows = min(map(len, tables))
    a, b = (Table(table.columns, table.values[:rows]) for table in tables)
    return Pair(seed, steps, (a, b), failure)


def drawn(pair: Pair, *, dark: bool) -> dict[str, Any]:
    """Fund, and what others than the fund have paid, under both policies."""
    clock = pair.tables[0]["hours"]
    panels = []
    for at, (title, output, cumulated) in enumerate((("Fund", "fund", False), ("Residual loss, cumulated", "residual_loss", True))):
        columns = [np.cumsum(table[output]) if cumulated else table[output] for table in pair.tables]
        divisor, unit = scale(*columns)
        colours = (theme.ink(theme.BLUE, dark=dark), theme.ink(theme.ORANGE, dark=dark))
        lines = tuple(Line(name, values / divisor, colour) for name, values, colour in zip("AB", columns, colours, strict=True))
        panels.append(Panel(f"{title}, {unit}", (0.5 * at, 0, 0.5, 1), lines))
    return option(panels, clock, HEIGHT, dark=dark, span=float(clock[-1]) * pair.steps / max(pair.done, 1))


# -- the page ---------------------------------------------------------------------------------------------------------------------------


@solara.component
def ComparePage(seen: Snapshot, dark: bool, applied: Setting) -> None:
    """Policy A is the one that is open; B differs in what is set here."""
    setting, set_setting = solara.use_state({"fund": 50.0})
    steps, set_steps = solara.use_state(min(seen.world.steps, 168))
    most = min(seen.world.steps, 2_000)
    length = min(steps, most)  # another scenario may have been opened since
    pair, set_pair = solara.use_state(None)
    job, set_job = solara.use_state(0)
    fault, set_fault = solara.use_state("")
    asked = solara.use_ref(None)

    def work(cancel: threading.Event) -> None:
        if asked.current is not None:
            worlds, seed, length = asked.current
            paired(worlds, seed, length, cancel, set_pair)

    running = solara.use_thread(work, dependencies=[job], intrusive_cancel=False)

    def start() -> None:
        try:
            other = resolved(seen.source, {**applied, **setting})
        except ScenarioError as error:
            set_fault(str(error))
            return
        set_fault("")
        set_pair(None)
        asked.current = ((seen.world, other.model_copy(update={"shocks": seen.world.shocks})), seen.seed, length)
        set_job(job + 1)

    with solara.Div(classes=["page-row"]):
        with solara.Div(classes=["page-side", "policy"]):
            solara.Text("A is the policy that is open. B differs from it in:", classes=["says"])
            Levers(setting, set_setting, seen.world, sentences=False)
            solara.SliderInt(f"Steps: {length}", value=length, on_value=set_steps, min=min(24, most), max=most, step=24)
            busy = running.state == solara.ResultState.RUNNING and job > 0
            solara.Button("Compare A with B", on_click=start, color="primary", disabled=busy or not setting, block=True)
            if fault:
                solara.Error(fault, dense=True, text=True)
        with solara.Div(classes=["page-wide"]):
            Outcome(pair, dark, busy)


@solara.component
def Outcome(pair: Pair | None, dark: bool, busy: bool) -> None:
    """Both funds, and the table of differences."""
    if pair is None:
        waiting = "Set what B does differently and compare: both run from the opening, with the same luck."
        solara.Text("Working …" if busy else waiting, classes=["says"])
        return
    if pair.failure:
        solara.Error(pair.failure, dense=True, text=True)
    Chart.element(option=drawn(pair, dark=dark), height=f"{HEIGHT}px", label="fund and residual loss under both policies")
    table = difference(pair)
    with solara.Div(classes=["compare-head"]):
        progress = "" if pair.done >= pair.steps else f" of {pair.steps} so far"
        caveat = "one seed is one draw of luck; only many give an interval."
        solara.Text(f"Seed {pair.seed}, {pair.done} steps{progress}: {caveat}", classes=["says"])
        with solara.FileDownload(lambda: table.to_csv(index=False, lineterminator="\n"), filename=f"compare-seed{pair.seed}.csv"):
            solara.Button("CSV", icon_name="mdi-download", text=True, small=True)
    solara.HTML(tag="table", classes=["compare"], unsafe_innerHTML=_html(table))


def _html(table: pd.DataFrame) -> str:
    """The table with amounts as a person reads them; the words are ours, so nothing needs escaping."""
    head = "<tr><th>Over the run</th><th>A</th><th>B</th><th>B − A</th></tr>"
    rows = []
    for label, unit, a, b, more in table.itertuples(index=False):
        said = [usd(value) if unit else f"{value:,.0f}".replace("-", "−") for value in (a, b, more)]
        said[2] = f"+{said[2]}" if more > 0 else said[2]
        rows.append(f"<tr><td>{label}</td>" + "".join(f"<td>{text}</td>" for text in said) + "</tr>")
    return head + "".join(rows)
