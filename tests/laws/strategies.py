"""Scenarios nobody tuned, for Hypothesis: sizes, leverage, rules and shocks of every kind, missing roles included."""

from typing import Any

from hypothesis import strategies as st

from agents.clearinghouse.margin import PRESETS
from agents.clearinghouse.margin_portfolio import TABLES
from model.channels import CHANNELS
from model.network import topologies
from model.scenario import Scenario

type Block = dict[str, Any]

STAGES = ("book", "liquidators", "vault", "takeover")
MARKETS = 3


def usd(largest: float) -> st.SearchStrategy[float]:
    """Nothing, or an amount within five orders of magnitude of `largest` whose order of magnitude is anyone's guess."""
    return st.one_of(st.just(0.0), st.integers(-50, 0).map(lambda power: largest * 10.0 ** (power / 10)))


def rates(least: float, most: float) -> st.SearchStrategy[float]:
    return st.integers(0, 1000).map(lambda part: least + (most - least) * part / 1000)


def columns(value: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(value, min_size=1, max_size=MARKETS)


@st.composite
def tiers(draw: st.DrawFn) -> list[Block]:
    bounds = [0.0, *sorted(draw(st.lists(rates(1e3, 1e8), max_size=3, unique=True)))]
    initial = sorted(draw(st.lists(rates(0.005, 1.0), min_size=len(bounds), max_size=len(bounds))))
    part = draw(rates(0.1, 1.0))
    return [{"notional": bound, "initial": rate, "maintenance": part * rate} for bound, rate in zip(bounds, initial, strict=True)]


@st.composite
def ramp(draw: st.DrawFn) -> Block:
    initial, part = draw(rates(0.005, 0.5)), draw(rates(0.1, 1.0))
    slope = draw(st.one_of(st.just(0.0), st.integers(-80, -30).map(lambda power: 10.0 ** (power / 10))))
    return {"type": "linear_ramp", "initial": [initial], "maintenance": [part * initial], "slope": [slope]}


@st.composite
def fixed(draw: st.DrawFn) -> Block:
    initial = draw(rates(0.005, 1.0))
    return {"type": "fixed_leverage", "initial": initial, "maintenance": initial * draw(rates(0.1, 1.0))}


caps = st.one_of(st.none(), rates(1.0, 100.0))


@st.composite
def sized(draw: st.DrawFn) -> Block:
    """Rules by the size of a position or of a market."""
    kind = draw(st.sampled_from(["open_interest_scaled", "square_root", "skew_impact"]))
    if kind == "skew_impact":
        return {"type": kind, "skew_scale": [10.0 ** draw(rates(0.0, 8.0))], "position_margin": draw(usd(1e4)), "leverage_cap": draw(caps)}
    initial = draw(rates(0.005, 1.0))
    base = {"type": kind, "initial": [initial], "maintenance": [initial * draw(rates(0.1, 1.0))], "leverage_cap": draw(caps)}
    if kind == "square_root":
        return {**base, "factor": [draw(st.sampled_from([0.0, 1e-4, 1e-2]))]}
    lower = draw(usd(1e8))
    return {**base, "lower": [lower], "upper": [2.0 * lower + 1.0]}


@st.composite
def portfolio(draw: st.DrawFn) -> Block:
    """Rules on a whole account."""
    kind = draw(st.sampled_from(["portfolio_scenarios", "ewma", "historical", "filtered_historical"]))
    crowded = {"concentration": draw(rates(0.0, 0.2)), "concentration_size": [draw(usd(1e7)) + 1.0]}
    interest = draw(st.sampled_from([{}, {"interest_from": [1e6], "interest_to": [2e7]}]))
    common = {
        "type": kind,
        "netting": draw(st.sampled_from(["none", "assets", "all"])),
        "maintenance": draw(rates(0.1, 1.0)),
        "minimum": draw(rates(0.0, 0.1)),
        "provision": draw(rates(0.0, 0.01)),
        "leverage_cap": draw(caps),
        "add_ons": {**crowded, **interest},
    }
    if kind == "portfolio_scenarios":
        own = [{"spot": draw(rates(-0.9, 0.0)), "weight": draw(rates(0.1, 1.0))}, {"spot": draw(rates(0.0, 5.0))}]
        return {**common, "tables": [draw(st.sampled_from([*sorted(TABLES), own]))]}
    tools = {
        "stress_weight": draw(st.sampled_from([0.0, 0.25])),
        "buffer": draw(st.sampled_from([0.0, 0.25])),
        "floor": draw(st.booleans()),
    }
    return {
        **common,
        "measure": draw(st.sampled_from(["value_at_risk", "expected_shortfall"])),
        "confidence": draw(rates(0.8, 0.98)),
        "period": draw(st.sampled_from([1.0, 24.0, 120.0])),
        "every": draw(st.sampled_from([0.5, 1.0, 24.0])),
        "look_back": draw(st.integers(50, 120)),
        "decay": draw(rates(0.5, 0.99)),
        "anti_procyclicality": tools,
    }


margins = st.one_of(
    st.builds(
        lambda schedules, cap: {"type": "tiered", "schedules": schedules, "leverage_cap": cap},
        st.lists(st.one_of(st.sampled_from(sorted(PRESETS)), tiers()), min_size=1, max_size=MARKETS),
        caps,
    ),
    ramp(),
    fixed(),
    sized(),
    portfolio(),
)

liquidations = st.one_of(
    st.builds(
        lambda part, small, below: {"type": "partial_then_full", "slice": part, "small": small, "full_below": below},
        rates(0.01, 1.0),
        usd(1e7),
        rates(0.0, 1.0),
    ),
    st.builds(lambda keeps: {"type": "full", "keeps": keeps}, rates(0.0, 1.0)),
    st.builds(
        lambda part, small, wait, meanwhile: {
            "type": "partial_then_full", "slice": part, "small": small, "cool_down": wait, "meanwhile": meanwhile,
        },
        rates(0.01, 1.0),
        usd(1e7),
        rates(1.0, 7200.0),
        st.sampled_from(["full", "nothing"]),
    ),
    st.builds(
        lambda ratio, cost, step, most, least: {
            "type": "smallest_slice", "ratio": ratio, "cost": cost, "step": step, "most": most, "least": least,
        },
        rates(1.0, 2.0),
        rates(0.0, 0.1),
        st.sampled_from([0.0, 0.2]),
        rates(0.05, 1.0),
        usd(1e5),
    ),
    st.builds(
        lambda first, more, down: {"type": "by_tier", "tiers": [first, first + more, first + 3.0 * more], "down": down},
        rates(1.0, 1e6),
        rates(1.0, 1e7),
        st.integers(1, 3),
    ),
    st.builds(lambda part, at: {"type": "auto_close", "slice": part, "auto_close": at}, rates(0.01, 1.0), rates(0.01, 1.0)),
)  # fmt: skip

fees = st.one_of(
    rates(0.0, 0.1),
    st.builds(lambda rate, bounty: {"type": "flat", "rate": rate, "bounty": bounty}, rates(0.0, 0.1), rates(0.0, 1.0)),
    st.builds(
        lambda kind, share, bounty: {"type": kind, "share": share, "bounty": bounty},
        st.sampled_from(["margin_share", "remaining_equity"]),
        rates(0.0, 1.0),
        rates(0.0, 1.0),
    ),
    st.builds(
        lambda liquidator, largest: {"type": "headroom", "liquidator": liquidator, "largest": largest}, rates(0.0, 0.1), rates(0.0, 0.1)
    ),
    st.builds(
        lambda least, largest, a, d, k: {
            "type": "adaptive", "base": 5e-3, "least": 1e-3 * least, "largest": largest, "shortage": a, "crowding": d, "bounty_slope": k,
        },
        st.sampled_from([0.0, 1.0]),
        rates(1e-3, 0.1),
        rates(0.0, 10.0),
        rates(0.0, 2.0),
        rates(0.0, 2.0),
    ),
)  # fmt: skip

choices = st.one_of(
    st.builds(lambda score: {"type": "queue", "score": score}, st.sampled_from(["bitmex", "binance", "hyperliquid", "profit_leverage"])),
    st.builds(lambda by: {"type": "pro_rata", "by": by}, st.sampled_from(["contracts", "equity", "profit"])),
    st.builds(
        lambda g, power, least: {"type": "risk_aware", "g": g, "exponent": power, "threshold": least},
        st.sampled_from(["linear", "power", "threshold"]),
        rates(0.0, 4.0),
        rates(0.0, 20.0),
    ),
    st.just({"type": "random"}),
    st.builds(lambda count: {"type": "largest", "count": count}, st.integers(1, 12)),
)

deleveraging = st.builds(
    lambda rule, price, severity, drawdown, window: {
        "type": "deleveraging", "rule": rule, "price": price, "severity": severity if price == "bankruptcy" else 1.0,
        "drawdown": drawdown, "window": window,
    },
    choices,
    st.sampled_from(["bankruptcy", "mark", "index"]),
    st.one_of(st.just(1.0), rates(0.0, 1.0)),
    st.one_of(st.just(1.0), rates(0.01, 1.0)),
    rates(0.1, 48.0),
)  # fmt: skip

house_layers = st.one_of(
    st.just({"type": "vault"}),
    st.builds(lambda share: {"type": "fund", "share": share}, rates(0.01, 1.0)),
    st.builds(lambda share: {"type": "exchange_capital", "share": share}, rates(0.01, 1.0)),
)

socialised = st.builds(
    lambda by, cap: {"type": "socialised_loss", "by": by, "cap": cap},
    st.sampled_from(["gains", "equity", "open_interest", "funding_index"]),
    rates(0.01, 1.0),
)


failures = st.builds(
    lambda recovery, seniority, delay: {"recovery": recovery, "seniority": seniority, "delay": delay},
    st.one_of(st.just(1.0), rates(0.05, 1.0)),
    st.sampled_from(["pari_passu", "traders_senior", "institutions_senior"]),
    st.one_of(st.none(), rates(0.0, 12.0)),
)
members = st.builds(
    lambda makers, traders, share, hours: {"market_makers": makers, "traders": traders, "share": share, "restore_hours": hours},
    st.booleans(),
    st.integers(0, 5),
    rates(0.001, 0.5),
    rates(0.5, 1000.0),
)
of_members = st.one_of(
    st.just({"type": "defaulter_contribution"}),
    st.just({"type": "members_fund"}),
    st.builds(lambda share: {"type": "second_skin", "share": share}, rates(0.01, 1.0)),
)
called = st.one_of(
    st.builds(lambda cap, hours: {"type": "assessment", "cap": cap, "cooling_off": hours}, rates(0.01, 5.0), rates(1.0, 1000.0)),
    st.just({"type": "tear_up"}),
)

later = st.one_of(
    st.just({"type": "withdrawal_factor"}), st.builds(lambda period: {"type": "clawback", "period": period}, rates(0.5, 200.0))
)


@st.composite
def waterfalls(draw: st.DrawFn) -> list[Block]:
    """House layers and deleveraging in any order and any part of them, then layers that take from accounts, then the write-down."""
    first = draw(st.lists(st.one_of(house_layers, deleveraging, of_members), max_size=4, unique_by=lambda layer: layer["type"]))
    order = sorted(draw(st.permutations(first)), key=lambda layer: layer["type"] != "defaulter_contribution")
    then = draw(st.lists(called, max_size=1))
    return [*order, *then, *draw(st.lists(socialised, max_size=2)), *draw(st.lists(later, max_size=1)), {"type": "write_down"}]


accruals = st.lists(
    st.one_of(
        st.builds(lambda share: {"type": "trading_fees", "share": share}, rates(0.0, 1.0)),
        st.builds(lambda rate, power: {"type": "open_interest", "rate": rate, "exponent": power}, rates(0.0, 1.0), rates(0.0, 2.0)),
        st.builds(lambda share: {"type": "liquidation_fees", "share": share}, rates(0.0, 1.0)),
        st.builds(lambda share: {"type": "surplus", "share": share}, rates(0.0, 1.0)),
        st.builds(lambda share: {"type": "funding", "share": share}, rates(0.0, 1.0)),
        st.builds(lambda bp: {"type": "volume", "basis_points": bp}, rates(0.0, 100.0)),
        st.builds(lambda usd, every: {"type": "scheduled_injection", "amount": usd, "every": every}, usd(1e8), rates(1.0, 20.0)),
        st.builds(lambda below: {"type": "injection_on_adequacy", "below": below}, rates(0.0, 1.0)),
        st.builds(
            lambda rate, power: {"type": "open_interest", "rate": rate, "exposure_exponent": power}, rates(0.0, 1.0), rates(0.0, 2.0)
        ),
        st.builds(
            lambda share, power: {"type": "target_seeking", "levies": {"type": "funding", "share": share}, "exponent": power},
            rates(0.0, 1.0),
            rates(0.1, 4.0),
        ),
    ),
    max_size=4,
    unique_by=lambda rule: (rule.get("levies", rule)["type"], "exposure_exponent" in rule),  # no share is given away twice
)


GROUPS = [{"name": "majors", "markets": ["BTC", "ETH"]}]


@st.composite
def pools(draw: st.DrawFn) -> Block:
    by = draw(st.sampled_from(["all", "market", "group"]))
    tiers = st.one_of(st.sampled_from(["A", "B", "C", "isolated"]), usd(1e8))
    return {
        "by": by,
        "groups": GROUPS if by == "group" else [],
        "shared": 0.0 if by == "all" else draw(st.one_of(st.just(0.0), rates(0.01, 0.9))),
        "currency": draw(st.sampled_from(["usd", "underlying"])),
        "claims": draw(st.lists(tiers, max_size=MARKETS)),
    }


stresses = st.fixed_dictionaries(
    {
        "scenarios": st.sampled_from(["historical", "filtered", "simulated"]),
        "count": st.integers(10, 50),
        "least": st.just(10),
        "horizon": rates(0.1, 100.0),
        "tail": rates(2.1, 10.0),
        "feedback": st.integers(0, 3),
        "every": rates(0.1, 20.0),
    }
)
sizings = st.one_of(
    st.builds(lambda share: {"type": "open_interest", "share": share}, rates(0.0, 1.0)),
    st.builds(lambda usd: {"type": "fixed", "amount": usd}, usd(1e9)),
    st.builds(
        lambda rule, stress: {**rule, **stress},
        st.sampled_from([{"type": "tail_loss", "level": 0.9}, {"type": "newsvendor", "cost": 5.0}, {"type": "cover"}]),
        stresses,
    ),
)


adequacies = st.builds(
    lambda kind, below: {"type": kind, "below": below},
    st.sampled_from(["raise_levies", "raise_margin", "recapitalise", "cap_open_interest", "halt"]),
    rates(0.01, 1.0),
)


tokens = st.builds(
    lambda staked, revenue, beta, depth, hours: {
        "staked": staked, "revenue": revenue, "beta": beta, "depth": depth, "restake_hours": hours, "recovery": hours, "memory": hours,
    },
    rates(0.0, 1.0),
    usd(1e9).map(lambda most: most + 1.0),
    rates(0.0, 3.0),
    st.integers(-60, 0).map(lambda power: 10.0 ** (power / 10)),
    rates(0.5, 1000.0),
)  # fmt: skip
values = st.lists(
    st.builds(
        lambda kind, share, above: {"type": kind, "share": share, "above": above},
        st.sampled_from(["treasury", "buy_back", "stakers"]),
        rates(0.0, 1.0 / 3.0),
        rates(0.0, 3.0),
    ),
    max_size=3,
)


@st.composite
def clearinghouses(draw: st.DrawFn) -> Block:
    taker = draw(rates(0.0, 0.01))
    divided = draw(pools())
    order = draw(waterfalls())
    if any(layer["type"] in ("withdrawal_factor", "clawback") for layer in order):
        divided = {"by": "all", "shared": 0.0, "currency": divided["currency"]}  # what is borne later is of no market in particular
    if divided["shared"]:
        order.insert(draw(st.integers(0, len(order) - 1)), {"type": "shared_fund"})
    token = draw(tokens)
    if divided["by"] == "all" and divided["currency"] == "usd" and draw(st.booleans()):
        token |= {"staked": 0.5, "fund_share": 0.4, "revenue": 1e10}
    elif draw(st.booleans()):
        first = len([layer for layer in order if layer["type"] == "defaulter_contribution"])
        order.insert(first, {"type": "stakers", "share": draw(rates(0.01, 1.0))})
    return {
        "pools": divided,
        "fund": draw(usd(1e9)),
        "capital": draw(usd(1e9)),
        "fees": {"taker": taker, "maker": draw(rates(-taker, 0.01)), "liquidation": draw(fees)},
        "margin": draw(margins),
        "liquidation": draw(liquidations),
        "rounds": draw(st.integers(1, 6)),
        "route": {
            "order": draw(st.lists(st.sampled_from(STAGES), min_size=1, max_size=4, unique=True)),
            "backstop": draw(st.one_of(st.none(), st.lists(st.sampled_from(STAGES), min_size=1, max_size=2, unique=True))),
            "book_slippage": draw(rates(1e-4, 0.5)),
            "takeover_limit": draw(st.one_of(st.just(0.0), rates(0.0, 20.0))),
            "unwind_rate": draw(rates(0.0, 5.0)),
            "absorption_premium": draw(st.one_of(st.just(0.0), rates(0.0, 0.05))),
        },
        "accrual": draw(accruals),
        "sizing": draw(sizings),
        "adequacy": draw(st.lists(adequacies, max_size=2)),
        "token": token,
        "value_accrual": draw(values),
        "release": draw(st.one_of(st.none(), rates(1.0, 3.0))),
        "waterfall": order,
        "members": draw(members),
        "failure": draw(failures),
        "vault": {"capital": draw(usd(1e8)), "appetite": draw(rates(0.0, 20.0)), "stop_loss": draw(rates(0.01, 1.0))},
        "speed_limit": draw(st.one_of(st.just([]), columns(rates(1.0, 1e6)))),
    }


@st.composite
def venues(draw: st.DrawFn) -> Block:
    return {
        "clearinghouse": draw(clearinghouses()),
        "market": {
            "depth_exponent": draw(rates(0.25, 2.0)),
            "replenish_seconds": draw(rates(1.0, 86400.0)),
            "mark_seconds": draw(rates(1.0, 86400.0)),
            "pass_through": draw(st.one_of(st.just(0.0), rates(0.0, 1.0))),
            "price_band": draw(rates(0.001, 1.0)),
        },
        "market_makers": {
            "count": draw(st.integers(0, 4)),
            "capital": draw(usd(1e9)),
            "depth": draw(columns(usd(1e8))),
            "risk_aversion": draw(rates(0.0, 100.0)),
            "inventory_limit": draw(rates(0.1, 50.0)),
        },
        "liquidators": {
            "count": draw(st.integers(0, 4)),
            "capital": draw(usd(1e8)),
            "appetite": draw(rates(0.0, 20.0)),
            "discount": draw(rates(0.0, 0.2)),
            "anticipation": draw(st.one_of(st.just(0.0), rates(0.0, 10.0))),
        },
    }


STRATEGIES = ("fundamentalist", "chartist", "noise", "hedger")


@st.composite
def groups(draw: st.DrawFn, name: str) -> Block:
    leverage = draw(rates(0.1, 200.0))
    return {
        "name": name,
        "count": draw(st.integers(1, 30)),
        "equity": 10.0 ** draw(rates(3.0, 10.0)),
        "tail": draw(rates(0.5, 3.0)),
        "leverage": leverage,
        "leverage_spread": draw(rates(0.0, 1.5)),
        "leverage_max": leverage * draw(rates(1.0, 2.0)),
        "activity": draw(rates(0.0, 3.0)),
        "strategies": [{"type": kind} for kind in draw(st.lists(st.sampled_from(STRATEGIES), min_size=1, max_size=3, unique=True))],
        "redeposit": draw(rates(0.0, 1.0)),
        "exit_rate": draw(st.one_of(st.just(0.0), rates(0.0, 2000.0))),
        "entry_rate": draw(st.one_of(st.just(0.0), rates(0.0, 2000.0))),
        "churn": draw(rates(0.0, 50.0)),
        "isolated": draw(st.booleans()),
        "churn_closed": draw(st.one_of(st.just(0.0), rates(0.0, 1.0))),
    }


# A market goes to zero at once; slow moves stay where the increments they are walked in can be counted.
sizes = columns(st.one_of(rates(-0.99, 3.0), st.sampled_from([-0.5, -0.3, 0.3])))
moves = st.one_of(
    st.builds(
        lambda at, size: {"type": "price_move", "at": at, "size": size},
        rates(0.0, 20.0),
        st.one_of(sizes, columns(st.sampled_from([-0.999999999, 0.0]))),
    ),
    st.builds(
        lambda at, lasts, size: {"type": "price_move", "at": at, "lasts": lasts, "size": size}, rates(0.0, 20.0), rates(0.1, 20.0), sizes
    ),
)

withdrawals = st.builds(
    lambda at, lasts, remains: {"type": "depth_withdrawal", "at": at, "lasts": lasts, "remains": remains},
    rates(0.0, 20.0),
    rates(0.1, 20.0),
    columns(rates(0.0, 1.0)),
)

lenders = st.builds(
    lambda count, capital, deposits, interbank, lent, withdrawal, line: {
        "count": count, "capital": capital, "deposits": deposits, "interbank": interbank, "loan_to_capital": lent,
        "withdrawal": withdrawal, "line": line, "term": 6.0,
    },
    st.integers(0, 5),
    usd(1e9),
    rates(0.0, 50.0),
    rates(0.0, 5.0),
    rates(0.0, 20.0),
    st.lists(st.sampled_from(["volatility", "capital", "cash"]).map(lambda kind: {"type": kind}), max_size=2),
    st.one_of(st.just(1.0), rates(0.0, 3.0)),
)  # fmt: skip


lost_hedges = st.one_of(st.none(), st.builds(lambda share, rate: {"share": share, "rate": rate}, rates(0.0, 1.0), rates(0.1, 9.0)))
runs = st.one_of(
    st.none(),
    st.builds(
        lambda watch, calm, rate: {"watch": watch, "calm": calm, "rate": rate},
        st.sampled_from(["adequacy", "equity"]),
        rates(0.1, 5.0),
        rates(0.0, 5.0),
    ),
)
bankruptcy_costs = st.builds(lambda alpha, beta: {"recovery": alpha, "interbank_recovery": beta}, rates(0.05, 1.0), rates(0.05, 1.0))
transmission = st.builds(
    lambda tau, seniority, margin, delay: {
        "payments": {"rule": {"type": "paddrik_rajan_young", "tau": tau}, "seniority": seniority, "margin": margin, "delay": delay}
    },
    rates(0.0, 1.5),
    st.sampled_from(["pari_passu", "external_senior", "interbank_senior"]),
    st.one_of(st.just(0.0), rates(0.0, 1.0)),
    st.one_of(st.just(0.0), rates(0.0, 12.0)),
)


masks = st.fixed_dictionaries({name: st.booleans() for name in CHANNELS})
"""Channels of contagion, open or closed."""


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """A world that nobody tuned."""
    names = draw(st.sampled_from([("retail",), ("retail", "funds")]))
    hours = draw(st.sampled_from([0.1, 0.5, 1.0, 4.0, 8.0]))
    news = draw(st.sampled_from(["constant", "factor_model"]))
    world = {
        "schema": 1,
        "hours_per_step": hours,
        "news": {"type": news, **({"volatility_scale": draw(rates(0.0, 5.0))} if news == "factor_model" else {})},
        "shocks": draw(st.lists(st.one_of(moves, withdrawals), max_size=4)),
        "venues": [draw(venues())],
        "traders": {
            "groups": [draw(groups(name)) for name in names],
            "markets": draw(columns(rates(0.01, 1.0))),
            "lost_hedges": draw(lost_hedges),
            "run": draw(runs),
        },
        "lenders": draw(lenders),
        "network": {"type": draw(st.sampled_from(sorted(set(topologies.members) - {"edge_list"})))},  # which needs a file
        **draw(st.one_of(bankruptcy_costs, transmission)),
        "channels": draw(st.one_of(st.just({}), st.just({}), masks)),
    }
    return Scenario.model_validate(world)


@st.composite
def ecosystems(draw: st.DrawFn) -> Scenario:
    """A drawn scenario with a second exchange, whose rules and sizes are drawn too; some of what they have is shared."""
    world = draw(scenarios()).model_dump(mode="json", by_alias=True)
    second = {**draw(venues()), "name": "second"}
    shared = {role: draw(st.booleans()) for role in ("market_makers", "liquidators")}
    for role, together in shared.items():
        if together:
            second[role]["count"] = world["venues"][0][role]["count"]
    if draw(st.booleans()):
        second["traders"] = {"groups": [draw(groups("others"))]}
    shared["lenders"] = any(shared.values()) or draw(st.booleans())
    world["sharing"] = {**shared, "margin_hours": draw(st.one_of(st.none(), rates(0.1, 24.0))), "index": draw(rates(0.0, 1.0))}
    if draw(st.booleans()):
        world["sharing"]["funds"] = "pooled"
        for house in (world["venues"][0]["clearinghouse"], second["clearinghouse"]):
            house["pools"] = {"claims": house["pools"].get("claims", [])[:1]}
            house["waterfall"] = [layer for layer in house["waterfall"] if layer["type"] != "shared_fund"]
            if house["token"] is not None:
                house["token"]["fund_share"] = 0.0
    world["venues"].append(second)
    return Scenario.model_validate(world)


@st.composite
def dated(draw: st.DrawFn) -> Block:
    """A future or option; lives are short, so that series end within a drawn run."""
    kind, days = draw(st.sampled_from(["future", "call", "put"])), draw(rates(0.1, 2.0))
    hours = draw(st.sampled_from([0.0, 0.5, 2.0]))
    terms = {"type": kind, "days": days, "settlement_hours": min(hours, 24.0 * days), "depth": draw(rates(0.05, 2.0))}
    return terms if kind == "future" else {**terms, "moneyness": draw(rates(0.8, 1.25))}


@st.composite
def option_vaults(draw: st.DrawFn, listed: set[str]) -> Block | None:
    """A vault that sells what is listed, if options are; of any size and greed."""
    if not listed or draw(st.booleans()):
        return None
    rule = {"type": draw(st.sampled_from(["variance_premium", "steady"])), "sells": sorted(listed), "least_days": draw(rates(0.0, 0.5))}
    return {
        "capital": draw(usd(1e9)) + 1.0,
        "rule": {**rule, "share": draw(rates(0.1, 1.0))},
        "notional_limit": draw(rates(0.1, 50.0)),
        "vega_limit": draw(rates(0.1, 50.0)),
        "margin_use": draw(rates(0.1, 1.0)),
        "pace": draw(rates(0.1, 20.0)),
        "hedge": draw(st.one_of(st.just(1.0), rates(0.0, 1.0))),
        "band": draw(rates(0.0, 0.5)),
        "income_share": draw(rates(0.0, 1.0)),
    }


@st.composite
def listings(draw: st.DrawFn) -> Scenario:
    """A drawn scenario whose exchange lists futures and options too, with those who trade them."""
    world = draw(scenarios()).model_dump(mode="json", by_alias=True)
    house = world["venues"][0]["clearinghouse"]
    instruments = draw(st.lists(dated(), min_size=1, max_size=4, unique_by=lambda one: (one["type"], one["days"])))
    names = [asset["name"] for asset in world["assets"]]
    world["venues"][0]["instruments"] = [{**one, "asset": draw(st.sampled_from(names))} for one in instruments]
    if house["margin"]["type"] != "portfolio_scenarios":
        house["margin"] = {"type": draw(st.sampled_from(["portfolio_scenarios", "standard_options"]))}
    world["venues"][0]["option_vault"] = draw(option_vaults({one["type"] for one in instruments} - {"future"}))
    house["pools"]["shares"] = []  # there may be more pools now
    house["coin_haircuts"] = draw(st.sampled_from([[], [0.0], [0.2, 0.6]]))
    world["traders"]["groups"] += [
        {
            "name": f"options_{kind}",
            "count": 8,
            "equity": draw(usd(1e8)) + 1e4,
            "leverage": draw(rates(0.5, 20.0)),
            "strategies": [{"type": kind}],
            "activity": 1.0,
        }
        for kind in ("protected", "call_buyer", "volatility_seller")
        if any(one["type"] != "future" for one in instruments)
    ]
    return Scenario.model_validate(world)


@st.composite
def settled_in_coin(draw: st.DrawFn) -> Scenario:
    """A drawn scenario, with or without futures and options, whose exchange lists inverse perpetuals too, with those who hold coin."""
    world = draw(st.one_of(scenarios(), listings())).model_dump(mode="json", by_alias=True)
    venue, names = world["venues"][0], [asset["name"] for asset in world["assets"]]
    coins = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    venue["instruments"] += [{"type": "inverse", "asset": name, "depth": draw(rates(0.05, 2.0))} for name in coins]
    venue["clearinghouse"]["pools"]["shares"] = []  # there may be more pools now
    world["traders"]["groups"].append({**draw(groups("holders")), "margin": "coin"})
    if draw(st.booleans()):
        world["shocks"].append({"type": "oracle_error", "at": draw(rates(0.0, 10.0)), "lasts": 5.0, "size": [draw(rates(-0.5, 0.5))]})
    return Scenario.model_validate(world)
