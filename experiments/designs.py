"""The points of a study: one row each, one column a factor, in the order of the sampler.

Samplers fill the unit cube; a factor maps its side of it to values (`experiments.study.Factor.at`). The seed is the study's, so the same
file gives the same points; a sweep freezes them in its plan all the same.
"""

import csv
import importlib.util
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.study import DUMMY, Factor, Factorial, LatinHypercube, Morris, Saltelli, SobolPoints, Study, Table
from model.errors import ScenarioError, fault

DESIGN_STREAM: Final = 2**32 - 1
"""Key of the design's draws: replications, counted from 0, never reach it."""

type Floats = NDArray[np.float64]


def points(study: Study) -> pd.DataFrame:
    """The study's points: a column a factor (labels for choices); designs morris and saltelli add `dummy`, in the unit interval.

    Raises:
        ScenarioError: a table of points that does not fit the factors; a design whose package is not installed.
    """
    match study.design:
        case Factorial():
            return _frame(study.factors, itertools.product(*(_levels(factor, study.design) for factor in study.factors)))
        case Table():
            return table(Path(study.design.file), study.factors)
        case LatinHypercube() | SobolPoints():
            return _mapped(study.factors, _scattered(study))
        case Morris() | Saltelli():
            cube = _recombined(study)
            return _mapped(study.factors, cube).assign(**{DUMMY: cube[:, -1]})


def count(study: Study) -> int | None:
    """How many points a design makes, without making them; not told of a table."""
    design, factors = study.design, len(study.factors) + 1  # the dummy is one
    match design:
        case Factorial():
            return math.prod(_count(factor, design) for factor in study.factors)
        case LatinHypercube() | SobolPoints():
            return design.points
        case Morris():
            return design.trajectories * (factors + 1)
        case Saltelli():
            return design.points * ((2 if design.second_order else 1) * factors + 2)
        case Table():
            return None


def _rng(study: Study) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(study.seed, spawn_key=(DESIGN_STREAM,)))


def _mapped(factors: Sequence[Factor], cube: Floats) -> pd.DataFrame:
    """Points of the unit cube, (points, factors or more), as values."""
    return pd.DataFrame({factor.name: factor.at(cube[:, at]) for at, factor in enumerate(factors)})


def _frame(factors: Sequence[Factor], rows: Any) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[factor.name for factor in factors])


def _levels(factor: Factor, design: Factorial) -> list[Any]:
    """Equally spaced values from low to high, on the factor's scale."""
    if factor.scale == "choice":
        return list(factor.labels)
    count = _count(factor, design)
    low, high = factor.range
    if factor.scale == "integer":
        return [int(value) for value in np.rint(np.linspace(low, high, count))]
    spaced: list[float] = (np.geomspace if factor.scale == "log" else np.linspace)(low, high, count).tolist()
    return spaced


def _count(factor: Factor, design: Factorial) -> int:
    """How many levels a factor has in a factorial design."""
    if factor.scale == "choice":
        return len(factor.values)
    return design.levels if isinstance(design.levels, int) else design.levels[factor.name]


def _scattered(study: Study) -> Floats:
    """Latin hypercube or Sobol points, (points, factors)."""
    from scipy.stats import qmc  # noqa: PLC0415 - a quarter of a second, and only designs need it

    count = len(study.factors)
    if isinstance(study.design, LatinHypercube):
        return qmc.LatinHypercube(count, scramble=study.design.scramble, rng=_rng(study)).random(study.design.points)
    assert isinstance(study.design, SobolPoints)
    sobol = qmc.Sobol(count, scramble=study.design.scramble, rng=_rng(study))
    return sobol.random_base2(study.design.points.bit_length() - 1)


def _recombined(study: Study) -> Floats:
    """Morris trajectories or Saltelli's matrices, (points, factors + dummy), in the order that SALib's analyses expect."""
    if importlib.util.find_spec("SALib") is None:
        raise ScenarioError([fault(study.name, None, "design", f"{study.design.type} without SALib", "it installed: backstop[analysis]")])
    names = [*(factor.name for factor in study.factors), DUMMY]
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    seed = int(_rng(study).integers(2**31))
    if isinstance(study.design, Morris):
        from SALib.sample.morris.morris import sample  # noqa: PLC0415 - a second to import

        trajectories: Floats = sample(problem, study.design.trajectories, num_levels=study.design.levels, seed=seed)
        return trajectories
    from SALib.sample import sobol  # noqa: PLC0415

    assert isinstance(study.design, Saltelli)
    matrices: Floats = sobol.sample(problem, study.design.points, calc_second_order=study.design.second_order, seed=seed)
    return matrices


def table(path: Path, factors: Sequence[Factor], *, others: bool = False) -> pd.DataFrame:
    """Points from a CSV file, each value judged by its factor.

    Args:
        path: the file.
        factors: columns that it must have.
        others: whether it may have further ones.

    Raises:
        ScenarioError: every fault of the file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header, rows = next(reader, []), [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise ScenarioError([fault(path, None, "file", (error.strerror or "an error").lower(), "a readable file")]) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScenarioError([fault(path, None, "file", str(error), "a CSV file, UTF-8")]) from None
    names = [factor.name for factor in factors]
    if len(set(header)) < len(header) or set(names) - set(header) or (set(header) - set(names) and not others):
        raise ScenarioError([fault(path, 1, "columns", ", ".join(header) or "nothing", ", ".join(names))])
    wide = [fault(path, line, "row", f"{len(row)} values", f"{len(header)}, one a column") for line, row in rows if len(row) > len(header)]
    if wide:  # a decimal comma, perhaps, which would be read as another number
        raise ScenarioError(wide)
    faults: list[str] = []
    place = {name: at for at, name in enumerate(header)}
    out = [[_read(factor, row, place[factor.name], f"{path}:{line}", faults) for factor in factors] for line, row in rows]
    if not rows:
        faults.append(fault(path, 1, "rows", "none", "at least one point"))
    if faults:
        raise ScenarioError(faults)
    return _frame(factors, out)


def _read(factor: Factor, row: Sequence[str], at: int, where: str, faults: list[str]) -> Any:
    """A cell as a value of its factor; a fault if it is none."""
    text = row[at].strip() if at < len(row) else ""
    if factor.scale == "choice":
        if text not in factor.labels:
            faults.append(fault(where, None, factor.name, repr(text), f"one of {', '.join(factor.labels)}"))
        return text
    low, high = factor.range
    try:
        value = int(text) if factor.scale == "integer" else float(text)
    except ValueError:
        faults.append(fault(where, None, factor.name, repr(text), "a whole number" if factor.scale == "integer" else "a number"))
        return None
    if not low <= value <= high:
        faults.append(fault(where, None, factor.name, text, f"between {low:g} and {high:g}"))
    return value
