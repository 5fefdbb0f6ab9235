"""One run from Python: what it returns, that it repeats itself, and how it fails."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.runner import Run, RunFailed, run
from model.ecosystem import Ecosystem
from model.errors import LawViolation, ScenarioError
from model.observables import observables
from model.scenario import Scenario

SMALL = Scenario.model_validate(
    {
        "name": "small",
        "steps": 12,
        "traders": {"groups": [{"name": "few", "count": 60, "equity": 6e7, "leverage": 20.0}]},
        "shocks": [{"type": "price_move", "at": 6.0, "lasts": 2.0, "size": [-0.3]}],
    }
)


@pytest.fixture(scope="module")
def small() -> Run:
    return run(SMALL, seed=3)


def test_a_run_holds_a_row_for_each_step_and_for_the_opening(small: Run) -> None:
    assert small.series["step"].tolist() == list(range(13))
    assert list(small.series.columns[1:]) == [output.name for output in observables(["BTC", "ETH", "ALT"])]
    assert (small.steps, small.seed, small.scenario) == (12, 3, SMALL)
    assert small.seconds > 0


def test_the_funds_statement_explains_its_change(small: Run) -> None:
    fund = small.series["fund"]
    assert fund.iloc[-1] != fund.iloc[0]
    assert fund.iloc[0] + small.statement["amount"].sum() == pytest.approx(fund.iloc[-1], rel=1e-12)


def test_a_crash_leaves_events_balance_sheets_and_debts(small: Run) -> None:
    assert {"step", "kind", "account", "amount", "layer"} <= set(small.events.columns)
    assert small.events["step"].between(1, 12).all()
    assert "liquidation" in "".join(small.events["kind"].unique())
    assert set(small.edges["source"]) | set(small.edges["target"]) <= set(small.balance_sheets["node"])
    assert (small.edges["amount"] > 0).all()


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(small: Run) -> None:
    again, other = run(SMALL, seed=3, check_laws=True), run(SMALL, seed=4)
    for name in ("series", "events", "statement", "balance_sheets", "edges"):
        pd.testing.assert_frame_equal(getattr(small, name), getattr(again, name), check_exact=True)
    assert not np.array_equal(small.series["mark_BTC"], other.series["mark_BTC"])


def test_fewer_steps_are_the_beginning_of_more(small: Run) -> None:
    short = run(SMALL, seed=3, steps=4)
    assert short.scenario.steps == 4
    pd.testing.assert_frame_equal(short.series, small.series.iloc[:5], check_exact=True)


def test_progress_is_told_from_none_to_all() -> None:
    told: list[tuple[int, int]] = []
    run(SMALL, seed=0, steps=3, progress=lambda done, steps: told.append((done, steps)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("options", "said"), [({"seed": -1}, "run: seed: found -1"), ({"seed": 0, "steps": 0}, "run: steps: found 0")])
def test_a_negative_seed_and_no_steps_are_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        run(SMALL, **options)  # type: ignore[arg-type]


def test_more_steps_than_rows_of_prices_are_refused_before_the_first(tmp_path: Path) -> None:
    rows = "".join(f"2025-01-01T0{hour}:00:00,100,101,99,100\n" for hour in range(5))
    (tmp_path / "btc.csv").write_text(f"timestamp,open,high,low,close\n{rows}")
    replay = {"type": "replay", "files": [str(tmp_path / "btc.csv")]}
    scenario = Scenario.model_validate({**SMALL.model_dump(mode="json", by_alias=True), "news": replay})
    assert run(scenario, seed=0, steps=5).steps == 5
    with pytest.raises(ScenarioError, match="prices: steps: found 6, expected at most 5, one for each row"):
        run(scenario, seed=0, steps=6, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def break_at(step: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the model fail in a step."""
    sound = Ecosystem.assert_laws

    def broken(eco: Ecosystem) -> None:
        sound(eco)
        if eco.tick == step:
            raise error

    monkeypatch.setattr(Ecosystem, "assert_laws", broken)


def test_a_broken_law_is_told_with_its_step_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_at(2, LawViolation(2, "cash is closed (off by 3 USD)", [7]), monkeypatch)
    with pytest.raises(RunFailed) as raised:
        run(SMALL, seed=0, check_laws=True, out=tmp_path / "out")
    assert str(raised.value) == "step 2: a law does not hold: cash is closed (off by 3 USD) (rows 7)"
    assert isinstance(raised.value.__cause__, LawViolation)
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_told_with_its_step_and_where_it_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    break_at(3, ZeroDivisionError("division by zero"), monkeypatch)
    with pytest.raises(RunFailed) as raised:
        run(SMALL, seed=0, check_laws=True)
    assert raised.value.step == 3
    assert "ZeroDivisionError: division by zero (tests/experiments/test_runner.py:" in raised.value.reason
