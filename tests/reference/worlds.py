"""Small exchanges on which both engines are run, and what they are compared by."""

from typing import Any

from hypothesis import event

from experiments.twin.record import amplified, run_both
from model.scenario import Scenario

FUND, CAPITAL, WRITE_DOWN = {"type": "fund"}, {"type": "exchange_capital"}, {"type": "write_down"}
SCORES = ("bitmex", "binance", "hyperliquid", "profit_leverage")
SHARES = ("contracts", "equity", "profit")
CHOICES: list[dict[str, Any]] = [
    *({"type": "queue", "score": score} for score in SCORES),
    *({"type": "pro_rata", "by": by} for by in SHARES),
    *({"type": "risk_aware", "g": g} for g in ("linear", "power", "threshold")),
    {"type": "random"},
    {"type": "largest", "count": 3},
]


def deleveraging(rule: str, by: str, price: str = "bankruptcy") -> dict[str, Any]:
    return {"type": "deleveraging", "rule": {"type": rule, ("score" if rule == "queue" else "by"): by}, "price": price}


def socialised(by: str = "gains", cap: float = 1.0) -> dict[str, Any]:
    return {"type": "socialised_loss", "by": by, "cap": cap}


def world(
    traders: int = 60,
    leverage: float = 20.0,
    move: tuple[float, ...] = (),
    lasts: float = 0.0,
    house: dict[str, Any] | None = None,
    venue: dict[str, dict[str, Any]] | None = None,
    traders_too: dict[str, Any] | None = None,
    **other: Any,
) -> Scenario:
    """A small exchange whose prices move by `move` within `lasts` hours from hour 6 on (0: at once)."""
    base = Scenario().model_dump(by_alias=True)
    retail, basis = base["traders"]["groups"]
    groups = [
        {**retail, "count": traders, "equity": 1e6 * max(traders, 1), "leverage": leverage, "activity": 1 / 12},
        {**basis, "count": min(3, traders), "equity": 6e7},
    ]
    block = base["venues"][0]
    sizes = {
        "clearinghouse": {"fund": 3e6, "capital": 2e6, **(house or {})},
        "market_makers": {"capital": 2e7},
        "liquidators": {"capital": 4e6},
    }
    for name, change in (venue or {}).items():
        sizes[name] = {**sizes.get(name, {}), **change}
    shocks = [{"type": "price_move", "at": 6.0, "lasts": lasts, "size": list(move)}] if move else []
    return Scenario.model_validate(
        {
            **base,
            "traders": {**base["traders"], "groups": groups, **(traders_too or {})},
            "venues": [{**block, **{name: {**block[name], **change} for name, change in sizes.items()}}],
            "shocks": shocks,
            **other,
        }
    )


def losses(scenario: Scenario, steps: int = 14, seed: int = 1, *, drawn: bool = False) -> dict[str, float]:
    """Runs both engines, stops at the first disagreement; USD of deficits by the layer that bore them.

    A drawn scenario may blow rounding up: it is followed only as far as that.
    """
    borne: dict[str, float] = {}
    for at, (engine, _, lines) in enumerate(run_both(scenario, steps, seed), start=1):
        if lines and drawn and amplified(scenario, at, seed):
            event("rounding that the market has amplified")
            break
        assert not lines, f"step {at}: " + "; ".join(lines[:8])
        for layer, usd in engine.venue.tally.absorbed.items():
            borne[layer] = borne.get(layer, 0.0) + usd
    return borne


SURPLUS = [{"type": kind, "share": 0.3, "above": above} for kind, above in (("treasury", 1.0), ("buy_back", 0.0), ("stakers", 1.0))]
FEES: list[dict[str, Any]] = [
    {"type": "flat", "rate": 0.02, "bounty": 0.6},
    {"type": "margin_share", "bounty": 0.5},
    {"type": "remaining_equity"},
    {"type": "headroom"},
    {"type": "adaptive"},
    {"type": "adaptive", "crowding": 0.5, "crowding_exponent": 0.7, "bounty_slope": 0.3, "least": 1e-3, "largest": 0.1},
]
SLICES: list[dict[str, Any]] = [
    {"type": "partial_then_full", "cool_down": 30.0},
    {"type": "partial_then_full", "cool_down": 1200.0, "meanwhile": "nothing", "full_below": 0.3},
    {"type": "smallest_slice"},
    {"type": "smallest_slice", "ratio": 1.0 / 0.9, "step": 0.2, "margin_cost": 0.7},
    {"type": "smallest_slice", "buffer": 0.02, "most": 0.1, "least": 1e3, "account": 2e5},
    {"type": "by_tier", "tiers": [1e5, 3e5, 1e6]},
    {"type": "by_tier", "tiers": [1e5, 3e5, 1e6], "cool_down": 1200.0},
    {"type": "auto_close"},
]
VAULT = {"capital": 2e6}
CCP = [
    {"type": "defaulter_contribution"},
    CAPITAL,
    {"type": "members_fund"},
    {"type": "second_skin", "restore_hours": 3.0},
    {"type": "assessment", "cap": 0.5},
    socialised("gains"),
    {"type": "tear_up"},
    WRITE_DOWN,
]


def in_coin(block: dict[str, Any], *instruments: dict[str, Any], holders: dict[str, Any] | None = None) -> Scenario:
    """The same world with inverse perpetuals, and with a group of traders whose margin is in coin."""
    venue, groups = block["venues"][0], block["traders"]["groups"]
    venue["instruments"] = list(instruments)
    group = {**groups[0], "name": "holders", "margin": "coin", "count": 30, "equity": 3e7, **(holders or {})}
    return Scenario.model_validate({**block, "traders": {**block["traders"], "groups": [*groups, group]}})
