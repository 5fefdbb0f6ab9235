"""Does the answer depend on how the world opened? The outputs without their first steps, and under other opening values of a lever.

A run opens in a state that nobody reached by trading. What a study says should not hang on it: the first table leaves out more and more
of the beginning, the second compares the levels of a factor that sets an opening value, all else and all draws equal.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from experiments.analysis.blocks import Incomplete, Measure, usable
from experiments.analysis.intervals import UNKNOWN, bootstrap, stream, wilson
from experiments.analysis.replications import paired
from experiments.study import Output, Over
from experiments.study_run import taken


def by_burn_in(
    runs: Iterable[tuple[str, pd.DataFrame]], of: str, over: Over, measure: Measure, burn_ins: Sequence[int], seed: int
) -> pd.DataFrame:
    """An output's mean rate over runs of one point and arm, with longer and longer beginnings left out.

    Sums are told per kept step, for a shorter stretch has a smaller sum; the mean of a 0/1 output is a probability.

    Args:
        runs: arm and series of every run of the point, none left out (rows by step, the opening first).
        of: the series' column.
        over: how it is taken over the kept steps.
        measure: the output's name and unit.
        burn_ins: steps left out.
        seed: of the bootstrap.

    Returns:
        `arm`, `output`, `unit`, `burn_in`, `n`, `mean`, `low`, `high`, `interval`.
    """
    unit = f"{measure.unit} per step" if over == "sum" else measure.unit
    output = Output(name=measure.name, of=of, over=over)
    kept: dict[tuple[str, int], list[float]] = {}
    for arm, series in runs:
        steps = len(series) - 1
        for burn_in in (b for b in burn_ins if b < steps):
            value = taken(series, (output,), burn_in)[measure.name]
            kept.setdefault((arm, burn_in), []).append(value / (steps - burn_in if over == "sum" else 1))
    rows = []
    for (arm, burn_in), found in sorted(kept.items()):
        sample = np.array(found)
        if not np.isfinite(sample).all():
            interval = UNKNOWN
        elif measure.binary:
            interval = wilson(int(sample.sum()), sample.size)
        else:
            interval = bootstrap(sample, stream(seed, "burn-in", arm, burn_in, measure.name))
        said = {"arm": arm, "output": measure.name, "unit": unit, "burn_in": burn_in, "n": sample.size, "mean": float(sample.mean())}
        rows.append({**said, "low": interval.low, "high": interval.high, "interval": interval.method})
    return pd.DataFrame(rows)


def by_lever(table: pd.DataFrame, measures: Sequence[Measure], factors: Sequence[str], lever: str, seed: int) -> pd.DataFrame:
    """Each level of an opening lever less its first level, with all other factors, the arm and the draws the same.

    Needs a design in which points differ by the lever alone, such as a factorial.

    Returns:
        One row a level, arm and output: the other factors, `arm`, the lever, `against` (its first level), and the columns of `paired`.

    Raises:
        ValueError: no two points differ by the lever alone.
        Incomplete: a run is unusable.
    """
    for measure in measures:
        bad = ~usable(table, measure.name)
        if bad.any():
            raise Incomplete("opening", measure.name, table.loc[bad, "run_id"].astype(str).tolist())
    others = [name for name in factors if name != lever]
    first = table[lever].iloc[0]
    rows = []
    for (arm, *_), group in table.groupby(["arm", *others], sort=False):
        if group[lever].nunique() < 2 or first not in set(group[lever]):
            continue
        # The lever's levels take the place of arms, at one point: the other factors'.
        alike = group.assign(arm=group[lever].astype(str), point=group["point"].iloc[0])
        change = paired(alike, measures, others, str(first), seed)
        written = {str(level): level for level in group[lever]}
        levels = {lever: change["arm"].map(written), "against": first, "arm": str(arm)}
        rows.append(change.assign(**levels))
    if not rows:
        raise ValueError(f"opening: lever: found no points that differ by {lever} alone, expected a factorial design with that factor")
    return pd.concat(rows, ignore_index=True)
