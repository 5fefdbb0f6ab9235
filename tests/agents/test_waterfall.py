"""Waterfall layers against published examples of who pays what."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.waterfall import BackstopFund, Charge, ExchangeCapital, Layer, LayerView, SocialisedLoss, WriteDown, layers
from tests.laws.strategies import house_layers, rates, socialised, usd


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def view(loss: float, fund=0.0, treasury=0.0, equity=(0.0,), gains=None, notional=None) -> LayerView:
    equity = of(*equity)
    return LayerView(loss, fund, treasury, equity, equity if gains is None else of(*gains), equity if notional is None else of(*notional))


def charged(layer: Layer, seen: LayerView) -> Charge:
    return layer.rule(seen, layer.initial_state(), None)[0]


def paid(charge: Charge) -> float:
    return charge.fund + charge.treasury + (0.0 if charge.accounts is None else float(charge.accounts.sum()))


def descend(waterfall: list[Layer], loss: float, fund: float, treasury: float, equity: tuple[float, ...]) -> list[float]:
    """What each layer pays of a loss, in order."""
    out = []
    for layer in waterfall:
        charge = charged(layer, view(loss, fund, treasury, equity))
        fund, treasury, loss = fund - charge.fund, treasury - charge.treasury, loss - paid(charge)
        equity = equity if charge.accounts is None else tuple(of(*equity) - charge.accounts)
        out.append(paid(charge))
    return out


@pytest.mark.parametrize(
    ("loss", "pays"),
    [
        (62.0, [2, 0, 0, 0]),
        (80.0, [5, 15, 0, 0]),
        (107.0, [5, 40, 2, 0]),
        (130.0, [5, 40, 25, 0]),
        (160.0, [5, 40, 43, 12]),
    ],
)
def test_a_ccps_layers_are_used_in_order(loss: float, pays: list[float]) -> None:
    # The defaulter's 60 come first. Skin in the game 5 (a quarter of 20), the survivors' fund 40, then up to 43 from members (half of
    # their 86), then nobody is left but claims.
    waterfall = [
        ExchangeCapital(ExchangeCapital.Parameters(share=0.25)),
        BackstopFund(),
        SocialisedLoss(SocialisedLoss.Parameters(by="equity", cap=0.5)),
        WriteDown(),
    ]
    assert descend(waterfall, loss - 60.0, 40.0, 20.0, (50.0, 36.0)) == pytest.approx(pays)


def test_nasdaqs_members_lost_two_thirds_of_their_fund_in_2018() -> None:
    # 114m EUR beyond the defaulter's means: 7m of the exchange, 107m of the members' 166m, 64.5 % of each contribution.
    whole = ExchangeCapital(ExchangeCapital.Parameters(share=1.0))
    members = SocialisedLoss(SocialisedLoss.Parameters(by="equity"))
    assert descend([whole, members], 114.0, 0.0, 7.0, (100.0, 66.0)) == [7.0, pytest.approx(107.0)]
    assert charged(members, view(107.0, equity=(100.0, 66.0))).accounts == pytest.approx([64.45783132530121, 42.5421686746988])


def test_a_further_default_within_a_month_uses_only_what_is_left_of_the_skin_in_the_game() -> None:
    # RTS 153/2013, Arts. 35 and 36: a quarter of 80 is 20: 12, then 8 more, none until a month has passed; then a quarter of 60.
    rule, state, found, capital = ExchangeCapital(ExchangeCapital.Parameters(restore_hours=720.0)), None, [], 80.0
    for hours, loss in ((5.0, 12.0), (6.0, 50.0), (700.0, 50.0), (724.9, 1.0), (725.0, 50.0)):
        charge, state = rule.rule(replace(view(loss, treasury=capital), hours=hours), state, None)
        found.append(charge.treasury)
        capital -= charge.treasury
    assert found == [12.0, 8.0, 0.0, 0.0, 15.0]
    # Without that, each loss may use a quarter of what there is.
    each = ExchangeCapital()
    assert [each.rule(view(50.0, treasury=usd), None, None)[0].treasury for usd in (80.0, 60.0)] == [20.0, 15.0]


def test_variation_margin_gains_are_haircut_in_one_proportion() -> None:
    # Gains of 60, 30 and 10, a shortfall of 20: haircut 20 %, paid out 48, 24, 8.
    gains = of(60.0, 30.0, 10.0)
    layer = SocialisedLoss(SocialisedLoss.Parameters(by="gains"))
    charge = charged(layer, view(20.0, equity=(500.0, 30.0, 70.0), gains=tuple(gains)))
    assert gains - charge.accounts == pytest.approx([48.0, 24.0, 8.0])
    # h = min(1, L / sum of gains): a larger loss takes all gains and no principal.
    assert charged(layer, view(500.0, equity=(500.0, 30.0, 70.0), gains=tuple(gains))).accounts == pytest.approx(gains)


def test_a_deficit_by_equity_is_shared_one_two_four() -> None:
    # 1,500 USD over equities of 1,500, 3,000 and 6,000.
    charge = charged(SocialisedLoss(SocialisedLoss.Parameters(by="equity")), view(1500.0, equity=(1500.0, 3000.0, 6000.0)))
    assert charge.accounts == pytest.approx([1500 / 7, 3000 / 7, 6000 / 7])


def test_every_open_position_pays_by_size_as_on_drift_up_to_its_equity() -> None:
    # Loss 30 over notionals 100, 100, 400, one account having 2 USD: 2, then 28 over 1 : 4.
    layer = SocialisedLoss(SocialisedLoss.Parameters(by="open_interest"))
    charge = charged(layer, view(30.0, equity=(2.0, 50.0, 50.0), notional=(100.0, 100.0, 400.0)))
    assert charge.accounts == pytest.approx([2.0, 5.6, 22.4])


@pytest.mark.parametrize(("by", "charges"), [("open_interest", [10.0, 90.0]), ("funding_index", [10.0, 50.0])])
def test_by_open_positions_nobody_pays_more_than_the_caps_part_of_its_equity(by: str, charges: list[float]) -> None:
    # 100 over equal positions: 50 each, but of the first's 100 no more than a tenth. By size the other pays the rest, by index its own 50.
    layer = SocialisedLoss(SocialisedLoss.Parameters(by=by, cap=0.1))
    charge = charged(layer, view(100.0, equity=(100.0, 1_000.0), notional=(500.0, 500.0)))
    assert charge.accounts is not None
    assert charge.accounts.tolist() == pytest.approx(charges)


def test_a_cap_limits_what_one_loss_takes() -> None:
    charge = charged(SocialisedLoss(SocialisedLoss.Parameters(by="equity", cap=0.1)), view(50.0, equity=(100.0, 100.0)))
    assert charge.accounts == pytest.approx([10.0, 10.0])
    assert charged(BackstopFund(BackstopFund.Parameters(share=0.5)), view(50.0, fund=60.0)).fund == 30.0
    assert charged(ExchangeCapital(), view(50.0, treasury=100.0)).treasury == 25.0


def test_claims_are_written_down_to_what_backs_them() -> None:
    # Paradex: 4,000 USD held, claims of 4,000 and 1,000: 20 % of each.
    assert charged(WriteDown(), view(1000.0, equity=(4000.0, 1000.0))).accounts == pytest.approx([800.0, 200.0])
    assert charged(WriteDown(), view(9000.0, equity=(4000.0, 1000.0))).accounts == pytest.approx([4000.0, 1000.0])


@given(
    st.one_of(house_layers, socialised, st.just({"type": "write_down"})),
    usd(1e9),
    usd(1e9),
    usd(1e9),
    st.lists(usd(1e8), min_size=1, max_size=6),
    st.lists(rates(0.0, 1.0), min_size=6, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_no_layer_takes_more_than_the_loss_or_than_its_bearers_hold(block, loss, fund, treasury, equity, parts) -> None:
    layer = layers.build(layers.find(block["type"]).Parameters.model_validate(block))
    gains = [part * one for part, one in zip(parts, equity, strict=False)]
    charge = charged(layer, view(loss, fund, treasury, tuple(equity), tuple(gains), tuple(10.0 * one for one in equity)))
    assert paid(charge) <= loss * (1.0 + 1e-9) + 1e-6
    assert 0.0 <= charge.fund <= fund
    assert 0.0 <= charge.treasury <= treasury
    if charge.accounts is not None:
        assert (charge.accounts >= 0.0).all()
        assert (charge.accounts <= of(*equity) * (1.0 + 1e-9)).all()


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["fund"], "expected `write_down` as the last layer and nowhere else"),
        (["write_down", "fund"], "expected `write_down` as the last layer and nowhere else"),
        (["write_down", "write_down"], "expected `write_down` as the last layer and nowhere else"),
        (["fund", "fund", "write_down"], "expected `fund` at most once"),
        (["deleveraging", "deleveraging", "write_down"], "expected `deleveraging` at most once"),
        (["socialised_loss", "deleveraging", "write_down"], "expected `deleveraging` before layers that take from accounts"),
        ([], "at least 1 item"),
    ],
)
def test_impossible_waterfalls_are_refused(kinds, message) -> None:
    with pytest.raises(ValidationError, match=message):
        ClearinghouseParameters.model_validate({"waterfall": [{"type": kind} for kind in kinds]})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"route": {"order": ["book", "book"]}}, "expected each of book, liquidators, vault, takeover at most once"),
        ({"route": {"order": []}}, "at least 1 item"),
        (
            {"waterfall": [{"type": "deleveraging", "price": "mark", "severity": 0.5}, {"type": "write_down"}]},
            "found 0.5 at mark price, expected 1, for only bankruptcy price absorbs a loss",
        ),
        ({"fees": {"taker": 0.0001, "maker": -0.0002}}, r"expected maker \+ taker of at least 0"),
        ({"waterfall": [{"type": "piggy_bank"}, {"type": "write_down"}]}, "expected one of .*deleveraging, exchange_capital, fund"),
    ],
)
def test_impossible_clearinghouses_are_refused(block, message) -> None:
    with pytest.raises(ValidationError, match=message):
        ClearinghouseParameters.model_validate(block)
