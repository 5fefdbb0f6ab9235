"""The headline: one sentence that changes with the state, and says what the numbers say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from yaml import safe_load

pytest.importorskip("solara", reason="the browser UI's packages are not installed: pip install 'backstop[app]'")

from agents.clearinghouse.accrual import accrual_rules
from agents.clearinghouse.waterfall import layers
from experiments.app import backstop, story, theme
from experiments.app.gate import Watched
from experiments.app.history import Table
from experiments.app.snapshot import stressed
from experiments.drawing import usd
from model.ledger import Flow

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
    why = "The fund did not pay all, for it is divided into pools and not every pool had enough"
    share = f"it paid {usd(paid)} of {usd(stress.deficits)} lost beyond margin, and holds {usd(left)} now."
    assert f"{why}: {share}" in story._in_stress(seen, stress).text


@pytest.mark.parametrize(
    ("house", "why"),
    [
        ("waterfall: [{type: fund, share: 0.1}, {type: exchange_capital}, {type: write_down}]", "for one loss may use only a part of it"),
        ("pools: {claims: [1000.0]}", "for each market may claim only so much of it"),
    ],
)
def test_what_keeps_a_fund_from_paying_is_said(watch: Watch, shocked: str, house: str, why: str) -> None:
    file = Path(shocked).with_name("limited.yaml")
    file.write_text(Path(shocked).read_text().replace("fund: 1e4", f"fund: 1e6, {house}"))
    seen = watch(str(file), steps=4).snapshot
    stress = seen.stress
    assert stress is not None
    assert stress.residual > 0.0
    assert seen.table["fund"][-1] > story.EMPTY * stress.absorbed["fund"]
    assert story._in_stress(seen, stress).text.startswith(f"The fund did not pay all, {why}: it paid {usd(stress.absorbed['fund'])}")


def test_a_fund_that_is_spared_while_winners_pay_is_told_as_such(watch: Watch, early_crash: str) -> None:
    layers = "waterfall: [{type: fund}, {type: deleveraging, drawdown: 0.1}, {type: write_down}]"
    Path(early_crash).write_text(Path(early_crash).read_text().replace("fund: 10.0e+6", f"fund: 40e6\n      {layers}"))
    seen = watch(early_crash, steps=9).snapshot
    why = "The fund did not pay all, for winners come before it once it has lost a part of what it held: it paid "
    assert story.headline(seen).text.startswith(why)


def test_a_fund_that_was_emptied_and_fills_again_is_told_as_such(watch: Watch, shocked: str) -> None:
    seen = watch(shocked, steps=4).snapshot
    stress = seen.stress
    assert stress is not None
    assert seen.table.last("fund") <= story.EMPTY * stress.absorbed["fund"]
    assert story._in_stress(seen, stress).text.startswith("The fund is exhausted: it paid ")
    values = np.vstack([seen.table.values, seen.table.values[-1]])
    values[-1, seen.table.columns["fund"]] = 1e6
    later = replace(seen, table=Table(seen.table.columns, values))
    told = story._in_stress(later, stress).text
    assert told.startswith("The fund was exhausted: it paid ")
    assert "lost beyond margin, and has been filled again to $1.00m." in told


def test_contracts_that_nobody_bought_cost_the_other_side_nothing_while_the_fund_pays(watch: Watch, early_crash: str) -> None:
    Path(early_crash).write_text(Path(early_crash).read_text().replace("fund: 10.0e+6", "fund: 20e6"))
    seen = watch(early_crash, steps=5).snapshot
    stress = seen.stress
    assert stress is not None
    assert stress.residual == stress.absorbed["deleveraging"] == 0.0
    assert stress.deleveraged > 0.0
    told = story._in_stress(seen, stress)
    assert told.mood == "stress"
    assert f"Accounts lost {usd(stress.deficits)} beyond their margin. The fund has paid it and still holds" in told.text
    assert f"{usd(stress.deleveraged)} of the bankrupt accounts' contracts found no buyer" in told.text
    (row,) = [row for row in backstop.who_paid(seen, dark=False)["rows"] if row["layer"] == "deleveraging"]
    assert row["note"] == f"{usd(stress.deleveraged)} of winners’ contracts closed at the current price, at no loss"


def test_a_small_loss_is_not_called_a_stress(watch: Watch, shocked: str) -> None:
    file = Path(shocked).with_name("rich.yaml")
    file.write_text(Path(shocked).read_text().replace("fund: 1e4", "fund: 1e9"))
    seen = watch(str(file), steps=4).snapshot
    stress = seen.stress
    assert stress is not None
    assert 0.0 < stress.deficits < story.SMALL * seen.table.last("fund")
    assert story._in_stress(seen, replace(stress, deleveraged=0.0)).text.startswith("A small loss. ")
    assert story._in_stress(seen, replace(stress, deleveraged=0.0)).mood == "calm"
    assert story._in_stress(seen, replace(stress, deleveraged=1e6)).text.startswith("Stress. ")


EVERY_RULE = """
name: levied
steps: 60
traders: {groups: [{name: few, count: 60, equity: 4e7}]}
shocks: [{type: price_move, at: 20, size: [-0.3, -0.4, -0.5]}]
venues:
  - market_makers: {depth: [1e5, 1e5, 1e4]}
    clearinghouse:
      fund: 2e5
      capital: 5e6
      accrual:
        - {type: trading_fees}
        - {type: open_interest, exponent: 1.0}
        - {type: volume}
        - {type: funding}
        - {type: liquidation_fees}
        - {type: surplus}
        - {type: scheduled_injection, amount: 1e4, every: 6}
        - {type: injection_on_adequacy}
        - {type: target_seeking}
      adequacy: [{type: recapitalise}]
"""


def test_every_accrual_rule_that_ships_is_among_those_tried() -> None:
    named = {rule["type"] for rule in safe_load(EVERY_RULE)["venues"][0]["clearinghouse"]["accrual"]}
    assert named == set(accrual_rules.members)


@pytest.mark.parametrize(("world", "steps"), [("early", 14), ("levied", 60), pytest.param("crash", 168, marks=pytest.mark.slow)], ids=str)
def test_what_is_shown_to_flow_in_and_out_is_how_the_fund_changed_at_every_step(
    watch: Watch, early_crash: str, tmp_path: Path, world: str, steps: int
) -> None:
    (tmp_path / "levied.yaml").write_text(EVERY_RULE)
    seen = watch({"early": early_crash, "levied": str(tmp_path / "levied.yaml")}.get(world, world), steps=steps).snapshot
    inward, outward = backstop.flows(seen)
    shown = sum(inward.values(), np.zeros(len(seen.table))) + sum(outward.values(), np.zeros(len(seen.table)))
    assert all((values >= 0.0).all() for values in inward.values())
    assert all((values <= 0.0).all() for values in outward.values())
    assert shown[1:] == pytest.approx(np.diff(seen.table["fund"]), rel=1e-9, abs=1e-3)
    assert seen.total("deficits") > 0.0
    # Nothing is hidden under `other`, and each flow has a colour of its own among those that stand beside it.
    assert not {"other"} & {*inward, *outward}
    for parts in (inward, outward):
        assert len({theme.flow(name, dark=False) for name in parts}) == len(parts)
    if world == "levied":  # in thin books nothing is left of a liquidated margin; there is no option vault
        assert set(inward) >= {*story.INFLOWS, *story.OWNERS} - {Flow.SURPLUS, Flow.OPTION_VAULT_INCOME}


def test_in_calm_owners_are_told_apart_from_those_who_trade(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "levied.yaml").write_text(EVERY_RULE)
    seen = watch(str(tmp_path / "levied.yaml"), steps=19).snapshot
    assert seen.stress is None
    paid, given = (sum(seen.total(f"fund_flow_{flow}") for flow in flows) for flows in (story.INFLOWS, story.OWNERS))
    assert f"put {usd(paid)} into the fund, the exchange and its owners {usd(given)}." in story.headline(seen).text


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
