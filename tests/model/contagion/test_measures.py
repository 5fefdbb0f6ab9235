"""Measures of a cascade, each on a case that can be worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from model.contagion import clear, paddrik_rajan_young
from model.contagion.measures import (
    amplification,
    branching_ratio,
    defaults_by_class,
    defaults_by_wave,
    importance,
    liquidation_cascades,
    time_to_recovery,
)


def test_amplification_is_total_over_initial_loss() -> None:
    assert amplification(12.0, 4.0) == 3.0
    assert math.isnan(amplification(0.0, 0.0))


def test_defaults_are_counted_by_wave() -> None:
    assert defaults_by_wave([1, -1, 3, 1, 3, 3]) == [2, 0, 3]
    assert defaults_by_wave([-1, -1]) == []


def test_defaults_are_counted_by_class_initial_and_contagious() -> None:
    sheets = pd.DataFrame({"kind": ["lender", "lender", "market_maker", "market_maker", "exchange"], "wave": [2, -1, 1, 3, -1]})
    table = defaults_by_class(sheets)
    assert table.to_dict("index") == {
        "exchange": {"institutions": 1, "initial": 0, "contagious": 0, "wave_1": 0, "wave_2": 0, "wave_3": 0},
        "lender": {"institutions": 2, "initial": 0, "contagious": 1, "wave_1": 0, "wave_2": 1, "wave_3": 0},
        "market_maker": {"institutions": 2, "initial": 1, "contagious": 1, "wave_1": 1, "wave_2": 0, "wave_3": 1},
    }


def test_nobody_is_counted_where_nobody_failed_or_nobody_is() -> None:
    assert defaults_by_class(pd.DataFrame({"kind": ["lender"], "wave": [-1]})).loc["lender"].tolist() == [1, 0, 0, 0]
    assert len(defaults_by_class(pd.DataFrame({"kind": [], "wave": []}))) == 0


def test_the_branching_ratio_is_the_part_of_failures_that_others_caused() -> None:
    """Four at first, then two, then one: 3 of 7 had a parent. With a lone failure beside it, 3 of 8."""
    assert branching_ratio([[4, 2, 1]]) == pytest.approx(3 / 7)
    assert branching_ratio([[4, 2, 1], [1]]) == pytest.approx(3 / 8)
    assert branching_ratio([[5]]) == 0.0
    assert math.isnan(branching_ratio([]))


def test_the_branching_ratio_of_simulated_trees_is_that_of_their_offspring() -> None:
    """20,000 trees with a Poisson number of children of mean 0.3; the estimate's standard error is about sqrt(0.3/28,600) = 0.0032."""
    rng, trees = np.random.default_rng(4), []
    for _ in range(20_000):
        generations = [1]
        while (born := int(rng.poisson(0.3, generations[-1]).sum())) > 0:
            generations.append(born)
        trees.append(generations)
    assert branching_ratio(trees) == pytest.approx(0.3, abs=5 * 0.0033)


def test_rounds_of_liquidation_are_generations_and_an_account_counts_once() -> None:
    """Step 3: accounts 7 and 8 in the first round, 9 and again 7 in the next but one. Step 4: 7 alone. Takeovers are no liquidations."""
    rows = [(3, 0, 1, 7), (3, 0, 1, 8), (3, 0, 3, 7), (3, 0, 3, 9), (4, 0, 0, 7), (4, 1, 2, 5)]
    events = pd.DataFrame(rows, columns=["step", "increment", "round", "account"])
    events["kind"] = ["liquidation"] * 5 + ["takeover"]
    assert liquidation_cascades(events) == [[2, 0, 1], [1]]
    assert liquidation_cascades(events.iloc[:0]) == []


def test_recovery_takes_from_the_first_fall_to_the_first_return() -> None:
    hours, fund = [0, 2, 4, 6, 8, 10], [5, 3, 2, 4.5, 5, 1]
    assert time_to_recovery(hours, fund, 5) == 6  # falls at 2, is back at 8
    assert time_to_recovery(hours, fund, 5, share=0.9) == 4  # back to 4.5 at 6
    assert time_to_recovery(hours, fund, 1) == 0  # never falls
    assert time_to_recovery(hours, fund, 6) == math.inf  # never gets there
    assert time_to_recovery(hours, fund, [5, 3, 3, 4, 4, 1]) == 2  # against a target that moves: short at 4 only


def test_importance_is_what_creditors_lose_less_if_a_node_is_rescued() -> None:
    """0 owes 1 ten and has 4; 1 owes 2 ten and has 2; tau = 1, so it is short by 6 - 2 = 4. Creditors lose 6 + 4.

    Rescue 0 and nothing is lost: 10. Rescue 1 and 6 is: 4. In a second draw 0 has all it needs. Means 5 and 2, errors 10/2 and 4/2.
    """
    L = np.zeros((3, 3))
    L[0, 1] = L[1, 2] = 10
    found = importance(L, [[4, 2, 0], [10, 2, 0]])
    assert found.mean.tolist() == pytest.approx([5, 2, 0])
    assert found.error.tolist() == pytest.approx([5, 2, 0])
    assert found.loss.tolist() == pytest.approx([10, 0])


def test_importance_counts_margin_and_transmission_as_clearing_does() -> None:
    """As above with 3 of margin against 0 and tau = 0.5 for it: pays 10 - 0.5 x 6 = 7, margin makes it 10. Nothing is lost."""
    L, c = np.zeros((3, 3)), np.zeros((3, 3))
    L[0, 1] = L[1, 2] = 10
    c[0, 1] = 3
    found = importance(L, [[4, 2, 0]], tau=[0.5, 1, 1], margin=c)
    assert found.mean.tolist() == pytest.approx([0, 0, 0])
    assert np.isnan(found.error).all()
    assert clear(L, [4, 2, 0], rule=paddrik_rajan_young([0.5, 1, 1]), margin=c).deficiency == pytest.approx(0)
