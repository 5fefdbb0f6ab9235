"""Levers: what a reader may change, in which unit, and what it means; and the scenario that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.clearinghouse.accrual import OpenInterestLevy, ShareOfTradingFees
from agents.clearinghouse.deleveraging import ProRata, Queue
from agents.families import RuleParameters
from experiments import shipped
from model.errors import ScenarioError, fault
from model.network import topologies
from model.scenario import Scenario
from model.scenario_file import Override

HOUSE: Final = ("venues", "0", "clearinghouse")
AS_IT_IS: Final = "as in the scenario"

type Value = float | str
type Setting = Mapping[str, Value]
"""Levers that have been moved, by name; the others are as in the scenario."""


@dataclass(frozen=True, slots=True)
class Slider:
    """A number: `low` to `high` in steps of `step`, in `unit`, times `scale` in the scenario."""

    name: str
    label: str
    unit: str
    says: str
    low: float
    high: float
    step: float
    path: tuple[str, ...]
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Select:
    """One of several rules; the first option leaves the scenario's own."""

    name: str
    label: str
    says: str
    options: tuple[str, ...]


ACCRUALS: Final = {
    "share of trading fees": "% of fees",
    "levy on open interest": "% a year",
    "levy that follows volatility": "% a year",
    "nothing levied": "",
}
"""Accrual rules on offer, with the unit of their rate. Liquidation fees and surpluses go on as in the scenario."""
RANKINGS: Final[dict[str, RuleParameters]] = {
    "queue: profit × leverage (BitMEX)": Queue.Parameters(score="bitmex"),
    "queue: Binance's score": Queue.Parameters(score="binance"),
    "queue: Hyperliquid's score": Queue.Parameters(score="hyperliquid"),
    "pro rata to contracts": ProRata.Parameters(by="contracts"),
    "pro rata to profit": ProRata.Parameters(by="profit"),
}
POOLS: Final = {"one fund for all markets": "all", "one for each market": "market"}
"""How the fund may be divided, as `pools.by` has it."""
NO_DELEVERAGING: Final = "none: losses go on to the next layer"

LEVERS: Final[tuple[Slider | Select, ...]] = (
    Slider(
        "fund",
        "Opening fund",
        "m USD",
        "What the backstop fund holds before the first fee: more of it pays for more before anybody else has to.",
        0,
        200,
        0.5,
        (*HOUSE, "fund"),
        1e6,
    ),
    Slider(
        "leverage_cap",
        "Leverage cap",
        "×",
        "No position may be opened above this leverage: lower is safer for the fund until everybody crowds at the cap.",
        1,
        40,
        1,
        (*HOUSE, "margin", "leverage_cap"),
    ),
    Select(
        "accrual",
        "Accrual rule",
        "Where the fund's income comes from in calm; those who trade pay for it.",
        (AS_IT_IS, *ACCRUALS),
    ),
    Slider(
        "rate",
        "Accrual rate",
        "%",
        "How much the accrual rule takes: of trading fees, or of open positions a year.",
        0,
        100,
        0.5,
        (),
        0.01,
    ),
    Select(
        "deleveraging",
        "Deleveraging",
        "Whose winning positions are closed once the fund cannot pay.",
        (AS_IT_IS, *RANKINGS, NO_DELEVERAGING),
    ),
    Select(
        "pools",
        "Fund pooling",
        "One fund for all markets, or one for each: a divided fund keeps a bad market from emptying the others’, and pays less for it.",
        (AS_IT_IS, *POOLS),
    ),
    Select(
        "network",
        "Lending network",
        "Who lends to whom, and so along which debts defaults spread.",
        (AS_IT_IS, *(name for name in sorted(topologies.members) if name != "edge_list")),
    ),
)
SHOCK: Final = Slider(
    "shock",
    "Size",
    "% fall of the first market",
    "The first market falls by this at the start of the next step, the others by their jump loading; it joins the scenario.",
    1,
    60,
    1,
    (),
)


def resolved(world: str, setting: Setting) -> Scenario:
    """The scenario with the levers that have been moved.

    Args:
        world: name of a shipped scenario, or a file.
        setting: levers by name.

    Raises:
        ScenarioError: a file, a value or a combination that makes no sense; each fault names its lever.
    """
    base = shipped.load(world)
    overrides = [override for name, value in setting.items() for override in _overrides(base, name, value, setting)]
    return shipped.load(world, overrides) if overrides else base


def shown(scenario: Scenario, slider: Slider) -> float | None:
    """A lever's value in a scenario, in its unit; None if the scenario sets none."""
    here: Any = scenario.model_dump(mode="python", by_alias=True)
    for name in slider.path:
        here = here[int(name)] if name.isdigit() else here.get(name)
        if here is None:
            return None
    return float(here) / slider.scale if slider.path else None


def moved(scenario: Scenario, fall: float) -> tuple[float, ...]:
    """Simple returns of a shock: the first market falls by `fall` (1 = to nothing), others by (1 - fall)^(ratio of jump loadings) - 1."""
    first = scenario.assets[0].jump_loading or 1.0
    return tuple((1.0 - fall) ** (asset.jump_loading / first) - 1.0 for asset in scenario.assets)


def _overrides(base: Scenario, name: str, value: Value, setting: Setting) -> list[Override]:
    lever = next(lever for lever in LEVERS if lever.name == name)
    if isinstance(lever, Slider):
        return [Override(lever.path, float(value) * lever.scale, lever.label)] if lever.path else []
    if value == AS_IT_IS:
        return []
    match name:
        case "accrual":
            return [Override((*HOUSE, "accrual"), _accrual(base, str(value), float(setting.get("rate", 10.0)) / 100.0), lever.label)]
        case "deleveraging":
            return [Override((*HOUSE, "waterfall"), _waterfall(base, str(value), setting, lever.label), lever.label)]
        case "pools":
            divided = Override((*HOUSE, "pools"), {"by": POOLS[str(value)]}, lever.label)
            layers = _waterfall(base, str(setting.get("deleveraging", AS_IT_IS)), setting, lever.label)
            return [divided, Override((*HOUSE, "waterfall"), layers, lever.label)]
        case _:
            return [Override(("network",), {"type": str(value)}, lever.label)]


def _accrual(base: Scenario, rule: str, rate: float) -> list[dict[str, Any]]:
    """The scenario's rules that levy nothing on those who trade, and the chosen one."""
    levies = {ShareOfTradingFees.name, OpenInterestLevy.name}
    kept = [p.model_dump(mode="json") for p in base.venues[0].clearinghouse.accrual if p.type not in levies]
    chosen: dict[str, list[dict[str, Any]]] = {
        "share of trading fees": [{"type": ShareOfTradingFees.name, "share": rate}],
        "levy on open interest": [{"type": OpenInterestLevy.name, "rate": rate}],
        "levy that follows volatility": [{"type": OpenInterestLevy.name, "rate": rate, "exponent": 1.0}],
        "nothing levied": [],
    }
    return [*chosen[rule], *kept]


def _waterfall(base: Scenario, ranking: str, setting: Setting, label: str) -> list[dict[str, Any]]:
    """The scenario's layers with another ranking, or without deleveraging; and without the shared pool, if the lever for pools moves."""
    layers = [layer.model_dump(mode="json") for layer in base.venues[0].clearinghouse.waterfall]
    if setting.get("pools", AS_IT_IS) != AS_IT_IS:
        layers = [layer for layer in layers if layer["type"] != "shared_fund"]
    if ranking == AS_IT_IS:
        return layers
    if ranking == NO_DELEVERAGING:
        return [layer for layer in layers if layer["type"] != "deleveraging"]
    if not any(layer["type"] == "deleveraging" for layer in layers):
        raise ScenarioError([fault(label, None, "waterfall", "no layer `deleveraging`", "a scenario that has one")])
    rule = RANKINGS[ranking].model_dump(mode="json")
    return [{**layer, "rule": rule} if layer["type"] == "deleveraging" else layer for layer in layers]
