"""A run as public quantitative disclosures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments import disclosure, runner, store
from model.scenario import Scenario


@pytest.fixture(scope="module")
def crash() -> runner.Run:
    base = Scenario().model_dump(mode="json", by_alias=True)
    base["traders"]["groups"] = [{"count": 80, "equity": 8e7, "leverage": 15.0}]
    base["shocks"] = [{"type": "price_move", "at": 3.0, "size": [-0.3, -0.4, -0.5]}]
    base["venues"][0]["clearinghouse"] |= {"fund": 1e6, "pools": {"by": "market"}}
    return runner.run(Scenario.model_validate(base), seed=1, steps=8)


def told(run: runner.Run) -> dict[tuple[str, str], float | str]:
    return {(line.section, line.what): line.amount for line in disclosure.disclosure(run)}


def one(run: runner.Run, section: str, part: str = "") -> disclosure.Line:
    """The only line of a section that says this."""
    (line,) = (line for line in disclosure.disclosure(run) if line.section == section and part in line.what)
    return line


def test_the_lines_add_up_to_the_runs_own_numbers(crash: runner.Run) -> None:
    found, series = told(crash), crash.series
    paid = one(crash, "4.4", "paid by default resources").amount
    assert paid == pytest.approx(series["absorbed_fund"].sum())
    assert series["absorbed_fund"].sum() > 0.0
    assert one(crash, "4.4", "actual loss in excess").amount == pytest.approx(series["deficits"].sum())
    ringed = [amount for (_, what), amount in found.items() if "ring-fenced" in what and not isinstance(amount, str)]
    assert sum(ringed) == pytest.approx(one(crash, "4.1", "(backstop fund), at the end").amount, abs=1e-3)
    assert len(ringed) == 3
    house, client = (one(crash, "6.1", whose).amount for whose in ("house", "client"))
    assert isinstance(house, float)
    assert isinstance(client, float)
    assert house + client == pytest.approx(one(crash, "6.1", "in total, at the end").amount)


def test_coverage_is_over_account_steps_and_margin_is_told_by_the_day(crash: runner.Run) -> None:
    # Three days of two closes each: 30 and 5, 7 and 1, 4 paid; what is asked stands at 100, 90 and 120, 110 and 150, and 140.
    series = crash.series.iloc[:6].assign(
        hours=[0.0, 12.0, 24.0, 36.0, 48.0, 60.0],
        initial_margin=[100.0, 90.0, 120.0, 110.0, 150.0, 140.0],
        variation_margin=[0.0, 30.0, 5.0, 7.0, 1.0, 4.0],
        margined_accounts=[0.0, 200.0, 200.0, 200.0, 200.0, 200.0],
        margin_breaches=[0.0, 1.0, 0.0, 2.0, 0.0, 0.0],
        uncovered=[0.0, 10.0, 0.0, 50.0, 0.0, 0.0],
        uncovered_largest=[0.0, 10.0, 0.0, 40.0, 0.0, 0.0],
    )
    run = replace(crash, series=series)
    assert [one(run, section).amount for section in ("6.5.1", "6.5.3", "6.5.4", "6.5.5")] == pytest.approx([3.0, 0.997, 40.0, 20.0])
    # 35, 8 and 4 by day; what is asked rises by 20 to the first day's close, by 30 to the second's, and falls then.
    assert [one(run, section).amount for section in ("6.6", "6.7", "6.8")] == pytest.approx([47.0 / 3.0, 35.0, 30.0])


def test_a_number_that_does_not_exist_is_none_and_shares_keep_what_they_lack_of_all(crash: runner.Run) -> None:
    still = crash.series.assign(margin_breaches=0.0, uncovered=0.0, uncovered_largest=0.0, fund_target=0.0)
    run = replace(crash, series=still)
    assert [one(run, section).shown for section in ("6.5.3", "6.5.4", "6.5.5")] == ["100%", "none", "none"]
    assert one(run, "4.4", "over that").shown == "none"
    assert [disclosure.share(part) for part in (0.0, 9.134e-6, 0.0423, 0.5, 0.99987, 1.0, 40.294)] == [
        "0%",
        "0.00091%",
        "4.2%",
        "50%",
        "99.987%",
        "100%",
        "4,029%",
    ]


def test_a_fund_that_no_layer_draws_on_is_no_default_resource_and_members_contributions_are() -> None:
    base = Scenario().model_dump(mode="json", by_alias=True)
    house = base["venues"][0]["clearinghouse"]
    house["members"] = {"market_makers": True, "traders": 3}
    house["waterfall"] = [{"type": "exchange_capital", "share": 0.25}, {"type": "members_fund"}, {"type": "write_down"}]
    base["traders"]["groups"] = [{"count": 20, "equity": 2e7}]
    run = runner.run(Scenario.model_validate(base), seed=1, steps=2)
    assert not [what for _, what in told(run) if "backstop fund" in what or "sizing rule" in what]
    contributions, own = one(run, "4.1.4").amount, one(run, "4.1.1").amount
    assert contributions == pytest.approx(run.series["members_fund"].iloc[-1])
    assert own == pytest.approx(0.25 * run.series["treasury"].iloc[-1])
    assert isinstance(contributions, float)
    assert isinstance(own, float)
    cover = one(run, "4.4.7", "(Cover-2)").amount
    assert isinstance(cover, float)
    expected = (contributions + own) / cover if cover > 0.0 else np.nan
    assert one(run, "4.4.7", "all that is prefunded").amount == pytest.approx(expected, nan_ok=True)
    assert one(run, "4.2").unit == "USD"


def test_a_stored_run_discloses_the_same_and_an_earlier_versions_what_it_kept(crash: runner.Run, tmp_path: Path) -> None:
    folder = store.write(crash, tmp_path / "run", figures=False)
    assert repr(disclosure.disclosure(store.read(folder))) == repr(disclosure.disclosure(crash))
    (folder / "closing.parquet").unlink()
    earlier = store.read(folder)
    assert earlier.closing.empty
    kept = ["initial_margin", "position_concentration", "margin_concentration"]
    plain = replace(crash, series=crash.series.drop(columns=kept), closing=earlier.closing)
    sections = {line.section for line in disclosure.disclosure(plain)}
    assert not sections & {"4.1.1", "4.4.3", "4.4.7", "6.1", "6.5.1", "6.6", "18.3"}
    assert {"4.1", "4.4", "6.5", "18.2"} <= sections


def test_the_table_is_printed_in_the_order_of_the_standards(crash: runner.Run) -> None:
    console = Console(record=True, width=160)
    disclosure.show(crash, console)
    lines = [line.split()[0] for line in console.export_text().splitlines() if line[:1].isdigit()]
    assert lines == sorted(lines, key=lambda section: tuple(map(int, section.split("."))))
    assert len(lines) == len(disclosure.disclosure(crash)) == 40
