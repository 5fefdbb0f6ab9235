"""A study's analyses: its summary in, tidy tables by name out, and a line for each analysis that was refused."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.analysis import composition, discovery, indices, opening, replications
from experiments.analysis.blocks import Floats, Incomplete, Measure, require_complete
from experiments.study import DUMMY, Morris, Saltelli
from model.observables import declared

if TYPE_CHECKING:
    from experiments.study import Factor, Study

type Tables = dict[str, pd.DataFrame]
type Series = Callable[[str], pd.DataFrame]
"""A run's series by its id."""


@dataclass
class Analysed:
    """What came of a study's analyses.

    Attributes:
        tables: tidy, by the name of their file.
        refused: why an analysis was not made, a line each.
    """

    tables: Tables = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def analyse(study: "Study", summary: pd.DataFrame, series: Series | None = None) -> Analysed:
    """Every analysis that the study asks for; means and convergence if it asks for none.

    Args:
        study: as it was swept.
        summary: one row a run, in the plan's order.
        series: gives a run's full series, if the sweep kept them.
    """
    done = Analysed()
    given = measures(study)
    for asked in study.analyses or (None,):
        kind = asked.type if asked is not None else "means"
        for name, make in _made(kind, asked, study, summary, given, series):
            try:
                found = make()
            except (Incomplete, indices.TooFew, discovery.MissingExtra, ValueError) as error:
                done.refused.append(str(error))
                continue
            if len(found):
                done.tables[name] = pd.concat([done.tables[name], found], ignore_index=True) if name in done.tables else found
    return done


def measures(study: "Study") -> list[Measure]:
    """The study's outputs; a unit that is not stated is the observable's."""
    units = {output.name: output.unit for output in declared(study.scenario)}
    given = []
    for output in study.outputs:
        binary = output.over == "any" or (units.get(output.of) == "0/1" and output.over in {"max", "min", "last"})
        given.append(Measure(output.name, "probability" if binary else output.unit or units.get(output.of, ""), binary))
    return given


def _made(
    kind: str, asked: Any, study: "Study", summary: pd.DataFrame, given: Sequence[Measure], series: Series | None
) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    """The tables of one analysis: a name and what makes it."""
    names = [factor.name for factor in study.factors]
    match kind:
        case "means":
            yield "means", lambda: replications.means(summary, given, names, study.seed)
            yield "tails", lambda: replications.tails(summary, given, names, study.seed)
        case "convergence":
            yield "convergence", lambda: replications.convergence(summary, given, names, study.seed)
        case "paired":
            yield "paired", lambda: replications.paired(summary, given, names, asked.against, study.seed)
        case "composition":
            whole, *parts = (next(measure for measure in given if measure.name == name) for name in (asked.whole, *asked.parts))
            yield f"composition_{asked.name}", lambda: composition.composed(summary, whole, parts, names, study.seed)
        case "opening":
            yield from _openings(asked, study, summary, given, series)
        case _:
            chosen = [measure for measure in given if kind != "prim" or measure.name == asked.output]
            for arm, runs in summary.groupby("arm", sort=False):
                for measure in chosen:
                    yield kind, partial(_driver, kind, asked, study, runs.assign(arm=str(arm)), measure)


def _driver(kind: str, asked: Any, study: "Study", runs: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Which factors drive an output, in one arm, which is said in the first column."""
    found = _indices(kind, asked, study, runs, measure)
    found.insert(0, "arm", runs["arm"].iloc[0])
    return found


def _indices(kind: str, asked: Any, study: "Study", runs: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """What the method says."""
    names = [*(factor.name for factor in study.factors), *([DUMMY] if DUMMY in runs else [])]
    design = study.design
    match kind:
        case "sobol":
            second = isinstance(design, Saltelli) and design.second_order
            return indices.sobol(runs, measure, names, study.seed, second_order=second)
        case "morris":
            levels = design.levels if isinstance(design, Morris) else 4
            return indices.morris(runs, measure, coded(runs, study.factors), study.seed, levels=levels)
        case "pawn":
            return indices.pawn(runs, measure, coded(runs, study.factors), study.seed)
        case "rbd_fast":
            return indices.rbd_fast(runs, measure, coded(runs, study.factors), study.seed)
        case _:
            return discovery.prim(runs, measure, [factor.name for factor in study.factors], asked.threshold)


def coded(runs: pd.DataFrame, factors: "Sequence[Factor]") -> dict[str, Floats]:
    """(P,) values of each factor at each point, in the plan's order; labels by their place among the factor's values."""
    points = runs.groupby("point", sort=False).first()
    out: dict[str, Floats] = {}
    for factor in factors:
        column = points[factor.name]
        known = list(factor.labels)
        out[factor.name] = np.array([known.index(value) if known else value for value in column], dtype=np.float64)
    if DUMMY in points:
        out[DUMMY] = points[DUMMY].to_numpy(dtype=float)
    return out


def _openings(
    asked: Any, study: "Study", summary: pd.DataFrame, given: Sequence[Measure], series: Series | None
) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    """By burn-in where series were kept, by an opening lever where one is named."""
    names = [factor.name for factor in study.factors]
    if asked.lever is not None:
        yield "opening_lever", lambda: opening.by_lever(summary, given, names, asked.lever, study.seed)
    if series is None:
        return
    burn_ins = longer(study.burn_in, study.scenario.steps)
    point = summary["point"].iloc[0]
    runs = summary[summary["point"] == point]
    for output, measure in zip(study.outputs, given, strict=True):

        def made(output: Any = output, measure: Measure = measure) -> pd.DataFrame:
            require_complete(runs, measure.name, "opening by burn-in")
            kept = ((str(arm), series(str(run))) for run, arm in runs[["run_id", "arm"]].itertuples(index=False))
            return opening.by_burn_in(kept, output.of, output.over, measure, burn_ins, study.seed).assign(point=point)

        yield "opening_burn_in", made


def longer(burn_in: int, steps: int) -> list[int]:
    """Burn-ins to compare: none, the study's, and longer ones, up to half of the run."""
    first = burn_in or max(1, steps // 16)
    return sorted({0, *(int(first * factor) for factor in (0.5, 1.0, 1.5, 2.0, 4.0) if first * factor <= steps / 2)})
