"""Published and worked answers of the contagion engines."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from experiments.validation.check import Check, Validation
from model.contagion import clear, debtrank, paddrik_rajan_young
from model.contagion.cascades import furfine
from model.contagion.fire_sales import Holders, deleverage, depth_of, finite_depth
from model.contagion.netting import expected_exposure
from model.contagion.valuation import Book, linear_value, value
from model.contagion.vulnerability import brings_down, diffusion, fluidity, susceptibility

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


VALIDATIONS: Final = (Validation("contagion", examples),)
