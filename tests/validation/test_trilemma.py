"""The direction of the deleveraging trilemma (Chitra 2025, arXiv 2512.01112): what a fixed severity gives up, and that tails decide.

PTSR, what the top winner keeps over the loss that winners are asked for, scales as b_n / (theta_n n), b_n being the largest of n.
Under thin tails it vanishes as the venue grows: the loss is shared by many, and a static rule is fair. With the tail index measured
on Hyperliquid on 10 October 2025 (0.86), one winner is as large as the sum, and no fixed severity gives a small residual and a bounded top.
"""

from collections.abc import Callable

import numpy as np
import pytest

from agents.clearinghouse.deleveraging import DeleveragingView, ProRata
from model.haircuts import Haircuts

type Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
type Law = Callable[[np.random.Generator, int], Floats]

DRAWS = 200
HILL = 0.86


def thin(rng: np.random.Generator, n: int) -> Floats:
    return rng.exponential(size=n)


def heavy(rng: np.random.Generator, n: int) -> Floats:
    return 1.0 + rng.pareto(HILL, size=n)


def after(law: Law, n: int, severity: float, seed: int) -> tuple[float, float]:
    """PTSR and residual over deficit when n winners give, in proportion to profit, for n losers who are short of half as much."""
    rng = np.random.default_rng(seed)
    profit, short = law(rng, n), 0.5 * law(rng, n)
    asked = severity * float(short.sum())
    view = DeleveragingView(asked, profit, profit, profit, profit, np.zeros(n), 1.0, np.ones(n), False)
    given = ProRata(ProRata.Parameters(by="profit")).rule(view, None, None)[0]
    step = Haircuts(n)
    step.ask(severity * short, float(short.sum()))
    step.give(np.arange(n), profit, given)
    return step.measures()[0], 1.0 - float(given.sum()) / float(short.sum())


def median(law: Law, n: int, severity: float) -> tuple[float, float]:
    ptsr, residual = np.median([after(law, n, severity, seed) for seed in range(DRAWS)], axis=0)
    return float(ptsr), float(residual)


def test_under_thin_tails_a_static_rule_is_fair_once_the_venue_is_large_and_under_heavy_tails_never() -> None:
    # Largest of n exponentials over their sum: log(n) / n, 50 times less for 10,000 than for 100; a heavy tail's does not fall with n.
    shrinks = {law: median(law, 10_000, 0.7)[0] / median(law, 100, 0.7)[0] for law in (thin, heavy)}
    assert shrinks[thin] < 0.05
    assert shrinks[heavy] > 0.3


@pytest.mark.parametrize("law", [thin, heavy])
def test_a_lower_severity_leaves_more_to_the_top_winner_and_more_loss_to_everybody_else(law: Law) -> None:
    found = [median(law, 1_000, severity) for severity in (1.0, 0.7, 0.4, 0.1)]
    tops, residuals = [ptsr for ptsr, _ in found], [residual for _, residual in found]
    assert tops == sorted(tops)
    assert residuals == sorted(residuals)
    assert tops[0] < tops[-1]
    assert residuals[0] < residuals[-1]
