"""Published and worked answers of the contagion engines."""

from collections.abc import Callable, Iterator
from typing import Final

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from experiments.validation.check import Check, Validation
from model.contagion import clear, debtrank, paddrik_rajan_young
from model.contagion.cascades import furfine
from model.contagion.fire_sales import Holders, deleverage, depth_of, finite_depth
from model.contagion.measures import importance
from model.contagion.netting import expected_exposure
from model.contagion.valuation import Book, linear_value, value
from model.contagion.vulnerability import brings_down, diffusion, fluidity, susceptibility
from model.network import CorePeriphery, Places

type Floats = NDArray[np.float64]

_LENT: Final = np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.5, 0.0, 0.0]])


def variation_margin() -> Check:
    """X pays nothing of 10, A holds 3 of its margin and 4 of cash: of 10 it pays 8.5, 7 or 5.5."""
    owed, margin = np.zeros((3, 3)), np.zeros((3, 3))
    owed[0, 1], owed[1, 2], margin[0, 1], margin[1, 2] = 10, 10, 3, 2
    rules = (paddrik_rajan_young([1.0, tau, 1.0]) for tau in (0.5, 1.0, 1.5))
    found = tuple(float(clear(owed, [0, 4, 0], rule=rule, margin=margin).payments[1]) for rule in rules)
    return Check("Paddrik-Rajan-Young payments at tau 0.5, 1, 1.5", "constructed (formula recalled)", (8.5, 7.0, 5.5), found, 1e-9)


def mutual_debt() -> Check:
    """Two that owe each other 1 and have nothing: the greatest solution pays in full."""
    found = tuple(clear([[0, 1], [1, 0]], [0, 0]).payments)
    return Check("greatest of many clearing vectors", "Eisenberg & Noe 2001, appendix 2", (1.0, 1.0), found, 1e-9)


def linear_debtrank() -> Check:
    """0.1 round a ring of halves: 0.8/7, 0.4/7, 0.2/7."""
    found = tuple(debtrank.linear(_LENT, [1, 1, 1], [0.1, 0, 0]).closing)
    return Check("linear DebtRank on a ring", "Bardoscia et al. 2015 (computed)", (0.8 / 7, 0.4 / 7, 0.2 / 7), found, 1e-9)


def single_hit_debtrank() -> Check:
    """0.1 round a ring of halves, each passing on once."""
    found = tuple(debtrank.single_hit(_LENT, [1, 1, 1], [0.1, 0, 0]).closing)
    return Check("single-hit DebtRank on a ring", "Battiston et al. 2012 (computed)", (0.1125, 0.05, 0.025), found, 1e-9)


def network_valuation() -> Check:
    """Three banks whose external assets fall by 2 %, claims valued by what is left of debtors' equity."""
    book = Book.of(_LENT.T, [9.8, 4.9, 2.94], [9, 4, 2])
    found = tuple(value(book, linear_value([1, 1, 1])).equity)
    return Check(
        "network valuation, linear, equities",
        "Barucca et al. 2020, data of neva (computed)",
        (4.88 / 7, 5.56 / 7, 5.52 / 7),
        found,
        1e-9,
    )


def sequential_default() -> Check:
    """The same banks after a fall of 30 %, nothing recovered from whoever fails."""
    before = 1 - 0.3 * np.array([10, 5, 3])
    found = tuple(before - furfine(_LENT.T, before).losses)
    return Check("sequential default, equities", "Furfine 2003, data of neva (computed)", (-2.5, -1.0, -0.4), found, 1e-9)


def paths_of_impact() -> Check:
    """Three banks: susceptibility of the third, fluidity, total diffusion of the first two."""
    matrix = brings_down([[0, 10, 3], [1, 0, 2], [0, 3, 0]], [2, 5, 2])
    total = diffusion(matrix).total
    found = (float(susceptibility(matrix)[2]), fluidity(matrix), float(total[0]), float(total[1]))
    return Check("susceptibility, fluidity, diffusion", "Cinelli, NetworkRiskMeasures", (1.25, 0.75, 1.25, 1.5), found, 1e-9)


def fire_sale() -> Check:
    """Two banks, one above its leverage limit: capital and price when nobody has to sell any more."""
    banks = Holders(np.array([[90.0], [70.0]]), np.array([8.0, 20.0]), np.array([2.0, 4.5]))
    impact = finite_depth(0.5 * depth_of(50.0, 0.02, days=20, factor=0.4), 0.5)
    last = deleverage(banks, [1.0], impact, limit=33.3)[-1]
    found = (*last.holders.capital.tolist(), float(last.prices[0]))
    return Check(
        "threshold deleveraging, capital, price",
        "Cont & Schaanning 2017, FinNetValu",
        (1.222157215, 3.6122228152, 0.98731747),
        found,
        1e-8,
    )


def netting() -> Check:
    """12 participants: clearing one of 3 classes lowers expected exposure, one of 4 raises it."""
    found = tuple(expected_exposure(12, classes, cleared=cleared) for classes in (3, 4) for cleared in (False, True))
    return Check("netting with and without clearing", "Duffie & Zhu 2011 (computed)", (7.600871, 7.529227, 8.776730, 8.924013), found, 5e-7)


_SINGLE: Final[tuple[Callable[[], Check], ...]] = (
    variation_margin,
    mutual_debt,
    linear_debtrank,
    single_hit_debtrank,
    network_valuation,
    sequential_default,
    paths_of_impact,
    fire_sale,
    netting,
)


def examples(_full: bool) -> Iterator[Check]:
    """All of them; there is no longer form."""
    yield from (example() for example in _SINGLE)


def exhaustion(tau: float) -> float:
    """What an exchange with a fund of 3 lacks, less what it has left, at the end of a chain of variation margin, X to A to it.

    X owes 10 and has 4: A gets 10 - 6 tau. A has 2 and owes the exchange 10: short by 6 tau - 2, it pays 10 - tau (6 tau - 2). The
    exchange owes 10, so its fund is short by tau (6 tau - 2) - 3.
    """
    owed = np.zeros((4, 4))
    owed[0, 1] = owed[1, 2] = owed[2, 3] = 10
    return -float(clear(owed, [4, 2, 3, 0], rule=paddrik_rajan_young(tau)).equity[2])


def members(seed: int, draws: int) -> tuple[Floats, Floats, Floats]:
    """Debts (n, n), margin (n, n) and draws of buffers (draws, n) in a generated core-periphery network of 20, each owing 10 in all.

    Buffers are what a member needs if all others pay, and a fifth of what it owes and is owed, less a normal shock of that size (ours).
    """
    rng = np.random.default_rng(seed)
    graph, _ = CorePeriphery(CorePeriphery.Parameters()).rule(Places(20, 0), None, rng)
    owed = 10.0 * nx.to_numpy_array(graph, nodelist=range(20), weight="weight").T
    need = np.maximum(owed.sum(axis=1) - owed.sum(axis=0), 0.0)
    size = 0.1 * (owed.sum(axis=0) + owed.sum(axis=1))
    return owed, 0.1 * owed, np.maximum(need + size * (1.0 + rng.standard_normal((draws, 20))), 0.0)


def transmission(full: bool) -> Iterator[Check]:
    """Directions of Paddrik, Rajan & Young: exhaustion has a threshold in tau, losses rise with it, the centre need not contribute most."""
    paper, draws = "Paddrik, Rajan & Young 2020", (1000 if full else 100)
    # 6 tau^2 - 2 tau - 3 = 0
    target = (2 + np.sqrt(76)) / 12
    found = float(brentq(exhaustion, 0.5, 1.2, xtol=1e-13))
    yield Check("tau that exhausts a fund of 3, by hand", "constructed (formula recalled)", (target,), (found,), 1e-9)
    owed, margin, held = members(0, draws)
    clients = np.maximum(owed.sum(axis=0) - owed.sum(axis=1), 0.0)
    losses = [
        float(np.mean([clear(owed, one, clients, rule=paddrik_rajan_young(tau)).deficiency for one in held]))
        for tau in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    ]
    yield Check("five steps of tau up to 1.5: losses rise with each", paper, (5.0,), (float((np.diff(losses) > 0).sum()),), 0.0)
    central = int(np.abs(np.linalg.eigh(owed + owed.T)[1][:, -1]).argmax())
    contributes = importance(owed, held, tau=1.0, margin=margin).mean
    above = float(contributes[central] < contributes.max())
    yield Check("some node contributes more than the most central one", paper, (1.0,), (above,), 0.0)


VALIDATIONS: Final = (Validation("contagion", examples), Validation("transmission", transmission))
