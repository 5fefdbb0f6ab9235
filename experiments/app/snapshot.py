"""What the pages show: an immutable picture of the model, taken at the end of a step. No page ever looks at the model itself.

The model goes on in one thread while pages are rendered in another; a picture that never changes keeps them from disturbing each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.app.history import Floats, Table
from experiments.figures import FLOWS
from model.ecosystem import Ecosystem
from model.observables import is_first
from model.scenario import Scenario
from model.statement import Statement

LULL: Final = 24.0
"""Hours without a deficit after which a stress is over (our choice)."""
FLOW_COLUMNS: Final = {str(kind): f"fund_flow_{kind}" for kind in FLOWS}
OTHER_FLOWS: Final = "fund_flow_other"


@dataclass(frozen=True, slots=True)
class Stress:
    """A time of deficits: first and last hour, USD of deficits, USD borne by each layer, what was left of the house's money at its end."""

    start: float
    end: float
    deficits: float
    absorbed: Mapping[str, float]
    residual: float
    deleveraged: float
    defaults: int

    def going_on(self, hours: float, lull: float = LULL) -> bool:
        """Whether a deficit at `hours` would still belong to it."""
        return hours - self.end <= lull


@dataclass(frozen=True, slots=True)
class Institutions:
    """Lenders, market makers, liquidators and the exchange, in the order of their nodes.

    Attributes:
        names, kinds: of each node.
        assets, liabilities, equity, opening: USD, (N,); `opening` is the equity at the start.
        wave, when: wave and step of default, -1 for none, (N,).
        debts: (debtor, creditor, USD) by node.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    assets: Floats
    liabilities: Floats
    equity: Floats
    opening: Floats
    wave: NDArray[np.int64]
    when: NDArray[np.int64]
    debts: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, slots=True)
class Accounts:
    """Traders' accounts: ledger row, USD of equity, notional and maintenance margin, and `model.ledger.Status`, each (n,)."""

    rows: NDArray[np.int64]
    equity: Floats
    notional: Floats
    maintenance: Floats
    status: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A picture of the model.

    Attributes:
        frame: counts the pictures of a run.
        source: name of the scenario, or its file.
        world, seed: what is being run, levers and shocks from outside included.
        step, hours: where it stands.
        last: the step at which the run is over.
        markets: names.
        table: every output at every step so far, and the fund's flows.
        layers: names of the waterfall's layers, in order.
        pools: names of the fund's pools; one if it is not divided.
        stress: the latest time of deficits, None before the first; whole: all of them since the opening as one.
        institutions, accounts: balance sheets.
        failure: why the run stopped, if a step failed.
    """

    frame: int
    source: str
    world: Scenario
    seed: int
    step: int
    hours: float
    last: int
    markets: tuple[str, ...]
    table: Table
    layers: tuple[str, ...]
    pools: tuple[str, ...]
    stress: Stress | None
    whole: Stress | None
    institutions: Institutions
    accounts: Accounts
    failure: str | None = None

    @property
    def over(self) -> bool:
        """Whether the scenario has been run to its end."""
        return self.step >= self.last

    def total(self, name: str) -> float:
        """An output's sum over the run so far."""
        return float(np.nansum(self.table[name]))


def columns(eco: Ecosystem) -> list[str]:
    """What a run's history holds."""
    return ["step", *eco.outputs, *FLOW_COLUMNS.values(), OTHER_FLOWS]


def row(eco: Ecosystem, statement: Statement) -> list[float]:
    """A step's values for the history; `statement` holds the fund's flows since the row before."""
    flows = dict(statement.totals())
    named = [flows.pop(kind, 0.0) for kind in FLOW_COLUMNS]
    return [float(eco.tick), *(eco.observation[name] for name in eco.outputs), *named, sum(flows.values())]


def stressed(before: Stress | None, eco: Ecosystem, lull: float = LULL) -> Stress | None:
    """The latest stress once this step is counted in; it is over after `lull` hours without a deficit."""
    seen = eco.observation
    borne = {name.removeprefix("absorbed_"): seen[name] for name in eco.outputs if name.startswith("absorbed_") and is_first(name)}
    borne |= {layer: usd for layer, usd in eco.venue.tally.absorbed.items() if layer not in borne}  # a user's own layers
    on = before is not None and before.going_on(eco.hours, lull)
    settled = before is not None and any(usd > 0.0 for usd in borne.values())  # outstanding losses are borne later, maybe much later
    if seen["deficits"] <= 0.0 and not settled and not (on and (seen["defaults"] or seen["deleveraged"])):
        return before
    if before is None or not (on or (settled and seen["deficits"] <= 0.0)):
        before = Stress(eco.hours - eco.hours_per_step, eco.hours, 0.0, MappingProxyType(dict.fromkeys(borne, 0.0)), 0.0, 0.0, 0)
    return Stress(
        start=before.start,
        end=eco.hours if seen["deficits"] > 0.0 else before.end,
        deficits=before.deficits + seen["deficits"],
        absorbed=MappingProxyType({name: before.absorbed.get(name, 0.0) + borne.get(name, 0.0) for name in {**before.absorbed, **borne}}),
        residual=before.residual + seen["residual_loss"],
        deleveraged=before.deleveraged + seen["deleveraged"],
        defaults=before.defaults + int(seen["defaults"]),
    )


def institutions(eco: Ecosystem, opening: Floats | None) -> Institutions:
    """Balance sheets and debts of the institutions now; `opening` is None at the start."""
    graph = eco.exposures()
    sheets = [(name, node) for name, node in graph.nodes(data=True) if node["kind"] != "large_trader"]
    place = {name: at for at, (name, _) in enumerate(sheets)}
    edges: list[tuple[str, str, float]] = list(graph.edges(data="amount"))
    debts = [(place[a], place[b], float(owed)) for a, b, owed in edges if a in place and b in place and owed > 0.0]
    equity = np.array([node["equity"] for _, node in sheets], dtype=float)
    return Institutions(
        names=tuple(place),
        kinds=tuple(str(node["kind"]) for _, node in sheets),
        assets=np.array([node["assets"] for _, node in sheets], dtype=float),
        liabilities=np.array([node["liabilities"] for _, node in sheets], dtype=float),
        equity=equity,
        opening=equity if opening is None else opening,
        wave=np.array([node["wave"] for _, node in sheets], dtype=int),
        when=eco.balance_sheets()["step_of_default"].to_numpy()[: len(sheets)],
        debts=tuple(debts),
    )


def accounts(eco: Ecosystem) -> Accounts:
    """Traders' accounts now."""
    ledger, first = eco.venue.ledger, eco.venue.institutions
    rows = np.arange(first, ledger.rows)
    # The rule itself is asked, not the venue: looking must not change what the venue remembers, nor use up its draws.
    view = eco.venue.margined(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks)
    margin, _ = eco.venue.margin.rule(view, eco.venue.states["margin"], np.random.default_rng(0))
    margin = margin.times(eco.venue.action.initial, eco.venue.action.maintenance)
    return Accounts(rows, ledger.equity(rows), view.notional.sum(axis=0), margin.by_market.sum(axis=0), ledger.status[rows].copy())
