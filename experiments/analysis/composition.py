"""What a whole is made of at each point and arm: the mean of each part, of what the parts leave, and of the whole."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.analysis.blocks import Measure, usable
from experiments.analysis.replications import means
from experiments.study import REST

EXACT = 1e-9
"""What the parts leave is told from this share of the largest whole on; below it is rounding."""


def composed(table: pd.DataFrame, whole: Measure, parts: Sequence[Measure], factors: Sequence[str], seed: int) -> pd.DataFrame:
    """Means of the parts and of their whole, each with its interval and its share of the mean whole.

    Means of parts add up to the mean of the whole because both are over the same runs: at a point with an unusable run, of any of
    these outputs, nothing is told of any.

    Returns:
        Rows of `experiments.analysis.replications.means`, for each point and arm the parts in their order, `rest` where the parts do
        not make up the whole anywhere, and the whole, with `share` (not a number where the whole is zero).

    Raises:
        ValueError: parts that are negative on average, or in another unit than the whole: bars of them would not stack.
    """
    strange = [part.name for part in parts if part.unit != whole.unit]
    if strange:
        raise ValueError(f"composition of {whole.name}: {strange[0]} is in another unit, expected {whole.unit}")
    names = [whole.name, *(part.name for part in parts)]
    bad = ~np.logical_and.reduce([usable(table, name) for name in names])
    sound = table.assign(**{name: table[name].mask(bad) for name in names})
    sound[REST] = sound[whole.name] - sound[[part.name for part in parts]].sum(axis=1)
    sound[REST] = sound[REST].where(sound[REST].abs() > EXACT * float(sound[whole.name].abs().max()), 0.0).mask(bad)
    told = [*parts, Measure(REST, whole.unit)] if (sound[REST].abs() > 0.0).any() else list(parts)
    rows = means(sound, [*told, whole], factors, seed)
    below = rows[(rows["mean"] < 0.0) & (rows["output"] != whole.name)]
    if len(below):
        raise ValueError(f"composition of {whole.name}: {below['output'].iloc[0]} is below zero on average, expected parts that stack")
    wholes = rows[rows["output"] == whole.name].set_index(["point", "arm"])["mean"]
    of = wholes.reindex(pd.MultiIndex.from_frame(rows[["point", "arm"]])).to_numpy(dtype=float)
    return rows.assign(share=np.divide(rows["mean"], of, out=np.full(len(rows), np.nan), where=of > 0.0))
