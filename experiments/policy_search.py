"""The frontier of safety against cost: which policies leave no other that is both safer and cheaper.

Gaussian processes learn both objectives from replicated runs; each batch of new points minimises randomly weighted Chebyshev distances of
their lower confidence bounds (ParEGO: Knowles, IEEE Trans. Evolutionary Computation 10, 2006; the bound: Srinivas et al., ICML 2010). A
point chosen is believed to be what is predicted there until it has been run (kriging believer: Ginsbourger, Le Riche & Carraro 2010).
Each batch is a sweep of its own and can be resumed. The best of many noisy points owe part of their rank to luck, so that the
frontier is simulated again with other seeds before it is told, and what is told is that alone.
"""

import warnings
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import qmc

from agents.families import Parameters
from experiments.analysis.blocks import Floats, require_complete
from experiments.analysis.discovery import MissingExtra
from experiments.analysis.intervals import bootstrap, mean, stream, wilson
from experiments.analysis.replications import BEYOND, expected_shortfall, worst
from experiments.analysis.tables import measures
from experiments.progress import Tally
from experiments.study import Study, Table, load_study
from experiments.study_store import folder_name, replace_file
from experiments.sweep import Where, sweep
from model.errors import ScenarioError, fault
from model.scenario_faults import validate_as
from model.scenario_file import by_line, in_file, locate, read_settings
from model.strict_yaml import write_yaml

CANDIDATES: Final = 1_024
"""Points among which a batch is chosen."""
BOUND: Final = 1.0
"""Standard deviations between prediction and lower confidence bound (our choice)."""


class Objective(Parameters):
    """What is to be made small: a statistic over replications of one of the study's outputs."""

    output: str = Field(description="an output of the study")
    plus: tuple[str, ...] = Field((), description="further outputs of the study, in the same unit, that are added to it run by run")
    statistic: Literal["mean", "expected_shortfall"] = Field("mean", description="the mean of a 0/1 output is a probability")
    level: float = Field(0.95, gt=0, lt=1, description="of expected shortfall")

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs that count."""
        return (self.output, *self.plus)

    def of(self, values: Floats, axis: int = -1) -> Floats:
        """The statistic along an axis."""
        return mean(values, axis) if self.statistic == "mean" else expected_shortfall(values, self.level, axis)


class Search(Parameters):
    """A policy search file."""

    schema_version: Literal[1] = Field(1, alias="schema", description="version of this format")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="what to call it")]
    study: str = Field(
        description="a study file or a shipped study's name: its scenario, factors, outputs, replications and first arm; not its design"
    )
    safety: Objective = Field(description="what a policy should prevent")
    cost: Objective = Field(description="what a policy costs those who trade")
    initial: int = Field(16, ge=4, description="points of the first batch, spread evenly; a power of two is best")
    batch: int = Field(8, ge=1, description="points of every further batch")
    batches: int = Field(4, ge=0, description="further batches")
    told: int = Field(12, ge=2, description="points of the frontier at most that are simulated again")
    replications: int = Field(40, ge=2, description="replications of each of them, with other seeds")
    seed: int = Field(0, ge=0, description="of the search")


def load_search(path: str | Path) -> tuple[Search, Study]:
    """A search file and the study that it names.

    Raises:
        ScenarioError: every fault of the file, or of the study.
    """
    file = locate(path, None, "search")
    document = read_settings(file)
    given, findings = validate_as(Search, document.data)
    faults = [*document.faults, *(in_file(file, document.lines, finding) for finding in findings)]
    if given is None or faults:
        raise ScenarioError(by_line(faults))
    named = Path(given.study)
    study = load_study(file.parent / named if named.suffix else given.study)
    units = {output.name: output.unit for output in study.outputs}
    for field, objective, replications in (("safety", given.safety, study.replications), ("cost", given.cost, study.replications)):
        for output in objective.outputs:
            where = f"{field}.output" if output == objective.output else f"{field}.plus"
            if output not in units:
                raise ScenarioError([fault(file, None, where, repr(output), f"one of {', '.join(units)}")])
            if units[output] != units[objective.output]:
                raise ScenarioError(
                    [fault(file, None, where, f"{output!r} in {units[output]}", f"{units[objective.output]}, as {objective.output!r}")]
                )
        least = round(BEYOND / (1.0 - objective.level))
        if (
            objective.statistic == "expected_shortfall"
            and min(worst(n, objective.level) for n in (replications, given.replications)) < BEYOND
        ):
            most = min(replications, given.replications)
            raise ScenarioError([fault(file, None, field, f"{most} replications", f"{least} or more for this expected shortfall")])
    return given, study


def search(given: Search, study: Study, folder: Path, where: Where, progress: Tally | None = None) -> pd.DataFrame:
    """Makes the runs that the folder lacks; the frontier, simulated again: `frontier.csv`. All points tried: `evaluations.csv`.

    Returns:
        A row a point: the factors, and of `safety` and `cost` the estimate, `low`, `high`; `efficient`: no other told point is better in
        both; `searched_safety`, `searched_cost`: what the search had seen there.

    Raises:
        Incomplete: a run failed.
        MissingExtra: scikit-learn is not installed.
    """
    _keep(given, study, folder)
    cube = qmc.Sobol(len(study.factors), rng=stream(given.seed, "initial")).random(given.initial)
    tried: list[pd.DataFrame] = []
    points = np.empty((0, len(study.factors)))
    for number in range(given.batches + 1):
        if number:
            seen = pd.concat(tried)[["safety", "cost"]].to_numpy(dtype=float)
            cube = propose(points, seen, given.batch, stream(given.seed, "batch", number))
        batch = _frozen(folder / f"batch-{number:02d}.csv", study, cube)
        found = _evaluated(given, study, batch, folder / f"batch-{number:02d}", study.replications, study.seed, where, progress)
        points = np.vstack([points, batch[[f"unit_{at}" for at in range(len(study.factors))]].to_numpy(dtype=float)])
        tried.append(found.assign(batch=number))
    evaluations = pd.concat(tried, ignore_index=True)
    replace_file(folder / "evaluations.csv", evaluations.to_csv(index=False, lineterminator="\n").encode())
    best = _spread(evaluations[efficient(evaluations[["safety", "cost"]].to_numpy(dtype=float))], given.told)
    again = _frozen(folder / "frontier-points.csv", study, points[best.index])
    fresh = int(stream(given.seed, "fresh", study.seed).integers(2**31))
    told = _evaluated(given, study, again, folder / "frontier", given.replications, fresh, where, progress)
    told = told.assign(searched_safety=best["safety"].to_numpy(), searched_cost=best["cost"].to_numpy())
    told["efficient"] = efficient(told[["safety", "cost"]].to_numpy(dtype=float))
    told = told.sort_values("cost", ignore_index=True)
    replace_file(folder / "frontier.csv", told.to_csv(index=False, lineterminator="\n").encode())
    return told


def _keep(given: Search, study: Study, folder: Path) -> None:
    """Writes what is searched to `search.yaml`; batches that were proposed for another question are not taken over.

    Raises:
        ScenarioError: the folder holds another search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = {**given.model_dump(mode="json", by_alias=True), "study": folder_name(study)}
    path = folder / "search.yaml"
    if path.is_file():
        if read_settings(path).data != asked:
            raise ScenarioError([fault(path, None, "search", "another search", "this one, or a new folder")])
    elif any(folder.iterdir()):
        raise ScenarioError([fault(folder, None, "out", "other files", "a new or an empty folder, or this search's own")])
    else:
        replace_file(path, write_yaml(asked).encode())


def propose(points: Floats, objectives: Floats, batch: int, rng: np.random.Generator) -> Floats:
    """The next points to try, (batch, D) in the unit cube.

    Args:
        points: (P, D) tried so far, in the unit cube.
        objectives: (P, K) what was found there; less is better.
        batch: how many.
        rng: of candidates and weights.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    front = objectives[efficient(objectives)]  # its extent is what matters: what is far worse than all of it should not set the scale
    span = np.where(np.ptp(front, axis=0) > 0.0, np.ptp(front, axis=0), np.maximum(np.ptp(objectives, axis=0), 1e-300))
    scaled = (objectives - front.min(axis=0)) / span
    models = [_learned(points, column) for column in scaled.T]
    known, values, chosen = points, scaled, []
    for _ in range(batch):
        near = known[efficient(values)]
        around = np.clip(
            near[rng.integers(len(near), size=CANDIDATES // 2)] + rng.normal(0.0, 0.1, (CANDIDATES // 2, points.shape[1])), 0.0, 1.0
        )
        candidates = np.vstack([rng.random((CANDIDATES - len(around), points.shape[1])), around])
        guesses, errors = (
            np.column_stack(part) for part in zip(*(model.predict(candidates, return_std=True) for model in models), strict=True)
        )
        weights = rng.dirichlet(np.ones(values.shape[1]))
        bound = guesses - BOUND * errors
        distance = (weights * bound).max(axis=1) + 0.05 * (weights * bound).sum(axis=1)
        at = int(distance.argmin())
        chosen.append(candidates[at])
        known, values = np.vstack([known, candidates[at]]), np.vstack([values, guesses[at]])
        models = [_learned(known, column, model) for model, column in zip(models, values.T, strict=True)]
    return np.array(chosen)


def efficient(objectives: Floats) -> NDArray[np.bool_]:
    """(P,) whether no other point is at least as good in every objective and better in one; less is better."""
    no_worse = (objectives[:, None, :] <= objectives[None, :, :]).all(axis=2)
    better = (objectives[:, None, :] < objectives[None, :, :]).any(axis=2)
    dominated: NDArray[np.bool_] = (no_worse & better).any(axis=0)
    return ~dominated


def hypervolume(objectives: Floats, reference: tuple[float, float]) -> float:
    """Area between a frontier of two objectives and a reference point that is worse than all of it."""
    front = objectives[efficient(objectives) & (objectives < np.array(reference)).all(axis=1)]
    front = front[front[:, 0].argsort()]
    right = np.append(front[1:, 0], reference[0])
    return float(((right - front[:, 0]) * (reference[1] - front[:, 1])).sum())


def _learned(points: Floats, values: Floats, earlier: Any = None) -> Any:
    """A Gaussian process with noise of its own; with the hyperparameters of an earlier one if given."""
    try:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - an extra that takes a second
        from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: PLC0415
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("policy search", "search") from None
    if earlier is not None:
        return GaussianProcessRegressor(earlier.kernel_, optimizer=None, normalize_y=True).fit(points, values)
    smooth = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(np.full(points.shape[1], 0.5), (0.05, 20.0), nu=2.5)
    kernel = smooth + WhiteKernel(0.01, (1e-6, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound is an answer
        return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0).fit(points, values)


def _frozen(path: Path, study: Study, cube: Floats) -> pd.DataFrame:
    """A batch as it was first proposed: unit coordinates and factors; what stands on disk is not proposed again."""
    if not path.is_file():
        units = {f"unit_{at}": column for at, column in enumerate(cube.T)}
        table = pd.DataFrame({**units, **{factor.name: factor.at(cube[:, at]) for at, factor in enumerate(study.factors)}})
        replace_file(path, table.to_csv(index=False, lineterminator="\n").encode())
    labels = {factor.name: str for factor in study.factors if factor.scale == "choice"}
    return pd.read_csv(path, dtype=labels, keep_default_na=False)  # a label may be called null


def _evaluated(
    given: Search, study: Study, batch: pd.DataFrame, folder: Path, replications: int, seed: int, where: Where, progress: Tally | None
) -> pd.DataFrame:
    """Sweeps a batch; a row a point with both objectives and their intervals."""
    names = [factor.name for factor in study.factors]
    table = folder.with_name(f"{folder.name}-points.csv")
    replace_file(table, batch[names].to_csv(index=False, lineterminator="\n").encode())
    arm = next(iter(study.arms))
    changes = {"design": Table(type="table", file=str(table)), "replications": replications, "seed": seed, "arms": {arm: study.arms[arm]}}
    found = sweep(study.model_copy(update={**changes, "analyses": ()}), folder, where=where, progress=progress)
    columns: dict[str, list[float]] = {}
    for name, objective in (("safety", given.safety), ("cost", given.cost)):
        for output in objective.outputs:
            require_complete(found, output, "search")
        for point, rows in found.groupby("point", sort=False):
            sample = rows[list(objective.outputs)].to_numpy(dtype=float).sum(axis=1)
            binary = not objective.plus and next(measure.binary for measure in measures(study) if measure.name == objective.output)
            rng = stream(seed, "search", name, point)
            interval = (
                wilson(int(sample.sum()), sample.size)
                if binary and objective.statistic == "mean"
                else bootstrap(sample, rng, mean if objective.statistic == "mean" else objective.of)
            )
            for key, value in ((name, float(objective.of(sample))), (f"{name}_low", interval.low), (f"{name}_high", interval.high)):
                columns.setdefault(key, []).append(value)
    return batch[names].reset_index(drop=True).assign(**columns, replications=replications)


def _spread(front: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many points of a frontier, evenly along the order of their cost."""
    ordered = front.sort_values("cost", kind="stable")
    at = np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int))
    return ordered.iloc[at]
