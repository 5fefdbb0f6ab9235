"""Sensitivity indices: which factors drive an output. Sobol, Morris, PAWN and RBD-FAST by SALib, with intervals.

Sobol and Morris are made from blocks of a design and refuse a table in which a run is unusable; PAWN and RBD-FAST take any sample of
points, leave out those with unusable runs and say how many. Replications are averaged first, so that an index is about the expected
output. Two things show what an index is worth:

- the dummy factor sets nothing. In PAWN and RBD-FAST its index is the floor that a finite sample leaves. In Sobol and Morris its runs
  are its neighbours' runs under common random numbers, so that it is exactly zero: anything else is a fault of the sweep;
- `noise`, for Sobol: the part of the variance between points that is noise of replications, which no factor owns and which raises total
  indices. From the mean square of the interaction of point and replication (two-way analysis of variance, one value a cell).

SALib reads `if seed:`, so that zero would mean its global generator: seeds handed to it are never zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

from experiments.analysis.blocks import Floats, Measure, replication_means, usable
from experiments.analysis.intervals import LEVEL, stream

DUMMY: Final = "dummy"
"""The factor that sets nothing: its index is the noise floor."""
RESAMPLES: Final = 1_000
GIVEN_DATA_RESAMPLES: Final = 50
"""Of PAWN and RBD-FAST, which are slow; their intervals take a standard error, not a quantile."""
SLICES: Final = 10
"""Conditioning intervals of PAWN (Pianosi & Wagener 2018)."""
Z: Final = float(stats.norm.ppf(0.5 + LEVEL / 2.0))
LEAST: Final = 30
"""Points below which an index from given data is refused: 10 slices of 3, and more than RBD-FAST's 2 × 10 harmonics."""


class TooFew(ValueError):
    """A design too small for an index."""


def sobol(table: pd.DataFrame, measure: Measure, factors: Sequence[str], seed: int, *, second_order: bool = False) -> pd.DataFrame:
    """First-order and total Sobol indices from a Saltelli design, recomputed on the first N/8, N/4, N/2 and N base points.

    Estimators: Saltelli et al., Computer Physics Communications 181 (2010), table 2 (b) and (f). Intervals: ± z × bootstrap standard
    error over base points. The base points of a Sobol sequence come in an order whose leading parts are themselves well spread.

    Args:
        table: one arm, rows in the sampler's order: N blocks of D + 2 points, or 2 D + 2 with second order.
        measure: the output.
        factors: the D factors in the sampler's order, the dummy among them if the design has one.
        seed: of the bootstrap.
        second_order: the design holds the blocks of second-order indices.

    Returns:
        `output`, `base_points`, `points`, `factor`, `other` (empty but for order "second"), `order` ("first", "total", "second"), `index`,
        `low`, `high`, `noise`.

    Raises:
        Incomplete: a run is unusable.
        TooFew: not whole blocks.
    """
    values = replication_means(table, measure.name, "sobol")
    block = (2 if second_order else 1) * len(factors) + 2
    base, rest = divmod(values.size, block)
    if rest or base < 2:
        raise TooFew(f"sobol of {measure.name}: found {values.size} points, expected two or more blocks of {block}")
    sizes = sorted({size for part in (8, 4, 2, 1) if (size := base // part) >= 8} | {base})
    parts = [_sobol(values[: size * block], measure.name, factors, seed, second_order) for size in sizes]
    said = [part.assign(base_points=size, points=size * block) for size, part in zip(sizes, parts, strict=True)]
    names = ["output", "base_points", "points", "factor", "other", "order", "index", "low", "high"]
    return pd.concat(said, ignore_index=True)[names].assign(noise=noise_share(table, measure))


def morris(table: pd.DataFrame, measure: Measure, factors: Mapping[str, Floats], seed: int, *, levels: int) -> pd.DataFrame:
    """Elementary effects over trajectories (Morris, Technometrics 33, 1991; mu* of Campolongo et al., Env. Modelling & Software 22, 2007).

    Effects are per whole range of a factor, in the output's unit. The interval is mu*'s, bootstrapped over trajectories.

    Args:
        table: one arm, rows in the sampler's order.
        measure: the output.
        factors: (P,) values of each factor at each point, in any increasing coding.
        seed: of the bootstrap.
        levels: of the grid.

    Returns:
        `output`, `unit`, `trajectories`, `factor`, `mu`, `mu_star`, `low`, `high`, `sigma`.

    Raises:
        Incomplete: a run is unusable.
        TooFew: fewer than two whole trajectories.
    """
    from SALib.analyze import morris as salib  # noqa: PLC0415 - SALib takes a second

    values = replication_means(table, measure.name, "morris")
    trajectories, rest = divmod(values.size, len(factors) + 1)
    if rest or trajectories < 2:
        raise TooFew(f"morris of {measure.name}: found {values.size} points, expected two or more trajectories of {len(factors) + 1}")
    inputs = np.column_stack([np.asarray(column, dtype=float) for column in factors.values()])
    whole = _whole(seed, measure.name)
    said = salib.analyze(_problem(list(factors)), inputs, values, num_resamples=RESAMPLES, conf_level=LEVEL, num_levels=levels, seed=whole)
    mu_star, reach = (np.asarray(said[name], dtype=float) for name in ("mu_star", "mu_star_conf"))
    spread = {"low": np.maximum(mu_star - reach, 0.0), "high": mu_star + reach, "sigma": np.asarray(said["sigma"], dtype=float)}
    first = {"output": measure.name, "unit": measure.unit, "trajectories": trajectories, "factor": list(factors)}
    return pd.DataFrame({**first, "mu": np.asarray(said["mu"], dtype=float), "mu_star": mu_star, **spread})


def pawn(table: pd.DataFrame, measure: Measure, factors: Mapping[str, Floats], seed: int) -> pd.DataFrame:
    """Median Kolmogorov–Smirnov distance between the output's distribution and that given a slice of a factor, from any sample.

    Pianosi & Wagener, Environmental Modelling & Software 108 (2018). Factors are taken by rank, ties (labels, whole numbers, a grid's
    levels) broken at random, so that all slices hold as many points and the dummy, a factor of pure noise that is added here where the
    design has none, is a floor for every factor: the index is zero only in the limit of many points. Intervals: ± z × bootstrap standard
    error over points.

    Args:
        table, measure, seed: see `sobol`; any design.
        factors: (P,) values of each factor at each point, labels as whole numbers.

    Returns:
        `output`, `points`, `left_out`, `factor`, `index`, `low`, `high`.
    """
    from SALib.analyze import pawn as salib  # noqa: PLC0415

    inputs, values, kept = _given(table, measure, factors, seed, "pawn")
    names = list(inputs)

    def index(x: Floats, y: Floats) -> Floats:
        return np.asarray(salib.analyze(_problem(names), x, y, S=SLICES)["median"], dtype=float)

    x = _ranks(np.column_stack(list(inputs.values())), stream(seed, "ties", measure.name))
    picks = stream(seed, "pawn", measure.name).integers(values.size, size=(GIVEN_DATA_RESAMPLES, values.size))
    found, reach = index(x, values), Z * np.array([index(x[at], values[at]) for at in picks]).std(axis=0, ddof=1)
    said = {"index": found, "low": np.maximum(found - reach, 0.0), "high": np.minimum(found + reach, 1.0)}
    return pd.DataFrame({"output": measure.name, **kept, "factor": names, **said})


def rbd_fast(table: pd.DataFrame, measure: Measure, factors: Mapping[str, Floats], seed: int) -> pd.DataFrame:
    """First-order indices from any sample (Tarantola et al. 2006; Plischke 2010; bias: Tissot & Prieur 2012), columns as `pawn`.

    The interval is ± z × SALib's bootstrap error, which resamples half of the points and so is somewhat too wide.
    """
    from SALib.analyze import rbd_fast as salib  # noqa: PLC0415

    inputs, values, kept = _given(table, measure, factors, seed, "rbd_fast")
    x = np.column_stack(list(inputs.values()))
    # Points that tie on a factor keep the order they come in, and a design's order is another factor's.
    order = stream(seed, "rbd_fast", measure.name).permutation(values.size)
    said = salib.analyze(
        _problem(list(inputs)),
        x[order],
        values[order],
        num_resamples=GIVEN_DATA_RESAMPLES,
        conf_level=LEVEL,
        seed=_whole(seed, measure.name),
    )
    index, reach = (np.asarray(said[name], dtype=float) for name in ("S1", "S1_conf"))
    told = {"index": index, "low": index - reach, "high": index + reach}
    return pd.DataFrame({"output": measure.name, **kept, "factor": list(inputs), **told})


def noise_share(table: pd.DataFrame, measure: Measure) -> float:
    """Part of the variance of the points' means that is noise of replications; not a number from a single replication.

    Replications are common to all points, so that their own effect cancels between points; what is left is their interaction.
    """
    cells = table.pivot_table(index="point", columns="replication", values=measure.name, aggfunc="first", sort=False).to_numpy(dtype=float)
    points, replications = cells.shape
    between = float(cells.mean(axis=1).var(ddof=1))
    if replications < 2 or not between > 0.0:
        return float("nan")
    residual = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0, keepdims=True) + cells.mean()
    square = float((residual**2).sum()) / ((points - 1) * (replications - 1))
    return min(1.0, square / replications / between)


def _sobol(values: Floats, output: str, factors: Sequence[str], seed: int, second_order: bool) -> pd.DataFrame:
    """Indices of one number of base points."""
    from SALib.analyze import sobol as salib  # noqa: PLC0415

    if np.ptp(values) == 0.0:
        return _constant(output, factors)
    said = salib.analyze(
        _problem(factors), values, calc_second_order=second_order, num_resamples=RESAMPLES, conf_level=LEVEL, seed=_whole(seed, output)
    )
    rows = []
    for order, key in (("first", "S1"), ("total", "ST")):
        for at, factor in enumerate(factors):
            rows.append(_index(output, (factor, ""), order, said[key][at], said[f"{key}_conf"][at]))
    if second_order:
        for i, one in enumerate(factors):
            for j, other in list(enumerate(factors))[i + 1 :]:
                rows.append(_index(output, (one, other), "second", said["S2"][i, j], said["S2_conf"][i, j]))
    return pd.DataFrame(rows)


def _index(output: str, of: tuple[str, str], order: str, value: float, reach: float) -> dict[str, Any]:
    value, reach = float(value), float(reach)
    return {"output": output, "factor": of[0], "other": of[1], "order": order, "index": value, "low": value - reach, "high": value + reach}


def _constant(output: str, factors: Sequence[str]) -> pd.DataFrame:
    """An output that does not vary has no indices: not a number, where SALib says zero."""
    return pd.DataFrame([_index(output, (factor, ""), order, np.nan, np.nan) for order in ("first", "total") for factor in factors])


def _given(
    table: pd.DataFrame, measure: Measure, factors: Mapping[str, Floats], seed: int, analysis: str
) -> tuple[dict[str, Floats], Floats, dict[str, int]]:
    """Factors (P',) and mean outputs (P',) of the points whose every run is usable, and how many were kept and left out."""
    good = usable(table, measure.name).groupby(table["point"], sort=False).all()
    kept = good.to_numpy()
    if kept.sum() < LEAST:
        raise TooFew(f"{analysis} of {measure.name}: found {kept.sum()} points with every run usable, expected {LEAST} or more")
    values = table.groupby("point", sort=False)[measure.name].mean().to_numpy(dtype=float)[kept]
    if np.ptp(values) == 0.0:
        raise TooFew(f"{analysis} of {measure.name}: the output is {values[0]:g} at every point, expected some variation")
    inputs = {name: np.asarray(column, dtype=float)[kept] for name, column in factors.items()}
    if DUMMY not in inputs:
        inputs[DUMMY] = stream(seed, "dummy").random(kept.size)[kept]
    return inputs, values, {"points": int(kept.sum()), "left_out": int((~kept).sum())}


def _ranks(columns: Floats, rng: np.random.Generator) -> Floats:
    """(P, D) columns as ranks in the unit interval, ties broken at random."""
    places = np.lexsort((rng.random(columns.shape), columns), axis=0).argsort(axis=0)
    return np.asarray((places + 0.5) / len(columns), dtype=np.float64)


def _problem(factors: Sequence[str]) -> dict[str, Any]:
    """What SALib calls a problem; the bounds are not used in analysis."""
    return {"num_vars": len(factors), "names": list(factors), "bounds": [[0.0, 1.0]] * len(factors)}


def _whole(seed: int, *names: object) -> int:
    """A seed for SALib, never zero."""
    return int(stream(seed, *names).integers(1, 2**31))
