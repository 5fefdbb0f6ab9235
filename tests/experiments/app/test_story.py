"""The headline: one sentence that changes with the state, and says what the numbers say."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from experiments.app import story
from experiments.app.gate import Watched
from experiments.app.snapshot import stressed
from experiments.drawing import usd

type Watch = Callable[..., Watched]


def test_before_the_first_step_it_says_what_to_press(watch: Watch) -> None:
    told = story.headline(watch().snapshot)
    assert told.mood == "calm"
    assert "opens with $60.0m in its backstop fund" in told.text
    assert "Press ▶" in told.text


def test_in_calm_it_says_how_the_fund_fills(watch: Watch) -> None:
    seen = watch(steps=6).snapshot
    told = story.headline(seen)
    levied = sum(float(seen.table[f"fund_flow_{flow}"].sum()) for flow in story.INFLOWS)
    assert told.mood == "calm"
    assert told.text.startswith(f"Calm for 6 h: fees and levies have put {usd(levied)} into the fund.")


def test_when_the_fund_is_exhausted_it_names_who_paid_in_waterfall_order(watch: Watch, shocked: str) -> None:
    seen = watch(shocked, steps=6).snapshot
    told = story.headline(seen)
    stress = seen.stress
    assert stress is not None
    assert stress.residual > 0
    assert sum(stress.absorbed.values()) == pytest.approx(stress.deficits, rel=1e-9)
    assert told.mood in {"empty", "insolvent"}
    paid = [layer for layer in seen.layers if stress.absorbed[layer] > 0 and layer != "fund"]
    if told.mood == "empty":
        places = [told.text.index(usd(stress.absorbed[layer])) for layer in paid]
        assert places == sorted(places)


def test_a_failure_comes_before_everything_else(watch: Watch, shocked: str) -> None:
    seen = replace(watch(shocked, steps=6).snapshot, failure="step 7: a law does not hold: cash")
    told = story.headline(seen)
    assert (told.mood, told.text) == ("failed", "The run has stopped: step 7: a law does not hold: cash. Reset opens it anew.")


def test_a_stress_is_over_after_a_day_without_deficit_and_the_next_one_starts_anew(watch: Watch, shocked: str) -> None:
    model = watch(shocked, steps=4)
    stress = model.snapshot.stress
    assert stress is not None
    assert (stress.start, stress.end) == (3.0, 4.0)
    assert stress.going_on(28.0)
    assert not stress.going_on(28.5)
    model.tick = 60
    model.observation = {**model.observation, "deficits": 5.0, "absorbed_fund": 5.0}
    fresh = stressed(stress, model)
    assert fresh is not None
    assert (fresh.start, fresh.end, fresh.deficits) == (59.0, 60.0, 5.0)


def test_the_cards_show_what_the_table_holds(watch: Watch, shocked: str) -> None:
    seen = watch(shocked, steps=6).snapshot
    cards = {figure.label: figure.amount for figure in story.figures(seen)}
    assert cards["Backstop fund"] == usd(seen.table.last("fund"))
    assert cards["Losses beyond margin"] == usd(float(seen.table["deficits"].sum()))
    assert cards["Beyond the fund"] == usd(float(seen.table["residual_loss"].sum()))
    assert cards["Defaults"] == str(int(seen.table["defaults"].sum()))
    change = seen.table["index_BTC"][-1] / seen.table["index_BTC"][0] - 1
    assert cards["BTC"] == f"−{-100 * change:.1f}%"
