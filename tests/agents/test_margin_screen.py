"""What the screen of accounts is told by a margin rule holds for every rule: nobody who could breach is left out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.clearinghouse import margin_history, margin_size  # noqa: F401 - members of the family
from agents.clearinghouse.margin import MarginRule, MarginView, MarketSeen, margin_rules
from tests.laws.strategies import margins

ACCOUNTS = 8
ROUNDING = 1.0 + 1e-9


def seen(draw: st.DrawFn, block: dict[str, object], underlyings: int) -> tuple[MarginRule, object]:
    """A rule, and its state after some steps of prices."""
    rule: MarginRule = margin_rules.build(margin_rules.find(str(block["type"])).Parameters.model_validate(block))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    state = rule.opened(MarketSeen(0.0, np.zeros(underlyings), rng.uniform(0.1, 2.0, underlyings)))
    for _ in range(draw(st.integers(0, 20))):
        state = rule.observe(MarketSeen(1.0, 0.02 * rng.standard_t(3, underlyings), np.ones(underlyings)), state)
    return rule, state


def view(position: np.ndarray, marks: np.ndarray, assets: np.ndarray, interest: np.ndarray) -> MarginView:
    return MarginView(
        position,
        np.abs(position) * marks[:, None],
        marks,
        assets=assets,
        open_interest=interest,
        volatility=np.ones(int(assets.max()) + 1),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[MarginRule, object, MarginView, np.ndarray]:
    """A rule, its state, accounts in three markets on two or three underlyings, and marks below theirs."""
    assets = np.array(draw(st.sampled_from([(0, 1, 2), (0, 0, 1), (0, 1, 0)])))
    rule, state = seen(draw, draw(margins), int(assets.max()) + 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    marks = 10.0 ** rng.uniform(-2.0, 5.0, 3)
    usd = 10.0 ** rng.uniform(1.0, 9.5, (3, ACCOUNTS)) * rng.choice([-1.0, 0.0, 1.0], (3, ACCOUNTS), p=[0.4, 0.2, 0.4])
    here = view(usd / marks[:, None], marks, assets, 10.0 ** rng.uniform(5.0, 8.0, 3))
    return rule, state, here, marks * rng.uniform(0.3, 1.0, 3)


@given(cases())
@settings(max_examples=300, deadline=None)
def test_within_the_flat_region_maintenance_is_at_most_its_rate(case) -> None:
    rule, state, here, _ = case
    rate, limit = rule.flat_region(here, state)
    notional = np.minimum(here.notional, limit[:, None])
    within = view(np.sign(here.position) * notional / here.marks[:, None], here.marks, here.assets, here.open_interest)
    maintenance = rule.rule(within, state, None)[0].by_market.sum(axis=0)
    assert (maintenance <= (rate @ within.notional) * ROUNDING + 1e-9).all()


@given(cases())
@settings(max_examples=300, deadline=None)
def test_no_marks_below_make_maintenance_exceed_the_ceiling(case) -> None:
    # Markets that net against each other ask for more, not less, when one of them loses value: margin at the highest marks is no bound.
    rule, state, here, marks = case
    lower = view(here.position, marks, here.assets, here.open_interest)
    for at in (here, lower):
        maintenance = rule.rule(at, state, None)[0].by_market.sum(axis=0)
        assert (maintenance <= rule.ceiling(here, state) * ROUNDING + 1e-9).all()


@given(cases())
@settings(max_examples=300, deadline=None)
def test_no_rule_asks_for_more_to_keep_a_position_than_to_open_it_and_no_market_has_less_than_nothing(case) -> None:
    rule, state, here, _ = case
    margin = rule.rule(here, state, None)[0]
    assert (margin.by_market >= 0.0).all()
    assert (margin.by_market.sum(axis=0) <= margin.initial * ROUNDING + 1e-9).all()
    assert (margin.by_market[here.notional == 0.0] == 0.0).all()
