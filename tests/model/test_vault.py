"""The backstop vault, and what the route knows of backstop slices and of speed, by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.liquidation import Slices
from agents.clearinghouse.parameters import ClearinghouseParameters
from model.deleveraging import Deleverager
from model.ledger import OUTSIDE, Flow
from model.losses import Losses
from model.rounds import Liquidator
from model.walked import Walked
from tests.validation.handmade import Handmade, handmade

WRITE_DOWN = {"type": "write_down"}
BACKSTOP = {"order": ["book"], "backstop": ["vault"]}
KEEPS = {"type": "remaining_equity", "bounty": 1.0}
MAKER, VAULT, FIRST = 4, 6, 7
"""With a vault, traders begin one row later."""


def with_vault(deposits: list[float], *, capital: float = 1_000.0, **house: object) -> Handmade:
    """A vault of `capital` that may lose half of it, and traders."""
    vault = {"capital": capital, "appetite": 5.0, "stop_loss": 0.5}
    layers = [{"type": "vault"}, {"type": "fund"}, WRITE_DOWN]
    one = handmade(deposits, vault=vault, **{"waterfall": layers, "route": BACKSTOP, "fees": {"liquidation": KEEPS}, **house})
    one.venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, VAULT, capital)
    return one


def test_the_vault_takes_over_at_mark_with_what_margin_is_left() -> None:
    # Ten bought at 100 with 100 are worth 40 at 94: below maintenance. Position and 40 USD go to the vault.
    one = with_vault([100.0])
    assert (int(one.venue.makers[0]), int(one.venue.vault[0]), one.venue.institutions) == (MAKER, VAULT, FIRST)
    one.position(FIRST, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.held(VAULT, FIRST, MAKER) == [10.0, 0.0, -10.0]
    assert one.equity(VAULT, FIRST) == pytest.approx([1_040.0, 0.0], abs=1e-9)
    assert one.venue.tally.bounties == pytest.approx(40.0)


def test_depositors_bear_a_deficit_before_the_fund_and_only_as_much_as_they_may_lose() -> None:
    # Forty at 75 with 400 are 600 short: the vault pays 500 of its 1,000, the fund the rest.
    one = with_vault([400.0], fund=200.0)
    one.position(FIRST, MAKER, 40.0, 100.0)
    one.move(75.0)
    assert one.absorbed == {"vault": pytest.approx(500.0), "fund": pytest.approx(100.0)}
    assert one.equity(VAULT, FIRST) == pytest.approx([500.0, 0.0], abs=1e-9)
    # It has lost what it may: slices of another account, in breach at 70, find no taker.
    one = with_vault([400.0, 130.0], fund=200.0)
    one.position(FIRST, MAKER, 40.0, 100.0)
    one.position(FIRST + 1, MAKER, 4.0, 100.0)
    one.move(75.0, 70.0)
    assert one.held(VAULT, FIRST + 1) == [40.0, 4.0]


def test_the_vault_takes_no_more_than_its_appetite() -> None:
    # Five times 100 are 500 USD, of 940.
    one = with_vault([100.0], capital=100.0, rounds=1)
    one.position(FIRST, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.held(VAULT) == pytest.approx([500.0 / 94.0])


def test_the_vault_s_appetite_is_one_over_all_markets() -> None:
    # Five times 100 are 500 USD: three at 94 leave 218, which are 21.8 of the 40 at 10.
    one = with_vault([36.0], prices=[100.0, 10.0], capital=100.0, rounds=1)
    one.position(FIRST, MAKER, 3.0, 100.0)
    one.position(FIRST, MAKER, 40.0, 10.0, market=1)
    one.move(94.0)
    assert one.held(VAULT) == pytest.approx([3.0])
    assert one.held(VAULT, market=1) == pytest.approx([21.8])


def test_slices_of_which_the_account_keeps_something_go_the_ordinary_way() -> None:
    one = with_vault([100.0], liquidation={"type": "full", "keeps": 1.0})
    one.position(FIRST, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.held(VAULT, FIRST) == [0.0, 0.0]
    assert one.equity(FIRST)[0] > 39.0


def test_a_speed_limit_lets_through_so_much_a_minute_and_the_rest_carries_on() -> None:
    # 300 USD a minute for two increments of half a minute each: twice 150 of the 940 USD.
    one = handmade([100.0], speed_limit=[300.0], fees={"liquidation": 0.0})
    one.position(FIRST - 1, MAKER, 10.0, 100.0)
    one.walk(np.array([[np.log(0.94), 0.0]]), np.array([1 / 120, 1 / 120]))
    assert one.held(FIRST - 1) == pytest.approx([10.0 - 300.0 / 94.0], rel=2e-3)
    assert one.venue.tally.unfinished == 2


def test_what_rounding_leaves_of_a_speed_limit_is_nothing_and_no_debt() -> None:
    # 769 - (769 / 4,462) x 4,462 is -1e-13 in floating point: less than the nothing that is wanted of the market in the next round.
    one = handmade([100.0])
    walked = Walked(one.venue, np.array([FIRST - 1]))
    losses = Losses(walked)
    engine = Liquidator(walked, losses, Deleverager(walked, losses))
    one.venue.allowance = np.array([769.0])
    for wanted, part in ((4_462.0, 769.0 / 4_462.0), (0.0, 1.0)):
        cut = engine._within_speed(Slices(np.ones((1, 1)), np.ones(1)), np.array([[wanted]]))
        assert cut.fraction[0] == pytest.approx([part])
        assert one.venue.allowance.tolist() == [0.0]


@pytest.mark.parametrize(
    ("block", "word"),
    [
        ({"waterfall": [{"type": "vault"}, WRITE_DOWN]}, "vault"),
        ({"route": {"order": ["vault"]}}, "vault"),
        ({"route": {"backstop": ["vault"]}}, "vault"),
        ({"route": {"backstop": ["book", "book"]}}, "`book` again, expected each of"),
        ({"vault": {}, "waterfall": [{"type": "vault"}, {"type": "vault"}, WRITE_DOWN]}, "once"),
        ({"vault": {"stop_loss": 0.0}}, "stop_loss"),
    ],
)
def test_an_impossible_vault_is_refused(block: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        ClearinghouseParameters.model_validate(block)
