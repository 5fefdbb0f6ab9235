"""A run as a folder: whole or not at all, readable, and without a private word."""

import getpass
import json
import platform
import re
from pathlib import Path

import networkx as nx
import pandas as pd
import pytest

from experiments import figures, provenance, store
from experiments.runner import Run, run
from model.errors import ScenarioError
from model.scenario import Scenario
from model.scenario_file import load_scenario

SMALL = {"name": "small", "steps": 3, "traders": {"groups": [{"name": "few", "count": 20, "equity": 2e7}]}}
FILES = {*(f"{name}.parquet" for name in store.TABLES), "edges.csv", "network.graphml", "scenario.yaml", "manifest.json", "summary.json"}


@pytest.fixture(scope="module")
def small() -> Run:
    return run(Scenario.model_validate(SMALL), seed=5)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "private folder" / "btc.csv"
    path.parent.mkdir()
    rows = "".join(f"2025-01-01T0{hour}:00:00,100,101,99,100\n" for hour in range(3))
    path.write_text(f"timestamp,open,high,low,close\n{rows}")
    return path


def test_the_network_is_written_for_programs_that_draw_networks(small: Run, tmp_path: Path) -> None:
    folder = store.write(small, tmp_path / "run", figures=False)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "edges.csv"), small.edges)
    network = nx.read_graphml(folder / "network.graphml")
    assert set(network) == set(small.balance_sheets["node"])
    assert {(one, other): amount for one, other, amount in network.edges(data="amount")} == {
        (str(one), str(other)): amount for one, other, amount in small.edges.itertuples(index=False)
    }
    kinds = dict(zip(small.balance_sheets["node"], small.balance_sheets["kind"], strict=True))
    assert dict(network.nodes(data="kind")) == kinds


def test_a_network_file_is_named_without_its_folder_and_its_content_is_part_of_the_runs_id(tmp_path: Path) -> None:
    path = tmp_path / "private folder" / "loans.csv"
    path.parent.mkdir()
    path.write_text("source,target,amount\nmaker 1,lender 1,3\n")
    scenario = Scenario.model_validate({**SMALL, "network": {"type": "edge_list", "file": str(path)}})
    told = provenance.manifest(scenario, 0, 1.0)
    assert [file["file"] for file in told["network"]] == ["loans.csv"]
    assert provenance.without_folders(scenario).network.file == "loans.csv"  # type: ignore[attr-defined]
    path.write_text("source,target,amount\nmaker 1,lender 1,4\nmaker 1,lender 2,4\n")
    assert provenance.run_id(scenario, 0) != told["run_id"]


def test_a_run_is_written_whole_and_reads_back_the_same(small: Run, tmp_path: Path) -> None:
    folder = store.write(small, tmp_path / "new" / "run")
    assert {path.name for path in folder.iterdir()} == {*FILES, "figures"}
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".pdf", ".svg", ".png", ".csv"}
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    again = store.read(folder)
    for name in store.TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(small, name), check_exact=True)
    assert (again.scenario, again.seed) == (small.scenario, small.seed)
    assert load_scenario(folder / "scenario.yaml") == small.scenario


def test_two_runs_of_the_same_world_are_written_byte_for_byte_alike_but_for_the_clock(small: Run, tmp_path: Path) -> None:
    one = store.write(small, tmp_path / "one", figures=False)
    two = store.write(run(small.scenario, seed=5), tmp_path / "two", figures=False)
    for name in FILES - {"manifest.json"}:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    first, second = (json.loads((folder / "manifest.json").read_text()) for folder in (one, two))
    assert {key for key in first if first[key] != second[key]} <= {"created", "seconds"}


def test_the_manifest_says_what_made_the_run(small: Run, tmp_path: Path) -> None:
    written = json.loads((store.write(small, tmp_path / "run", figures=False) / "manifest.json").read_text())
    assert (written["seed"], written["steps"], written["scenario"]) == (5, 3, "small")
    assert re.fullmatch(r"[0-9a-f]{32}", written["run_id"])
    assert {"mesa", "numpy", "pandas", "pydantic"} <= set(written["packages"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", written["created"])


def test_no_file_names_a_folder_a_user_or_a_machine(prices: Path, tmp_path: Path) -> None:
    replay = {**SMALL, "news": {"type": "replay", "files": [f"BTC={prices}"]}}
    folder = store.write(run(Scenario.model_validate(replay), seed=0), tmp_path / "run")
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    private = [str(tmp_path), prices.parent.name, str(Path.home()), str(provenance.ROOT), platform.node()]
    assert [word for word in private if len(word) > 3 and word.encode() in content] == []
    text = b"".join(path.read_bytes() for path in folder.glob("*.*") if path.suffix in {".json", ".yaml"})
    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b".encode(), text)
    (named,) = json.loads((folder / "manifest.json").read_text())["prices"]
    assert named == {"file": "btc.csv", "sha256": provenance.sha256(prices)}
    assert "BTC=btc.csv" in (folder / "scenario.yaml").read_text()


def test_a_runs_id_depends_on_world_seed_length_and_data_but_not_on_where_the_data_lie(prices: Path, tmp_path: Path) -> None:
    world = Scenario.model_validate({**SMALL, "news": {"type": "replay", "files": {"BTC": str(prices)}}})
    moved = tmp_path / "btc.csv"
    moved.write_bytes(prices.read_bytes())
    elsewhere = Scenario.model_validate({**SMALL, "news": {"type": "replay", "files": {"BTC": str(moved)}}})
    known = provenance.run_id(world, 0)
    assert provenance.run_id(elsewhere, 0) == known
    moved.write_text(prices.read_text().replace("99", "98"))
    longer = world.model_copy(update={"steps": 2})
    assert len({known, provenance.run_id(elsewhere, 0), provenance.run_id(world, 1), provenance.run_id(longer, 0)}) == 4


def test_a_runs_id_depends_on_the_source_of_a_users_own_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from model.news import Constant\n\n\nclass Still(Constant):\n    pass\n"
    module = tmp_path / "own_news_for_this_test.py"
    module.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    world = Scenario.model_validate({**SMALL, "news": {"type": "own_news_for_this_test:Still"}})
    before = provenance.run_id(world, 0)
    module.write_text(source + "# changed\n")
    assert provenance.run_id(world, 0) != before


def test_a_folder_with_other_files_is_refused_and_an_earlier_run_replaced_only_when_asked(small: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store.write(small, other, figures=False)  # an empty folder will do
    (other / "note.txt").write_text("mine")
    with pytest.raises(ScenarioError, match="out: found an earlier run, expected another folder, or --overwrite to replace it"):
        store.write(small, other, figures=False)
    store.write(small, other, overwrite=True, figures=False)
    assert {path.name for path in other.iterdir()} == FILES
    (other / "manifest.json").unlink()
    with pytest.raises(ScenarioError, match="out: found other files, expected a new or an empty folder"):
        store.write(small, other, overwrite=True, figures=False)
    with pytest.raises(ScenarioError, match="out: found a file, expected a folder"):
        store.check_target(other / "summary.json")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_a_write_that_is_interrupted_or_fails_leaves_what_was_there(
    small: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    earlier = store.write(small, tmp_path / "earlier", figures=False)
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    monkeypatch.setattr(figures, "draw", fail)
    for folder in (earlier, tmp_path / "new"):
        with pytest.raises(BaseException, match=r"disk full|^$"):
            store.write(small, folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before


def test_a_folder_that_is_no_run_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"run: found no manifest\.json"):
        store.read(tmp_path)


def test_the_default_folder_is_named_by_scenario_and_seed() -> None:
    assert store.default_folder(Scenario(name="a/b  c"), 7) == Path("results/a-b-c-seed7")
    assert store.default_folder(Scenario(name="../.."), 0) == Path("results/run-seed0")
