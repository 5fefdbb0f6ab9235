"""Shapley shares over channels: games with known answers, what must add up, and how sure a share is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.attribution import Coalition, attribute, coalitions, shapley

type Floats = NDArray[np.float64]


def exactly(found: object, expected: object) -> None:
    """Equal to 1e-9."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)  # type: ignore[arg-type]


def test_the_glove_game_gives_the_single_left_glove_four_sixths() -> None:
    """One left glove, two right ones, a pair is worth 1. In 4 of 6 orders the left one completes it, in 1 each of the right ones."""
    worth = {c: np.array([float("left" in c and len(c) > 1)]) for c in coalitions(["left", "r1", "r2"])}
    exactly(shapley(["left", "r1", "r2"], worth), [[4 / 6, 1 / 6, 1 / 6]])


def test_the_airport_game_shares_each_stretch_of_runway_among_those_who_need_it() -> None:
    """Runways of 8, 11, 17: 8/3 each for the first stretch, 3/2 for the second, 6 for the last (Littlechild and Owen 1973)."""
    need = {"a": 8.0, "b": 11.0, "c": 17.0}
    worth = {c: np.array([max((need[name] for name in c), default=0.0)]) for c in coalitions(list(need))}
    exactly(shapley(list(need), worth), [[8 / 3, 8 / 3 + 3 / 2, 8 / 3 + 3 / 2 + 6]])


def test_two_channels_that_only_hurt_together_share_alike_and_a_dummy_gets_nothing() -> None:
    """Alone 2 a seed and 3; together 10 more; the third never matters. So 2 + 5, 3 + 5, 0 beside a baseline of 1."""

    def outcome(on: Coalition) -> dict[str, Floats]:
        loss = 1.0 + 2.0 * ("price" in on) + 3.0 * ("credit" in on) + 10.0 * ({"price", "credit"} <= on)
        return {"loss": np.full(4, loss)}

    found = attribute(["price", "credit", "idle"], outcome)
    exactly(found.shares["mean"], [7, 8, 0])
    exactly(found.shares["part"], [7 / 15, 8 / 15, 0])
    exactly(found.shares[["low", "high"]], [[7, 7], [8, 8], [0, 0]])
    assert found.totals.to_dict("records") == [{"output": "loss", "baseline": 1.0, "total": 16.0}]


@given(st.integers(0, 5), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_shares_and_baseline_add_up_to_the_total_for_every_seed(count: int, seeds: int, entropy: int) -> None:
    rng = np.random.default_rng(entropy)
    channels = [f"c{at}" for at in range(count)]
    table = {c: {"loss": rng.normal(size=seeds), "defaults": rng.poisson(3, seeds)} for c in coalitions(channels)}
    found = attribute(channels, table.__getitem__, resamples=20)
    for output in ("loss", "defaults"):
        baseline, total = table[frozenset()][output], table[frozenset(channels)][output]
        exactly(found.by_seed[output].sum(axis=1) + baseline, total)
        mine = found.shares[found.shares["output"] == output]
        exactly(mine["mean"].sum() + baseline.mean(), total.mean())


@given(st.permutations(["a", "b", "c"]), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_order_in_which_channels_are_named_does_not_matter(order: list[str], entropy: int) -> None:
    rng = np.random.default_rng(entropy)
    worth: dict[Coalition, Floats] = {c: rng.normal(size=3) for c in coalitions(["a", "b", "c"])}
    straight = shapley(["a", "b", "c"], worth)
    exactly(shapley(order, worth), straight[:, [["a", "b", "c"].index(name) for name in order]])


def test_every_coalition_is_asked_for_once() -> None:
    asked: list[Coalition] = []

    def outcome(on: Coalition) -> dict[str, Floats]:
        asked.append(on)
        return {"loss": np.zeros(2)}

    attribute(["a", "b", "c", "d"], outcome)
    assert len(asked) == len(set(asked)) == 16


def test_what_all_arms_of_a_seed_share_does_not_blur_the_shares() -> None:
    """Seeds differ by a deviation of 100, the channel adds 1 with a deviation of 0.1: paired, the interval is that of the 0.1."""
    rng = np.random.default_rng(0)
    luck, effect = rng.normal(0, 100, 400), rng.normal(1, 0.1, 400)
    found = attribute(["a"], lambda on: {"loss": luck + effect * ("a" in on)})
    row = found.shares.iloc[0]
    half = 1.96 * effect.std() / 20
    assert row["mean"] == pytest.approx(effect.mean())
    assert row["low"] == pytest.approx(effect.mean() - half, abs=0.2 * half)
    assert row["high"] == pytest.approx(effect.mean() + half, abs=0.2 * half)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """A 90 % interval from 40 seeds, 200 times. Percentile intervals are narrow by sqrt(39/40) and for want of t: they cover 0.885.

    The count is binomial: 177, within five deviations of 4.5.
    """
    covered = 0
    for at in range(200):
        effect = np.random.default_rng(at).normal(2, 1, 40)
        found = attribute(["a"], lambda on, effect=effect: {"loss": effect * ("a" in on)}, level=0.9, resamples=400)  # type: ignore[misc]
        row = found.shares.iloc[0]
        covered += bool(row["low"] <= 2 <= row["high"])
    assert 177 - 22.5 <= covered <= 177 + 22.5


def test_a_single_seed_has_shares_but_no_interval() -> None:
    found = attribute(["a"], lambda on: {"loss": [3.0 * len(on)]})
    assert found.shares["mean"].tolist() == [3.0]
    assert found.shares[["low", "high"]].isna().all(axis=None)


def test_the_same_outcomes_give_the_same_table() -> None:
    rng = np.random.default_rng(1)
    table = {c: {"loss": rng.normal(size=9)} for c in coalitions(["a", "b"])}
    first, again = (attribute(["a", "b"], table.__getitem__).shares for _ in range(2))
    assert first.equals(again)


@pytest.mark.parametrize(
    ("channels", "table", "message"),
    [
        (["a", "a"], None, "expected at most 12 different names"),
        ([str(at) for at in range(13)], None, "expected at most 12 different names"),
        (["a"], {frozenset(): {"loss": [1.0]}, frozenset("a"): {"loss": [np.nan]}}, "outcome: a: loss: expected one finite number a seed"),
        (["a"], {frozenset(): {"loss": [1.0]}, frozenset("a"): {"loss": [1.0, 2.0]}}, "outcome: a: expected the outputs and seeds"),
        (["a"], {frozenset(): {"loss": [1.0]}, frozenset("a"): {"cost": [1.0]}}, "outcome: a: expected the outputs and seeds"),
        (["a"], {frozenset(): {"loss": [np.inf]}, frozenset("a"): {"loss": [1.0]}}, "outcome: no channel: loss"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    channels: list[str], table: dict[Coalition, dict[str, list[float]]] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(channels, (table or {}).__getitem__)
