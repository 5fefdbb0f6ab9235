"""The layers of a central counterparty against published examples of who pays what."""

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.members import Assessment, DefaulterContribution, MembersFund, MemberView, SecondSkin, TearUp
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.waterfall import Charge, ExchangeCapital, Layer, LayerView, WriteDown


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def view(loss: float, held=(10.0, 25.0, 15.0), caused=(1e9, 0.0, 0.0), treasury=0.0, equity=(0.0, 1e3, 1e3), hours=0.0) -> LayerView:
    nothing = np.zeros(len(equity))
    members = MemberView(np.arange(3), of(*held), of(10.0, 25.0, 15.0), of(*caused), hours)
    return LayerView(loss, 0.0, treasury, of(*equity), nothing, nothing, 0.0, members)


def paid(charge: Charge) -> float:
    parts = (charge.contributions, charge.accounts)
    return charge.fund + charge.treasury + sum(0.0 if part is None else float(part.sum()) for part in parts)


@pytest.mark.parametrize(
    ("loss", "uses"),
    [
        (62.0, [10, 2, 0, 0, 0, 0]),
        (80.0, [10, 5, 15, 0, 0, 0]),
        (107.0, [10, 5, 40, 2, 0, 0]),
        (130.0, [10, 5, 40, 3, 22, 0]),
        (160.0, [10, 5, 40, 3, 40, 12 - 10]),
    ],
)
def test_a_central_counterpartys_layers_are_used_in_order(loss: float, uses: list[float]) -> None:
    # The defaulter's margin of 50 comes first, then its contribution of 10, skin in the game 5, the survivors' 25 + 15, a second skin
    # of 3, calls of at most their contributions, again 40; what is left is 12 of 160, of which claims bear the 2 that there are.
    whole = SecondSkin(SecondSkin.Parameters(share=1.0))
    order: list[tuple[Layer, dict[str, float]]] = [
        (DefaulterContribution(), {}),
        (ExchangeCapital(ExchangeCapital.Parameters(share=1.0)), {"treasury": 5.0}),
        (MembersFund(), {}),
        (whole, {"treasury": 3.0}),
        (Assessment(), {}),
        (WriteDown(), {}),
    ]
    left, found = loss - 50.0, []
    for layer, holds in order:
        equity = (0.0, 1.0, 1.0) if isinstance(layer, WriteDown) else (0.0, 1e3, 1e3)
        charge, _ = layer.rule(view(left, equity=equity, **holds), layer.initial_state(), None)
        found.append(paid(charge))
        left -= paid(charge)
    assert found == pytest.approx(uses)


def test_nasdaqs_members_lost_two_thirds_of_their_fund_in_2018() -> None:
    # 114m EUR beyond the defaulter's means: 7m of the exchange, then 107m of the others' 166m: 64.5 % of each contribution.
    charge, _ = MembersFund().rule(view(107.0, held=(0.0, 100.0, 66.0)), None, None)
    assert charge.contributions == pytest.approx(107.0 * of(0.0, 100.0, 66.0) / 166.0)
    assert charge.contributions is not None
    assert charge.contributions[1] / 100.0 == pytest.approx(0.6445783132530121)


def test_a_defaulter_pays_for_its_own_default_alone() -> None:
    # Two defaulters leave 4 and 30; the second has 25: 4 + 25 of 34, and half of that where layers before have left 14.5.
    caused = (4.0, 30.0, 0.0)
    assert DefaulterContribution().rule(view(34.0, caused=caused), None, None)[0].contributions == pytest.approx([4.0, 25.0, 0.0])
    assert DefaulterContribution().rule(view(14.5, caused=caused), None, None)[0].contributions == pytest.approx([2.0, 12.5, 0.0])
    nobody = DefaulterContribution().rule(view(34.0, caused=(0.0, 0.0, 0.0)), None, None)[0].contributions
    assert nobody is not None
    assert nobody.tolist() == [0.0, 0.0, 0.0]


def test_calls_are_capped_over_the_cooling_off_period_and_by_what_members_have() -> None:
    rule = Assessment(Assessment.Parameters(cap=2.0, cooling_off=100.0))
    charge, state = rule.rule(view(60.0), None, None)
    assert charge.accounts == pytest.approx([0.0, 37.5, 22.5])  # 25 : 15
    charge, state = rule.rule(view(60.0, hours=99.0), state, None)
    assert charge.accounts == pytest.approx([0.0, 12.5, 7.5])  # 80 in all
    charge, state = rule.rule(view(60.0, hours=100.0, equity=(0.0, 10.0, 1e3)), state, None)
    assert charge.accounts == pytest.approx([0.0, 10.0, 30.0])


def test_a_tear_up_takes_one_part_of_all_gains_and_ends_all_contracts() -> None:
    seen = LayerView(20.0, 0.0, 0.0, of(500.0, 30.0, 70.0), of(60.0, 30.0, 10.0), of(0.0, 0.0, 0.0))
    charge, _ = TearUp().rule(seen, None, None)
    assert charge.accounts == pytest.approx([12.0, 6.0, 2.0])
    assert charge.tears_up


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"waterfall": [{"type": "members_fund"}, {"type": "write_down"}]}, "expected `members` to be set, for `members_fund` is theirs"),
        (
            {"members": {}, "waterfall": [{"type": "members_fund"}, {"type": "defaulter_contribution"}, {"type": "write_down"}]},
            "expected `defaulter_contribution` before `members_fund`",
        ),
        (
            {"members": {}, "waterfall": [{"type": "assessment"}, {"type": "deleveraging"}, {"type": "write_down"}]},
            "before layers that take",
        ),
    ],
)
def test_impossible_waterfalls_of_members_are_refused(block: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClearinghouseParameters.model_validate(block)
