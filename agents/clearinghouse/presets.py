"""Named venues: what is published of each one's liquidation, fees, waterfall and deleveraging, as settings of a clearinghouse.

A preset says how losses are handled, not how large anything is: margin, the opening fund and capital are the scenario's, so that venues
can be compared on the same world. Where nothing is published of what comes after deleveraging or socialised loss, the exchange's capital
pays what is left, and only then are claims on it written down (our choice). Exchanges change their rules often: these are calibrations,
not quotes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

type Name = Literal["bitmex", "binance_2019", "bybit", "okx", "deribit", "dydx_v4", "hyperliquid", "ftx", "drift", "paradex", "emir_ccp"]

WRITE_DOWN: Final = {"type": "write_down"}
AT_LAST: Final = ({"type": "exchange_capital", "share": 1.0}, WRITE_DOWN)
TAKES_OVER: Final = {"order": ["book", "takeover"]}
TO_FUND: Final = [{"type": "liquidation_fees", "share": 1.0}, {"type": "surplus", "share": 1.0}]


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings of a clearinghouse, where they are from, and what of them is our choice.

    Attributes:
        settings: as in a scenario file, what differs from the defaults.
        sources: by setting.
        ours: what the sources leave open, or what the model can only come near to.
    """

    settings: Mapping[str, Any]
    sources: Mapping[str, str]
    ours: tuple[str, ...] = field(default=())


def _queue(score: str, **other: Any) -> dict[str, Any]:
    return {"type": "deleveraging", "rule": {"type": "queue", "score": score}, **other}


PRESETS: Final[Mapping[Name, Preset]] = {
    "bitmex": Preset(
        {
            "pools": {"by": "market", "currency": "underlying"},
            "fees": {"liquidation": 0.0},
            "liquidation": {"type": "full", "keeps": 0.0},
            "route": TAKES_OVER,
            "accrual": [{"type": "surplus", "share": 1.0}],
            "waterfall": [{"type": "fund"}, _queue("bitmex"), *AT_LAST],
        },
        {
            "liquidation, accrual": "BitMEX blog, 'Insurance fund': taken over at bankruptcy price, the surplus is the fund's",
            "pools": "BitMEX blog, 2 April 2019: the fund is allocated by contract, held in XBT",
            "waterfall": "BitMEX support 18589621443357: score, and closed at the bankruptcy price",
        },
        (
            "pools hold the coin of their first market, not XBT throughout",
            "the book is asked first, then the fund takes over, up to its own size",
        ),
    ),
    "binance_2019": Preset(
        {
            "fees": {"liquidation": 5e-3},
            "liquidation": {"type": "smallest_slice", "cost": 0.01},
            "route": {**TAKES_OVER, "takeover_limit": 0.2},
            "accrual": TO_FUND,
            "waterfall": [{"type": "fund"}, _queue("binance", drawdown=0.075, window=8.0), *AT_LAST],
        },
        {
            "fees": "Binance Futures documentation, 'Insurance fund' (2019): up to 0.5 % of what does not end bankrupt",
            "route.takeover_limit": "the same: at most 20 % of the fund is held",
            "waterfall": "the same: it leaves the market after a loss of 7.5 % in 8 h; support 360033525471: score, at bankruptcy price",
            "liquidation": "TraderWagon documentation, 'smart liquidation': one order back to margin compliance, else the fund takes over",
        },
        (
            "the fee is the whole 0.5 %",
            "closing is expected to cost 1 %",
            "positions already taken over are kept when the fund leaves the market",
        ),
    ),
    "bybit": Preset(
        {
            "fees": {"liquidation": 0.0},
            "liquidation": {"type": "full", "keeps": 0.0},
            "route": TAKES_OVER,
            "accrual": [{"type": "surplus", "share": 1.0}],
            "waterfall": [{"type": "fund"}, _queue("bitmex", drawdown=0.3, window=8.0), *AT_LAST],
        },
        {
            "liquidation, accrual": "Bybit help, 'Insurance fund': settled at bankruptcy price, fills better or worse are the fund's",
            "waterfall": "the same: deleveraging when the pool has fallen 30 % in 8 h; help 900000031623: score, at bankruptcy price",
        },
        (
            "one pool for all markets: its portfolio pools hold up to nine correlated contracts",
            "the fall of the pool alone decides: Bybit also asks that the pool be low",
        ),
    ),
    "okx": Preset(
        {
            "fees": {"liquidation": 0.0},
            "liquidation": {"type": "by_tier", "down": 2, "cool_down": 60.0},
            "route": TAKES_OVER,
            "accrual": [{"type": "surplus", "share": 1.0}],
            "waterfall": [
                {"type": "fund"},
                _queue("bitmex", price="mark", drawdown=0.3, window=8.0),
                {"type": "socialised_loss", "by": "gains"},
                *AT_LAST,
            ],
        },
        {
            "liquidation": "OKX help: two tiers down from the third on, the two lowest at bankruptcy price, a minute between looks",
            "waterfall": "OKX help (mirror): deleveraging at mark when the fund is 30 % below its peak of 8 h, or empty",
        },
        (
            "bounds of the tiers",
            "the score, which is not published",
            "what deleveraging at mark leaves open is socialised among gains",
        ),
    ),
    "deribit": Preset(
        {
            "pools": {"currency": "underlying"},
            "fees": {"liquidation": 0.0075, "delivery": 2.5e-4},
            "liquidation": {"type": "smallest_slice", "cost": 0.0125},
            "route": {"order": ["book"]},
            "accrual": TO_FUND,
            "waterfall": [{"type": "fund"}, {"type": "socialised_loss", "by": "gains"}, *AT_LAST],
        },
        {
            "fees, accrual": "Deribit support 25944738177565: 0.75 % on BTC, the fund's; early specification: 0.025 % at delivery",
            "liquidation": "Deribit support 25944769313309: incremental, until margin is restored",
            "waterfall": "Deribit support 25944777576477: if depleted, losses are socialised among the day's winners",
        },
        ("gains are those since entry, not the day's", "one fee for all markets", "closing is expected to cost the fee and 0.5 %"),
    ),
    "dydx_v4": Preset(
        {
            "fees": {"liquidation": 0.015},
            "liquidation": {"type": "smallest_slice", "most": 0.1, "least": 1e3, "cost": 0.02},
            "route": {"order": ["book"]},
            "accrual": TO_FUND,
            "waterfall": [
                {"type": "fund"},
                {"type": "deleveraging", "rule": {"type": "random"}, "price": "bankruptcy"},
                *AT_LAST,
            ],
        },
        {
            "fees, liquidation": "dYdX v4 genesis, liquidations_config: at most 1.5 %; 10 % of a position, at least 1,000 USD, a block",
            "waterfall": "dYdX v4 chain, deleveraging.go: from a random subaccount on, at bankruptcy price",
        },
        (
            "a round stands for a block; a walk has far fewer, so that a subaccount has no limit of 100,000 USD (`liquidation.account`)",
            "the fund's losses have no limit: 1m USD of a subaccount in a block",
            "the fee is the whole 1.5 %",
            "the fund pays for an account below zero too before others are deleveraged",
        ),
    ),
    "hyperliquid": Preset(
        {
            "vault": {},
            "fees": {"liquidation": {"type": "remaining_equity", "share": 1.0, "bounty": 1.0}},
            "liquidation": {"type": "partial_then_full", "slice": 0.2, "small": 100e3, "full_below": 2 / 3, "cool_down": 30.0},
            "route": {"order": ["book"], "backstop": ["vault"]},
            "accrual": [],
            "waterfall": [
                {"type": "vault"},
                _queue("hyperliquid", price="mark"),
                {"type": "socialised_loss", "by": "gains"},
                *AT_LAST,
            ],
        },
        {
            "fees, liquidation, route": "Hyperliquid documentation, 'Liquidations': no clearance fee, 20 % first, 30 s; "
            "below two thirds of maintenance the vault, which keeps the margin",
            "vault": "Hyperliquid's statement after JELLY (March 2025): a vault of limited size, deleveraging beyond a loss threshold",
            "waterfall": "Hyperliquid documentation, 'Auto-deleveraging': score, at the previous mark; who has no position bears nothing",
        },
        (
            "the vault's size and threshold, which are not published",
            "deleveraging is at the present mark, not at the one before it",
            "what deleveraging at mark leaves open is socialised among gains",
        ),
    ),
    "ftx": Preset(
        {
            "fees": {"liquidation": {"type": "remaining_equity", "share": 1.0, "bounty": 2 / 3}},
            "liquidation": {"type": "auto_close", "slice": 0.1, "auto_close": 0.5},
            "route": {"order": ["book"], "backstop": ["liquidators"]},
            "accrual": [{"type": "liquidation_fees", "share": 1.0}],
            "waterfall": [{"type": "fund"}, {"type": "deleveraging", "rule": {"type": "largest", "count": 10}}, *AT_LAST],
        },
        {
            "liquidation, route": "FTX help 360027937831: 10 % at a time; below the auto-close margin against backstop liquidity providers",
            "fees": "the same: two thirds of the remaining equity are the provider's, a third the backstop fund's",
            "waterfall": "FTX help 360024479392: if providers lack capacity, the ten largest opposite positions in proportion to size",
        },
        (
            "a round stands for a second of auto-close, and for the six seconds between two market orders; these have no limit by volume",
            "those ten are closed at bankruptcy price once the fund is empty, not at two thirds of it before",
        ),
    ),
    "drift": Preset(
        {
            "pools": {"claims": ["A", "B", "C"]},
            "fees": {"liquidation": {"type": "headroom"}},
            "liquidation": {"type": "smallest_slice", "buffer": 0.02, "cost": 0.02},
            "route": {"order": ["liquidators", "book"]},
            "accrual": [{"type": "liquidation_fees", "share": 1.0}],
            "waterfall": [{"type": "fund"}, {"type": "socialised_loss", "by": "funding_index"}, *AT_LAST],
        },
        {
            "pools.claims": "Drift protocol v2, constants.rs: 100m, 1m and 100,000 USD by contract tier",
            "fees, liquidation": "Drift protocol v2, math/liquidation.rs: 0.95 of the margin ratio left; maintenance and 2 % more to leave",
            "waterfall": "Drift protocol v2, resolve_perp_bankruptcy: the fund within its tier, then open positions by funding index",
        },
        ("which market is in which tier", "liquidators' fee and the fund's largest", "all that a round may close is closed at once"),
    ),
    "paradex": Preset(
        {
            "fees": {"liquidation": {"type": "margin_share", "share": 0.7}},
            "liquidation": {"type": "smallest_slice", "ratio": 1 / 0.9, "step": 0.2, "cost": 0.0, "margin_cost": 0.7},
            "route": {"order": ["takeover", "book"]},
            "accrual": TO_FUND,
            "waterfall": [{"type": "fund"}, {"type": "withdrawal_factor"}, WRITE_DOWN],
        },
        {
            "fees, liquidation": "Paradex documentation, 'Liquidations': 70 % of the closed margin; steps of 20 % to a ratio of 90 %",
            "route": "the same: the fund inherits positions and trades them out",
            "waterfall": "Paradex documentation, 'Socialized losses': a factor on withdrawals",
        },
        ("the text's 70 % and not the 50 % of its example", "the fund inherits at most its own size, the rest goes to the book"),
    ),
    "emir_ccp": Preset(
        {
            "fees": {"liquidation": 0.0},
            "liquidation": {"type": "full", "keeps": 1.0},
            "route": {"order": ["liquidators", "book"]},
            "accrual": [],
            "members": {"market_makers": True, "traders": 20},
            "waterfall": [
                {"type": "defaulter_contribution"},
                {"type": "exchange_capital", "share": 0.25, "restore_hours": 720.0},
                {"type": "members_fund"},
                {"type": "second_skin", "share": 0.25, "restore_hours": 720.0},
                {"type": "assessment", "cap": 1.0},
                {"type": "socialised_loss", "by": "gains"},
                {"type": "tear_up"},
                WRITE_DOWN,
            ],
        },
        {
            "waterfall": "EMIR, Arts. 42-45, and RTS 153/2013, Arts. 35-36: defaulter's contribution, skin in the game, members' fund; "
            "Regulation (EU) 2021/23, Art. 9(14): a second skin; ISDA 2013: gains haircut, tear-up",
        },
        (
            "who the members are and what they pay in",
            "liquidators bid for the defaulter's book before it goes to the market",
            "one call of at most one contribution",
            "the second skin is made good within a month like the first",
        ),
    ),
}


def expanded(given: dict[str, Any]) -> dict[str, Any]:
    """Settings with those of their preset filled in; what is given prevails. Nothing changes if they name no preset, or an unknown one."""
    name = given.get("preset")
    preset = PRESETS.get(name) if isinstance(name, str) else None  # type: ignore[call-overload]
    return given if preset is None else _merged(preset.settings, given)


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Blocks are merged; a rule of another type, a list and a number replace what is there."""
    out = dict(base)
    for name, value in given.items():
        known = base.get(name)
        same = isinstance(known, Mapping) and isinstance(value, Mapping) and value.get("type", known.get("type")) == known.get("type")
        out[name] = _merged(known, value) if same and isinstance(known, Mapping) else value
    return out


def withdrawn(settings: dict[str, Any], name: Any) -> None:
    """Takes out of the settings of a clearinghouse all that the preset of this name says, so that another may say it."""
    preset = PRESETS.get(name) if isinstance(name, str) else None  # type: ignore[call-overload]
    if preset is not None:
        _take_out(settings, preset.settings)


def _take_out(settings: dict[str, Any], said: Mapping[str, Any]) -> None:
    for name, value in said.items():
        inner = settings.get(name)
        if isinstance(value, Mapping) and "type" not in value and value and isinstance(inner, dict):
            _take_out(inner, value)
        else:
            settings.pop(name, None)
