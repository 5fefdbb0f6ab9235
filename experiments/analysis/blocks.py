"""Which runs an analysis may use. What failed is never averaged over in silence.

A run that failed, or was never made, or gave an output that is not a number, is *unusable* for that output. Stress makes runs fail, so
the mean of the others is the mean of survivors. Estimators over a design's blocks are worse still: SALib's Sobol answers a single NaN
with indices of zero.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

SHOWN: Final = 10
"""Run ids named in one line."""


class Measure(NamedTuple):
    """An output as the analyses see it: its column, its unit, and whether it is 0 or 1 (its mean is then a probability)."""

    name: str
    unit: str
    binary: bool = False


class Incomplete(Exception):
    """Runs that an analysis needs and cannot use.

    Attributes:
        analysis: which.
        output: for which output.
        run_ids: in plan order.
    """

    def __init__(self, analysis: str, output: str, run_ids: Sequence[str]) -> None:
        super().__init__(analysis, output, list(run_ids))
        self.analysis, self.output, self.run_ids = analysis, output, list(run_ids)

    def __str__(self) -> str:
        more = f" and {len(self.run_ids) - SHOWN} more" if len(self.run_ids) > SHOWN else ""
        runs = f"{len(self.run_ids)} run{'s' if len(self.run_ids) > 1 else ''} failed, missing or without a number"
        return f"{self.analysis} of {self.output}: needs every run of its design; {runs}: {', '.join(self.run_ids[:SHOWN])}{more}"


def usable(table: pd.DataFrame, output: str) -> "pd.Series[bool]":
    """Rows whose run is complete and whose output is a finite number."""
    return (table["status"] == "complete") & np.isfinite(table[output].to_numpy(dtype=float))


def require_complete(table: pd.DataFrame, output: str, analysis: str) -> None:
    """Refuses a table in which a single run is unusable.

    Raises:
        Incomplete: with their ids.
    """
    bad = ~usable(table, output)
    if bad.any():
        raise Incomplete(analysis, output, table.loc[bad, "run_id"].astype(str).tolist())


def replication_means(table: pd.DataFrame, output: str, analysis: str) -> Floats:
    """The mean over replications at each point, (P,), in the order of the plan.

    Raises:
        Incomplete: a run is unusable.
        ValueError: points with unequal numbers of replications.
    """
    require_complete(table, output, analysis)
    groups = table.groupby("point", sort=False)[output]
    counts = groups.size()
    if counts.min() != counts.max():
        raise ValueError(f"{analysis} of {output}: points have {counts.min()} to {counts.max()} replications, expected one number")
    return groups.mean().to_numpy(dtype=float)
