"""The store: what is written whole, what a damaged journal says, and what follows from it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.provenance import run_id
from experiments.runner import run
from experiments.study import Study
from experiments.study_run import kept, taken
from experiments.study_store import (
    NonDeterminism,
    Record,
    StudyFolder,
    append,
    create,
    folder_name,
    forget,
    opened,
    sealed,
    series_file,
    write_series,
)
from model.errors import ScenarioError

FUND = {"name": "fund", "path": "venues.0.clearinghouse.fund", "scale": "log", "low": 1e6, "high": 1e8}
SMALL = {"name": "small", "steps": 3, "traders": {"groups": [{"name": "few", "count": 20, "equity": 2e7}]}}
OUTPUT = {"name": "volume", "of": "volume", "over": "sum"}


def study(**changes: Any) -> Study:
    """Three points, two replications."""
    design = {"type": "factorial", "levels": 3}
    whole = {"name": "x", "base": SMALL, "factors": [FUND], "design": design, "replications": 2, "outputs": [OUTPUT]}
    return Study.model_validate({**whole, **changes})


@pytest.fixture
def home(tmp_path: Path) -> StudyFolder:
    return create(study(), tmp_path / "home", "name: x\n")


def ids(home: StudyFolder) -> list[str]:
    return home.plan()["run_id"].tolist()


def note(home: StudyFolder, *records: Record) -> None:
    for record in records:
        append(home.path, record.line())
    forget(home.path)


def complete(run: str, volume: float = 1.5, **more: Any) -> Record:
    return Record(run, "complete", {"volume": volume}, **more)


# -- the folder -------------------------------------------------------------------------------------------------------------------------


def test_a_folder_holds_the_study_as_given_the_plan_and_what_made_it(home: StudyFolder) -> None:
    assert sorted(path.name for path in home.path.iterdir()) == ["journal", "manifest.json", "plan.parquet", "resolved.yaml", "study.yaml"]
    assert (home.path / "study.yaml").read_text() == "name: x\n"
    assert home.study.scenario == study().scenario
    assert len(home.plan()) == 6
    assert home.manifest["source"]["blake2b"] == home.source


def test_the_same_study_finds_its_folder_and_another_does_not_take_it(home: StudyFolder) -> None:
    assert create(study(), home.path).path == home.path
    with pytest.raises(ScenarioError, match=f"found study {folder_name(study())}, expected {folder_name(study(seed=1))}, or a new folder"):
        create(study(seed=1), home.path)


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ScenarioError, match="found other files"):
        create(study(), tmp_path)
    with pytest.raises(ScenarioError, match=r"no plan.parquet"):
        StudyFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_study_that_cannot_be_planned_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError):
        create(study(arms={"bad": {"recovery": 2}}), tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_files_that_a_study_reads_are_kept_with_it_and_named_without_their_folders(tmp_path: Path) -> None:
    rows = "".join(f"2025-01-01T0{hour}:00:00,{60_000 + hour},60100,59900,60000\n" for hour in range(5))
    (tmp_path / "private").mkdir()
    prices, table = tmp_path / "private" / "btc.csv", tmp_path / "private" / "points.csv"
    prices.write_text(f"timestamp,open,high,low,close\n{rows}")
    table.write_text("fund\n2e6\n3e6\n")
    base = {**SMALL, "news": {"type": "replay", "files": [f"BTC={prices}"]}}
    home = create(study(base=base, design={"type": "table", "file": str(table)}), tmp_path / "home")
    first = home.plan()["run_id"].iloc[0]
    prices.unlink()
    table.unlink()
    again = StudyFolder(home.path)
    assert "private" not in "".join(path.read_text() for path in (home.path / "resolved.yaml", home.path / "manifest.json"))
    assert again.study.scenario.news.model_dump()["files"] == (f"BTC={home.path / 'inputs' / '0' / 'btc.csv'}",)
    assert again.plan()["fund"].tolist() == [2e6, 2e6, 3e6, 3e6]
    task = again.tasks()[0]
    assert run_id(again.study.world(task.arm, task.point), task.seed) == first


def test_a_network_of_ones_own_is_kept_with_the_study(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    loans = tmp_path / "private" / "loans.csv"
    loans.write_text("source,target,amount\nlender 1,lender 2,1000\n")
    base = {**SMALL, "lenders": {"count": 2}, "network": {"type": "edge_list", "file": str(loans)}}
    given = study(base=base)
    home = create(given, tmp_path / "home")
    loans.unlink()
    again = StudyFolder(home.path)
    assert "private" not in "".join(path.read_text() for path in (home.path / "resolved.yaml", home.path / "manifest.json"))
    assert again.study.scenario.network.model_dump()["file"] == str(home.path / "inputs" / "0" / "loans.csv")
    task = again.tasks()[0]
    assert run_id(again.study.world(task.arm, task.point), task.seed) == task.run_id
    assert folder_name(again.study) == home.manifest["study"]


@pytest.mark.parametrize("name", ["study.yaml", "resolved.yaml", "plan.parquet"])
def test_what_was_frozen_must_be_as_it_was(home: StudyFolder, name: str) -> None:
    home.check()
    (home.path / name).write_bytes((home.path / name).read_bytes() + b"\n")
    with pytest.raises(ScenarioError, match=f"{name}: file: found a changed one, expected it as planned"):
        home.check()


# -- the journal ------------------------------------------------------------------------------------------------------------------------


def test_a_record_reads_back_to_the_last_bit(home: StudyFolder) -> None:
    values = (0.1 + 0.2, 5e-324, -0.0, 1.7976931348623157e308, math.nan)
    record = Record("a" * 32, "complete", {f"x{at}": value for at, value in enumerate(values)}, series="b" * 32, seconds=1.25, at="now")
    note(home, record)
    read = home.journal().runs["a" * 32]
    assert repr(read) == repr(record)


def test_a_damaged_journal_never_gives_a_wrong_record(home: StudyFolder) -> None:
    runs = ids(home)
    note(home, *(complete(run, at / 7.0) for at, run in enumerate(runs)))
    (path,) = (home.path / "journal").iterdir()
    whole = path.read_bytes()
    true = home.journal().runs
    assert len(true) == 6
    rng = np.random.default_rng(1)
    for trial in range(300):
        where = int(rng.integers(len(whole)))
        damaged = bytearray(whole)
        match trial % 3:
            case 0:
                del damaged[where:]
            case 1:
                damaged[where] ^= 1 << int(rng.integers(8))
            case _:
                damaged[where:] = bytes(len(damaged) - where)
        path.write_bytes(bytes(damaged))
        read = home.journal()
        assert all(repr(true[run]) == repr(record) for run, record in read.runs.items())
        if trial % 3 == 0:
            assert list(read.runs) == runs[: whole[:where].count(b"\n") + (whole[where : where + 1] == b"\n")]
        if trial % 3 == 1:
            assert len(read.runs) >= 4, "a bit spoils its line, and the next if it was the end of the line"


def test_a_line_says_nothing_unless_it_is_as_it_was_written() -> None:
    line = sealed({"run": 1})
    assert opened(line.rstrip(b"\n")) == {"run": 1}
    assert opened(line) is None
    assert opened(line.rstrip(b"\n")[:-1]) is None
    assert opened(b"") is None


def test_each_process_and_folder_has_a_journal_file_of_its_own(tmp_path: Path) -> None:
    one, other = create(study(), tmp_path / "one"), create(study(seed=1), tmp_path / "other")
    append(one.path, complete(ids(one)[0]).line())
    append(other.path, complete(ids(other)[0]).line())
    append(one.path, complete(ids(one)[1]).line())
    assert [len(list((home.path / "journal").iterdir())) for home in (one, other)] == [1, 1]
    assert list(one.journal().runs) == ids(one)[:2]
    assert list(other.journal().runs) == ids(other)[:1]


def test_a_folder_made_again_under_the_same_name_gets_its_lines(home: StudyFolder) -> None:
    append(home.path, complete(ids(home)[0]).line())
    for path in (home.path / "journal").iterdir():
        path.unlink()
    append(home.path, complete(ids(home)[1]).line())
    assert list(home.journal().runs) == [ids(home)[1]]


def test_a_run_recorded_twice_counts_once_and_must_agree(home: StudyFolder) -> None:
    run = ids(home)[0]
    note(home, complete(run, 1.5, seconds=1.0), complete(run, 1.5, seconds=2.0), complete(ids(home)[1], math.nan))
    note(home, complete(ids(home)[1], math.nan))
    assert (home.summary()["status"] == "complete").sum() == 2
    note(home, complete(run, 1.5000000000000002))
    with pytest.raises(NonDeterminism, match=rf"run {run} gave other numbers the second time: volume 1\.5"):
        home.summary()


def test_of_failures_the_later_stands_and_a_complete_run_before_all(home: StudyFolder) -> None:
    run = ids(home)[0]
    note(home, Record(run, "lost", error="died", at="3"), Record(run, "failed", error="late", at="2"), Record(run, "failed", at="1"))
    assert home.journal().runs[run].error == "late"
    note(home, complete(run, at="0"))
    assert home.journal().runs[run].status == "complete"


# -- the summary ------------------------------------------------------------------------------------------------------------------------


def test_the_summary_is_the_plan_with_status_error_and_outputs(home: StudyFolder) -> None:
    runs = ids(home)
    note(
        home, complete(runs[4], 4.0), Record(runs[1], "failed", error="step 2: a law does not hold"), Record(runs[2], "lost", error="died")
    )
    table = home.summary()
    assert list(table.columns) == [*home.plan().columns, "status", "error", "volume"]
    assert table["status"].tolist() == ["missing", "failed", "missing", "missing", "complete", "missing"]
    assert table["error"].tolist() == ["", "step 2: a law does not hold", "died", "", "", ""]
    assert table["volume"].isna().tolist() == [True, True, True, True, False, True]
    assert len(home.failed()) == 5


def test_the_summary_is_the_same_bytes_in_whatever_order_runs_ended(tmp_path: Path) -> None:
    written = []
    for order in (range(6), (5, 3, 1, 0, 2, 4)):
        home = create(study(), tmp_path / f"home{len(written)}")
        for at in order:
            note(home, complete(ids(home)[at], at / 3.0, seconds=len(written), at=str(len(written))))
        home.write_summary()
        written.append([(home.path / name).read_bytes() for name in ("summary.csv", "summary.parquet")])
    assert written[0] == written[1]


def test_a_summary_in_a_file_has_the_digits_of_the_journal(home: StudyFolder) -> None:
    note(home, complete(ids(home)[0], 0.1 + 0.2))
    home.write_summary()
    assert pd.read_csv(home.path / "summary.csv")["volume"].iloc[0] == 0.1 + 0.2
    assert pd.read_parquet(home.path / "summary.parquet").equals(home.summary())


def test_the_description_names_every_file_and_no_person(home: StudyFolder) -> None:
    home.write_summary()
    crate = json.loads((home.path / "ro-crate-metadata.json").read_text())
    things = {thing["@id"]: thing for thing in crate["@graph"]}
    assert things["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    named = {part["@id"] for part in things["./"]["hasPart"]}
    assert named == {path.name + ("/" if path.is_dir() else "") for path in home.path.iterdir()} - {"ro-crate-metadata.json"}
    assert all(part in things for part in named)
    assert str(Path.home()) not in json.dumps(crate)
    assert "endTime" not in things["#sweep"]


def test_what_analysis_and_report_have_made_is_described_too(home: StudyFolder) -> None:
    home.write_summary()
    for name in ("analysis/means.csv", "figures/means_x.svg", "figures/means_x.csv", "tables/means.tex", "report.html"):
        (home.path / name).parent.mkdir(exist_ok=True)
        (home.path / name).write_text("x")
    home.describe()
    graph = json.loads((home.path / "ro-crate-metadata.json").read_text())["@graph"]
    things = {thing["@id"]: thing for thing in graph}
    assert len(things) == len(graph)
    parts = {part["@id"] for thing in graph for part in thing.get("hasPart", [])}
    assert parts == {
        path.relative_to(home.path).as_posix() + ("/" if path.is_dir() else "")
        for path in home.path.rglob("*")
        if not {"journal", "series"} & set(path.relative_to(home.path).parts[:-1]) and path.name != "ro-crate-metadata.json"
    }
    assert things["figures/means_x.svg"]["encodingFormat"] == "image/svg+xml"
    assert {"@id": "#analysis"} in things["./"]["mentions"]
    assert {result["@id"] for result in things["#analysis"]["result"]} == {"analysis/", "figures/", "tables/", "report.html"}
    named = {value["@id"] for thing in graph for key in ("hasPart", "object", "result", "mentions") for value in thing.get(key, [])}
    assert named <= set(things)


# -- series -----------------------------------------------------------------------------------------------------------------------------


def test_a_run_whose_series_is_missing_or_damaged_is_done_again(home: StudyFolder) -> None:
    runs = ids(home)
    table = pd.DataFrame({"step": [0, 1], "fund": [1.0, 2.0]})
    note(home, *(complete(run, series=write_series(home.path, run, table)) for run in runs[:3]))
    assert home.series(runs[0]).equals(table)
    series_file(home.path, runs[1]).unlink()
    content = bytearray(series_file(home.path, runs[2]).read_bytes())
    content[40] ^= 1
    series_file(home.path, runs[2]).write_bytes(bytes(content))
    assert [task.run_id for task in home.outstanding()] == runs[1:]
    with pytest.raises(ScenarioError, match="none of run"):
        home.series(runs[1])


def test_failed_runs_are_done_again_only_when_asked_and_lost_ones_always(home: StudyFolder) -> None:
    runs = ids(home)
    note(home, *(complete(run) for run in runs[:4]), Record(runs[4], "failed"), Record(runs[5], "lost"))
    assert [task.run_id for task in home.outstanding()] == [runs[5]]
    assert [task.run_id for task in home.outstanding(retry=True)] == runs[4:]


def test_what_interrupted_writes_have_left_is_swept_up(home: StudyFolder) -> None:
    write_series(home.path, "ab" * 16, pd.DataFrame({"step": [0]}))
    left = home.path / "series" / "ab" / ".x.parquet-1.partial"
    left.write_bytes(b"half")
    home.sweep_up()
    assert not left.exists()
    assert series_file(home.path, "ab" * 16).exists()


# -- outputs ----------------------------------------------------------------------------------------------------------------------------

SERIES = pd.DataFrame({"step": range(6), "volume": [9.0, 1.0, 2.0, 4.0, 0.0, 3.0], "fund": [5.0, 4.0, 3.0, -2.0, 8.0, math.nan]})


@pytest.mark.parametrize(
    ("over", "burn_in", "expected"),
    # The opening's 9 is never kept. Burn-in 0 keeps 1, 2, 4, 0, 3; burn-in 2 keeps 4, 0, 3.
    [("sum", 0, 10.0), ("sum", 2, 7.0), ("mean", 0, 2.0), ("max", 3, 3.0), ("min", 0, 0.0), ("last", 2, 3.0), ("any", 0, 1.0)],
)
def test_outputs_are_taken_over_the_kept_steps(over: str, burn_in: int, expected: float) -> None:
    asked = study(outputs=[{"name": "y", "of": "volume", "over": over}]).outputs
    assert taken(SERIES, asked, burn_in) == {"y": expected}


def test_any_is_nought_where_nothing_was_above_nought() -> None:
    assert taken(SERIES.iloc[[0, 4]], study(outputs=[{**OUTPUT, "over": "any"}]).outputs, 0) == {"volume": 0.0}


@pytest.mark.parametrize("over", ["sum", "mean", "max", "min", "any", "last"])
def test_an_output_over_what_is_not_a_number_is_not_a_number(over: str) -> None:
    assert math.isnan(taken(SERIES, study(outputs=[{"name": "y", "of": "fund", "over": over}]).outputs, 0)["y"])


def test_steps_in_which_an_output_is_not_defined_are_left_out() -> None:
    series = pd.DataFrame({"step": range(4), "haircut_gini": [math.nan, 0.2, math.nan, 0.6], "adequacy": [math.nan] * 4})
    asked = study(outputs=[{"name": name, "of": name, "over": "mean"} for name in ("haircut_gini", "adequacy")]).outputs
    found = taken(series, asked, 0)
    assert found["haircut_gini"] == pytest.approx(0.4)
    assert math.isnan(found["adequacy"])


def test_a_row_for_every_k_steps_aggregates_as_each_output_declares() -> None:
    whole = run(study().scenario, seed=1, steps=7).series
    rows = kept(whole, study(series={"every": 3}), study().scenario)
    # Step 0; steps 1 to 3; 4 to 6; 7. Volume adds up, the fund is what it was last, leverage is a mean.
    assert rows["step"].tolist() == [0, 3, 6, 7]
    assert rows["volume"].tolist() == pytest.approx(
        [0.0, *(whole["volume"].iloc[a:b].sum() for a, b in ((1, 4), (4, 7), (7, 8)))], rel=1e-12
    )
    assert rows["fund"].tolist() == whole["fund"].iloc[[0, 3, 6, 7]].tolist()
    assert rows["leverage"].iloc[1] == pytest.approx(whole["leverage"].iloc[1:4].mean(), rel=1e-12)
    assert kept(whole, study(series="full"), study().scenario) is whole


# -- locks ------------------------------------------------------------------------------------------------------------------------------


def test_one_works_on_a_folder_at_a_time_and_each_shard_once(home: StudyFolder) -> None:
    with home.locked():
        assert home.at_work()
        for shard in (None, "0-of-2"):
            with pytest.raises(ScenarioError, match="another sweep at work on it"), home.locked(shard):
                pass
    with home.locked("0-of-2"), home.locked("1-of-2"):
        for shard in (None, "0-of-2"):
            with pytest.raises(ScenarioError, match="another sweep at work on it"), home.locked(shard):
                pass
    assert not home.at_work()


def test_to_ask_whether_somebody_works_on_a_folder_writes_nothing(home: StudyFolder) -> None:
    before = sorted(home.path.iterdir())
    assert not home.at_work()
    assert sorted(home.path.iterdir()) == before
