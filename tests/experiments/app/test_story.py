"""The headline: one sentence that changes with the state, and says what the numbers say."""

from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("solara", reason="the browser UI's packages are not installed: pip install 'backstop[app]'")

from agents.clearinghouse.waterfall import layers
from experiments.app import backstop, story
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


def test_every_layer_that_ships_has_a_name_a_sentence_and_a_payer() -> None:
    ships = set(layers.members)
    assert ships <= set(backstop.NAMES)
    assert ships <= set(backstop.SAYS)
    assert ships - set(story.ITS_OWN) <= set(story.PAYERS)


def test_a_layer_of_ones_own_is_told_under_its_own_name(watch: Watch, shocked: str) -> None:
    seen = watch(shocked, steps=4).snapshot
    stress = seen.stress
    assert stress is not None
    named = tuple("angel_investor" if layer == "exchange_capital" else layer for layer in seen.layers)
    absorbed = {**dict(stress.absorbed), "exchange_capital": 0.0, "angel_investor": 2e6}
    stress = replace(stress, absorbed=absorbed, residual=2e6)
    seen = replace(seen, layers=named, stress=stress)
    assert "layer angel investor $2.00m" in story._in_stress(seen, stress).text
    (row,) = [row for row in backstop.who_paid(seen, dark=False)["rows"] if row["layer"] == "angel_investor"]
    assert (row["name"], row["usd"]) == ("angel investor", 2e6)


def test_a_loss_that_is_deferred_is_told_as_yet_to_be_borne(watch: Watch, deferring: str) -> None:
    model = watch(deferring, steps=4)
    seen = model.snapshot
    outstanding = seen.table.last("outstanding")
    assert outstanding > 0.0
    assert f"{usd(outstanding)} is yet to be borne by account holders." in story.headline(seen).text
    (row,) = [row for row in backstop.who_paid(seen, dark=False)["rows"] if row["layer"] == "clawback"]
    assert row["note"] == f"{usd(outstanding)} outstanding: yet to be borne"
    for _ in range(26):
        model.step()
    whole = model.snapshot.whole
    assert whole is not None
    assert whole.absorbed["clawback"] == pytest.approx(float(model.snapshot.table["absorbed_clawback"].sum()), rel=1e-12)
    assert whole.absorbed["clawback"] > 0.0
    unpaid = model.snapshot.table.last("outstanding")
    assert sum(whole.absorbed.values()) + unpaid == pytest.approx(whole.deficits, rel=1e-9)


def test_a_divided_fund_that_still_holds_something_is_not_called_exhausted(watch: Watch, divided: str) -> None:
    seen = watch(divided, steps=4).snapshot
    stress = seen.stress
    assert stress is not None
    assert stress.residual > 0.0
    left, paid = seen.table.last("fund"), stress.absorbed["fund"]
    assert left > story.EMPTY * paid
    expected = f"could not pay all: it paid {usd(paid)} of {usd(stress.deficits)}, and holds {usd(left)} now."
    assert f"The fund, divided into pools, {expected}" in story._in_stress(seen, stress).text


def test_at_the_end_the_whole_run_is_told(watch: Watch, shocked: str) -> None:
    seen = watch(shocked, steps=40).snapshot
    assert seen.whole is not None
    lost = usd(seen.total("deficits"))
    assert story._ended(seen, seen.whole).text.startswith(f"The run is over: {lost} was lost beyond margin, and paid by the fund")
    assert sum(row["usd"] for row in backstop.who_paid(seen, dark=False)["rows"]) == pytest.approx(seen.total("deficits"), rel=1e-9)


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
