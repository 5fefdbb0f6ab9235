"""Runs the validation experiments and prints target, found, tolerance and verdict."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from experiments import economics
from experiments.validation import contagion, known_answers, oracles, published
from experiments.validation.check import Check, Validation

VALIDATIONS: Final[tuple[Validation, ...]] = (
    *oracles.VALIDATIONS,
    *contagion.VALIDATIONS,
    *known_answers.VALIDATIONS,
    *published.VALIDATIONS,
)
WIDTH: Final = 170
"""Columns a table of numbers takes, whatever the terminal."""


def checks(chosen: Sequence[Validation] = VALIDATIONS, *, full: bool = False) -> Iterator[Check]:
    """Runs experiments; one that fails is a comparison that is off, with its error for a source."""
    for validation in chosen:
        try:
            yield from validation.run(full)
        except Exception as error:  # noqa: BLE001 - the others still run
            yield Check(validation.name, f"failed: {type(error).__name__}: {error}", (0.0,), (float("nan"),), 0.0)


def main(
    *,
    full: Annotated[bool, Parameter(negative=())] = False,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    economics_seeds: int = 0,
) -> int:
    """Compare this installation with published and known answers; with `--economics-seeds 240` also measure what the levers do.

    Args:
        full: Longer runs with smaller errors (minutes).
        only: Names of the experiments to run; all by default.
        economics_seeds: paired seeds for the levers of `experiments.economics` (minutes); 0 leaves them out.

    Returns:
        Exit code: 0 if everything is within tolerance but for what is known to miss, 2 for an unknown name, else 3.
    """
    console = Console()
    console.width = max(console.width, WIDTH)
    known = {validation.name: validation for validation in VALIDATIONS}
    unknown = [name for name in only or () if name not in known]
    if unknown:
        console.print(f"unknown: {', '.join(unknown)}; expected some of {', '.join(known)}", style="red", highlight=False, markup=False)
        return 2
    chosen = [known[name] for name in only] if only else list(VALIDATIONS)
    rows = list(track(checks(chosen, full=full), description="validation", console=console, transient=True))
    _print(rows, console)
    if economics_seeds > 0:
        _print_economics(console, economics_seeds)
    return 3 if any(row.verdict == "OFF" for row in rows) else 0


def _print(rows: Sequence[Check], console: Console) -> None:
    columns = ("what", "source", "target", "found", "tolerance", "verdict")
    table = Table(*(Column(name, overflow="fold") for name in columns), title="Against published and known answers")
    for row in rows:
        tolerance = row.tolerance if isinstance(row.tolerance, tuple) else (row.tolerance,)
        numbers = ("  ".join(f"{value:.{digits}g}" for value in values) for values, digits in _digits(row))
        table.add_row(row.what, row.source, *numbers, "  ".join(f"{value:.2g}" for value in tolerance), row.verdict)
    console.print(table, markup=False)
    for row in rows:
        if row.verdict in ("miss", "skipped"):
            why = f"a miss. {row.why_missed}" if row.verdict == "miss" else f"skipped. {row.skipped}"
            console.print(f"{row.what}: {why}", highlight=False, markup=False)
    counts = [sum(row.verdict == verdict for row in rows) for verdict in ("ok", "miss", "OFF", "skipped")]
    console.print("{} within tolerance, {} known to miss, {} off, {} skipped".format(*counts), highlight=False)


def _digits(row: Check) -> tuple[tuple[tuple[float, ...], int], ...]:
    """Exact answers with ten digits, estimates with four."""
    digits = 10 if isinstance(row.tolerance, float) and row.tolerance <= 1e-3 else 4
    return (row.target, digits), (row.found, digits)


def _print_economics(console: Console, seeds: int) -> None:
    table = Table(
        "lever", "output", "base mean", "paired difference", "95 % interval", "verdict", title=f"Levers at the first stress, {seeds} seeds"
    )
    for effect in economics.measure(track(range(seeds), description="paired runs", console=console, transient=True)):
        scale, unit = (1e6, "m USD") if effect.unit == "USD" else (1.0, effect.unit)
        interval = f"{effect.low / scale:,.3g} to {effect.high / scale:,.3g}"
        table.add_row(
            effect.lever, effect.output, f"{effect.base / scale:,.3g} {unit}", f"{effect.difference / scale:,.3g}", interval, effect.verdict
        )
    console.print(table)
