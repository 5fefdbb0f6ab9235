"""Who is exposed to whom: the network of lending before anything has gone wrong, and where its nodes are drawn.

A topology shapes the lending among lenders; borrowers are attached to it, more often to lenders that are well connected. An edge runs from
lender to borrower, and its `weight` is that lender's share of what the borrower borrows (from lenders of its kind): multiply by a demand
for funds to get loans.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, override

import networkx as nx
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Rule, RuleParameters
from model.edge_list import read_edges
from model.errors import ScenarioError, fault
from model.reconstruction import maximum_entropy, minimum_density

RINGS: Final = {"venue": 0.12, "core": 0.35, "lender": 0.65, "borrower": 1.0}
"""Radius at which the nodes of each tier are drawn, the core in the centre."""


@dataclass(frozen=True, slots=True)
class Places:
    """How many nodes a topology has to connect.

    Attributes:
        lenders: they become nodes 0 … lenders − 1.
        borrowers: they become nodes lenders … lenders + borrowers − 1.
        makers: how many of the borrowers, the first, are market makers; the others are liquidators.
    """

    lenders: int
    borrowers: int
    makers: int = 0

    @property
    def names(self) -> list[str]:
        """What the nodes are called in a run's tables."""
        kinds = (("lender", self.lenders), ("maker", self.makers), ("liquidator", self.borrowers - self.makers))
        return [f"{kind} {number}" for kind, count in kinds for number in range(1, count + 1)]


class TopologyParameters(RuleParameters):
    """What every topology needs to know."""

    lenders_per_borrower: float = Field(
        default=2.0, ge=1, le=100, description="mean number (our choice)", json_schema_extra={"unit": "lenders"}
    )
    reciprocity: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="share of links among lenders that run both ways (our choice)",
        json_schema_extra={"unit": "1"},
    )
    dispersion: float = Field(
        default=1.0,
        ge=0,
        le=5,
        description="log standard deviation of loan sizes; 0: equal shares (our choice)",
        json_schema_extra={"unit": "1"},
    )


class Topology(Rule):
    """Base of the family. `rule(Places, state, rng) -> (DiGraph, state)`; a member need only write `interbank`, or else `lending`.

    Nodes carry `tier`: "core", "lender" or "borrower"; edges carry `weight`. Every borrower has a lender if there are any.
    """

    Parameters = TopologyParameters

    def interbank(self, lenders: int, rng: Generator) -> "nx.Graph[int]":
        """Who among `lenders` ≥ 2 deals with whom: an undirected graph on 0 … lenders − 1; nodes may carry `tier`."""
        raise NotImplementedError

    def lending(self, lenders: int, rng: Generator) -> "nx.DiGraph[int]":
        """Who among `lenders` ≥ 2 lends to whom: the links of `interbank`, each run one way or both. Weights, if any, are in any unit."""
        links = self.interbank(lenders, rng)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from((node, {"tier": tier}) for node, tier in links.nodes(data="tier", default="lender"))
        for one, other in links.edges:
            forward, both = rng.random() < 0.5, rng.random() < self.parameters.reciprocity
            if forward or both:
                graph.add_edge(one, other)
            if both or not forward:
                graph.add_edge(other, one)
        return graph

    def rule(self, view: Places, state: Any, rng: Generator) -> tuple["nx.DiGraph[int]", Any]:
        """The network of lending: lenders among themselves, then each borrower's lenders, then the shares."""
        if view.lenders > 1:
            graph = self.lending(view.lenders, rng)
        else:
            graph = nx.empty_graph(view.lenders, create_using=nx.DiGraph)
            nx.set_node_attributes(graph, dict.fromkeys(graph, "lender"), "tier")
        degree = np.array([len(set(nx.all_neighbors(graph, lender))) for lender in range(view.lenders)], dtype=np.float64)
        for borrower in range(view.lenders, view.lenders + view.borrowers):
            graph.add_node(borrower, tier="borrower")
            graph.add_edges_from((lender, borrower) for lender in self._lenders_of_one(degree, rng))
        self._weigh(graph, rng)
        return graph, state

    def _lenders_of_one(self, degree: NDArray[np.float64], rng: Generator) -> list[int]:
        """The lenders of one borrower: one, and a Poisson number of others, in proportion to their links + 1."""
        if not degree.size:
            return []
        number = min(1 + int(rng.poisson(self.parameters.lenders_per_borrower - 1.0)), degree.size)
        chance = (degree + 1.0) / (degree + 1.0).sum()
        return [int(lender) for lender in rng.choice(degree.size, size=number, replace=False, p=chance)]

    def _weigh(self, graph: "nx.DiGraph[int]", rng: Generator) -> None:
        """Shares of each borrower's loans among its lenders, adding up to 1: lognormal draws where there are no weights yet."""
        for node in graph:
            edges = [graph.edges[edge] for edge in graph.in_edges(node)]
            given = [edge["weight"] for edge in edges if "weight" in edge]
            draws = np.array(given) if given else rng.lognormal(sigma=self.parameters.dispersion, size=graph.in_degree(node))
            for lender, share in zip(graph.predecessors(node), draws / draws.sum() if draws.size else draws, strict=True):
                graph.edges[lender, node]["weight"] = float(share)


topologies = Family("network topology", Topology)


@topologies.member
class CorePeriphery(Topology):
    """A few dealers all trade with each other, the rest with them (Craig and von Peter 2014, J. Financial Intermediation 23(3))."""

    name = "core_periphery"

    class Parameters(TopologyParameters):
        type: Literal["core_periphery"] = "core_periphery"
        core: float = Field(
            default=0.2, gt=0, le=1, description="share of lenders in the core (our choice)", json_schema_extra={"unit": "1"}
        )
        core_core: float = Field(
            default=0.9, ge=0, le=1, description="P(link) within the core (our choice)", json_schema_extra={"unit": "1"}
        )
        core_periphery: float = Field(
            default=0.4, ge=0, le=1, description="P(link) between core and periphery (our choice)", json_schema_extra={"unit": "1"}
        )
        periphery: float = Field(
            default=0.02, ge=0, le=1, description="P(link) within the periphery (our choice)", json_schema_extra={"unit": "1"}
        )

    @override
    def interbank(self, lenders: int, rng: Generator) -> "nx.Graph[int]":
        chosen = self.parameters
        core = min(max(1, round(chosen.core * lenders)), lenders)
        between = [[chosen.core_core, chosen.core_periphery], [chosen.core_periphery, chosen.periphery]]
        graph: nx.Graph[int] = nx.stochastic_block_model([core, lenders - core], between, seed=rng)
        nx.set_node_attributes(graph, {node: "core" if node < core else "lender" for node in graph}, "tier")
        return graph


@topologies.member
class ScaleFree(Topology):
    """Newcomers link to the well connected, so that a few hubs emerge (Barabási and Albert 1999, Science 286)."""

    name = "scale_free"

    class Parameters(TopologyParameters):
        type: Literal["scale_free"] = "scale_free"
        links: int = Field(
            default=2, ge=1, le=100, description="links that each newcomer brings (our choice)", json_schema_extra={"unit": "links"}
        )

    @override
    def interbank(self, lenders: int, rng: Generator) -> "nx.Graph[int]":
        graph: nx.Graph[int] = nx.barabasi_albert_graph(lenders, min(self.parameters.links, lenders - 1), seed=rng)
        return graph


@topologies.member
class SmallWorld(Topology):
    """Neighbours on a ring, some links rewired into short cuts (Watts and Strogatz 1998, Nature 393)."""

    name = "small_world"

    class Parameters(TopologyParameters):
        type: Literal["small_world"] = "small_world"
        neighbours: int = Field(
            default=4,
            ge=2,
            le=100,
            multiple_of=2,
            description="nearest neighbours linked to (our choice)",
            json_schema_extra={"unit": "nodes"},
        )
        rewiring: float = Field(default=0.1, ge=0, le=1, description="P(link is rewired) (our choice)", json_schema_extra={"unit": "1"})

    @override
    def interbank(self, lenders: int, rng: Generator) -> "nx.Graph[int]":
        graph: nx.Graph[int] = nx.watts_strogatz_graph(
            lenders, min(self.parameters.neighbours, lenders), self.parameters.rewiring, seed=rng
        )
        return graph


@topologies.member
class ErdosRenyi(Topology):
    """Any two lenders are linked with the same probability (Erdős and Rényi 1959; Gilbert 1959)."""

    name = "erdos_renyi"

    class Parameters(TopologyParameters):
        type: Literal["erdos_renyi"] = "erdos_renyi"
        probability: float = Field(default=0.2, ge=0, le=1, description="P(link) (our choice)", json_schema_extra={"unit": "1"})

    @override
    def interbank(self, lenders: int, rng: Generator) -> "nx.Graph[int]":
        graph: nx.Graph[int] = nx.gnp_random_graph(lenders, self.parameters.probability, seed=rng)
        return graph


@topologies.member
class Configuration(Topology):
    """Lenders have as many partners as a list says, else at random (Molloy and Reed 1995, Random Structures and Algorithms 6)."""

    name = "configuration"

    class Parameters(TopologyParameters):
        type: Literal["configuration"] = "configuration"
        degrees: tuple[Annotated[int, Field(ge=0, le=10_000)], ...] = Field(
            default=(6, 4, 2, 2),
            min_length=1,
            description="partners of each lender, in order; repeated if there are more lenders (our choice)",
            json_schema_extra={"unit": "lenders"},
        )

    @override
    def interbank(self, lenders: int, rng: Generator) -> "nx.Graph[int]":
        """Ends of links paired at random; links to oneself and second links are dropped, so dense lists lose some."""
        degrees = np.minimum(np.resize(self.parameters.degrees, lenders), lenders - 1)
        degrees[-1] += degrees.sum() % 2  # links have two ends
        graph: nx.Graph[int] = nx.Graph(nx.configuration_model(degrees.tolist(), seed=rng))
        graph.remove_edges_from(list(nx.selfloop_edges(graph)))
        return graph


class TotalsParameters(TopologyParameters):
    """What lenders lend to and borrow from each other in all."""

    lent: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(), description="what each lends to the others in all, any unit; equal amounts if empty", json_schema_extra={"unit": "1"}
    )
    borrowed: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(),
        description="what each borrows from the others, scaled to add up to `lent`; equal amounts if empty. Shares of lenders follow from"
        " both; how much a lender borrows in USD is set by its capital",
        json_schema_extra={"unit": "1"},
    )


class Reconstruction(Topology):
    """Base of topologies from totals: a member writes `loans`."""

    Parameters = TotalsParameters

    def loans(self, lent: NDArray[np.float64], borrowed: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
        """Who lends how much to whom, (n, n), given totals, (n,) each; a ValueError if there is no such network."""
        raise NotImplementedError

    @override
    def lending(self, lenders: int, rng: Generator) -> "nx.DiGraph[int]":
        totals = [self._total(name, lenders) for name in ("lent", "borrowed")]
        try:
            loans = self.loans(totals[0], totals[1], rng)
        except (ValueError, ArithmeticError) as error:
            raise ScenarioError([fault("network", None, self.name, str(error), "totals that some network has")]) from None
        graph: nx.DiGraph[int] = nx.from_numpy_array(loans, create_using=nx.DiGraph)
        nx.set_node_attributes(graph, dict.fromkeys(graph, "lender"), "tier")
        return graph

    def _total(self, name: str, lenders: int) -> NDArray[np.float64]:
        given = getattr(self.parameters, name)
        if given and len(given) != lenders:
            raise ScenarioError([fault("network", None, name, f"{len(given)} totals", f"{lenders}, one a lender, or none")])
        return np.array(given or [1.0] * lenders, dtype=np.float64)


@topologies.member
class MaximumEntropy(Reconstruction):
    """Everybody lends to everybody, as evenly as totals allow (Upper and Worms 2004, European Economic Review 48(4))."""

    name = "maximum_entropy"

    class Parameters(TotalsParameters):
        type: Literal["maximum_entropy"] = "maximum_entropy"

    @override
    def loans(self, lent: NDArray[np.float64], borrowed: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
        return maximum_entropy(lent, borrowed)


@topologies.member
class MinimumDensity(Reconstruction):
    """As few and as large loans as totals allow (after Anand, Craig and von Peter 2015, Quantitative Finance 15(4))."""

    name = "minimum_density"

    class Parameters(TotalsParameters):
        type: Literal["minimum_density"] = "minimum_density"

    @override
    def loans(self, lent: NDArray[np.float64], borrowed: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
        return minimum_density(lent, borrowed, rng)


@topologies.member
class EdgeList(Topology):
    """Exactly the loans of a CSV or GraphML file; whoever is not in it borrows nothing."""

    name = "edge_list"

    class Parameters(RuleParameters):
        type: Literal["edge_list"] = "edge_list"
        file: str = Field(
            min_length=1,
            description="CSV with columns source, target, amount, or GraphML: source owes target; nodes are `lender 1`, `maker 1`,"
            " `liquidator 1`, …. Amounts give each borrower's shares of lenders. Relative to the scenario's folder",
            json_schema_extra={"unit": "path"},
        )

    @override
    def rule(self, view: Places, state: Any, rng: Generator) -> tuple["nx.DiGraph[int]", Any]:
        """The network of the file; a ScenarioError tells every fault of it."""
        number = {name: node for node, name in enumerate(view.names)}
        graph: nx.DiGraph[int] = nx.DiGraph()
        for node in number.values():
            graph.add_node(node, tier="lender" if node < view.lenders else "borrower")
        for debt in read_edges(self.parameters.file, number, view.names[: view.lenders]):
            graph.add_edge(number[debt.target], number[debt.source], weight=debt.amount)
        for node in graph:
            edges = [graph.edges[edge] for edge in graph.in_edges(node)]
            total = sum(edge["weight"] for edge in edges)
            for edge in edges:
                edge["weight"] /= total
        return graph, state


def layout(graph: "nx.Graph[Any]") -> dict[Any, tuple[float, float]]:
    """Where to draw each node, within the unit disc: on rings by `tier` (`RINGS`; unknown tiers outermost), in node order.

    Deterministic and linear in the number of nodes. A single node on the innermost ring is drawn at the centre.
    """
    rings: dict[float, list[Any]] = {}
    for node, tier in graph.nodes(data="tier", default="borrower"):
        rings.setdefault(RINGS.get(str(tier), 1.0), []).append(node)
    places: dict[Any, tuple[float, float]] = {}
    for radius, nodes in rings.items():
        turn = np.linspace(0.0, 2.0 * np.pi, len(nodes), endpoint=False)
        reach = 0.0 if len(nodes) == 1 and radius == min(rings) else radius
        places.update(zip(nodes, zip((reach * np.cos(turn)).tolist(), (reach * np.sin(turn)).tolist(), strict=True), strict=True))
    return places
