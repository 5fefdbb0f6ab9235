"""Which channel did it: the study behind the question, its shares, and what the command says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import cli
from experiments.analysis.blocks import Incomplete
from experiments.channel_study import asked, chosen, divided, study_of, told
from experiments.plan import make
from model.channels import CHANNELS
from model.errors import ScenarioError
from model.scenario import Scenario
from model.scenario_file import load_scenario

# Eight hours in which BTC loses a third at once, in a market of some two hundred.
SMALL = """
name: Small crash!
steps: 8
shocks: [{type: price_move, at: 2, size: [-0.35]}]
traders: {groups: [{name: few, count: 200, equity: 2e7, leverage: 12}]}
venues: [{clearinghouse: {fund: 1e5, capital: 1e5}, market_makers: {capital: 2e6, depth: [2e6]}, liquidators: {capital: 5e5}}]
lenders: {capital: 2e6}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_of_channels_has_every_set_of_them_under_the_same_seeds() -> None:
    plan = make(study_of(Scenario(), ["price_impact", "credit_loss"], seeds=3, seed=5)).table
    sets = plan[["price_impact", "credit_loss"]].drop_duplicates().to_numpy().tolist()
    assert sorted(sets) == [["closed", "closed"], ["closed", "open"], ["open", "closed"], ["open", "open"]]
    assert len(plan) == 12
    assert plan.groupby("replication")["seed"].nunique().tolist() == [1, 1, 1]
    study = study_of(Scenario(), ["price_impact", "credit_loss"], seeds=3)
    world = study.world("base", {"price_impact": "closed", "credit_loss": "open"})
    assert world.channels.closed() == ("price_impact",)


def test_a_summary_is_divided_as_it_would_be_by_hand() -> None:
    # Two seeds. Alone the first channel adds 2 and 4, the second 3 and 3; together 10 and 9 over a baseline of 1: (2 + 7) / 2 = 4.5, ...
    study = study_of(Scenario(), ["price_impact", "credit_loss"], seeds=2)
    table = make(study).table
    worth = {("closed", "closed"): (1, 1), ("open", "closed"): (3, 5), ("closed", "open"): (4, 4), ("open", "open"): (11, 10)}
    keys = zip(table["price_impact"], table["credit_loss"], table["replication"], strict=True)
    loss = [float(worth[first, second][seed]) for first, second, seed in keys]
    summary = table.assign(status="complete", **{output.name: loss for output in study.outputs})
    found = divided(study, summary.sample(frac=1.0, random_state=1))
    np.testing.assert_allclose(found.by_seed["loss"], [[4.5, 5.5], [5.0, 4.0]])
    mine = found.shares[found.shares["output"] == "loss"].set_index("channel")
    assert mine["part"].to_dict() == pytest.approx({"price_impact": 4.75 / 9.5, "credit_loss": 4.75 / 9.5})
    assert told(study, found)[0] == "loss (USD): $10 with these channels open, $1 with all of them closed"
    summary.loc[3, ["status", "loss"]] = ["failed", np.nan]
    with pytest.raises(Incomplete, match="attribution of loss: needs every run of its design; 1 run failed"):
        divided(study, summary)


def test_channels_are_read_in_their_own_order_and_all_are_meant_by_none() -> None:
    assert chosen(None) == CHANNELS
    assert chosen("exchange_failure, price_impact") == ("price_impact", "exchange_failure")


def test_a_dozen_faults_are_a_dozen_lines_and_exit_code_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "price_impct,credit,,socialised_los,x,y,z,credit_loss,credit_loss"
    words = ["attribute", "small.yaml", "--channels", names, "--set", "stepz=3", "--set", "lenders.cuont=3"]
    words += ["--set", "venues.0.fund=1", "--set", "channels.lost=false"]
    assert cli._code(words) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 12)
    assert "attribute: channels: found price_impct, expected a channel; did you mean price_impact?" in err
    assert not (here / "results").exists()


@pytest.mark.slow
def test_the_command_runs_every_set_divides_and_draws_and_carries_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attribute", "small.yaml", "--channels", "price_impact,socialised_loss", "--seeds", "2", "--workers", "0", "--out", "there"]
    assert cli._code(words) == 0
    out, _ = capsys.readouterr()
    shares, totals = (pd.read_csv(here / "there" / "analysis" / f"{name}.csv") for name in ("attribution", "attribution_totals"))
    added = shares.groupby("output", sort=False)["mean"].sum().to_numpy() + totals["baseline"].to_numpy()
    np.testing.assert_allclose(added, totals["total"], rtol=1e-12)
    loss = totals.set_index("output").loc["loss"]
    assert loss["total"] > loss["baseline"] > 0.0
    assert "price impact" in out
    assert {path.name for path in (here / "there" / "figures").iterdir()} == {
        f"attribution.{kind}" for kind in ("pdf", "svg", "png", "csv")
    }
    made = (here / "there" / "figures" / "attribution.csv").read_bytes()
    assert cli._code(words) == 0
    assert (here / "there" / "figures" / "attribution.csv").read_bytes() == made


def test_what_the_command_line_names_is_the_study_of_that_scenario(here: Path) -> None:
    study = asked("small.yaml", ["steps=3"], "credit_loss", 4, 7)
    assert study.name == "attribute-small-crash"
    assert (study.scenario.steps, study.replications, study.seed) == (3, 4, 7)
    assert study.scenario == load_scenario(here / "small.yaml").model_copy(update={"steps": 3})
    with pytest.raises(ScenarioError, match="no such"):
        asked("nowhere.yaml", [], "credit_loss", 4, 7)
