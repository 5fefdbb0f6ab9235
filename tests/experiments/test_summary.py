"""The numbers that a person reads."""

from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from experiments.store import Run
from experiments.summary import show, span, summary, usd
from model.scenario import Scenario


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0.0, "$0"),
        (0.456, "$0.46"),
        (5.0, "$5"),
        (999.4, "$999"),
        (999.6, "$1.00k"),
        (1234.0, "$1.23k"),
        (45_600.0, "$45.6k"),
        (-45_600.0, "-$45.6k"),
        (999_600.0, "$1.00m"),
        (123_456_789.0, "$123m"),
        (6e10, "$60.0bn"),
        (float("nan"), "n/a"),
    ],
)
def test_money_has_a_unit_and_three_digits(amount: float, shown: str) -> None:
    assert usd(amount) == shown


def test_a_flow_shows_its_sign() -> None:
    assert (usd(1e6, signed=True), usd(-1e6, signed=True)) == ("+$1.00m", "-$1.00m")


@pytest.mark.parametrize(("hours", "shown"), [(0.5, "30 minutes"), (50.0, "50 hours"), (336.0, "14 days"), (43_800.0, "5 years")])
def test_time_is_told_in_the_unit_a_person_would_use(hours: float, shown: str) -> None:
    assert span(hours) == shown


@pytest.fixture
def crash() -> Run:
    """Fund: 100 → 120 → 30 → 60. It falls from 120 to 30, by 75 %, in step 2. Deficits 200 = fund 90 + capital 50 + write-down 60."""
    nothing = [0.0, 0.0, 0.0, 0.0]
    columns = {
        "step": [0, 1, 2, 3],
        "hours": [0.0, 1.0, 2.0, 3.0],
        "fund": [100.0, 120.0, 30.0, 60.0],
        "deficits": [0.0, 0.0, 200.0, 0.0],
        "residual_loss": [0.0, 0.0, 110.0, 0.0],
        "absorbed_fund": [0.0, 0.0, 90.0, 0.0],
        "absorbed_exchange_capital": [0.0, 0.0, 50.0, 0.0],
        "absorbed_write_down": [0.0, 0.0, 60.0, 0.0],
        "absorbed_deleveraging": nothing,
        "absorbed_socialised_loss": nothing,
        "liquidated": [0.0, 1e6, 2e6, 0.0],
        "liquidations": [0.0, 1.0, 4.0, 0.0],
        "bankruptcies": [0.0, 0.0, 2.0, 0.0],
        "defaults": [0.0, 0.0, 3.0, 1.0],
        "contagious_defaults": [0.0, 0.0, 2.0, 1.0],
        "default_waves": [0.0, 0.0, 2.0, 1.0],
        "network_loss": [0.0, 0.0, 500.0, 40.0],
        "liquidated_accounts": [0.0, 1.0, 4.0, 0.0],
        "liquidated_alone": [0.0, 1.0, 3.0, 0.0],
        "fund_recovery": [0.0, 0.0, 1.0, 2.0],
        "depth_recovery": [0.0, 0.0, 1.0, 0.0],
        "deleveraged": nothing,
        "unfinished": nothing,
        "insolvent": [0.0, 0.0, 1.0, 1.0],
    }
    flows = [(1, 1.0, "trading_fee", 20.0), (2, 2.0, "draw_execution", -90.0), (3, 3.0, "trading_fee", 30.0)]
    statement = pd.DataFrame(flows, columns=["step", "hours", "flow", "amount"])
    empty = pd.DataFrame()
    sheets = pd.DataFrame({"node": ["a", "b", "c"], "debtrank": [0.1, 0.4, float("nan")]})
    return Run(Scenario(name="crash"), 1, pd.DataFrame(columns), empty, statement, sheets, empty, 0.1)


def test_the_summary_tells_the_fund_who_paid_and_how_far_it_spread(crash: Run) -> None:
    told = summary(crash)
    assert told["fund"] == {
        "opening": 100.0,
        "flows": {"draw_execution": -90.0, "trading_fee": 50.0},
        "closing": 60.0,
        "lowest": 30.0,
        "largest_fall": 0.75,
        "largest_fall_at_hours": 2.0,
    }
    assert list(told["absorbed"].items()) == [
        ("fund", 90.0),
        ("exchange_capital", 50.0),
        ("deleveraging", 0.0),
        ("socialised_loss", 0.0),
        ("write_down", 60.0),
    ], "in the order of the scenario's waterfall"
    assert (told["defaults"], told["contagious_defaults"], told["default_waves"], told["network_loss"]) == (4, 3, 2, 540.0)
    assert told["insolvent_at_hours"] == 2.0
    assert told["branching_ratio"] == 0.2
    assert (told["fund_recovery_hours"], told["depth_recovery_hours"]) == (2.0, 1.0)
    assert list(told["debtrank"].items()) == [("b", 0.4), ("a", 0.1)]


def test_the_printed_table_says_the_same_in_words(crash: Run) -> None:
    console = Console(width=100, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        show(crash, console)
    lines = [" ".join(line.split()) for line in captured.get().splitlines()]
    assert lines == [
        "crash, seed 1: 3 steps, 3 hours",
        "backstop fund, opening $100",
        "trading fee +$50",
        "draw execution -$90",
        "backstop fund, closing $60",
        "largest fall from a peak 75.0% reached after 2 hours",
        "liquidated $3.00m in 5 liquidations; 2 accounts went bankrupt",
        "deficits $200 who paid, in order:",
        "fund $90 45%",
        "exchange capital $50 25%",
        "deleveraging $0 0%",
        "socialised loss $0 0%",
        "write down $60 30%",
        "defaults of institutions 4 1 alone, 3 by contagion; creditors lost $540",
        "exchange insolvent claims written down after 2 hours",
    ]


def test_a_levy_that_moves_is_told_with_its_peak_over_its_trough(crash: Run) -> None:
    for rates, said in (
        ([0.01, 0.01, 0.05, 0.01], ["levy on open positions, a year 2.00% at most 5.00%, after 2 hours, 5 times its lowest"]),
        ([0.00, 0.00, 0.04, 0.00], ["levy on open positions, a year 1.00% at most 4.00%, after 2 hours"]),
        ([0.01, 0.01, 0.01, 0.01], []),
        ([0.00, 0.00, 0.00, 0.00], []),
    ):
        crash.series["levy_rate"] = rates
        console = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
        with console.capture() as captured:
            show(crash, console)
        lines = [" ".join(line.split()) for line in captured.get().splitlines()]
        assert [line for line in lines if line.startswith("levy")] == said


def test_of_several_exchanges_each_further_one_has_a_line(crash: Run) -> None:
    two = Scenario.model_validate({"venues": [{"name": "alpha"}, {"name": "beta"}]})
    beta = {"fund__beta": [50.0, 60.0, 70.0, 80.0], "deficits__beta": [0.0, 1.0, 2.0, 0.0], "insolvent__beta": [0.0, 0.0, 0.0, 0.0]}
    run = replace(crash, scenario=two, series=crash.series.assign(**beta), statement=crash.statement.assign(venue="alpha"))
    told = summary(run)
    assert told["exchange"] == "alpha"
    assert told["further_exchanges"]["beta"] == {"fund_opening": 50.0, "fund_closing": 80.0, "deficits": 3.0, "insolvent_at_hours": None}
    console = Console(width=120)
    with console.capture() as captured:
        show(run, console)
    lines = [line.rstrip() for line in captured.get().splitlines() if line.startswith("exchange ")]
    assert lines[0].startswith("exchange alpha")
    assert lines[1].split(maxsplit=2)[2].split(maxsplit=1) == ["solvent", "fund $50 to $80; deficits $3"]
