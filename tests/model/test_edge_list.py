"""A network of one's own: what a file says, what is wrong with it and in which line, and a run's own files read back."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.edge_list import SHOWN, Debt, read_edges
from model.errors import ScenarioError
from model.network import EdgeList, Places
from model.scenario import Scenario
from model.scenario_file import load_scenario

PLACES = Places(2, 3, makers=2)
LENDERS = PLACES.names[:2]
ROWS = "source,target,amount\nmaker 1,lender 1,30\nmaker 1,lender 2,10\nlender 2,lender 1,5.5\n"
GRAPHML = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="d0" for="node" attr.name="amount" attr.type="string"/>
  <key id="d7" for="edge" attr.name="amount" attr.type="double"/>
  <graph edgedefault="directed">
    <node id="maker 1"><data key="d0">none</data></node>
    <edge source="maker 1" target="lender 1"><data key="d7">30</data></edge>
    <edge source="maker 1" target="lender 2">
      <data key="d9">99</data>
      <data key="d7">10</data>
    </edge>
    <edge source="lender 2" target="lender 1"><data key="d7">5.5</data></edge>
  </graph>
</graphml>
"""
DEBTS = [Debt("maker 1", "lender 1", 30.0), Debt("maker 1", "lender 2", 10.0), Debt("lender 2", "lender 1", 5.5)]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read_edges(path, PLACES.names, LENDERS)
    return [line.removeprefix(str(path)) for line in caught.value.faults]


def test_places_are_named_as_in_a_runs_tables() -> None:
    assert PLACES.names == ["lender 1", "lender 2", "maker 1", "maker 2", "liquidator 1"]
    eco = Ecosystem(Scenario.model_validate({"steps": 1}), rng=0)
    places = Places(eco.credit.lenders, eco.credit.rows.size, eco.venue.makers.size)
    assert list(eco.balance_sheets()["node"])[: len(places.names)] == places.names


@pytest.mark.parametrize(("name", "text"), [("a.csv", ROWS), ("a.CSV", "\ufeff" + ROWS), ("a.graphml", GRAPHML)])
def test_csv_and_graphml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    assert read_edges(written(tmp_path, name, text), PLACES.names, LENDERS) == DEBTS


def test_columns_may_stand_in_any_order_among_others(tmp_path: Path) -> None:
    text = "Amount, note ,TARGET,source\n30,x,lender 1,maker 1\n"
    assert read_edges(written(tmp_path, "a.csv", text), PLACES.names, LENDERS) == DEBTS[:1]


def test_amounts_become_shares_of_each_borrowers_lenders(tmp_path: Path) -> None:
    """Maker 1 owes 30 and 10: three quarters and one."""
    rule = EdgeList(EdgeList.Parameters(file=str(written(tmp_path, "a.csv", ROWS))))
    graph, _ = rule.rule(PLACES, None, np.random.default_rng(0))
    assert list(graph) == list(range(5))
    assert dict(graph.edges) == {(0, 2): {"weight": 0.75}, (1, 2): {"weight": 0.25}, (0, 1): {"weight": 1.0}}
    assert [tier for _, tier in graph.nodes(data="tier")] == ["lender"] * 2 + ["borrower"] * 3


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    rows = ["maker 3,lender 1,1", "maker 1,maker 2,1", "lender 1,lender 1,1", "maker 1,lender 1,-2", "maker 1,lender 1,much", "maker 2"]
    path = written(tmp_path, "a.csv", "source,target,amount\n" + "\n".join(rows) + "\n")
    who = "expected a lender, maker or liquidator of the scenario, as in `lender 1`"
    whom = "expected a lender of the scenario, as in `lender 1`"
    assert faults(path) == [
        f":2: source: found maker 3, {who}",
        f":3: target: found maker 2, {whom}",
        ":4: target: found lender 1, expected somebody else than its source",
        ":5: amount: found -2, expected a finite number above 0",
        ":6: amount: found much, expected a finite number above 0",
        ":6: target: found maker 1 to lender 1 again, expected each pair once (also in line 5)",
        f":7: target: found nothing, {whom}",
        ":7: amount: found nothing, expected a finite number above 0",
    ]


@pytest.mark.parametrize("amount", ["nan", "inf", "0", ""])
def test_an_amount_is_a_finite_number_above_zero(tmp_path: Path, amount: str) -> None:
    path = written(tmp_path, "a.csv", f"source,target,amount\nmaker 1,lender 1,{amount}\n")
    assert faults(path) == [f":2: amount: found {amount or 'nothing'}, expected a finite number above 0"]


def test_only_the_first_faults_of_many_are_shown(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "source,target,amount\n" + "".join(f"nobody {n},lender 1,1\n" for n in range(30)))
    found = faults(path)
    assert len(found) == SHOWN + 1
    assert found[-1] == ": 10 more faults"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "source,amount\nmaker 1,3\n", ":1: header: found source, amount, expected columns source, target, amount"),
        ("a.csv", "", ":1: header: found nothing, expected columns source, target, amount"),
        ("a.csv", "source,target,amount\n", ": edges: found none, expected at least one debt"),
        ("a.graphml", GRAPHML.replace("</graph>", ""), ":14: file: found mismatched tag, expected well-formed GraphML"),
        ("a.graphml", GRAPHML.replace(">5.5<", "><"), ":12: amount: found nothing, expected a finite number above 0"),
        ("a.xlsx", "", ": file: found .xlsx, expected a file that ends in .csv or .graphml"),
    ],
)
def test_a_file_that_is_no_list_of_edges_is_refused(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert faults(written(tmp_path, name, text)) == [expected]


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path / "a.csv") == [": file: found no such file or directory, expected a readable file"]
    (tmp_path / "b.csv").write_bytes(b"source,target,amount\n\xff\n")
    assert faults(tmp_path / "b.csv") == [": file: found bytes that are not UTF-8 at 21, expected UTF-8 text"]


def test_what_networkx_writes_reads_back(tmp_path: Path) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for debt in DEBTS:
        graph.add_edge(debt.source, debt.target, amount=debt.amount)
    nx.write_graphml(graph, tmp_path / "a.graphml")
    assert set(read_edges(tmp_path / "a.graphml", PLACES.names, LENDERS)) == set(DEBTS)


def test_a_scenario_finds_its_network_beside_it_and_opens_with_its_loans(tmp_path: Path) -> None:
    """Two lenders, two makers, one liquidator: the makers' loans are split as the file says, the liquidator borrows nothing."""
    written(tmp_path, "loans.csv", "source,target,amount\nmaker 1,lender 1,3\nmaker 1,lender 2,1\nmaker 2,lender 2,8\n")
    text = "schema: 1\nlenders: {count: 2}\nnetwork: {type: edge_list, file: loans.csv}\n"
    eco = Ecosystem(load_scenario(written(tmp_path, "own.yaml", text)), rng=0)
    owed, first = eco.credit.owed, eco.credit.lenders
    assert owed[first, 0] == pytest.approx(3 * owed[first, 1])
    assert owed[first, 0] > 0
    assert owed[first + 1, 0] == 0
    assert owed[first + 1, 1] > 0
    assert not owed[first + 2 :].any()
    assert not owed[:first, :first].any()
