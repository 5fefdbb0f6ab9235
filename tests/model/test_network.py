"""Networks of lending: what every topology promises, what tells them apart, and where nodes are drawn."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import ScenarioError
from model.network import Places, Topology, layout, topologies

KINDS = sorted(set(topologies.members) - {"edge_list"})
"""Those that draw a network; a list of edges needs a file."""


def network(kind: str, lenders: int, borrowers: int, seed: int = 1, **settings: Any) -> "nx.DiGraph[int]":
    rule: Topology = topologies.build(topologies.find(kind).Parameters(type=kind, **settings))
    graph, state = rule.rule(Places(lenders, borrowers), rule.initial_state(), np.random.default_rng(seed))
    assert state is None
    return graph


@given(st.sampled_from(KINDS), st.integers(0, 12), st.integers(0, 15), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_every_borrower_has_a_lender_and_nobody_lends_to_itself(kind: str, lenders: int, borrowers: int, seed: int) -> None:
    graph = network(kind, lenders, borrowers, seed)
    assert list(graph) == list(range(lenders + borrowers))
    for borrower in range(lenders, lenders + borrowers):
        assert (graph.in_degree(borrower) >= 1) == (lenders > 0)
        assert graph.out_degree(borrower) == 0
        assert graph.nodes[borrower]["tier"] == "borrower"
    assert nx.number_of_selfloops(graph) == 0
    assert {graph.nodes[lender]["tier"] for lender in range(lenders)} <= {"core", "lender"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_shares_of_a_borrowers_lenders_add_up_to_one(kind: str) -> None:
    graph = network(kind, 12, 30)
    for node in graph:
        shares = [graph.edges[edge]["weight"] for edge in graph.in_edges(node)]
        assert all(share > 0 for share in shares)
        if shares:
            assert sum(shares) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_gives_the_same_network(kind: str) -> None:
    first, again, other = (network(kind, 15, 30, seed) for seed in (7, 7, 8))
    assert list(first.edges(data="weight")) == list(again.edges(data="weight"))
    assert list(first.edges(data="weight")) != list(other.edges(data="weight"))


def test_without_dispersion_shares_are_equal() -> None:
    graph = network("erdos_renyi", 6, 20, dispersion=0.0)
    assert all(graph.edges[edge]["weight"] == pytest.approx(1 / graph.in_degree(edge[1])) for edge in graph.edges)


def test_borrowers_have_the_mean_number_of_lenders_asked_for() -> None:
    # 1 + Poisson(2): mean 3, standard error sqrt(2/4000) = 0.022; five of them are allowed
    graph = network("erdos_renyi", 40, 4000, lenders_per_borrower=3.0)
    mean = np.mean([graph.in_degree(node) for node in range(40, 4040)])
    assert mean == pytest.approx(3.0, abs=0.11)


@pytest.mark.parametrize(("reciprocity", "found"), [(0.0, 0.0), (1.0, 1.0)])
def test_reciprocity_is_the_share_of_links_that_run_both_ways(reciprocity: float, found: float) -> None:
    graph = network("small_world", 30, 0, reciprocity=reciprocity)
    assert nx.overall_reciprocity(graph) == found
    # 30 lenders with 4 neighbours each have 60 links, one edge or two each
    assert graph.number_of_edges() == 60 * (1 + int(reciprocity))


def test_the_core_is_complete_and_the_periphery_deals_only_with_it_in_the_pure_case() -> None:
    graph = network("core_periphery", 20, 0, core=0.25, core_core=1.0, core_periphery=1.0, periphery=0.0)
    core = [node for node in graph if graph.nodes[node]["tier"] == "core"]
    assert core == [0, 1, 2, 3, 4]
    links = nx.Graph(graph)
    # 5 x 4 / 2 within the core, 5 x 15 across, none within the periphery
    assert links.number_of_edges() == 10 + 75
    assert links.subgraph(range(5, 20)).number_of_edges() == 0


def test_borrowers_go_to_the_well_connected() -> None:
    # All links end in node 0's core: with 19 links of 38 + 20 ends in total, its chance is 20/58 a borrower, a peripheral's 2/58.
    graph = network("core_periphery", 20, 2000, core=0.05, core_periphery=1.0, periphery=0.0, lenders_per_borrower=1.0)
    borrowed = sum(to >= 20 for to in graph.successors(0))
    assert borrowed / 2000 == pytest.approx(20 / 58, abs=5 * np.sqrt(20 / 58 * 38 / 58 / 2000))


def test_scale_free_newcomers_bring_their_links() -> None:
    # Barabasi and Albert from a star of links + 1 nodes: (n - links) x links = 48 x 2 links
    assert nx.Graph(network("scale_free", 50, 0, links=2)).number_of_edges() == 96


def test_erdos_renyi_links_everybody_at_probability_one_and_nobody_at_zero() -> None:
    assert nx.Graph(network("erdos_renyi", 10, 0, probability=1.0)).number_of_edges() == 45
    assert network("erdos_renyi", 10, 0, probability=0.0).number_of_edges() == 0


def test_a_topology_of_ones_own_writes_who_deals_with_whom() -> None:
    class Star(Topology):
        name = "star"

        def interbank(self, lenders: int, rng: np.random.Generator) -> "nx.Graph[int]":
            graph: nx.Graph[int] = nx.star_graph(lenders - 1)
            return graph

    graph, _ = Star().rule(Places(5, 3), None, np.random.default_rng(0))
    assert nx.Graph(graph).degree(0) >= 4
    assert not nx.Graph(graph).subgraph([1, 2, 3, 4]).edges


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("core_periphery", {"core": 0}),
        ("scale_free", {"links": 0}),
        ("small_world", {"neighbours": 3}),
        ("erdos_renyi", {"probability": 2}),
    ],
)
def test_settings_out_of_range_are_refused(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        network(kind, 5, 5, **settings)


def test_the_core_is_drawn_inside_the_lenders_and_the_borrowers_around_them() -> None:
    graph = network("core_periphery", 10, 20)
    graph.add_node("exchange", tier="venue")  # type: ignore[arg-type]
    places = layout(graph)
    radius = {node: float(np.hypot(*place)) for node, place in places.items()}
    assert places["exchange"] == (0.0, 0.0)
    assert [radius[node] for node in range(2)] == pytest.approx([0.35] * 2)
    assert [radius[node] for node in range(2, 10)] == pytest.approx([0.65] * 8)
    assert [radius[node] for node in range(10, 30)] == pytest.approx([1.0] * 20)
    # 20 borrowers, 18 degrees apart, the first on the right
    assert places[10] == pytest.approx((1.0, 0.0))
    assert places[15] == pytest.approx((0.0, 1.0))
    assert len(set(places.values())) == 31


def test_an_empty_network_is_drawn_nowhere() -> None:
    assert layout(nx.DiGraph()) == {}


# ------------------------------------------------------------------------------------------------------------------ degrees and totals


def test_a_configuration_has_the_degrees_of_its_list_where_it_need_not_drop_a_link() -> None:
    # a perfect matching of ends: 40 lenders with one partner each have 20 links, and none can be doubled
    links = nx.Graph(network("configuration", 40, 0, degrees=(1,)))
    assert {degree for _, degree in links.degree()} <= {0, 1}
    assert links.number_of_edges() == pytest.approx(20, abs=3)  # an end paired with its own node's other end would be dropped


def test_a_short_list_of_degrees_repeats_and_hubs_stay_hubs() -> None:
    links = nx.Graph(network("configuration", 200, 0, degrees=(20, 2, 2, 2)))
    degrees = np.array([links.degree(node) for node in range(200)])
    assert (degrees[::4] <= 20).all()
    assert degrees[::4].mean() > 15
    assert degrees[1::4].max() <= 3


def test_reconstructed_shares_are_those_of_the_loans_found() -> None:
    """Lender 1 lends 3, 2 lends 1; 2 borrows 2, 3 borrows 2: the only network has 1 to 2 2, 1 to 3 1, 2 to 3 1."""
    for kind in ("maximum_entropy", "minimum_density"):
        graph = network(kind, 3, 0, lent=(3, 1, 0), borrowed=(0, 2, 2))
        assert {edge: pytest.approx(graph.edges[edge]["weight"]) for edge in graph.edges} == {(0, 1): 1.0, (0, 2): 0.5, (1, 2): 0.5}


def test_maximum_entropy_links_everybody_and_minimum_density_few() -> None:
    assert network("maximum_entropy", 10, 0).number_of_edges() == 90
    assert network("minimum_density", 10, 0).number_of_edges() <= 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lent": (1.0, 2.0)}, "network: lent: found 2 totals, expected 3, one a lender, or none"),
        ({"lent": (3.0, 1.0, 0.0), "borrowed": (3.0, 0.0, 1.0)}, "node 0 lends 0.75 and borrows 0.75 of the total"),
    ],
)
def test_totals_that_do_not_fit_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        network("maximum_entropy", 3, 0, **settings)
