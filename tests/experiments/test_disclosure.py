"""A run as public quantitative disclosures."""

import pytest
from rich.console import Console

from experiments import disclosure, runner
from model.scenario import Scenario


@pytest.fixture(scope="module")
def crash() -> runner.Run:
    base = Scenario().model_dump(mode="json", by_alias=True)
    base["traders"]["groups"] = [{"count": 80, "equity": 8e7, "leverage": 15.0}]
    base["shocks"] = [{"type": "price_move", "at": 3.0, "size": [-0.3, -0.4, -0.5]}]
    base["venues"][0]["clearinghouse"] |= {"fund": 1e6, "pools": {"by": "market"}}
    return runner.run(Scenario.model_validate(base), seed=1, steps=8)


def test_the_lines_add_up_to_the_runs_own_numbers(crash: runner.Run) -> None:
    found = {(line.section, line.what): line.amount for line in disclosure.disclosure(crash)}
    series = crash.series
    paid = found["4.4", "of it, paid by default resources"]
    assert paid == pytest.approx(series["absorbed_fund"].sum())
    assert paid > 0.0
    assert found["4.4", "actual loss in excess of margin in the period"] == pytest.approx(series["deficits"].sum())
    ringed = [amount for (_, what), amount in found.items() if "ring-fenced" in what]
    assert sum(ringed) == pytest.approx(found["4.1", "prefunded default resources (backstop fund), at the end"], abs=1e-3)
    assert len(ringed) == 3


def test_the_table_is_printed_in_the_order_of_the_standards(crash: runner.Run) -> None:
    console = Console(record=True, width=160)
    disclosure.show(crash, console)
    lines = [line.split()[0] for line in console.export_text().splitlines() if line[:1].isdigit()]
    assert lines == sorted(lines, key=lambda section: tuple(map(int, section.split("."))))
    assert len(lines) == 17
