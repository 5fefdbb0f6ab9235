"""Sensitivity indices on functions whose indices are known in closed form, and the refusal of a single missing number."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.analysis.blocks import Incomplete, Measure
from experiments.analysis.indices import TooFew, morris, noise_share, pawn, rbd_fast, sobol
from tests.experiments.analysis.tabled import broken, summary

WHY = "needs the extra `analysis`"
salib = pytest.importorskip("SALib.analyze.sobol", reason=WHY)
saltelli_sample = pytest.importorskip("SALib.sample.sobol", reason=WHY)
morris_sample = pytest.importorskip("SALib.sample.morris", reason=WHY)

LOSS = Measure("loss", "USD")


def ishigami(a, b, c):
    """Ishigami & Homma (1990), a = 7, b = 0.1, factors in the unit interval."""
    a, b, c = (-np.pi + 2.0 * np.pi * np.asarray(x) for x in (a, b, c))
    return np.sin(a) + 7.0 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)


# V = a²/8 + b π⁴/5 + b² π⁸/18 + 1/2 = 13.8446; S1 = V1/V with V1 = (1 + b π⁴/5)²/2, V2 = a²/8, V3 = 0; the rest is S13.
ISHIGAMI_FIRST = (0.3139, 0.4424, 0.0)
ISHIGAMI_TOTAL = (0.5576, 0.4424, 0.2437)


def designed(sampler, function, names, replications=1, noise=0.0):
    """A summary of `function` of the unit cube's points in the sampler's order; noise by point and replication."""
    points = pd.DataFrame(sampler, columns=[*names, "dummy"])
    rng = np.random.default_rng(5)
    luck = rng.normal(0.0, noise, (len(points), replications)) if noise else np.zeros((len(points), replications))
    values = function(*points[names].to_numpy().T)
    points["at"] = np.arange(len(points))
    table = summary(points, replications, loss=lambda point, _arm, r: values[int(point["at"])] + luck[int(point["at"]), r])
    return table.drop(columns="at")


def saltelli(base, dimensions, second_order=False):
    problem = {"num_vars": dimensions, "names": [f"x{i}" for i in range(dimensions)], "bounds": [[0.0, 1.0]] * dimensions}
    return saltelli_sample.sample(problem, base, calc_second_order=second_order, seed=11)


def last(table, order):
    """Indices of the largest design, by factor."""
    rows = table[(table["order"] == order) & (table["base_points"] == table["base_points"].max())]
    return rows.set_index("factor")


NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def sampled():
    return designed(saltelli(512, 4), ishigami, NAMES)


def test_sobol_finds_ishigamis_indices_within_its_intervals(sampled):
    found = sobol(sampled, LOSS, [*NAMES, "dummy"], 0)
    for order, truth in (("first", ISHIGAMI_FIRST), ("total", ISHIGAMI_TOTAL)):
        rows = last(found, order)
        assert rows.loc[NAMES, "index"].to_numpy() == pytest.approx(truth, abs=0.05)
        assert (rows.loc[NAMES, "low"] <= np.array(truth)).all()
        assert (rows.loc[NAMES, "high"] >= np.array(truth)).all()
        assert rows.loc["dummy", ["index", "low", "high"]].tolist() == [0.0, 0.0, 0.0]


def test_sobol_is_told_for_rising_numbers_of_base_points(sampled):
    found = sobol(sampled, LOSS, [*NAMES, "dummy"], 0)
    assert sorted(found["base_points"].unique()) == [64, 128, 256, 512]
    assert (found["points"] == 6 * found["base_points"]).all()
    widths = found[(found["factor"] == "a") & (found["order"] == "total")].sort_values("base_points")
    assert (widths["high"] - widths["low"]).is_monotonic_decreasing


def test_sobol_agrees_with_scipy_on_the_same_points(sampled):
    # SciPy takes f(A), f(B) and f(AB) of the very blocks, and estimates from them by the same two formulas of Saltelli et al. (2010).
    blocks = sampled["loss"].to_numpy().reshape(512, 6)
    said = stats.sobol_indices(func={"f_A": blocks[None, :, 0], "f_B": blocks[None, :, 5], "f_AB": blocks[:, 1:5].T[:, None, :]}, n=512)
    found = sobol(sampled, LOSS, [*NAMES, "dummy"], 0)
    assert last(found, "first")["index"].to_numpy() == pytest.approx(said.first_order.ravel(), abs=1e-3)
    assert last(found, "total")["index"].to_numpy() == pytest.approx(said.total_order.ravel(), abs=1e-3)


def test_second_order_finds_the_pair_that_interacts():
    table = designed(saltelli(512, 4, second_order=True), ishigami, NAMES)
    found = sobol(table, LOSS, [*NAMES, "dummy"], 0, second_order=True)
    pairs = last(found, "second").reset_index().set_index(["factor", "other"])["index"]
    assert pairs["a", "c"] == pytest.approx(0.2437, abs=0.08)
    assert pairs.drop(("a", "c")).abs().max() < 0.08


def test_sobol_of_a_linear_function_is_the_share_of_squared_slopes():
    # y = 1 a + 2 b + 3 c, each uniform: S = 1/14, 4/14, 9/14, first order and total alike.
    table = designed(saltelli(256, 4), lambda a, b, c: a + 2 * b + 3 * c, NAMES)
    found = sobol(table, LOSS, [*NAMES, "dummy"], 0)
    for order in ("first", "total"):
        assert last(found, order).loc[NAMES, "index"].to_numpy() == pytest.approx([1 / 14, 4 / 14, 9 / 14], abs=0.03)


def test_sobol_of_the_g_function():
    # Sobol's g, a = (0, 1, 9): V_i = 1 / (3 (1 + a_i)²) = 1/3, 1/12, 1/300; V = Π (1 + V_i) − 1; S_i = V_i / V.
    a = np.array([0.0, 1.0, 9.0])

    def g(*x):
        return np.prod([(np.abs(4 * xi - 2) + ai) / (1 + ai) for xi, ai in zip(x, a, strict=True)], axis=0)

    parts = 1.0 / (3.0 * (1.0 + a) ** 2)
    whole = np.prod(1.0 + parts) - 1.0
    found = sobol(designed(saltelli(1024, 4), g, NAMES), LOSS, [*NAMES, "dummy"], 0)
    assert last(found, "first").loc[NAMES, "index"].to_numpy() == pytest.approx(parts / whole, abs=0.03)
    total = [parts[i] * np.prod(np.delete(1 + parts, i)) / whole for i in range(3)]
    assert last(found, "total").loc[NAMES, "index"].to_numpy() == pytest.approx(total, abs=0.03)


def test_a_single_missing_number_is_refused_where_salib_would_say_zero(sampled):
    hurt = broken(sampled, "77-base-0")
    with pytest.raises(Incomplete, match="77-base-0"):
        sobol(hurt, LOSS, [*NAMES, "dummy"], 0)
    problem = {"num_vars": 4, "names": [*NAMES, "dummy"], "bounds": [[0, 1]] * 4}
    trap = salib.analyze(problem, hurt["loss"].to_numpy(), calc_second_order=False, seed=1)
    assert np.nan_to_num(trap["S1"]).tolist() == [0.0] * 4  # the trap is still there


def test_part_of_a_block_is_refused(sampled):
    with pytest.raises(TooFew, match="blocks of 6"):
        sobol(sampled.iloc[:-1], LOSS, [*NAMES, "dummy"], 0)


def test_an_output_that_never_varies_has_no_indices():
    found = sobol(designed(saltelli(16, 4), lambda a, _b, _c: 0.0 * a, NAMES), LOSS, [*NAMES, "dummy"], 0)
    assert found["index"].isna().all()


def test_indices_repeat_to_the_bit_with_seed_zero(sampled):
    first, again = (sobol(sampled, LOSS, [*NAMES, "dummy"], 0) for _ in range(2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_noise_is_the_part_of_the_variance_between_points_that_replications_explain():
    # Points' means vary by 1/12 × 12² = 12 (uniform on 0 ... 12); noise of variance 36 averaged over 4 adds 9: 9 / 21 = 0.43.
    rng = np.random.default_rng(8)
    table = designed(rng.random((4_000, 4)), lambda a, _b, _c: 12.0 * a, NAMES, replications=4, noise=6.0)
    assert noise_share(table, LOSS) == pytest.approx(9 / 21, abs=0.03)
    assert noise_share(designed(rng.random((50, 4)), lambda a, _b, _c: a, NAMES, replications=4), LOSS) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(noise_share(designed(rng.random((50, 4)), lambda a, _b, _c: a, NAMES), LOSS))


def test_morris_of_a_linear_function_is_its_slopes_without_spread():
    cube = morris_sample.sample({"num_vars": 4, "names": [*NAMES, "dummy"], "bounds": [[0.0, 1.0]] * 4}, 10, num_levels=4, seed=3)
    table = designed(cube, lambda a, b, c: a - 2 * b + 3 * c, NAMES)
    factors = {name: cube[:, at] for at, name in enumerate([*NAMES, "dummy"])}
    rows = morris(table, LOSS, factors, 0, levels=4).set_index("factor")
    assert rows["mu"].to_numpy() == pytest.approx([1.0, -2.0, 3.0, 0.0], abs=1e-12)
    assert rows["mu_star"].to_numpy() == pytest.approx([1.0, 2.0, 3.0, 0.0], abs=1e-12)
    assert rows["sigma"].to_numpy() == pytest.approx(0.0, abs=1e-12)
    assert (rows["trajectories"] == 10).all()
    with pytest.raises(Incomplete, match="7-base-0"):
        morris(broken(table, "7-base-0"), LOSS, factors, 0, levels=4)


def given(function, points=600, seed=2):
    cube = np.random.default_rng(seed).random((points, 4))
    return designed(cube, function, NAMES), {name: cube[:, at] for at, name in enumerate(NAMES)}


def test_rbd_fast_finds_first_order_indices_from_any_sample():
    rows = rbd_fast(*_swap(given(ishigami, 1_500))).set_index("factor")
    assert rows.loc[NAMES, "index"].to_numpy() == pytest.approx(ISHIGAMI_FIRST, abs=0.06)
    assert abs(rows.loc["dummy", "index"]) < 0.05


def test_rbd_fast_is_not_fooled_by_the_order_of_a_factorial_design():
    # y = b; a is constant over whole stretches of the plan, within which b rises: sorted by a alone, y would be a clean wave.
    a, b = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 32), indexing="ij"))
    table = summary(pd.DataFrame({"a": a, "b": b}), loss=lambda point, _arm, _r: point["b"])
    rows = rbd_fast(table, LOSS, {"a": a, "b": b}, 0).set_index("factor")
    assert rows.loc["b", "index"] > 0.9
    assert abs(rows.loc["a", "index"]) < 0.15


def test_pawn_ranks_factors_and_stands_above_its_dummy():
    rows = pawn(*_swap(given(lambda a, b, _c: 3 * a + 2 * b, 300))).set_index("factor")
    assert rows.loc["a", "index"] > rows.loc["b", "index"] > rows.loc["dummy", "index"]
    assert rows.loc["c", "index"] == pytest.approx(rows.loc["dummy", "index"], abs=0.06)
    assert ((rows["low"] <= rows["index"]) & (rows["index"] <= rows["high"])).all()


def test_given_data_methods_leave_out_points_with_failed_runs_and_say_how_many():
    table, factors = given(lambda a, _b, _c: a, 100)
    rows = rbd_fast(broken(broken(table, "3-base-0"), "9-base-0"), LOSS, factors, 0)
    assert rows[["points", "left_out"]].drop_duplicates().to_numpy().tolist() == [[98, 2]]
    with pytest.raises(TooFew, match="found 20 points"):
        rbd_fast(table.iloc[:20], LOSS, {name: column[:20] for name, column in factors.items()}, 0)


def _swap(table_and_factors):
    table, factors = table_and_factors
    return table, LOSS, factors, 0
