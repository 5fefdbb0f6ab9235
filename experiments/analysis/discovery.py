"""Scenario discovery: the box of factors in which an output is mostly bad, by PRIM (Friedman & Fisher, Statistics and Computing 9, 1999).

The algorithm is ema_workbench's (extra `explore`), data type aware; a box says where to look, and is no test of significance.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.analysis.blocks import Measure, usable
from experiments.analysis.indices import LEAST, TooFew

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MissingExtra(Exception):
    """A library that is not installed, and the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(what, extra)
        self.what, self.extra = what, extra

    def __str__(self) -> str:
        return f"{self.what} needs more: pip install 'backstop[{self.extra}]'"


def prim(table: pd.DataFrame, measure: Measure, factors: Sequence[str], threshold: float, share: float = 0.8) -> pd.DataFrame:
    """The largest box on PRIM's peeling path in which at least `share` of the points are bad; the densest if none is.

    A point is bad where its mean over replications is above `threshold`. Points with unusable runs are left out and counted.

    Args:
        table: one arm; any design that fills the space.
        measure: the output.
        factors: numeric ones and labels; the dummy is left out.
        threshold: above it a point is bad.
        share: of bad points in the box (its density).

    Returns:
        One row a factor that bounds the box: `output`, `threshold`, `factor`, `low`, `high` (numbers), `labels`, and of the whole box
        `coverage` (part of all bad points inside), `density`, `mass` (part of all points), `points`, `bad`, `left_out`.

    Raises:
        MissingExtra: ema_workbench is not installed.
        TooFew: too few points, or none bad, or all.
    """
    good = usable(table, measure.name).groupby(table["point"], sort=False).all().to_numpy()
    points = table.groupby("point", sort=False)
    inputs = points[[name for name in factors if name != "dummy"]].first()[good].reset_index(drop=True)
    bad = points[measure.name].mean().to_numpy(dtype=float)[good] > threshold
    if bad.size < LEAST or bad.all() or not bad.any():
        raise TooFew(
            f"prim of {measure.name}: found {bad.sum()} of {bad.size} points above {threshold:g}, expected some of {LEAST} or more"
        )
    box, lines = _peeled(inputs, bad, share)
    counted = {"points": bad.size, "bad": int(bad.sum()), "left_out": int((~good).sum())}
    rows = [{"output": measure.name, "threshold": threshold, **_side(inputs[name], limits)} for name, limits in box.items()]
    return pd.DataFrame([{**row, **lines, **counted} for row in rows])


def _peeled(inputs: pd.DataFrame, bad: "NDArray[np.bool_]", share: float) -> tuple[dict[str, Any], dict[str, float]]:
    """The chosen box's limits by factor, and its coverage, density and mass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it misses what it runs models with, and we do not
            from ema_workbench.analysis.prim import Prim  # noqa: PLC0415 - an extra that takes two seconds
    except ImportError:
        raise MissingExtra("scenario discovery", "explore") from None
    typed = inputs.apply(lambda column: column if pd.api.types.is_numeric_dtype(column) else column.astype(object).astype("category"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what it asks of pandas is not ours to change
        found = Prim(typed, bad, peel_alpha=0.05).find_box()
    path = found.peeling_trajectory
    dense = path.index[path["density"] >= share]
    at = int(dense[0]) if len(dense) else int(path["density"].to_numpy().argmax())
    said = path.loc[at]
    limits, whole = found.box_lims[at], found.box_lims[0]
    bounded = {name: limits[name].tolist() for name in typed if limits[name].tolist() != whole[name].tolist()}
    return bounded, {name: float(said[name]) for name in ("coverage", "density", "mass")}


def _side(column: "pd.Series[Any]", limits: list[Any]) -> dict[str, Any]:
    """A factor's bounds: two numbers, or the labels that are in the box."""
    if pd.api.types.is_numeric_dtype(column):
        return {"factor": str(column.name), "low": float(limits[0]), "high": float(limits[1]), "labels": ""}
    return {"factor": str(column.name), "low": np.nan, "high": np.nan, "labels": ", ".join(sorted(map(str, limits[0])))}
