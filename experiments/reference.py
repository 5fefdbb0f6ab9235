"""`python -m experiments.reference STUDY ...`: runs shipped studies anew and says where they differ from the shipped results.

A shipped result is a study's summary and analyses, to `DIGITS` significant digits, and its report. Exit codes: 0 all agree, 2 bad input,
3 a number or a row differs.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pandas as pd
from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from experiments.progress import tallied
from experiments.report import report
from experiments.study import studies as known
from experiments.study_store import StudyFolder
from experiments.sweep import sweep

KEPT: Final = Path(__file__).parent.parent / "results" / "reference" / "studies"
DIGITS: Final = 8
"""Significant digits that are kept (our choice): what a report shows, and room above rounding that processors do differently."""


def tables(home: StudyFolder) -> dict[str, pd.DataFrame]:
    """A finished study's summary and analyses by file name, as they are kept: without what depends on the source code's digest."""
    found = {"summary": home.summary().drop(columns=["run_id", "error"])}
    for file in sorted((home.path / "analysis").glob("*.csv")):
        found[file.stem] = pd.read_csv(file)
    return {name: table.map(_rounded) for name, table in found.items()}


def keep(home: StudyFolder) -> Path:
    """Puts a finished and reported study in the place of the shipped results of that name."""
    place = KEPT / home.study.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name, table in tables(home).items():
        table.to_csv(place / f"{name}.csv", index=False, lineterminator="\n")
    shutil.copy(home.path / "report.html", place)
    return place


def differences(home: StudyFolder) -> Iterator[str]:
    """Where a finished study differs from the shipped results of that name, a line a table and column."""
    place = KEPT / home.study.name
    for name, table in tables(home).items():
        if not (place / f"{name}.csv").is_file():
            yield f"{home.study.name}/{name}.csv: not shipped"
            continue
        there = pd.read_csv(place / f"{name}.csv")
        if list(there.columns) != list(table.columns) or len(there) != len(table):
            yield f"{home.study.name}/{name}.csv: {table.shape} rows and columns, shipped {there.shape}, or columns of other names"
            continue
        for column in table:
            off = ~_same(table[column], there[column])
            if off.any():
                row = int(off.argmax())
                numbers = f"row {row}: {table[column][row]}, shipped {there[column][row]}"
                yield f"{home.study.name}/{name}.csv, {column}: {int(off.sum())} differ; {numbers}"


def _rounded(value: object) -> object:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _same(here: "pd.Series[float]", there: "pd.Series[float]") -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Equal but for one unit of the last digit kept."""
    if here.dtype.kind in "iufb" and there.dtype.kind in "iufb":
        return np.isclose(here.astype(float), there.astype(float), rtol=10.0 ** (1 - DIGITS), atol=0.0, equal_nan=True)
    return (here.fillna("").astype(str) == there.fillna("").astype(str)).to_numpy()


def main(
    studies: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    /,
    *,
    workers: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    out: Path = Path("results"),
    write: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Run shipped studies anew, report them, and compare with the shipped results.

    Args:
        studies: Names; all that have shipped results by default.
        workers: Processes on this machine, one for each processor by default.
        out: Where the studies' folders are made, or carried on.
        write: Put the results in place of the shipped ones instead.
    """
    console, off = Console(), 0
    kept = sorted(path.name for path in KEPT.iterdir()) if KEPT.is_dir() else []
    unknown = [name for name in studies or () if name not in known() or not (write or name in kept)]
    if unknown:
        console.print(f"no shipped results: {', '.join(unknown)}; expected some of {', '.join(kept)}", style="red", highlight=False)
        return 2
    for name in studies or kept:
        folder = out / f"reference-{name}"
        with tallied(console, name) as progress:
            sweep(name, folder, workers=workers, progress=progress)
        report(folder)
        home = StudyFolder(folder)
        lines = [f"written: {keep(home)}"] if write else list(differences(home))
        off += 0 if write else len(lines)
        console.print("\n".join(lines) if lines else f"{name}: as shipped", highlight=False, markup=False, soft_wrap=True)
    return 3 if off else 0


if __name__ == "__main__":
    app = App(name="reference", help_format="plaintext", result_action="return_value")
    app.default(main)
    sys.exit(app())
